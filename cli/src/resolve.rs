//! From what people type to ids: part of an id, or a name where exactly one thing has it.

use rocketmesh_node::api::types::{PeerView, RoomFile, RoomSummary};
use rocketmesh_protocol::id::{FileId, RoomId};
use rocketmesh_protocol::identity::Origin;

use crate::failure::Failure;

/// How every room's id begins.
const ROOM_HEAD: &str = "bafyr4i";
/// How every file's id begins.
const FILE_HEAD: &str = "bafkr4i";
/// How every server's id begins.
const PEER_HEAD: &str = "12D3KooW";
/// What must follow the head in the beginning of a room's or a file's id: 40 bits of the hash.
const ROOM_PREFIX: usize = 8;
/// What must follow the head in the beginning of a server's id.
const PEER_PREFIX: usize = 4;
/// The shortest end of an id that counts.
const SUFFIX: usize = 6;
/// The most candidates that an error lists.
const LISTED: usize = 8;

/// Something that can be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its id.
    pub(crate) id: String,
    /// The name by which it can be called.
    pub(crate) name: Option<String>,
}

impl From<RoomSummary> for Candidate {
    /// A room in which this node takes no part goes by its id alone.
    fn from(room: RoomSummary) -> Self {
        Candidate { id: room.id, name: room.name.filter(|_| room.joined) }
    }
}

impl From<PeerView> for Candidate {
    fn from(peer: PeerView) -> Self {
        Candidate { id: peer.id, name: peer.name }
    }
}

impl From<&RoomFile> for Candidate {
    fn from(file: &RoomFile) -> Self {
        let said = &file.view.said;
        Candidate { id: said.file.clone(), name: Some(said.name.clone()) }
    }
}

/// Whether `text` is a file's id in full, which needs no looking up.
pub(crate) fn is_file_id(text: &str) -> bool {
    text.parse::<FileId>().is_ok()
}

/// Whether `text` is a room's id in full, which needs no looking up.
pub(crate) fn is_room_id(text: &str) -> bool {
    text.parse::<RoomId>().is_ok()
}

/// Whether `text` is a server's id in full, which needs no looking up.
pub(crate) fn is_peer_id(text: &str) -> bool {
    text.parse::<Origin>().is_ok()
}

/// The id of the room that `text` means: its id, the beginning of it, its shortened form, or its name.
pub(crate) fn room(text: &str, rooms: &[Candidate]) -> Result<String, Failure> {
    let by_id = |id: &str| id == text || is_prefix(text, id, ROOM_HEAD, ROOM_PREFIX) || is_shortened(text, id);
    let name = text.strip_prefix('#').unwrap_or(text);
    let by_name = |called: &str| called == text || called == name;
    one_of(rooms, by_id, by_name).map_err(|some| ambiguous("ambiguous_room", text, "rooms", &some))?.ok_or_else(|| {
        Failure::NotFound {
            code: "unknown_room".to_owned(),
            message: format!("no room here is called `{text}`; see `rocketmesh rooms`, or give its id in full"),
        }
    })
}

/// The id of the file that `text` means: its id, the beginning of it, its shortened form, or its name.
pub(crate) fn file(text: &str, files: &[Candidate]) -> Result<String, Failure> {
    let by_id = |id: &str| id == text || is_prefix(text, id, FILE_HEAD, ROOM_PREFIX) || is_shortened(text, id);
    one_of(files, by_id, |called| called == text)
        .map_err(|some| ambiguous("ambiguous_file", text, "files", &some))?
        .ok_or_else(|| Failure::NotFound {
            code: "unknown_file".to_owned(),
            message: format!("no file of this room is called `{text}`; see `rocketmesh files list ROOM`"),
        })
}

/// The id of the server that `text` means: its id, the beginning or the end of it, its shortened form, or its name.
pub(crate) fn peer(text: &str, peers: &[Candidate]) -> Result<String, Failure> {
    let by_id = |id: &str| {
        id == text
            || is_prefix(text, id, PEER_HEAD, PEER_PREFIX)
            || (text.len() >= SUFFIX && id.ends_with(text))
            || is_shortened(text, id)
    };
    one_of(peers, by_id, |called| called == text)
        .map_err(|some| ambiguous("ambiguous_peer", text, "servers", &some))?
        .ok_or_else(|| Failure::NotFound {
            code: "unknown_peer".to_owned(),
            message: format!("no server known here is called `{text}`; see `rocketmesh peers`, or give its id in full"),
        })
}

/// The only candidate that matches by id or else, so that no name can stand in an id's way, by name.
fn one_of(
    candidates: &[Candidate],
    by_id: impl Fn(&str) -> bool,
    by_name: impl Fn(&str) -> bool,
) -> Result<Option<String>, Vec<&Candidate>> {
    let mut found: Vec<&Candidate> = candidates.iter().filter(|candidate| by_id(&candidate.id)).collect();
    if found.is_empty() {
        found = candidates.iter().filter(|candidate| candidate.name.as_deref().is_some_and(&by_name)).collect();
    }
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.id.clone())),
        _ => Err(found),
    }
}

fn is_prefix(text: &str, id: &str, head: &str, at_least: usize) -> bool {
    text.strip_prefix(head).is_some_and(|rest| rest.len() >= at_least) && id.starts_with(text)
}

/// Whether `text` is `id` with its middle left out, as tables print it.
fn is_shortened(text: &str, id: &str) -> bool {
    text.split_once('…')
        .or_else(|| text.split_once("..."))
        .is_some_and(|(head, tail)| tail.len() >= SUFFIX && id.starts_with(head) && id.ends_with(tail))
}

