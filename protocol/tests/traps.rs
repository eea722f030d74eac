//! The known traps of agreement without a centre, one by one: what two sides did while neither knew of the other, and what
//! every server makes of it, in whatever order it hears of it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use rocketmesh_protocol::authority::Rank;
use rocketmesh_protocol::codec::Map;
use rocketmesh_protocol::event::{
    Content, Draft, Event, JoinRule, Label, Lane, Membership, Placement, Role, ServerRule, Switch, author,
};
use rocketmesh_protocol::receipt::Receipt;
use support::Server;
use support::room::{TestRoom, draft, join, membership, message, rename, role};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const DAVE: usize = 3;

/// A room of five, and what is done to each side of a partition.
struct Parted {
    servers: Vec<Server>,
    sides: [TestRoom; 2],
}

impl Parted {
    /// Alice has made the room and the others have joined; `roles` were given before the sides parted.
    fn with(roles: &[(usize, Role)]) -> Self {
        let servers = Server::five();
        let mut room = TestRoom::of(&servers);
        for (whom, given) in roles {
            room.write(&servers[ALICE], role(&servers[ALICE], &servers[*whom].user, *given));
        }
        Parted { sides: [copy(&room), room], servers }
    }

    fn write(&mut self, side: usize, by: usize, draft: Draft) -> Event {
        let event = self.sides[side].author(&self.servers[by], sighted(&self.sides[side], draft));
        let receipt = self.sides[side].receive(&event);
        assert!(matches!(receipt, Receipt::Accepted { .. }), "{receipt:?}");
        event
    }

    fn say(&mut self, side: usize, by: usize, text: &str) -> Event {
        let draft = message(&self.servers[by], text);
        self.write(side, by, draft)
    }

    fn moderate(&mut self, side: usize, by: usize, whom: usize, change: Membership) -> Event {
        let user = self.servers[whom].user.clone();
        let content = Content::Member { user, change, seen: Vec::new() };
        let draft = draft(Some(&self.servers[by].user), &content, None);
        self.write(side, by, draft)
    }

    fn give(&mut self, side: usize, by: usize, whom: usize, given: Role) -> Event {
        let draft = role(&self.servers[by], &self.servers[whom].user, given);
        self.write(side, by, draft)
    }

    /// The sides meet, each hearing the other's events after its own, and a third server hears everything late.
    fn meet(self) -> Met {
        let Parted { servers, mut sides } = self;
        let [left, right] = [sides[0].in_order(), sides[1].in_order()];
        let mut third = TestRoom::empty(sides[0].outline.room());
        for event in right.iter().chain(&left) {
            sides[0].receive(event);
            third.receive(event);
        }
        for event in &left {
            sides[1].receive(event);
        }
        let digests = [&sides[0], &sides[1], &third].map(|side| side.state().digest());
        assert!(digests.iter().all(|digest| *digest == digests[0]), "the servers disagree");
        let [room, other] = sides;
        for event in room.in_order() {
            assert_eq!(counts(&room, &event), counts(&other, &event), "the servers show different things");
            assert_eq!(counts(&room, &event), counts(&third, &event), "the servers show different things");
        }
        Met { servers, room }
    }
}

struct Met {
    servers: Vec<Server>,
    room: TestRoom,
}

impl Met {
    fn counts(&self, event: &Event) -> bool {
        counts(&self.room, event)
    }

    fn membership(&self, whom: usize) -> Option<Membership> {
        self.room.state().membership(&self.servers[whom].user)
    }

    fn rank(&self, whom: usize) -> Rank {
        self.room.state().rank(&self.servers[whom].user)
    }
}

fn counts(room: &TestRoom, event: &Event) -> bool {
    match event.header().lane {
        Lane::State => !room.resolver.is_void(&event.id()),
        Lane::Timeline => room.resolver.shows(event),
    }
}

fn copy(room: &TestRoom) -> TestRoom {
    let mut copy = TestRoom::empty(room.outline.room());
    for event in room.in_order() {
        copy.receive(&event);
    }
    copy
}

fn sighted(room: &TestRoom, mut draft: Draft) -> Draft {
    room.outline.sight(&mut draft);
    draft
}

