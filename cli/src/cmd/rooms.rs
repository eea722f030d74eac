//! `rocketmesh rooms`

use std::time::Duration;

use rocketmesh_node::api::types::{
    CreateRoom, DeclineInvitation, ForkView, GapView, HaveView, HistoryView, InvitationList, InvitationView, JoinRoom,
    LeaveRoom, MemberList, PostEvent, Posted, RoomDetail, RoomList, RoomServer, RoomSettings,
};
use rocketmesh_protocol::event::{Membership, kind};

use crate::args::rooms::{Moderation, RoomsArgs, RoomsCommand, Setting};
use crate::client::Client;
use crate::cmd::{Context, car, proof, room_id, send};
use crate::failure::Failure;
use crate::output::{Fields, table};
use crate::resolve::{self, Candidate};
use crate::text::{clean, count, excerpt, short_id};

/// How much longer than the node looks for a room this program waits for its answer.
const JOIN_MARGIN: Duration = Duration::from_secs(30);

/// How much of a digest tells two of them apart.
const DIGEST_CHARACTERS: usize = 8;

pub(super) async fn run(context: &Context, args: RoomsArgs) -> Result<(), Failure> {
    let client = context.client()?;
    let output = &context.output;
    match args.command.unwrap_or(RoomsCommand::List) {
        RoomsCommand::List => output.show(&client.get(&["rooms"]).await?, list),
        RoomsCommand::Create { name, user, topic, private, history } => {
            let room_type = private.then(|| "p".to_owned());
            let request = CreateRoom { user, name, topic, room_type, with: Vec::new(), history };
            let answer = client.post(&["rooms"], &request).await?;
            output.show(&answer, |room: RoomDetail| room.summary.id)?;
            output.note(match private {
                true => "let others in with: rocketmesh rooms invite ID @NAME:SERVER --user USER",
                false => "users of other servers join it with: rocketmesh rooms join ID --user NAME",
            });
            Ok(())
        }
        RoomsCommand::Direct { with, user } => {
            let (name, room_type) = (String::new(), Some("d".to_owned()));
            let request = CreateRoom { user, name, topic: None, room_type, with, history: None };
            let answer = client.post(&["rooms"], &request).await?;
            output.show(&answer, |room: RoomDetail| room.summary.id)
        }
        RoomsCommand::Invitations => output.show(&client.get(&["invitations"]).await?, invitations),
        RoomsCommand::Decline { room, user } => {
            let room = invited_room(&client, &room).await?;
            let answer = client.post(&["invitations", &room, "decline"], &DeclineInvitation { user }).await?;
            output.show(&answer, invitations)
        }
        RoomsCommand::Join { room, user, wait } => {
            let room = room_to_join(&client, &room).await?;
            let waiting = output.spinner("looking for a server in the room");
            let time = Duration::from_secs(wait) + JOIN_MARGIN;
            let request = JoinRoom { room, user, wait_s: Some(wait) };
            let answer = client.post_within(&["rooms", "join"], &request, time).await;
            waiting.finish_and_clear();
            output.show(&answer?, |room: RoomDetail| show(&room))
        }
        RoomsCommand::Leave { room, user } => {
            let id = room_id(&client, &room).await?;
            let answer = client.post(&["rooms", &id, "leave"], &LeaveRoom { user }).await?;
            output.show(&answer, |posted: Posted| posted.event)
        }
        RoomsCommand::Show { room } => {
            let id = room_id(&client, &room).await?;
            output.show(&client.get(&["rooms", &id]).await?, |room: RoomDetail| show(&room))
        }
        RoomsCommand::Members { room } => {
            let id = room_id(&client, &room).await?;
            output.show(&client.get(&["rooms", &id, "members"]).await?, members)
        }
        RoomsCommand::Rename { room, name, user } => {
            let event = PostEvent { text: Some(name), ..set(kind::NAME, user) };
            send::post(context, &room, event).await
        }
        RoomsCommand::Topic { room, topic, user } => {
            let event = PostEvent { text: Some(topic), ..set(kind::TOPIC, user) };
            send::post(context, &room, event).await
        }
        RoomsCommand::History { room } => {
            let id = room_id(&client, &room).await?;
            output.show(&client.post(&["rooms", &id, "history"], &()).await?, |view: HistoryView| history(&view))
        }
        RoomsCommand::Retention(args) => proof::retention(context, args).await,
        RoomsCommand::Export(args) => car::export(context, &args).await,
        RoomsCommand::Import(args) => car::import(context, &args).await,
        RoomsCommand::Invite(it) => membership(context, it, Membership::Invite).await,
        RoomsCommand::Kick(it) => membership(context, it, Membership::Kick).await,
        RoomsCommand::Ban(it) => membership(context, it, Membership::Ban).await,
        RoomsCommand::Unban(it) => membership(context, it, Membership::Unban).await,
        RoomsCommand::Mute(it) => mute(context, it, true).await,
        RoomsCommand::Unmute(it) => mute(context, it, false).await,
        RoomsCommand::Set(setting) => {
            let (room, event) = setting_event(setting);
            send::post(context, &room, event).await
        }
        RoomsCommand::Role { room, member, role, user } => {
            let event = PostEvent { member: Some(member), role: Some(role), ..set(kind::ROLE, user) };
            send::post(context, &room, event).await
        }
    }
}

