//! `docs/rules.md` says who may do what, on whom; here each of its cells is tried.
//!
//! `ROCKETMESH_RECORD_RULES=1 cargo test -p rocketmesh-protocol --test rules` writes the tables anew; what changed then shows
//! in the difference, for people to judge.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

mod support;

use std::fmt::Write;
use std::path::PathBuf;

use rocketmesh_protocol::event::{
    Content, Draft, JoinRule, Label, Membership, Placement, Role, RoomType, ServerRule, Switch, author, kind,
};
use rocketmesh_protocol::identity::UserId;
use rocketmesh_protocol::receipt::Receipt;
use support::Server;
use support::room::{NONCE, TestRoom, body, draft, join, membership, message, role};

/// Everybody who stands differently to a room. Each is on a server of their own.
const CAST: [&str; 9] = ["stranger", "invited", "banned", "muted", "member", "leader", "moderator", "owner", "creator"];

struct Stage {
    cast: Vec<Server>,
    room: TestRoom,
}

impl Stage {
    /// A room in which everybody is what they are called. A direct room has its maker and the invited only.
    fn of(room_type: RoomType) -> Self {
        let cast: Vec<Server> = CAST.iter().zip(1..).map(|(name, seed)| Server::new(seed, name)).collect();
        let at = |name: &str| &cast[CAST.iter().position(|it| *it == name).unwrap()];
        let with = match room_type {
            RoomType::Direct => {
                let mut users: Vec<_> = ["invited", "member"].map(|name| at(name).user.clone()).to_vec();
                users.sort();
                users
            }
            _ => Vec::new(),
        };
        let creator = at("creator");
        let content = Content::Create { room_type, with };
        let create = Draft {
            content: content.to_map(&NONCE),
            ..draft(Some(&creator.user), &content, Some(body("name", "general")))
        };
        let mut room = TestRoom::beginning_with(&author(&creator.key, Placement::first(), create).unwrap());
        if room_type == RoomType::Direct {
            room.write(at("member"), join(at("member")));
            return Stage { cast: cast.clone(), room };
        }
        let member = |whom: &Server, change| {
            draft(Some(&creator.user), &Content::Member { user: whom.user.clone(), change, seen: vec![] }, None)
        };
        for name in ["muted", "member", "leader", "moderator", "owner", "invited"] {
            room.write(creator, member(at(name), Membership::Invite));
            if name != "invited" {
                room.write(at(name), join(at(name)));
            }
        }
        room.write(creator, member(at("banned"), Membership::Ban));
        let mute = Content::Mute { user: at("muted").user.clone(), on: true, seen: vec![] };
        room.write(creator, draft(Some(&creator.user), &mute, None));
        for (name, given) in [("leader", Role::Leader), ("moderator", Role::Moderator), ("owner", Role::Owner)] {
            room.write(creator, role(creator, &at(name).user, given));
        }
        Stage { cast: cast.clone(), room }
    }

    fn set(&mut self, content: &Content) {
        let creator = self.cast[8].clone();
        self.room.write(&creator, draft(Some(&creator.user), content, None));
    }

    fn may(&mut self, by: &Server, draft: Draft) -> bool {
        let event = self.room.author(by, draft);
        matches!(self.room.resolver.judge(&event), Some(Ok(_)))
    }
}

/// What is done to somebody, and how it is written.
fn deeds() -> Vec<(&'static str, fn(&Server, &Server) -> Content)> {
    fn member(whom: &Server, change: Membership) -> Content {
        Content::Member { user: whom.user.clone(), change, seen: vec![] }
    }
    fn given(whom: &Server, role: Role) -> Content {
        Content::Role { user: whom.user.clone(), role, seen: vec![] }
    }
    vec![
        ("invite", |_, whom| member(whom, Membership::Invite)),
        ("kick", |_, whom| member(whom, Membership::Kick)),
        ("ban", |_, whom| member(whom, Membership::Ban)),
        ("unban", |_, whom| member(whom, Membership::Unban)),
        ("mute, unmute", |_, whom| Content::Mute { user: whom.user.clone(), on: true, seen: vec![] }),
        ("make owner", |_, whom| given(whom, Role::Owner)),
        ("make moderator", |_, whom| given(whom, Role::Moderator)),
        ("make leader", |_, whom| given(whom, Role::Leader)),
        ("make member", |_, whom| given(whom, Role::Member)),
        ("deny the server of", |_, whom| Content::Server {
            origin: whom.user.origin,
            rule: ServerRule::Deny,
            seen: vec![],
        }),
        ("allow the server of", |_, whom| Content::Server {
            origin: whom.user.origin,
            rule: ServerRule::Allow,
            seen: vec![],
        }),
    ]
}