#[test]
fn a_ban_against_a_message() {
    let mut parted = Parted::with(&[]);
    let known = parted.say(0, BOB, "before the ban");
    parted.sides[1].receive(&known);
    parted.moderate(0, ALICE, BOB, Membership::Ban);
    let concurrent = parted.say(1, BOB, "meanwhile");
    let met = parted.meet();
    assert!(met.counts(&known), "what the moderator had seen stays");
    assert!(!met.counts(&concurrent), "what was written at the same time is withheld");
    assert_eq!(met.membership(BOB), Some(Membership::Ban));
}

#[test]
fn a_later_unban_and_return_do_not_bring_back_what_was_withheld() {
    let mut parted = Parted::with(&[]);
    parted.moderate(0, ALICE, BOB, Membership::Ban);
    parted.moderate(0, ALICE, BOB, Membership::Unban);
    let concurrent = parted.say(1, BOB, "meanwhile");
    let mut met = parted.meet();
    let back = met.room.write(&met.servers[BOB], join(&met.servers[BOB]));
    let after = met.room.say(&met.servers[BOB], "I am back");
    assert!(met.counts(&back) && met.counts(&after));
    assert!(!met.counts(&concurrent));
}

#[test]
fn a_demotion_against_a_kick() {
    // Alice demotes Bob, who at the same time kicks Carol: the kick used what Alice took.
    let mut parted = Parted::with(&[(BOB, Role::Moderator)]);
    parted.give(0, ALICE, BOB, Role::Member);
    let kick = parted.moderate(1, BOB, CAROL, Membership::Kick);
    let met = parted.meet();
    assert!(!met.counts(&kick));
    assert_eq!((met.membership(CAROL), met.rank(BOB)), (Some(Membership::Join), Rank::Member));
}

#[test]
fn two_moderators_who_demote_each_other() {
    let mut parted = Parted::with(&[(BOB, Role::Moderator), (CAROL, Role::Moderator)]);
    let one = parted.give(0, BOB, CAROL, Role::Member);
    let other = parted.give(1, CAROL, BOB, Role::Member);
    let met = parted.meet();
    assert!(met.counts(&one) && met.counts(&other), "equals who remove each other both do");
    assert_eq!((met.rank(BOB), met.rank(CAROL)), (Rank::Member, Rank::Member));
}

#[test]
fn the_higher_ranks_removal_stands_against_the_lower_ones() {
    let mut parted = Parted::with(&[(BOB, Role::Owner), (CAROL, Role::Moderator)]);
    let by_bob = parted.give(0, BOB, CAROL, Role::Member);
    let by_carol = parted.moderate(1, CAROL, DAVE, Membership::Ban);
    let met = parted.meet();
    assert!(met.counts(&by_bob) && !met.counts(&by_carol));
    assert_eq!(met.membership(DAVE), Some(Membership::Join));
}

#[test]
fn a_promotion_on_one_side_and_a_ban_on_the_other() {
    let mut parted = Parted::with(&[(BOB, Role::Owner)]);
    parted.moderate(0, ALICE, CAROL, Membership::Ban);
    parted.give(1, BOB, CAROL, Role::Moderator);
    let used = parted.moderate(1, CAROL, DAVE, Membership::Kick);
    let met = parted.meet();
    assert!(!met.counts(&used), "what rests on a banned user's word is void");
    assert_eq!((met.membership(CAROL), met.membership(DAVE)), (Some(Membership::Ban), Some(Membership::Join)));
    assert_eq!(met.rank(CAROL), Rank::Outsider);
}

#[test]
fn a_back_dated_event_of_a_banned_user() {
    let servers = Server::five();
    let mut room = TestRoom::of(&servers);
    let old_place = room.placement(&servers[BOB], Lane::Timeline);
    let said = room.say(&servers[BOB], "as it was");
    let content = Content::Member { user: servers[BOB].user.clone(), change: Membership::Ban, seen: Vec::new() };
    let ban = sighted(&room, draft(Some(&servers[ALICE].user), &content, None));
    room.write(&servers[ALICE], ban);
    // Bob's server pretends that it never heard of the ban: once behind what it had said, once in place of it.
    let behind = Placement {
        self_parent: Some((said.id(), 0)),
        lamport: said.header().lamport + 1,
        parents: Vec::new(),
        ..old_place.clone()
    };
    let behind = author(&servers[BOB].key, behind, message(&servers[BOB], "I said so all along")).unwrap();
    assert_eq!(room.receive(&behind), Receipt::Accepted { forks: false });
    assert!(!counts(&room, &behind), "what the moderator had not seen is withheld, whatever state it names");
    let instead = author(&servers[BOB].key, old_place, message(&servers[BOB], "and never the other thing")).unwrap();
    assert_eq!(room.receive(&instead), Receipt::Accepted { forks: true }, "a fork is kept as evidence");
    assert!(counts(&room, &said));
    assert!(room.outline.have().lane(servers[BOB].key.origin(), Lane::Timeline).unwrap().forked());
}