async fn membership(context: &Context, it: Moderation, change: Membership) -> Result<(), Failure> {
    let membership = Some(change.word().to_owned());
    let event = PostEvent { member: Some(it.member), membership, ..set(kind::MEMBER, it.user) };
    send::post(context, &it.room, event).await
}

async fn mute(context: &Context, it: Moderation, on: bool) -> Result<(), Failure> {
    let event = PostEvent { member: Some(it.member), on: Some(on), ..set(kind::MUTE, it.user) };
    send::post(context, &it.room, event).await
}

/// The event for whichever setting was given; the command line demands exactly one.
fn setting_event(setting: Setting) -> (String, PostEvent) {
    let switches = [
        (kind::READ_ONLY, setting.read_only),
        (kind::ANNOUNCEMENT_ONLY, setting.announcement_only),
        (kind::ARCHIVED, setting.archived),
        (kind::LISTED_ONLY, setting.listed_only),
    ];
    let texts = [(kind::DESCRIPTION, setting.description), (kind::ANNOUNCEMENT, setting.announcement)];
    let user = setting.user;
    let switch = switches.into_iter().find(|(_, on)| on.is_some());
    let text = texts.into_iter().find(|(_, text)| text.is_some());
    let event = match (switch, text, setting.server.as_slice()) {
        (Some((kind, on)), ..) => PostEvent { on, ..set(kind, user) },
        (_, Some((kind, text)), _) => PostEvent { text, ..set(kind, user) },
        (.., [server, rule]) => {
            PostEvent { server: Some(server.clone()), rule: Some(rule.clone()), ..set(kind::SERVER, user) }
        }
        _ => PostEvent { rule: setting.join, ..set(kind::JOIN_RULE, user) },
    };
    (setting.room, event)
}

fn set(kind: &str, user: String) -> PostEvent {
    PostEvent { kind: Some(kind.to_owned()), user, ..PostEvent::default() }
}

/// A room that this node may not know yet: its id in full can name it then, or an invitation.
async fn room_to_join(client: &Client, text: &str) -> Result<String, Failure> {
    match room_id(client, text).await {
        Err(Failure::NotFound { code, .. }) => match invited_room(client, text).await {
            Err(Failure::NotFound { .. }) => Err(Failure::NotFound {
                code,
                message: format!(
                    "no room known here is called `{text}`; to join another server's, give its id in full, which has 59 \
                     characters and begins with bafyr4i"
                ),
            }),
            found => found,
        },
        found => found,
    }
}

/// A room that somebody of this server is invited to.
async fn invited_room(client: &Client, text: &str) -> Result<String, Failure> {
    let list: InvitationList = client.get(&["invitations"]).await?.parse()?;
    let candidates: Vec<Candidate> = list
        .invitations
        .into_iter()
        .map(|invitation| Candidate { id: invitation.room, name: invitation.name })
        .collect();
    resolve::room(text, &candidates)
}