/// What is done to the room, or by oneself, and under which settings.
fn acts() -> Vec<(&'static str, Option<Content>, fn(&Server) -> Draft)> {
    fn by(server: &Server, content: &Content) -> Draft {
        draft(Some(&server.user), content, None)
    }
    fn switched(switch: Switch) -> Option<Content> {
        Some(Content::Switch { switch, on: true })
    }
    fn answer(server: &Server) -> Draft {
        let target = support::room::create(server, RoomType::Channel, NONCE).id();
        by(server, &Content::Message { thread: Some(target) })
    }
    fn profile(server: &Server, whom: &UserId) -> Draft {
        Draft { kind: kind::PROFILE.to_owned(), state_key: Some(whom.to_string()), ..message(server, "") }
    }
    fn somebody() -> Option<UserId> {
        Some(Server::new(98, "author").user)
    }
    fn about(server: &Server, content: fn(rocketmesh_protocol::id::EventId) -> Content) -> Draft {
        by(server, &content(support::room::create(server, RoomType::Channel, NONCE).id()))
    }
    let say: fn(&Server) -> Draft = |server| message(server, "hello");
    vec![
        ("join, or accept an invitation", None, join),
        ("join, by code", Some(Content::JoinRule { rule: JoinRule::Code }), join),
        ("join, by invitation", Some(Content::JoinRule { rule: JoinRule::Invite }), join),
        ("join, listed servers only", switched(Switch::ListedOnly), join),
        ("join, archived", switched(Switch::Archived), join),
        ("leave, or decline an invitation", None, |server| membership(server, Membership::Leave)),
        ("write", None, say),
        ("write, read-only", switched(Switch::ReadOnly), say),
        ("write, announcement-only", switched(Switch::AnnouncementOnly), say),
        ("answer in a thread, announcement-only", switched(Switch::AnnouncementOnly), answer),
        ("write, archived", switched(Switch::Archived), say),
        ("react", None, |server| about(server, |target| Content::React { target, remove: false })),
        ("edit one's own", None, |server| about(server, |target| Content::Edit { target, author: None })),
        ("edit others'", None, |server| about(server, |target| Content::Edit { target, author: somebody() })),
        ("redact one's own", None, |server| about(server, |target| Content::Redact { target, author: None })),
        ("redact others'", None, |server| about(server, |target| Content::Redact { target, author: somebody() })),
        ("redact one's own, archived", switched(Switch::Archived), |server| {
            about(server, |target| Content::Redact { target, author: None })
        }),
        ("name, topic, description, announcement", None, |server| by(server, &Content::Label(Label::Name))),
        ("set who may join", None, |server| by(server, &Content::JoinRule { rule: JoinRule::Code })),
        ("switch: read-only, announcement-only, archived, listed servers only", None, |server| {
            by(server, &Content::Switch { switch: Switch::ReadOnly, on: true })
        }),
        ("make oneself leader", None, |server| role(server, &server.user, Role::Leader)),
        ("step down to member", None, |server| role(server, &server.user, Role::Member)),
        ("state of a kind that nobody here knows", None, |server| Draft {
            kind: "org.example.note".to_owned(),
            state_key: Some(String::new()),
            ..message(server, "")
        }),
        ("say how one is called and what one looks like", None, |server| profile(server, &server.user)),
        ("say how somebody else is called", None, |server| profile(server, &Server::new(98, "author").user)),
        ("merge, by their server", None, |_| draft(None, &Content::Merge, None)),
        ("invite whoever has the code, by their server", Some(Content::JoinRule { rule: JoinRule::Code }), |_| {
            let user = Server::new(99, "newcomer").user;
            draft(None, &Content::Member { user, change: Membership::Invite, seen: vec![] }, None)
        }),
    ]
}