#[test]
fn a_late_branch_of_a_server_that_was_away() {
    let mut parted = Parted::with(&[(BOB, Role::Moderator)]);
    for number in 0..50 {
        let name = rename(&parted.servers[ALICE], &format!("name {number}"));
        parted.write(0, ALICE, name);
    }
    parted.moderate(0, ALICE, DAVE, Membership::Ban);
    let topic = draft(Some(&parted.servers[BOB].user), &Content::Label(Label::Topic), None);
    let topic = parted.write(1, BOB, topic);
    let kick = parted.moderate(1, BOB, CAROL, Membership::Kick);
    let by_dave = parted.say(1, DAVE, "while I was away I was banned");
    let met = parted.meet();
    assert!(met.counts(&topic) && met.counts(&kick), "being late voids nothing");
    assert!(!met.counts(&by_dave));
    assert_eq!(met.room.state().label(Label::Topic), Some(topic.id()));
    assert_eq!(met.membership(CAROL), Some(Membership::Kick));
}

#[test]
fn two_topics_at_once() {
    let topic = |by: &Server| draft(Some(&by.user), &Content::Label(Label::Topic), None);
    // Of different rank: the higher one's stays. Of the same: one of them, the same everywhere.
    let mut parted = Parted::with(&[(BOB, Role::Moderator), (CAROL, Role::Moderator)]);
    let by_alice = parted.write(0, ALICE, topic(&Server::five()[ALICE]));
    let by_bob = parted.write(1, BOB, topic(&Server::five()[BOB]));
    let met = parted.meet();
    assert!(met.counts(&by_alice) && met.counts(&by_bob));
    assert_eq!(met.room.state().label(Label::Topic), Some(by_alice.id()));

    let mut parted = Parted::with(&[(BOB, Role::Moderator), (CAROL, Role::Moderator)]);
    let by_bob = parted.write(0, BOB, topic(&Server::five()[BOB]));
    let by_carol = parted.write(1, CAROL, topic(&Server::five()[CAROL]));
    let met = parted.meet();
    assert!([by_bob.id(), by_carol.id()].contains(&met.room.state().label(Label::Topic).unwrap()));
}

#[test]
fn a_redaction_that_comes_before_its_target() {
    let servers = Server::five();
    let mut room = TestRoom::of(&servers);
    let target = room.say(&servers[BOB], "oops");
    let redaction = draft(
        Some(&servers[ALICE].user),
        &Content::Redact { target: target.id(), author: Some(servers[BOB].user.clone()) },
        None,
    );
    let redaction = room.write(&servers[ALICE], redaction);
    let mut late = TestRoom::empty(room.outline.room());
    let events = room.in_order();
    for event in events.iter().filter(|event| event.id() != target.id()) {
        late.receive(event);
    }
    assert!(late.held().contains(&redaction.id()), "it waits for what it stands on");
    late.receive(&target);
    assert!(late.accepted().contains(&redaction.id()));
    assert!(redaction.reaches(&target));
    // Somebody else may not; and who passes another's words off as their own reaches nothing.
    let others = Content::Redact { target: target.id(), author: Some(servers[BOB].user.clone()) };
    let others = late.author(&servers[CAROL], draft(Some(&servers[CAROL].user), &others, None));
    assert!(matches!(late.receive(&others), Receipt::Rejected(_)));
    let own = Content::Redact { target: target.id(), author: None };
    let own = late.write(&servers[CAROL], draft(Some(&servers[CAROL].user), &own, None));
    assert!(!own.reaches(&target));
}

#[test]
fn a_return_that_races_a_ban() {
    // Bob has left; he comes back on one side while he is banned on the other.
    let mut parted = Parted::with(&[]);
    let leave = membership(&parted.servers[BOB], Membership::Leave);
    let left = parted.write(0, BOB, leave);
    parted.sides[1].receive(&left);
    let back = join(&parted.servers[BOB]);
    let back = parted.write(0, BOB, back);
    let said = parted.say(0, BOB, "hello again");
    parted.moderate(1, ALICE, BOB, Membership::Ban);
    let met = parted.meet();
    assert!(!met.counts(&back), "the ban takes the join too");
    assert!(!met.counts(&said), "and what rests on it");
    assert_eq!(met.membership(BOB), Some(Membership::Ban));
}

