//! What people are told of the connector: how it does, what is wrong and what to do about it, what waits.
//!
//! ```text
//!  bridge ──► Board ──┬──► GET /v1/rocketchat, `rocketmesh rocketchat status`
//!                     ├──► /v1/health
//!                     └──► /metrics
//! ```
//!
//! A problem stays until whoever raised it clears it. What cannot be delivered is shown, with the reason: nothing is dropped
//! without a word.

mod counters;
mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use self::counters::{Counted, Counters};
pub use self::queue::{DeadLetter, QueueView, RocketChatQueue, WaitingRoom};
pub(crate) use self::queue::{Notices, is_noticed};
use crate::clock::{Clock, SystemClock};

/// The most problems that are told at once. Further ones are counted in the last one's kind.
const MAX_PROBLEMS: usize = 256;
/// The most undeliverable changes that are shown; all are counted.
pub(crate) const MAX_SHOWN: usize = 100;
/// Texts of problems are cut to this many characters.
const MAX_TEXT_CHARS: usize = 500;

/// How the connector does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorState {
    /// No Rocket.Chat server is configured.
    #[default]
    Unconfigured,
    /// A connection is being made, or made again.
    Connecting,
    /// What happened meanwhile is being read.
    CatchingUp,
    /// Everything goes both ways as it happens.
    Live,
    /// Something must change before it goes on; `problems` says what.
    Blocked,
}

impl ConnectorState {
    /// The word of the API and the command line.
    pub fn word(self) -> &'static str {
        match self {
            ConnectorState::Unconfigured => "unconfigured",
            ConnectorState::Connecting => "connecting",
            ConnectorState::CatchingUp => "catching_up",
            ConnectorState::Live => "live",
            ConnectorState::Blocked => "blocked",
        }
    }
}

/// What can be wrong for more than a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The server does not answer.
    Unreachable,
    /// The server is not one that this program works with.
    UnsupportedVersion,
    /// The service account's token is not accepted.
    TokenRefused,
    /// A shadow's token is not accepted, and no new one could be made.
    ShadowTokenRefused,
    /// The service account may not do something.
    PermissionMissing,
    /// The server limits calls; they wait.
    RateLimited,
    /// The workspace takes no messages, because it has not reached its vendor.
    RestrictedWorkspace,
    /// A federated room is gone in Rocket.Chat, or the service account was taken out of it.
    RoomGone,
    /// A file is on no connected server of its room, or still on its way; what was said with it is shown.
    FileAway,
    /// A change was refused for good, and waits to be seen.
    Undeliverable,
    /// More waits than there is room for.
    QueueFull,
    /// Events come faster than they are handled; the connection is made again and again.
    Overrun,
    /// The secrets' file cannot be read or written.
    SecretsUnreadable,
}

