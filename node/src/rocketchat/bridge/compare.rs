//! The whole of a room, compared: its texts and switches, who is in it, who has which role or no voice.
//!
//! Rooms are followed by what they tell of themselves. A program that acts in a room as nobody of this server, or a change of which the
//! server wrote no message, is not told. So on start, after each new connection, a moment after each change, and every ten minutes, what
//! stands in Rocket.Chat is compared with the room's state.
//!
//! Which side changed is told by what both had when they last agreed ([`Agreed`]):
//!
//! | here | in the room | what follows |
//! |---|---|---|
//! | changed | as agreed | it is said in the room; where the room refuses it, it is undone here |
//! | as agreed | changed | it is done here |
//! | changed | changed | the room's value stays |
//!
//! **As whom.** Who changed it here is not known. As with deletions, it counts as done by the member of this server with the highest rank.
//! People's own coming and going is their own. Taking somebody else out takes a name: without one they are let in again.
//!
//! A difference is acted upon when it is met twice, with a pause between: what was just changed may only not have been heard yet. One that
//! stays after it was acted upon is left alone until it changes. Rooms with more than [`MOST_COMPARED`] people are compared without them.

use std::collections::BTreeSet;
use std::time::Duration;

use rocketmesh_protocol::authority::RoomState;
use rocketmesh_protocol::event::{Label, Membership, Role, Switch};
use rocketmesh_protocol::identity::{Localpart, UserId};
use tokio::time::Instant;

use super::federate::is_called;
use super::outward::Outcome;
use super::places::highest;
use super::room::RoomTask;
use super::{Stall, lock};
use crate::rocketchat::client::{Room, RoomKind, User};
use crate::rocketchat::mapping::outgoing::{Said, What};
use crate::rocketchat::mapping::{Known, Who};
use crate::rocketchat::records::{Agreed, Changes, agreed_key};

/// How often a room is compared while nothing happens.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// After which pause a difference is looked at again, and after which a change.
const AGAIN: Duration = Duration::from_secs(1);
/// What a look takes, in milliseconds, for rooms that wait for their turn.
const LOOK_MS: u64 = 4;
/// How long after a restore nothing is compared, in milliseconds: what others changed since the backup stands here, and comes from them
/// first. Compared before, it would be said again by somebody of this server.
const RESTORED_MS: u64 = 60_000;
/// The most people of a room that are compared: each hundred of them is a call.
const MOST_COMPARED: u64 = 1000;

/// What both sides have of a room that is opened to other servers just now: what it was made with. What else stands here is changed here.
pub(super) fn first_agreed(name: &str, topic: Option<&str>) -> Agreed {
    let topic = topic.map(|topic| (Label::Topic.kind().to_owned(), topic.to_owned()));
    std::iter::once((Label::Name.kind().to_owned(), name.to_owned())).chain(topic).collect()
}

/// Something that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Label(Label),
    Switch(Switch),
    Role(UserId),
    Mute(UserId),
    Member(UserId),
}

impl Item {
    fn key(&self) -> String {
        match self {
            Item::Label(label) => label.kind().to_owned(),
            Item::Switch(switch) => switch.kind().to_owned(),
            Item::Role(user) => format!("role/{user}"),
            Item::Mute(user) => format!("mute/{user}"),
            Item::Member(user) => format!("in/{user}"),
        }
    }

    /// What is not recorded.
    fn common(&self) -> &'static str {
        match self {
            Item::Label(_) => "",
            Item::Role(_) => Role::Member.word(),
            Item::Switch(_) | Item::Mute(_) | Item::Member(_) => NO,
        }
    }

    fn is_same(&self, here: &str, there: &str) -> bool {
        here == there || *self == Item::Label(Label::Name) && is_called(here, there)
    }
}

const NO: &str = "no";
const YES: &str = "yes";

const fn word(on: bool) -> &'static str {
    if on { YES } else { NO }
}

/// An item with what it is on each side.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    item: Item,
    here: String,
    there: String,
}

impl Pair {
    fn is_same(&self) -> bool {
        self.item.is_same(&self.here, &self.there)
    }
}

/// When a room is looked at next, and what was found.
pub(super) struct Looking {
    pub(super) at: Instant,
    /// Differences that were met once.
    met: Vec<Pair>,
    /// Differences that were acted upon.
    acted: Vec<Pair>,
}