#[test]
fn a_stricter_join_rule_takes_what_came_in_through_the_open_door() {
    let mut parted = Parted::with(&[]);
    let zoe = Server::new(77, "zoe");
    parted.servers.push(zoe.clone());
    let rule = Content::JoinRule { rule: JoinRule::Invite };
    let strict = draft(Some(&parted.servers[ALICE].user), &rule, None);
    parted.write(0, ALICE, strict);
    let joined = parted.write(1, 5, join(&zoe));
    let said = parted.say(1, 5, "nice room");
    let met = parted.meet();
    assert!(!met.counts(&joined) && !met.counts(&said));
    assert!(!met.room.state().is_joined(&zoe.user));
}

#[test]
fn a_denied_server_against_what_it_writes_meanwhile() {
    let mut parted = Parted::with(&[(BOB, Role::Moderator)]);
    let origin = parted.servers[BOB].key.origin();
    let deny = Content::Server { origin, rule: ServerRule::Deny, seen: Vec::new() };
    let deny = draft(Some(&parted.servers[ALICE].user), &deny, None);
    parted.write(0, ALICE, deny);
    let said = parted.say(1, BOB, "still here");
    let kick = parted.moderate(1, BOB, CAROL, Membership::Kick);
    let met = parted.meet();
    assert!(!met.counts(&said) && !met.counts(&kick));
    assert_eq!(met.membership(CAROL), Some(Membership::Join));
}

#[test]
fn a_mute_withholds_what_is_said_and_nothing_else() {
    let mut parted = Parted::with(&[(BOB, Role::Moderator)]);
    let mute = Content::Mute { user: parted.servers[BOB].user.clone(), on: true, seen: Vec::new() };
    let mute = draft(Some(&parted.servers[ALICE].user), &mute, None);
    parted.write(0, ALICE, mute);
    let said = parted.say(1, BOB, "what did I do?");
    let topic = draft(Some(&parted.servers[BOB].user), &Content::Label(Label::Topic), None);
    let topic = parted.write(1, BOB, topic);
    let met = parted.meet();
    assert!(!met.counts(&said) && met.counts(&topic));
}

#[test]
fn what_owners_grant_while_they_remove_the_granter_falls_into_no_circle() {
    // Bob makes Carol an owner, Erin makes Dave one; then Carol removes Erin while Dave removes Bob, so that each removal
    // voids the grant that the other rests on.
    const ERIN: usize = 4;
    let mut parted = Parted::with(&[(BOB, Role::Owner), (ERIN, Role::Owner)]);
    let to_carol = parted.give(0, BOB, CAROL, Role::Owner);
    let to_dave = parted.give(1, ERIN, DAVE, Role::Owner);
    let of_erin = parted.moderate(0, CAROL, ERIN, Membership::Ban);
    let of_bob = parted.moderate(1, DAVE, BOB, Membership::Ban);
    let met = parted.meet();
    assert!(met.counts(&of_erin) && met.counts(&of_bob), "equals who remove each other both do");
    assert!(!met.counts(&to_carol) && !met.counts(&to_dave));
    assert_eq!((met.rank(CAROL), met.rank(DAVE)), (Rank::Member, Rank::Member));
    assert_eq!(met.rank(ALICE), Rank::Creator);
}

/// Matrix MSC4297, "conflicted state subgraph": a ban is forgotten since the state that led to it is replayed from a point
/// where its sender was not yet allowed to. Here what was allowed where it stands stays allowed.
#[test]
fn a_state_reset_that_forgets_a_ban() {
    let mut parted = Parted::with(&[]);
    parted.give(0, ALICE, BOB, Role::Moderator);
    let ban = parted.moderate(0, BOB, CAROL, Membership::Ban);
    parted.give(0, ALICE, BOB, Role::Member);
    // The other side knows nothing of Bob's time as a moderator, and touches the same entries.
    parted.give(1, ALICE, BOB, Role::Leader);
    parted.say(1, CAROL, "hello");
    let met = parted.meet();
    assert!(met.counts(&ban));
    assert_eq!(met.membership(CAROL), Some(Membership::Ban), "the ban is not reset");
}

