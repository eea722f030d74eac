//! Who let a join down, and how. It is remembered for that join alone: whoever lied is not asked again in it, whoever brought nothing
//! once nobody else is left, and if the join comes to nothing people read what each did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::wire::Refused;

use crate::engine::names::NameBook;
use crate::engine::sync::PullError;
use crate::network::{RequestError, origin};

/// The most servers that are remembered. What more there are of them may be asked once more.
const MOST: usize = 256;
/// The most that are named to people, and how many bytes of an error of the network are.
const NAMED: usize = 8;
const ERROR_BYTES: usize = 100;

/// How a server let a join down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Reason {
    /// Nothing new came for so long, and before that something did, or did not.
    Silent { waited: Duration, brought: bool },
    /// The connection broke, or the answer did.
    BrokeOff(String),
    /// It has no time, or does not deal with this server.
    Refused(Refused),
    /// It says that there is more, and sends nothing new.
    NothingNew,
    /// It names more of the state graph than it sends.
    Withheld,
    /// It says that somebody of this server is invited, and its state graph does not.
    Uninvited,
    /// It claims to have the room, and shows nothing of it.
    Empty,
    /// It sent events that are not signed by whom they name, or are not of the room.
    Unsound,
    /// It answered something else than was asked.
    OffTopic,
}

impl Reason {
    /// What a failed pull says of the peer; none where it does not have the room, or something failed on this side.
    pub(in crate::engine) fn of(error: &PullError) -> Option<Self> {
        match error {
            PullError::Request(RequestError::Unanswered(text)) => Some(Reason::BrokeOff(cut(text))),
            PullError::Request(RequestError::Malformed(_)) | PullError::OffTopic => Some(Reason::OffTopic),
            PullError::Refused(Refused::UnknownRoom | Refused::NotAdmitted | Refused::Invited) => None,
            PullError::Refused(refused) => Some(Reason::Refused(*refused)),
            PullError::NothingNew => Some(Reason::NothingNew),
            PullError::Withheld => Some(Reason::Withheld),
            PullError::Empty => Some(Reason::Empty),
            PullError::Unsound => Some(Reason::Unsound),
            PullError::Request(RequestError::Closed(_)) | PullError::UnderWay | PullError::Post(_) => None,
        }
    }

    /// Whether no honest server does this.
    pub(super) fn is_lie(&self) -> bool {
        matches!(self, Reason::Empty | Reason::Unsound | Reason::OffTopic)
    }

    /// Whether the next attempt may well succeed.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Reason::BrokeOff(_) | Reason::Refused(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Silent { waited, brought: false } => {
                write!(formatter, "did not answer within {} s", waited.as_secs().max(1))
            }
            Reason::Silent { waited, brought: true } => {
                write!(formatter, "brought a part and then nothing new for {} s", waited.as_secs().max(1))
            }
            Reason::BrokeOff(error) => write!(formatter, "broke off ({error})"),
            Reason::Refused(refused) => write!(formatter, "refused ({})", refused.word()),
            Reason::NothingNew => formatter.write_str("says that there is more of the room and sends nothing new"),
            Reason::Withheld => formatter.write_str("names more of the room's state than it sends"),
            Reason::Uninvited => formatter.write_str("speaks of an invitation that the room does not show"),
            Reason::Empty => formatter.write_str("says that it has the room and shows nothing of it"),
            Reason::Unsound => {
                formatter.write_str("sent events that are not signed by whom they name or are not of the room")
            }
            Reason::OffTopic => formatter.write_str("answered something else than was asked"),
        }
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(ERROR_BYTES)].to_owned()
}

/// The servers that let one join down.
#[derive(Debug, Default)]
pub(in crate::engine) struct LetDown(BTreeMap<PeerId, Reason>);