const TYPES: [(RoomType, &str); 3] =
    [(RoomType::Channel, "Channels"), (RoomType::Private, "Private groups"), (RoomType::Direct, "Direct rooms")];

/// The tables, as the code has them.
fn tables() -> String {
    let mut text = String::new();
    for (room_type, title) in TYPES {
        let direct = room_type == RoomType::Direct;
        let who: Vec<usize> = (0..CAST.len()).filter(|at| !direct || [0, 1, 4, 8].contains(at)).collect();
        write!(text, "### {title}\n\n| what |").unwrap();
        who.iter().for_each(|at| write!(text, " {} |", CAST[*at]).unwrap());
        text.push_str("\n|---|");
        who.iter().for_each(|_| text.push_str("---|"));
        text.push('\n');
        for (name, setting, make) in acts() {
            let mut stage = Stage::of(room_type);
            if let Some(setting) = &setting {
                let creator = stage.cast[8].clone();
                if !stage.may(&creator, draft(Some(&creator.user), setting, None)) {
                    continue;
                }
                stage.set(setting);
            }
            write!(text, "| {name} |").unwrap();
            for at in &who {
                let by = stage.cast[*at].clone();
                let may = stage.may(&by, make(&by));
                write!(text, " {} |", if may { "yes" } else { "–" }).unwrap();
            }
            text.push('\n');
        }
        if direct {
            text.push_str("\nNothing is done to anybody in a direct room.\n\n");
        } else {
            write!(text, "\n| on whom |").unwrap();
            who.iter().for_each(|at| write!(text, " by {} |", CAST[*at]).unwrap());
            text.push_str("\n|---|");
            who.iter().for_each(|_| text.push_str("---|"));
            text.push('\n');
        }
        for (name, make) in deeds() {
            let mut stage = Stage::of(room_type);
            let mut row = format!("| {name} |");
            let mut any = false;
            for by in &who {
                let by = stage.cast[*by].clone();
                let mut whom = Vec::new();
                for target in &who {
                    let target_server = stage.cast[*target].clone();
                    let content = make(&by, &target_server);
                    let own = by.user == target_server.user;
                    if !own && stage.may(&by, draft(Some(&by.user), &content, None)) {
                        whom.push(CAST[*target]);
                    }
                }
                any |= !whom.is_empty();
                let all = whom.len() == who.len() - 1;
                let cell = match (whom.is_empty(), all) {
                    (true, _) => "–".to_owned(),
                    (_, true) => "everybody".to_owned(),
                    _ => whom.join(", "),
                };
                write!(row, " {cell} |").unwrap();
            }
            assert!(!direct || !any, "{row}");
            if !direct {
                text.push_str(&row);
                text.push('\n');
            }
        }
        text.push('\n');
    }
    text
}

const BEGIN: &str = "<!-- tables begin -->\n";
const END: &str = "<!-- tables end -->";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md")
}

#[test]
fn the_document_says_what_the_code_does() {
    let document = std::fs::read_to_string(path()).unwrap();
    let (head, rest) = document.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    let now = tables();
    if std::env::var("ROCKETMESH_RECORD_RULES").is_ok_and(|word| word == "1") {
        std::fs::write(path(), format!("{head}{BEGIN}{now}{END}{tail}")).unwrap();
        return;
    }
    for (line, (written, now)) in written.lines().zip(now.lines()).enumerate() {
        assert_eq!(written, now, "line {line} of the tables in docs/rules.md");
    }
    assert_eq!(written, now);
}

#[test]
fn a_denied_server_may_do_nothing_but_leave() {
    let mut stage = Stage::of(RoomType::Channel);
    let member = stage.cast[4].clone();
    stage.set(&Content::Server { origin: member.user.origin, rule: ServerRule::Deny, seen: vec![] });
    for (name, setting, make) in acts() {
        if setting.is_none() {
            let leaves = name.starts_with("leave");
            assert_eq!(stage.may(&member, make(&member)), leaves, "{name}");
        }
    }
    let event = stage.room.author(&member, membership(&member, Membership::Leave));
    assert!(matches!(stage.room.receive(&event), Receipt::Accepted { .. }));
}