/// Matrix MSC4297, "starting from the empty set": on both sides the same state is unconflicted and yet lost, since it is
/// weighed without what allowed it. Here an entry that nobody contradicts cannot get lost.
#[test]
fn a_state_reset_that_loses_what_nobody_contradicts() {
    let mut parted = Parted::with(&[(BOB, Role::Owner), (CAROL, Role::Moderator)]);
    let closed = Content::Switch { switch: Switch::ReadOnly, on: true };
    let closed = draft(Some(&parted.servers[BOB].user), &closed, None);
    let closed = parted.write(0, BOB, closed);
    parted.sides[1].receive(&closed);
    // Both sides go on from there, and take each other's ground away.
    parted.give(0, ALICE, BOB, Role::Member);
    parted.give(1, BOB, CAROL, Role::Owner);
    let met = parted.meet();
    assert!(met.counts(&closed), "Bob was an owner when he closed the room");
    assert!(met.room.state().switch(Switch::ReadOnly));
    assert_eq!((met.rank(BOB), met.rank(CAROL)), (Rank::Member, Rank::Moderator));
}

#[test]
fn one_bad_event_does_not_block_those_that_come_after_it() {
    let servers = Server::five();
    let mut room = TestRoom::of(&servers);
    let coup = room.author(&servers[BOB], role(&servers[BOB], &servers[ALICE].user, Role::Member));
    assert!(matches!(room.receive(&coup), Receipt::Rejected(_)));
    let unreadable = Draft {
        content: Some(Map::new().with("role", "emperor")),
        ..role(&servers[BOB], &servers[BOB].user, Role::Owner)
    };
    let unreadable = room.author(&servers[BOB], unreadable);
    assert!(matches!(room.receive(&unreadable), Receipt::Rejected(_)));
    let fine =
        Draft { kind: "org.example.note".to_owned(), state_key: Some(String::new()), ..message(&servers[BOB], "") };
    let fine = room.write(&servers[BOB], fine);
    assert_eq!(fine.header().self_parent, Some(unreadable.id()));
    assert!(counts(&room, &fine));
    let said = room.say(&servers[BOB], "sorry");
    assert!(counts(&room, &said));
}

#[test]
fn a_banned_user_gains_nothing_by_the_rank_that_was_once_theirs() {
    // Carol was an owner until Alice took it from her; then Bob, a moderator, banned her. Her server pretends to know nothing.
    let servers = Server::five();
    let mut room = TestRoom::of(&servers);
    room.write(&servers[ALICE], role(&servers[ALICE], &servers[BOB].user, Role::Moderator));
    room.write(&servers[ALICE], role(&servers[ALICE], &servers[CAROL].user, Role::Owner));
    let old = room.placement(&servers[CAROL], Lane::State);
    let lower = sighted(&room, role(&servers[ALICE], &servers[CAROL].user, Role::Member));
    room.write(&servers[ALICE], lower);
    let content = Content::Member { user: servers[CAROL].user.clone(), change: Membership::Ban, seen: Vec::new() };
    let ban = sighted(&room, draft(Some(&servers[BOB].user), &content, None));
    let ban = room.write(&servers[BOB], ban);
    for drafted in [
        membership(&servers[CAROL], Membership::Leave),
        join(&servers[CAROL]),
        role(&servers[CAROL], &servers[CAROL].user, Role::Moderator),
        role(&servers[CAROL], &servers[CAROL].user, Role::Leader),
    ] {
        let event = author(&servers[CAROL].key, old.clone(), drafted).unwrap();
        room.receive(&event);
        let state = room.state();
        assert_eq!(state.membership(&servers[CAROL].user), Some(Membership::Ban), "{:?}", event.content());
        assert_eq!(state.rank(&servers[CAROL].user), Rank::Outsider);
    }
    assert!(counts(&room, &ban));
    let back = room.author(&servers[CAROL], join(&servers[CAROL]));
    assert!(matches!(room.receive(&back), Receipt::Rejected(_) | Receipt::Dropped(_)));
}