impl LetDown {
    /// Notes what a server did. A lie stands, whatever the server does later.
    pub(in crate::engine) fn note(&mut self, peer: PeerId, reason: Reason) {
        if self.lied(&peer) {
            return;
        }
        if self.0.len() >= MOST && !self.0.contains_key(&peer) {
            // With nothing but liars there is no room for another one.
            let least = self.0.iter().find(|(_, reason)| !reason.is_lie()).map(|(peer, _)| *peer);
            let Some(least) = least else { return };
            self.0.remove(&least);
        }
        self.0.insert(peer, reason);
    }

    /// Whether a server is not to be asked again in this join.
    pub(in crate::engine) fn lied(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(Reason::is_lie)
    }

    /// Whether a server is to be asked after all others.
    pub(in crate::engine) fn is_by(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// Whether nobody did.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What each server did, to stand behind another sentence: empty, or beginning with a semicolon.
    pub(in crate::engine) fn words(&self, names: &NameBook) -> String {
        let server = |peer: &PeerId| origin(peer).map_or_else(|| peer.to_string(), |origin| names.server(&origin));
        let mut words: String =
            self.0.iter().take(NAMED).map(|(peer, reason)| format!("; {} {reason}", server(peer))).collect();
        if self.0.len() > NAMED {
            words.push_str(&format!("; {} others did not bring it either", self.0.len() - NAMED));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use rocketmesh_protocol::identity::{ServerKey, ServerName};

    use super::*;
    use crate::network::peer_id;

    fn peer(seed: u8) -> PeerId {
        peer_id(&ServerKey::from_seed(&[seed; 32]).origin())
    }

    fn names() -> NameBook {
        NameBook::new(ServerKey::from_seed(&[0; 32]).origin(), None)
    }

    #[test]
    fn a_lie_stands_whatever_the_server_does_later() {
        let mut let_down = LetDown::default();
        let_down.note(peer(1), Reason::Unsound);
        let_down.note(peer(1), Reason::BrokeOff("gone".to_owned()));
        let_down.note(peer(2), Reason::BrokeOff("gone".to_owned()));
        assert!(let_down.lied(&peer(1)) && !let_down.lied(&peer(2)) && let_down.is_by(&peer(2)));
        let_down.note(peer(2), Reason::Empty);
        assert!(let_down.lied(&peer(2)));
    }

    #[test]
    fn what_each_server_did_is_said_in_plain_words_and_of_many_servers_in_short() {
        let names = names();
        assert_eq!(LetDown::default().words(&names), "");
        let name = |name: &str| Some(name.parse::<ServerName>().expect("a name"));
        names.note(peer(1), name("b.example"));
        names.note(peer(2), name("c.example"));
        let mut let_down = LetDown::default();
        let_down.note(peer(1), Reason::Silent { waited: Duration::from_millis(10_200), brought: false });
        let_down.note(peer(2), Reason::Unsound);
        let words = let_down.words(&names);
        assert!(words.starts_with("; ") && words.contains("b.example did not answer within 10 s"), "{words}");
        assert!(words.contains("c.example sent events that are not signed by whom they name"), "{words}");
        for seed in 3..=255 {
            let_down.note(peer(seed), Reason::BrokeOff("x".repeat(5_000)));
        }
        let words = let_down.words(&names);
        assert!(words.ends_with("247 others did not bring it either"), "{words}");
    }

    #[test]
    fn errors_of_the_network_are_cut_where_they_are_heard() {
        let error = PullError::Request(RequestError::Unanswered("ä".repeat(5_000)));
        let Some(Reason::BrokeOff(text)) = Reason::of(&error) else { panic!("{error}") };
        assert_eq!(text.len(), ERROR_BYTES);
    }

    #[test]
    fn a_bounded_number_is_remembered_and_liars_longest() {
        let key = |number: u16| {
            let mut seed = [7; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            peer_id(&ServerKey::from_seed(&seed).origin())
        };
        let mut let_down = LetDown::default();
        let_down.note(key(0), Reason::Unsound);
        for number in 1..1_000 {
            let_down.note(key(number), Reason::NothingNew);
        }
        assert_eq!(let_down.0.len(), MOST);
        assert!(let_down.lied(&key(0)) && let_down.is_by(&key(999)));
    }
}