impl ProblemKind {
    /// A stable word for programs.
    pub fn code(self) -> &'static str {
        match self {
            ProblemKind::Unreachable => "unreachable",
            ProblemKind::UnsupportedVersion => "unsupported_version",
            ProblemKind::TokenRefused => "token_refused",
            ProblemKind::ShadowTokenRefused => "shadow_token_refused",
            ProblemKind::PermissionMissing => "permission_missing",
            ProblemKind::RateLimited => "rate_limited",
            ProblemKind::RestrictedWorkspace => "restricted_workspace",
            ProblemKind::RoomGone => "room_gone",
            ProblemKind::FileAway => "file_away",
            ProblemKind::Undeliverable => "undeliverable",
            ProblemKind::QueueFull => "queue_full",
            ProblemKind::Overrun => "overrun",
            ProblemKind::SecretsUnreadable => "secrets_unreadable",
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            ProblemKind::Unreachable => {
                "check that Rocket.Chat runs and that this machine reaches its address; what is to be delivered waits"
            }
            ProblemKind::UnsupportedVersion => "use Rocket.Chat 7.0 to 8.8, or a newer Rocketmesh",
            ProblemKind::TokenRefused => {
                "make a new personal access token for the service account (My Account, Personal Access Tokens, without \
                 two-factor) and run `rocketmesh rocketchat connect` again"
            }
            ProblemKind::ShadowTokenRefused => {
                "see in Administration, Users whether the account is deactivated or deleted, or has another password; what it is \
                 to say waits in `rocketmesh rocketchat queue` and is said once the account works again"
            }
            ProblemKind::PermissionMissing => {
                "give the service account the roles admin and bot, or the permission itself in Administration, Permissions; \
                 `rocketmesh rocketchat check` goes through all of them, and tries again what waits once they are there"
            }
            ProblemKind::RateLimited => {
                "nothing, if it passes; otherwise give the role bot the permission api-bypass-rate-limit in Administration, \
                 Permissions"
            }
            ProblemKind::RestrictedWorkspace => {
                "connect the workspace to the internet so that it reaches cloud.rocket.chat once, or apply an air-gapped \
                 licence; what is to be delivered waits, or goes through an incoming webhook where a room has one \
                 (`rocketmesh rocketchat webhook ROOM`)"
            }
            ProblemKind::RoomGone => {
                "add the service account to the room again; if the room was deleted, let go of it with \
                 `rocketmesh rocketchat unfederate ROOM`"
            }
            ProblemKind::FileAway => {
                "nothing: the file follows once a server that has it is connected; if none comes back, dismiss it in \
                 `rocketmesh rocketchat queue`"
            }
            ProblemKind::Undeliverable => {
                "see `rocketmesh rocketchat queue`; try it again there once the reason is gone, or dismiss it"
            }
            ProblemKind::QueueFull => {
                "the room waits and nothing is lost; try again or dismiss what is in `rocketmesh rocketchat queue`"
            }
            ProblemKind::Overrun => {
                "nothing is lost; if it stays, this machine is too slow for what happens in Rocket.Chat"
            }
            ProblemKind::SecretsUnreadable => {
                "give rocketchat.json and rocketchat-shadows.json in the data directory to the node's user, with mode 0600"
            }
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConnectorProblem {
    /// What kind of problem.
    pub code: ProblemKind,
    /// What it is about: a room, an account, a permission.
    pub subject: Option<String>,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// How often it was met since then.
    pub times: u64,
}

/// How a bridged room does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BridgedRoomState {
    /// What happened meanwhile is being read.
    #[default]
    CatchingUp,
    /// Everything goes both ways.
    Live,
    /// Something must change first; `problems` says what.
    Blocked,
    /// The room is gone in Rocket.Chat.
    Gone,
}

/// A room that stands in both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BridgedRoom {
    /// The room's id in the mesh.
    pub room: String,
    /// Its id in Rocket.Chat.
    pub rid: String,
    /// Its name.
    pub name: Option<String>,
    /// How it does.
    pub state: BridgedRoomState,
    /// Changes that wait to be delivered.
    pub waiting: u64,
    /// The last moment of Rocket.Chat that was handled, in milliseconds since 1970.
    pub caught_up_ms: u64,
}

/// How the connector does, in full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RocketChatStatus {
    /// How it does.
    pub state: ConnectorState,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// The server's address.
    pub url: Option<String>,
    /// Its release.
    pub version: Option<String>,
    /// The service account's username.
    pub account: Option<String>,
    /// Accounts that stand for people elsewhere and whose tokens are kept.
    pub shadows: u64,
    /// What is wrong.
    pub problems: Vec<ConnectorProblem>,
    /// What waits.
    pub queue: QueueView,
    /// The rooms.
    pub rooms: Vec<BridgedRoom>,
    /// Changes that were brought from Rocket.Chat into the mesh, since the start.
    pub taken: u64,
    /// Changes that were brought from the mesh into Rocket.Chat, since the start.
    pub delivered: u64,
    /// Connections for what happens, since the start.
    pub connections: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Default)]
struct Held {
    status: RocketChatStatus,
    problems: BTreeMap<(ProblemKind, Option<String>), ConnectorProblem>,
    /// Kinds of which further problems are told as one, without a subject.
    gathered: BTreeSet<ProblemKind>,
    rooms: BTreeMap<String, BridgedRoom>,
}