fn list(list: RoomList) -> String {
    if list.rooms.is_empty() {
        return "no rooms yet; `rocketmesh rooms create NAME --user USER` makes one".to_owned();
    }
    let rows = list.rooms.into_iter().map(|room| {
        [
            short_id(&room.id),
            room.name.unwrap_or_default(),
            if room.joined { "yes" } else { "no" }.to_owned(),
            room.members.to_string(),
            room.servers.to_string(),
            room.events.to_string(),
            room.digest.chars().take(DIGEST_CHARACTERS).collect(),
        ]
    });
    table(["ID", "NAME", "JOINED", "USERS", "SERVERS", "EVENTS", "DIGEST"], rows)
}

fn invitations(list: InvitationList) -> String {
    if list.invitations.is_empty() {
        return "no invitations".to_owned();
    }
    let rows = list.invitations.into_iter().flat_map(|invitation| {
        let InvitationView { room, room_type, name, users, joining, .. } = invitation;
        let kind = if room_type == "d" { "direct" } else { "room" };
        let name = name.unwrap_or_else(|| kind.to_owned());
        users.into_iter().map(move |invited| {
            let state = if joining { "joining" } else { "invited" };
            [short_id(&room), name.clone(), invited.user, invited.by.unwrap_or_default(), state.to_owned()]
        })
    });
    table(["ROOM", "NAME", "USER", "BY", "STATE"], rows)
}

fn show(room: &RoomDetail) -> String {
    let summary = &room.summary;
    let mut fields = Fields::default();
    fields
        .add("id", &summary.id)
        .add_some("name", summary.name.as_ref())
        .add_some("topic", room.topic.as_ref())
        .add("type", kind_of_room(&summary.room_type))
        .add("version", &room.version)
        .add("made by", &room.creator)
        .add("joined", if summary.joined { "yes" } else { "no" })
        .add("users", summary.members)
        .add_all("servers", room.servers_in_room.iter().map(server))
        .add("events", summary.events)
        .add("waiting", format!("{} for others to arrive", count(room.held, "event")))
        .add_some("history", room.gap.as_ref().map(gap_line))
        .add("digest", &summary.digest)
        .add("state", &summary.state_digest)
        .add_all("settings", settings(&room.settings))
        .add_some("description", room.settings.description.as_ref())
        .add_some("announcement", room.settings.announcement.as_ref())
        .add_all("FORKS", room.forks.iter().map(fork))
        .add_all("timeline tips", room.timeline_tips.clone())
        .add_all("state tips", room.state_tips.clone())
        .add_all("held", room.have.iter().map(have));
    fields.to_string()
}

/// What people call a room of this type. Types are Rocket.Chat's letters.
pub(super) fn kind_of_room(room_type: &str) -> &str {
    match room_type {
        "c" => "channel",
        "p" => "private group",
        "d" => "direct room",
        other => other,
    }
}

fn history(view: &HistoryView) -> String {
    match &view.gap {
        None => "nothing is missing of the room's history".to_owned(),
        Some(gap) => gap_line(gap),
    }
}

/// What is missing of a room's timeline, in one line.
pub(super) fn gap_line(gap: &GapView) -> String {
    let message = clean(&gap.message);
    match gap.ahead {
        0 => format!("GAP: {message}"),
        ahead => format!("GAP: {message}; {} came ahead of them", count(ahead, "message")),
    }
}

fn server(server: &RoomServer) -> String {
    let name = server.name.as_ref().map(|name| format!(" {}", excerpt(name, 40))).unwrap_or_default();
    let connected = if server.connected { "connected" } else { "not connected" };
    format!("{}{name}, {connected}, {}", server.id, count(server.members, "user"))
}

fn settings(settings: &RoomSettings) -> Vec<String> {
    let joining = match settings.join_rule.as_str() {
        "open" => "anybody may join",
        "code" => "joined by code or by invitation",
        _ => "joined by invitation",
    };
    let switches = [
        (settings.read_only, "read-only: owners and moderators write"),
        (settings.announcement_only, "for announcements: owners, moderators and leaders begin threads"),
        (settings.archived, "archived: nobody writes or joins"),
        (settings.listed_only, "only servers that are allowed may join"),
    ];
    let mut lines = vec![joining.to_owned()];
    lines.extend(switches.into_iter().filter(|(on, _)| *on).map(|(_, text)| text.to_owned()));
    lines.extend(settings.servers.iter().map(|server| format!("{} {}", server.rule, server.id)));
    lines
}