fn ambiguous(code: &'static str, text: &str, things: &str, found: &[&Candidate]) -> Failure {
    let described = |candidate: &&Candidate| match &candidate.name {
        Some(name) => format!("{} ({name})", candidate.id),
        None => candidate.id.clone(),
    };
    let mut list: Vec<String> = found.iter().take(LISTED).map(described).collect();
    if found.len() > LISTED {
        list.push(format!("{} more", found.len() - LISTED));
    }
    Failure::Usage { code, message: format!("`{text}` may mean several {things}; give one's id: {}", list.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "bafyr4iaaaaaaaa22222222222222222222222222222222222222222aaa";
    const B: &str = "bafyr4iaaaaaaaa33333333333333333333333333333333333333333bbb";
    const C: &str = "bafyr4icccccccc44444444444444444444444444444444444444444ccc";
    const P: &str = "12D3KooWAAAA1111111111111111111111111111111111111111abcd";
    const Q: &str = "12D3KooWAAAB2222222222222222222222222222222222222222abcd";

    fn candidates(list: &[(&str, Option<&str>)]) -> Vec<Candidate> {
        list.iter().map(|(id, name)| Candidate { id: (*id).to_owned(), name: name.map(str::to_owned) }).collect()
    }

    fn rooms() -> Vec<Candidate> {
        candidates(&[(A, Some("general")), (B, Some("twice")), (C, Some("twice"))])
    }

    #[test]
    fn a_room_goes_by_its_id_its_beginning_its_short_form_or_its_name() {
        for text in [A, "bafyr4iaaaaaaaa2", &crate::text::short_id(A), "bafyr4i...22222aaa", "general", "#general"] {
            assert_eq!(room(text, &rooms()).expect(text), A);
        }
    }

    #[test]
    fn what_no_room_is_called_is_not_found() {
        for text in ["nothing", "bafyr4i", "bafyr4iccccccc", "", "bafyr4i…c", "General"] {
            let failure = room(text, &rooms()).expect_err(text);
            assert_eq!((failure.exit_code(), failure.code()), (4, "unknown_room"), "{text}");
        }
    }

    #[test]
    fn what_may_mean_two_rooms_lists_both() {
        for (text, both) in [("twice", [B, C]), ("bafyr4iaaaaaaaa", [A, B])] {
            let failure = room(text, &rooms()).expect_err(text);
            assert_eq!((failure.exit_code(), failure.code()), (2, "ambiguous_room"));
            assert!(both.iter().all(|id| failure.to_string().contains(id)), "{failure}");
        }
    }

    #[test]
    fn a_rooms_name_cannot_take_another_rooms_id() {
        assert_eq!(room(A, &candidates(&[(B, Some(A)), (A, None)])).expect("ids come first"), A);
    }

    #[test]
    fn a_room_that_this_node_is_not_in_does_not_go_by_its_name() {
        let summary = RoomSummary {
            id: A.to_owned(),
            name: Some("general".to_owned()),
            room_type: "c".to_owned(),
            joined: false,
            members: 0,
            servers: 0,
            events: 0,
            digest: String::new(),
            state_digest: String::new(),
        };
        assert_eq!(Candidate::from(summary.clone()).name, None);
        let joined = RoomSummary { joined: true, ..summary };
        assert_eq!(Candidate::from(joined).name.as_deref(), Some("general"));
    }

    #[test]
    fn a_server_goes_by_its_id_either_end_of_it_or_its_name() {
        let peers = candidates(&[(P, Some("a.example.org")), (Q, None)]);
        for text in [P, "12D3KooWAAAA", "1111abcd", &crate::text::short_id(P), "a.example.org"] {
            assert_eq!(peer(text, &peers).expect(text), P);
        }
        assert_eq!(peer("abcd", &peers).expect_err("too short").exit_code(), 4);
        assert_eq!(peer("12D3KooW", &peers).expect_err("what all begin with").exit_code(), 4);
    }

    #[test]
    fn a_name_that_two_servers_claim_names_neither() {
        let peers = candidates(&[(P, Some("a.example.org")), (Q, Some("a.example.org"))]);
        let failure = peer("a.example.org", &peers).expect_err("two claim it");
        assert_eq!((failure.exit_code(), failure.code()), (2, "ambiguous_peer"));
    }

    #[test]
    fn a_file_goes_by_its_id_or_by_a_name_that_only_it_has() {
        let [one, two] = [1, 2].map(|seed| FileId::from_hash([seed; 32]).to_string());
        let files = candidates(&[(one.as_str(), Some("a.png")), (two.as_str(), Some("b.png"))]);
        for text in [one.as_str(), &one[..20], &crate::text::short_id(&one), "a.png"] {
            assert_eq!(file(text, &files).expect(text), one);
        }
        assert_eq!(file("c.png", &files).expect_err("there is none").exit_code(), 4);
        let twice = candidates(&[(one.as_str(), Some("a.png")), (two.as_str(), Some("a.png"))]);
        assert_eq!(file("a.png", &twice).expect_err("there are two").code(), "ambiguous_file");
        assert!(is_file_id(&one) && !is_file_id("a.png"));
    }

    #[test]
    fn full_ids_are_known_as_such() {
        let origin = Origin::from_bytes([7; 32]).to_string();
        assert!(is_peer_id(&origin) && !is_peer_id("12D3KooW"));
        let id = RoomId::from_hash([7; 32]).to_string();
        assert!(is_room_id(&id) && id.starts_with(ROOM_HEAD) && !is_room_id("general"));
    }
}