/// Where the connector writes how it does. Cheap to clone; all clones are one board.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    held: Arc<Mutex<Held>>,
    counters: Counters,
    state: Gauge,
    waiting: Gauge,
    undeliverable: Gauge,
    rooms: Gauge,
    problems: Family<KindLabel, Gauge>,
}

impl Board {
    /// A board whose numbers are told as metrics. The registry's prefix is the node's.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let board = Board::default();
        let counters = &board.counters;
        for (name, help, counter) in [
            ("rocketchat_taken", "Changes brought from Rocket.Chat into the mesh", &counters.taken),
            ("rocketchat_delivered", "Changes brought from the mesh into Rocket.Chat", &counters.delivered),
            ("rocketchat_refused", "Changes that Rocket.Chat refused for good", &counters.refused),
            ("rocketchat_echoes", "Own changes that were seen again and left alone", &counters.echoes),
            ("rocketchat_retries", "Calls of Rocket.Chat that were made again", &counters.retries),
            ("rocketchat_connections", "Connections for what happens in Rocket.Chat", &counters.connections),
        ] {
            registry.register(format!("rocketmesh_{name}"), help, counter.clone());
        }
        for (name, help, gauge) in [
            ("rocketchat_state", "0 unconfigured, 1 connecting, 2 catching up, 3 live, 4 blocked", &board.state),
            ("rocketchat_waiting", "Changes that wait to be delivered to Rocket.Chat", &board.waiting),
            ("rocketchat_undeliverable", "Refused changes that nobody has dealt with", &board.undeliverable),
            ("rocketchat_rooms", "Rooms that stand in Rocket.Chat too", &board.rooms),
        ] {
            registry.register(format!("rocketmesh_{name}"), help, gauge.clone());
        }
        let help = "Problems of the connector with Rocket.Chat, by kind";
        registry.register("rocketmesh_rocketchat_problems", help, board.problems.clone());
        board
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Says how it does.
    pub(crate) fn set_state(&self, state: ConnectorState) {
        let mut held = self.held();
        if held.status.state != state {
            held.status.state = state;
            held.status.since_ms = SystemClock.now_ms();
        }
        self.state.set(match state {
            ConnectorState::Unconfigured => 0,
            ConnectorState::Connecting => 1,
            ConnectorState::CatchingUp => 2,
            ConnectorState::Live => 3,
            ConnectorState::Blocked => 4,
        });
    }

    /// Says which server and which account it is.
    pub(crate) fn set_server(&self, url: Option<String>, version: Option<String>, account: Option<String>) {
        let mut held = self.held();
        (held.status.url, held.status.version, held.status.account) = (url, version, account);
    }

    /// Says of which release the server is.
    pub(crate) fn set_release(&self, release: String) {
        self.held().status.version = Some(release);
    }

    /// Says how many shadows there are.
    pub(crate) fn set_shadows(&self, shadows: u64) {
        self.held().status.shadows = shadows;
    }

    /// Says that something is wrong. The same problem of the same subject is one, with the latest message.
    pub(crate) fn raise(&self, kind: ProblemKind, subject: Option<&str>, message: impl Into<String>) {
        let message: String = message.into().chars().take(MAX_TEXT_CHARS).collect();
        let mut held = self.held();
        let key = (kind, subject.map(str::to_owned));
        if subject.is_none() {
            held.gathered.remove(&kind);
        }
        if let Some(known) = held.problems.get_mut(&key) {
            known.message = message;
            known.times += 1;
            return;
        }
        tracing::warn!(kind = kind.code(), subject, what = %message, advice = kind.advice(), "a problem with Rocket.Chat");
        // Beyond the bound they are told as one, without a subject.
        let key = if held.problems.len() < MAX_PROBLEMS { key } else { (kind, None) };
        if subject.is_some() && key.1.is_none() && !held.problems.contains_key(&key) {
            held.gathered.insert(kind);
        }
        let subject = key.1.clone();
        let fresh = ConnectorProblem {
            code: kind,
            subject,
            message,
            advice: kind.advice().to_owned(),
            since_ms: SystemClock.now_ms(),
            times: 0,
        };
        held.problems.entry(key).or_insert(fresh).times += 1;
        self.count(&held, kind);
    }