/// A server that signed two events for one place: everybody who holds both can prove it.
fn fork(fork: &ForkView) -> String {
    let name = fork.name.as_ref().map(|name| format!(" {}", excerpt(name, 40))).unwrap_or_default();
    let ends: Vec<String> = fork.heads.iter().map(|head| format!("{} {}", head.seq, head.id)).collect();
    format!("{}{name} signed {} branches of its {}: {}", fork.id, fork.heads.len(), fork.lane, ends.join(", "))
}

fn have(have: &HaveView) -> String {
    let highest = have.heads.iter().map(|head| head.seq).max().unwrap_or(have.lowest);
    let forked = if have.heads.len() > 1 { format!(", forked into {}", have.heads.len()) } else { String::new() };
    format!("{} {} {} to {highest}{forked}", have.origin, have.lane, have.lowest)
}

fn members(list: MemberList) -> String {
    if list.members.is_empty() {
        return "no members".to_owned();
    }
    let rows = list.members.into_iter().map(|member| {
        let standing = match (member.membership.as_str(), member.muted) {
            ("join", false) => String::new(),
            ("join", true) => "muted".to_owned(),
            ("invite", _) => "invited".to_owned(),
            ("ban", _) => "banned".to_owned(),
            _ => "left".to_owned(),
        };
        [member.display, member.role, standing]
    });
    table(["USER", "ROLE", ""], rows)
}

#[cfg(test)]
mod tests {
    use rocketmesh_node::api::types::{HeadView, RoomSummary, ServerRuleView};

    use super::*;

    fn summary() -> RoomSummary {
        RoomSummary {
            id: "bafyr4iaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
            name: Some("general".to_owned()),
            room_type: "c".to_owned(),
            joined: true,
            members: 3,
            servers: 2,
            events: 1234,
            digest: "0123456789abcdef".to_owned(),
            state_digest: "fedcba9876543210".to_owned(),
        }
    }

    #[test]
    fn the_list_shortens_ids_and_digests() {
        let text = list(RoomList { rooms: vec![summary()] });
        assert!(text.contains("bafyr4i…aaaaaaa") && text.contains("01234567"), "{text}");
        assert!(!text.contains("012345678") && !text.contains(&summary().id), "{text}");
    }

    #[test]
    fn a_room_in_detail_has_its_full_id_its_servers_and_its_forks() {
        let head = |seq| HeadView { seq, id: "e".to_owned() };
        let text = show(&RoomDetail {
            summary: summary(),
            topic: None,
            version: "0-draft".to_owned(),
            creator: "@alice:a.example.org".to_owned(),
            timeline_tips: vec!["t".to_owned()],
            state_tips: Vec::new(),
            have: vec![HaveView {
                origin: "12D3KooWA".to_owned(),
                lane: "timeline".to_owned(),
                lowest: 0,
                heads: vec![head(7), head(9)],
            }],
            held: 1,
            gap: Some(GapView {
                state: "coming".to_owned(),
                ahead: 3,
                message: "older messages are missing".to_owned(),
            }),
            servers_in_room: vec![RoomServer { id: "12D3KooWA".to_owned(), name: None, connected: false, members: 1 }],
            settings: RoomSettings {
                join_rule: "invite".to_owned(),
                read_only: true,
                announcement_only: false,
                archived: false,
                listed_only: false,
                servers: vec![ServerRuleView { id: "12D3KooWB".to_owned(), rule: "deny".to_owned() }],
                description: None,
                announcement: None,
            },
            forks: vec![ForkView {
                id: "12D3KooWA".to_owned(),
                name: Some("a.example.org".to_owned()),
                lane: "timeline".to_owned(),
                heads: vec![head(7), head(9)],
            }],
        });
        assert!(text.contains(&summary().id), "{text}");
        assert!(text.contains("12D3KooWA, not connected, 1 user"), "{text}");
        assert!(text.contains("12D3KooWA timeline 0 to 9, forked into 2"), "{text}");
        assert!(text.contains("12D3KooWA a.example.org signed 2 branches of its timeline"), "{text}");
        assert!(
            text.contains("read-only") && text.contains("deny 12D3KooWB") && text.contains("by invitation"),
            "{text}"
        );
        assert!(text.contains("GAP: older messages are missing; 3 messages came ahead of them"), "{text}");
        assert!(!text.contains("topic"), "{text}");
    }
}