impl Looking {
    pub(super) fn new() -> Self {
        Looking { at: Instant::now(), met: Vec::new(), acted: Vec::new() }
    }
}

/// What is to be done about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// It is said in the room.
    Carry,
    /// It is made here as it is in the room.
    Settle,
}

/// The rule. `agreed`: what both had; none if they were never compared.
fn course(item: &Item, here: &str, there: &str, agreed: Option<&str>) -> Course {
    match agreed {
        Some(agreed) if here != agreed && item.is_same(agreed, there) => Course::Carry,
        _ => Course::Settle,
    }
}

impl RoomTask {
    /// Has the room looked at in a moment.
    pub(super) fn look_soon(&mut self) {
        self.looking.at = self.looking.at.min(Instant::now() + AGAIN);
    }

    /// Has the room looked at in a moment, and not at the same one as all others that wait for their turn.
    fn look_in_turn(&mut self) {
        let rooms = lock(&self.bridge.rooms).len() as u64;
        let spread = blake3::hash(self.rid.as_bytes()).as_bytes()[..8]
            .iter()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let spread = Duration::from_millis(spread % (rooms * LOOK_MS).max(1));
        self.looking.at = Instant::now() + AGAIN + spread;
    }

    /// Has the room looked at now.
    pub(super) fn look_now(&mut self) {
        self.looking.at = Instant::now();
    }