#[test]
fn whoever_comes_back_after_a_ban_has_no_role_that_was_given_meanwhile() {
    let mut parted = Parted::with(&[(BOB, Role::Moderator)]);
    parted.moderate(0, BOB, CAROL, Membership::Ban);
    parted.give(1, ALICE, CAROL, Role::Owner);
    let mut met = parted.meet();
    assert_eq!(met.membership(CAROL), Some(Membership::Ban));
    let content =
        Content::Member { user: met.servers[CAROL].user.clone(), change: Membership::Unban, seen: Vec::new() };
    met.room.write(&met.servers[ALICE], draft(Some(&met.servers[ALICE].user), &content, None));
    met.room.write(&met.servers[CAROL], join(&met.servers[CAROL]));
    assert_eq!(met.rank(CAROL), Rank::Member);
}

#[test]
fn nobody_makes_themselves_leader() {
    let servers = Server::five();
    let mut room = TestRoom::of(&servers);
    let event = room.author(&servers[BOB], role(&servers[BOB], &servers[BOB].user, Role::Leader));
    assert!(matches!(room.receive(&event), Receipt::Rejected(_)));
}

#[test]
fn a_setting_that_turns_out_void_changes_what_everybody_may_have_said() {
    // The room is archived. Bob, an owner, opens it, and Carol speaks; Alice has taken his ownership at the same time.
    let mut parted = Parted::with(&[(BOB, Role::Owner)]);
    let switch = |on: bool| Content::Switch { switch: Switch::Archived, on };
    let closed = draft(Some(&parted.servers[ALICE].user), &switch(true), None);
    let closed = parted.write(0, ALICE, closed);
    parted.sides[1].receive(&closed);
    let opened = draft(Some(&parted.servers[BOB].user), &switch(false), None);
    let opened = parted.write(1, BOB, opened);
    let said = parted.say(1, CAROL, "at last");
    parted.give(0, ALICE, BOB, Role::Member);
    let met = parted.meet();
    assert!(!met.counts(&opened) && !met.counts(&said));
}

#[test]
fn a_rejected_event_between_two_others_leaves_no_tip_behind() {
    let servers = Server::five();
    let mut room = TestRoom::of(&servers);
    let tip = room.placement(&servers[BOB], Lane::State).state_frontier;
    let refused = room.author(&servers[BOB], rename(&servers[BOB], "mine"));
    assert!(matches!(room.receive(&refused), Receipt::Rejected(_)));
    let note =
        Draft { kind: "org.example.note".to_owned(), state_key: Some(String::new()), ..message(&servers[BOB], "") };
    let placement = Placement { state_frontier: tip, ..room.placement(&servers[BOB], Lane::State) };
    let note = author(&servers[BOB].key, placement, note).unwrap();
    assert!(matches!(room.receive(&note), Receipt::Accepted { .. }));
    assert_eq!(room.resolver.tips().collect::<Vec<_>>(), [note.id()]);
    assert!(room.resolver.snapshot().is_some());
}

#[test]
fn a_removal_gives_nothing_that_a_void_grant_gave_before() {
    // Alice demotes Bob, who at the same time makes Dave an owner, which is void, and then a moderator, which takes from
    // Dave what he never had.
    let mut parted = Parted::with(&[(BOB, Role::Owner), (CAROL, Role::Owner)]);
    parted.give(0, CAROL, BOB, Role::Member);
    let grant = parted.give(1, BOB, DAVE, Role::Owner);
    let demotion = parted.give(1, BOB, DAVE, Role::Moderator);
    let met = parted.meet();
    assert!(!met.counts(&grant) && !met.counts(&demotion));
    assert_eq!(met.rank(DAVE), Rank::Member);
}

#[test]
fn a_kick_lifts_no_ban_that_a_void_unban_had_lifted() {
    // Carol demotes Bob, who at the same time lifts Dave's ban, which is void, invites him, and kicks him again.
    let mut parted = Parted::with(&[(BOB, Role::Owner), (CAROL, Role::Owner)]);
    let ban = parted.moderate(0, ALICE, DAVE, Membership::Ban);
    parted.sides[1].receive(&ban);
    parted.give(0, CAROL, BOB, Role::Member);
    parted.moderate(1, BOB, DAVE, Membership::Unban);
    parted.moderate(1, BOB, DAVE, Membership::Invite);
    let kick = parted.moderate(1, BOB, DAVE, Membership::Kick);
    let met = parted.meet();
    assert!(!met.counts(&kick));
    assert_eq!(met.membership(DAVE), Some(Membership::Ban));
}