    /// Says that something is well again.
    pub(crate) fn clear(&self, kind: ProblemKind, subject: Option<&str>) {
        let mut held = self.held();
        let mut over = held.problems.remove(&(kind, subject.map(str::to_owned))).is_some();
        // Whatever of those that were told as one is not over is raised again.
        let of_a_subject = |(of, about): &(ProblemKind, Option<String>)| *of == kind && about.is_some();
        if held.gathered.contains(&kind) && (subject.is_none() || !held.problems.keys().any(of_a_subject)) {
            held.gathered.remove(&kind);
            over |= held.problems.remove(&(kind, None)).is_some();
        }
        if over {
            tracing::info!(kind = kind.code(), subject, "a problem with Rocket.Chat is over");
            self.count(&held, kind);
        }
    }

    /// Says what is wrong by what could not be delivered, and that what was wrong so and is not among it is over.
    pub(crate) fn notice(&self, notices: &Notices) {
        let known: Vec<_> = {
            let held = self.held();
            let told = held.problems.iter().filter(|((kind, subject), _)| is_noticed(*kind, subject.as_deref()));
            told.map(|(key, problem)| (key.clone(), problem.message.clone())).collect()
        };
        for ((kind, subject), _) in known.iter().filter(|(key, _)| !notices.contains_key(key)) {
            self.clear(*kind, subject.as_deref());
        }
        for ((kind, subject), message) in notices {
            let told = known.iter().any(|(key, text)| key.0 == *kind && key.1 == *subject && text == message);
            if !told {
                self.raise(*kind, subject.as_deref(), message.clone());
            }
        }
    }

    /// Whether something of a kind is wrong.
    pub(crate) fn has(&self, kind: ProblemKind) -> bool {
        self.held().problems.keys().any(|(of, _)| *of == kind)
    }