    /// Looks at the whole room, if it is time.
    pub(super) async fn look_if_due(&mut self) -> Result<(), Stall> {
        if self.looking.at > Instant::now() {
            return Ok(());
        }
        self.looking.at = Instant::now() + EVERY;
        if self.federated.kind == RoomKind::Direct {
            // What cannot be asked keeps nothing else back.
            if let Err(error) = self.ask_if_unheard().await {
                tracing::debug!(rid = %self.rid, %error, "deletions in this direct room are found later");
            }
            return Ok(());
        }
        let restored_ms = self.bridge.restored_ms;
        let left_ms = restored_ms.saturating_add(RESTORED_MS).saturating_sub(self.bridge.engine.clock.now_ms());
        if restored_ms > 0 && left_ms > 0 {
            self.looking.at = Instant::now() + Duration::from_millis(left_ms.min(RESTORED_MS));
            return Ok(());
        }
        // One room at a time: each look is some calls. None waits for another one with what is said in it.
        let bridge = self.bridge.clone();
        let Ok(_one) = bridge.looking.try_lock() else {
            self.look_in_turn();
            return Ok(());
        };
        match self.look().await {
            // What cannot be looked at keeps nothing else back.
            Err(Stall::Rest(error)) if !error.is_passing() => {
                tracing::warn!(rid = %self.rid, %error, "a room cannot be compared");
                Ok(())
            }
            Err(error) => {
                self.look_soon();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    async fn look(&mut self) -> Result<(), Stall> {
        self.ask_if_unheard().await?;
        self.settle_kind(None).await?;
        let agreed = self.bridge.records.agreed(&self.rid)?;
        let pairs = self.pairs().await?;
        self.agree(&pairs, agreed.as_ref()).await?;
        let differences: Vec<Pair> = pairs.into_iter().filter(|pair| !pair.is_same()).collect();
        self.looking.acted.retain(|pair| differences.contains(pair));
        let fresh: Vec<Pair> = differences.into_iter().filter(|pair| !self.looking.acted.contains(pair)).collect();
        let met = std::mem::replace(&mut self.looking.met, fresh.clone());
        if !fresh.is_empty() {
            self.look_soon();
        }
        let mut again: Vec<Pair> = fresh.into_iter().filter(|pair| met.contains(pair)).collect();
        if again.is_empty() {
            return Ok(());
        }
        // What the room has told meanwhile says who did it.
        self.catch_up().await?;
        let now = self.pairs().await?;
        again.retain(|pair| now.contains(pair));
        for pair in again {
            let before = agreed
                .as_ref()
                .map(|agreed| agreed.get(&pair.item.key()).map_or_else(|| pair.item.common(), String::as_str));
            tracing::info!(rid = %self.rid, item = ?pair.item, "the room and Rocket.Chat differ");
            self.act_on(&pair, before).await?;
            self.looking.acted.push(pair);
        }
        Ok(())
    }

    /// Records what both sides have alike; of what differs, what they had before.
    async fn agree(&mut self, pairs: &[Pair], before: Option<&Agreed>) -> Result<(), Stall> {
        let mut now = Agreed::new();
        for Pair { item, here, there } in pairs {
            let key = item.key();
            // What was never the same begins with what stands here, so that the room's value counts.
            let value = match before {
                Some(before) if !item.is_same(here, there) => {
                    before.get(&key).map_or_else(|| item.common(), String::as_str)
                }
                _ => here.as_str(),
            };
            if value != item.common() {
                now.insert(key, value.to_owned());
            }
        }
        if before == Some(&now) {
            return Ok(());
        }
        let mut changes = Changes::default();
        changes.set(agreed_key(&self.rid), &now);
        self.record(changes).await
    }

    /// Everything that is compared, on both sides.
    async fn pairs(&self) -> Result<Vec<Pair>, Stall> {
        let room = self.bridge.client.room_info(&self.rid).await?;
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let mut pairs = Vec::new();
        for label in Label::ALL {
            let here = match label {
                Label::Name => &room.name,
                Label::Topic => &room.topic,
                Label::Description => &room.description,
                Label::Announcement => &room.announcement,
            };
            let there = match self.label(&state, label)? {
                Some(there) => there,
                // The body of the name was erased.
                None if label == Label::Name => continue,
                None => String::new(),
            };
            pairs.push(Pair { item: Item::Label(label), here: here.clone().unwrap_or_default(), there });
        }
        for (switch, here) in [(Switch::ReadOnly, room.ro), (Switch::Archived, room.archived)] {
            let there = word(state.switch(switch)).to_owned();
            pairs.push(Pair { item: Item::Switch(switch), here: word(here).to_owned(), there });
        }
        if room.users_count.unwrap_or_default() <= MOST_COMPARED {
            self.pairs_of_people(&room, &state, &mut pairs).await?;
        }
        Ok(pairs)
    }

    async fn pairs_of_people(&self, room: &Room, state: &RoomState, pairs: &mut Vec<Pair>) -> Result<(), Stall> {
        let members: Vec<User> = self.bridge.client.members(self.federated.kind, &self.rid).await?;
        let roles = self.bridge.client.roles(self.federated.kind, &self.rid).await?;
        let mut inside: BTreeSet<UserId> = BTreeSet::new();
        for member in &members {
            self.bridge.meet(Some(&member.id), &member.username).await?;
            let user = match self.view.who(Some(&member.id), &member.username) {
                Who::Local(localpart) => self.bridge.engine.local(localpart),
                Who::Shadow(user) => user,
                Who::Service => continue,
            };
            inside.insert(user.clone());
            let invited = !self.view.is_local(&user) && state.membership(&user) == Some(Membership::Invite);
            let there = word(state.is_joined(&user) || invited).to_owned();
            pairs.push(Pair { item: Item::Member(user.clone()), here: YES.to_owned(), there });
            if !state.is_joined(&user) {
                continue;
            }
            let of_them = roles.iter().find(|entry| entry.u.id == member.id);
            let here = of_them.map_or(Role::Member, |entry| highest(&entry.roles)).word().to_owned();
            let there = state.role(&user).word().to_owned();
            pairs.push(Pair { item: Item::Role(user.clone()), here, there });
            // A read-only room has a list of those who may speak instead.
            if !room.ro {
                let here = word(room.muted.contains(&member.username)).to_owned();
                let there = word(state.is_muted(&user)).to_owned();
                pairs.push(Pair { item: Item::Mute(user), here, there });
            }
        }
        for user in state.joined().filter(|user| !inside.contains(user)) {
            let Some(id) = self.account_of(&user, false).await? else { continue };
            // Accounts of people elsewhere come when they say something, where there are very many.
            if self.view.is_local(&user) || self.bridge.records.is_inside(&self.rid, &id)? {
                pairs.push(Pair { item: Item::Member(user), here: NO.to_owned(), there: YES.to_owned() });
            }
        }
        Ok(())
    }

    async fn act_on(&mut self, pair: &Pair, agreed: Option<&str>) -> Result<(), Stall> {
        let course = course(&pair.item, &pair.here, &pair.there, agreed);
        match &pair.item {
            Item::Member(user) => self.act_on_member(user, pair.here == YES, agreed == Some(YES)).await,
            Item::Label(label) if course == Course::Settle => self.reset_label(*label).await,
            Item::Switch(switch) if course == Course::Settle => self.settle_switch(*switch).await,
            Item::Role(user) if course == Course::Settle => self.settle_role(user).await,
            Item::Mute(user) if course == Course::Settle => self.settle_mute(user).await,
            Item::Label(label) => self.carry(What::Label { label: *label, text: pair.here.clone() }).await,
            Item::Switch(switch) => self.carry(What::Switch { switch: *switch, on: pair.here == YES }).await,
            Item::Mute(user) => self.carry(What::Mute { user: user.clone(), on: pair.here == YES }).await,
            Item::Role(user) => {
                let user = user.clone();
                let (here, there) = (Role::from_word(&pair.here), Role::from_word(&pair.there));
                let (here, there) = (here.unwrap_or(Role::Member), there.unwrap_or(Role::Member));
                // Nobody gives up what they are without doing it themselves: a creator's ownership would be gone for ever.
                if here < there && self.able().await?.is_some_and(|able| able == user) {
                    return self.settle_role(&user).await;
                }
                self.carry(match here > there {
                    true => What::Role { user, role: here, given: true },
                    false => What::Role { user, role: there, given: false },
                })
                .await
            }
        }
    }

    /// Somebody is here and not in the room, or the other way round. `before`: whether they were in both.
    async fn act_on_member(&mut self, user: &UserId, here: bool, before: bool) -> Result<(), Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        let own = self.view.is_local(user);
        let Some(id) = self.account_of(user, false).await? else { return Ok(()) };
        let was_put_out = matches!(state.membership(user), Some(Membership::Kick | Membership::Ban));
        let change = |change| What::Member { user: user.clone(), change };
        match (here, own) {
            (true, true) if was_put_out || before => self.put_out(user, &id).await,
            (true, true) => self.carry_as(user.localpart.clone(), change(Membership::Join)).await,
            // The room let them go, and that was not done here yet.
            (true, false) if before || self.bridge.records.is_inside(&self.rid, &id)? => self.put_out(user, &id).await,
            (true, false) => self.carry(change(Membership::Invite)).await,
            (false, true) if before => self.carry_as(user.localpart.clone(), change(Membership::Leave)).await,
            (false, true) => self.take_back(user).await,
            (false, false) => {
                self.note_inside(&id, false).await?;
                self.let_in(user).await
            }
        }
    }

    /// Says something in the room for whoever of this server has the highest rank there; undone here where there is nobody, or the room
    /// does not allow it.
    async fn carry(&mut self, what: What) -> Result<(), Stall> {
        match self.able().await? {
            Some(able) => self.carry_as(able.localpart, what).await,
            None => Ok(()),
        }
    }

    /// Whoever of this server has the highest rank in the room.
    async fn able(&self) -> Result<Option<UserId>, Stall> {
        let (state, _) = self.bridge.engine.state(self.room).await?;
        Ok(state.joined_of(self.bridge.engine.origin).max_by_key(|user| state.rank(user)))
    }

    async fn carry_as(&mut self, sender: Localpart, what: What) -> Result<(), Stall> {
        let said = Said { sender, what, at_ms: self.bridge.engine.clock.now_ms() };
        // No message tells of it.
        const NONE: &str = "";
        match self.say(NONE, &said, true).await? {
            Outcome::Written(event) => self.note(NONE, &said, &event, None).await,
            Outcome::Already => Ok(()),
            Outcome::Refused(reason) => self.undo(NONE, &said, &reason, None).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_here_alone_is_carried_and_otherwise_the_rooms_value_stays() {
        let topic = Item::Label(Label::Topic);
        assert_eq!(course(&topic, "new", "old", Some("old")), Course::Carry);
        assert_eq!(course(&topic, "old", "new", Some("old")), Course::Settle);
        assert_eq!(course(&topic, "new here", "new there", Some("old")), Course::Settle);
        assert_eq!(course(&topic, "here", "there", None), Course::Settle);
    }

    #[test]
    fn a_name_that_rocket_chat_cannot_write_is_the_same_as_what_it_writes_for_it() {
        let name = Item::Label(Label::Name);
        assert!(name.is_same("Lunch---more", "Lunch & more"));
        assert_eq!(course(&name, "supper", "Lunch & more", Some("Lunch---more")), Course::Carry);
        assert_eq!(course(&name, "Lunch---more", "Supper", Some("Lunch---more")), Course::Settle);
        assert!(!Item::Label(Label::Topic).is_same("Lunch---more", "Lunch & more"));
    }
}