    fn count(&self, held: &Held, kind: ProblemKind) {
        let number = held.problems.keys().filter(|(of, _)| *of == kind).count();
        self.problems.get_or_create(&KindLabel { kind: kind.code() }).set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Says what waits. Of `undeliverable` the first [`MAX_SHOWN`] are shown.
    pub(crate) fn set_queue(&self, mut queue: QueueView) {
        queue.latest_undeliverable.truncate(MAX_SHOWN);
        self.waiting.set(i64::try_from(queue.waiting).unwrap_or(i64::MAX));
        self.undeliverable.set(i64::try_from(queue.undeliverable).unwrap_or(i64::MAX));
        self.held().status.queue = queue;
    }

    /// Says how a room does.
    pub(crate) fn set_room(&self, room: BridgedRoom) {
        let mut held = self.held();
        held.rooms.insert(room.rid.clone(), room);
        self.rooms.set(i64::try_from(held.rooms.len()).unwrap_or(i64::MAX));
    }

    /// Says that a room stands in Rocket.Chat no longer.
    pub(crate) fn forget_room(&self, rid: &str) {
        let mut held = self.held();
        held.rooms.remove(rid);
        self.rooms.set(i64::try_from(held.rooms.len()).unwrap_or(i64::MAX));
    }

    /// Forgets everything but what is counted: there is no server any more, or another one.
    pub(crate) fn reset(&self) {
        {
            let mut held = self.held();
            *held = Held::default();
        }
        self.problems.clear();
        self.rooms.set(0);
        self.set_queue(QueueView::default());
        self.set_state(ConnectorState::Unconfigured);
    }

    /// Everything.
    pub(crate) fn status(&self) -> RocketChatStatus {
        let held = self.held();
        RocketChatStatus {
            problems: held.problems.values().cloned().collect(),
            rooms: held.rooms.values().cloned().collect(),
            taken: self.counters.taken.get(),
            delivered: self.counters.delivered.get(),
            connections: self.counters.connections.get(),
            ..held.status.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::{Board, BridgedRoom, ConnectorState, Counted, MAX_PROBLEMS, Notices, ProblemKind, QueueView};

    #[test]
    fn a_problem_is_told_once_until_it_is_over() {
        let board = Board::default();
        board.raise(ProblemKind::RoomGone, Some("r1"), "gone");
        board.raise(ProblemKind::RoomGone, Some("r1"), "still gone");
        board.raise(ProblemKind::RoomGone, Some("r2"), "gone");
        let problems = board.status().problems;
        assert_eq!(problems.len(), 2);
        assert_eq!((problems[0].times, problems[0].message.as_str()), (2, "still gone"));
        assert!(problems[0].advice.contains("unfederate"));
        board.clear(ProblemKind::RoomGone, Some("r1"));
        assert!(board.has(ProblemKind::RoomGone));
        board.clear(ProblemKind::RoomGone, Some("r2"));
        assert!(board.status().problems.is_empty());
    }

    #[test]
    fn a_problem_of_what_was_not_delivered_is_over_when_nothing_is_left_of_it() {
        let board = Board::default();
        board.raise(ProblemKind::RateLimited, Some("r1"), "slow down");
        let account = (ProblemKind::ShadowTokenRefused, Some("bob.there".to_owned()));
        let refused = (ProblemKind::Undeliverable, None);
        let both = Notices::from([(account.clone(), "no".to_owned()), (refused, "too long".to_owned())]);
        board.notice(&both);
        board.notice(&both);
        assert_eq!(board.status().problems.len(), 3);
        assert!(board.status().problems.iter().all(|problem| problem.times == 1), "the same is told once");
        board.notice(&Notices::from([(account, "no".to_owned())]));
        assert!(!board.has(ProblemKind::Undeliverable) && board.has(ProblemKind::ShadowTokenRefused));
        board.notice(&Notices::new());
        assert!(board.has(ProblemKind::RateLimited), "what is none of it stays");
        assert_eq!(board.status().problems.len(), 1);
    }

    #[test]
    fn everything_that_is_counted_is_in_the_metrics() {
        let mut registry = Registry::default();
        let board = Board::new(&mut registry);
        let all = [
            (Counted::Taken, "taken"),
            (Counted::Delivered, "delivered"),
            (Counted::Refused, "refused"),
            (Counted::Echo, "echoes"),
            (Counted::Retry, "retries"),
            (Counted::Connection, "connections"),
        ];
        for (what, _) in all {
            board.counters().count(what);
        }
        let mut text = String::new();
        encode(&mut text, &registry).expect("a text");
        for (_, name) in all {
            let line = format!("rocketmesh_rocketchat_{name}_total 1");
            assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn however_many_subjects_have_a_problem_the_list_stays_short() {
        let board = Board::default();
        for number in 0..MAX_PROBLEMS * 2 {
            board.raise(ProblemKind::Undeliverable, Some(&number.to_string()), "refused");
        }
        let problems = board.status().problems;
        assert_eq!(problems.len(), MAX_PROBLEMS + 1);
        assert!(problems.iter().any(|problem| problem.subject.is_none() && problem.times == MAX_PROBLEMS as u64));
        for number in 0..MAX_PROBLEMS * 2 {
            assert!(board.has(ProblemKind::Undeliverable) || number >= MAX_PROBLEMS);
            board.clear(ProblemKind::Undeliverable, Some(&number.to_string()));
        }
        assert!(board.status().problems.is_empty(), "nothing stays of those that were told as one");
    }

    #[test]
    fn numbers_and_problems_stand_in_the_metrics() {
        let mut registry = Registry::default();
        let board = Board::new(&mut registry);
        board.set_state(ConnectorState::Live);
        board.set_queue(QueueView { waiting: 7, ..QueueView::default() });
        board.set_room(BridgedRoom { rid: "r".to_owned(), ..BridgedRoom::default() });
        board.raise(ProblemKind::RateLimited, None, "slow down");
        board.counters().taken.inc();
        let mut text = String::new();
        encode(&mut text, &registry).expect("a text");
        for line in [
            "rocketmesh_rocketchat_state 3",
            "rocketmesh_rocketchat_waiting 7",
            "rocketmesh_rocketchat_rooms 1",
            "rocketmesh_rocketchat_problems{kind=\"rate_limited\"} 1",
            "rocketmesh_rocketchat_taken_total 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
        }
        board.reset();
        assert_eq!(board.status().state, ConnectorState::Unconfigured);
        assert!(board.status().rooms.is_empty());
    }
}
