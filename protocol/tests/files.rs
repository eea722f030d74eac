//! Files that messages name, and ranges of files that prove themselves.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{Cursor, Read};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rocketmesh_protocol::codec::{Map, Value};
use rocketmesh_protocol::event::{Body, Draft, FileRef, FilesError, kind};
use rocketmesh_protocol::file::{FileRange, SliceError, open_slice};
use rocketmesh_protocol::id::{EventId, FileId};
use rocketmesh_protocol::limits::{
    FILE_RANGE_BYTES, MAX_FILE_BYTES, MAX_FILES_PER_MESSAGE, MAX_PIXELS, MAX_SLICE_BYTES,
};
use support::room::{TestRoom, message};
use support::values::{any_damage, damaged};
use support::{Server, config};

/// Lengths around the places where the tree gets another shape.
const LENGTHS: [usize; 14] =
    [1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 3072, 3073, 8192, 16_385, 1 << 20, (1 << 20) + 1];

fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 251) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

/// The slice of a range, as an honest holder makes it.
fn slice_of(content: &[u8], range: FileRange) -> Vec<u8> {
    let (outboard, _) = bao::encode::outboard(content);
    let (content, outboard) = (Cursor::new(content), Cursor::new(outboard));
    let mut slice = Vec::new();
    bao::encode::SliceExtractor::new_outboard(content, outboard, range.from(), range.size())
        .read_to_end(&mut slice)
        .unwrap();
    slice
}

fn any_file() -> impl Strategy<Value = FileRef> {
    let name = prop_oneof!["[a-z0-9 ._-]{0,20}x", "[é中🚀]{1,20}"];
    let media_type = select(vec!["image/png", "text/plain; charset=utf-8", "application/octet-stream", "x/y"]);
    let dimensions = option::of((1..=MAX_PIXELS, 1..=MAX_PIXELS));
    (any::<[u8; 32]>(), 1..=MAX_FILE_BYTES, name, media_type, dimensions).prop_map(
        |(hash, size, name, media_type, dimensions)| FileRef {
            file: FileId::from_hash(hash),
            size,
            name,
            media_type: media_type.to_owned(),
            dimensions,
        },
    )
}

fn any_content() -> impl Strategy<Value = Vec<u8>> {
    (prop_oneof![select(LENGTHS.to_vec()), 1..40_000_usize], any::<u8>()).prop_map(|(len, seed)| content(len, seed))
}

/// A range of a file of this size.
fn range_in(size: u64, from: &Index, len: &Index) -> FileRange {
    let from = 1024 * from.index(size.div_ceil(1024) as usize) as u64;
    let most = (size - from).min(FILE_RANGE_BYTES);
    FileRange::new(from, 1 + len.index(most as usize) as u64).unwrap()
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn files_are_read_as_they_were_written(files in vec(any_file(), 0..=MAX_FILES_PER_MESSAGE), text in "[a-z]{0,9}") {
        let fields = FileRef::into_fields(&files, Map::new().with("text", text.as_str())).unwrap();
        prop_assert_eq!(fields.get("files").is_some(), !files.is_empty());
        let body = Body::decode(&Body::new([1; 16], fields).encode().unwrap()).unwrap();
        prop_assert_eq!(body.text("text"), Some(text.as_str()));
        prop_assert_eq!(FileRef::of_body(&body), Ok(files));
    }

    #[test]
    fn a_files_id_is_a_cid_of_raw_bytes_and_no_events(hash in any::<[u8; 32]>()) {
        let file = FileId::from_hash(hash);
        let text = file.to_string();
        prop_assert_eq!(text.len(), 59);
        prop_assert!(text.starts_with("bafkr4i"), "{}", text);
        prop_assert_eq!(text.parse::<FileId>(), Ok(file));
        prop_assert!(text.parse::<EventId>().is_err());
        prop_assert!(EventId::from_hash(hash).to_string().parse::<FileId>().is_err());
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn a_slice_gives_the_range_that_was_asked_for(content in any_content(), from in any::<Index>(), len in any::<Index>()) {
        let (file, size) = (FileId::of_block(&content), content.len() as u64);
        let range = range_in(size, &from, &len);
        let slice = slice_of(&content, range);
        prop_assert!(slice.len() <= MAX_SLICE_BYTES);
        let expected = content[range.from() as usize..range.end() as usize].to_vec();
        prop_assert_eq!(open_slice(&file, size, range, &slice), Ok(expected));
        let other = FileId::of_block(b"another file");
        prop_assert_eq!(open_slice(&other, size, range, &slice), Err(SliceError::Unverified));
        for wrong in [size + 1, size - 1, size * 2] {
            prop_assert_eq!(open_slice(&file, wrong, range, &slice), Err(SliceError::OtherSize(size)));
        }
    }

    #[test]
    fn a_damaged_slice_never_gives_other_bytes(
        content in any_content(),
        from in any::<Index>(),
        len in any::<Index>(),
        damages in vec(any_damage(), 1..3),
    ) {
        let (file, size) = (FileId::of_block(&content), content.len() as u64);
        let range = range_in(size, &from, &len);
        let slice = slice_of(&content, range);
        let broken = damaged(slice.clone(), &damages);
        let opened = open_slice(&file, size, range, &broken);
        prop_assert_eq!(opened.is_ok(), broken == slice);
    }

    #[test]
    fn a_slice_with_a_false_size_is_refused_whoever_told_it(
        content in any_content(),
        claimed in prop_oneof![1..100_000_u64, 1..=MAX_FILE_BYTES],
    ) {
        let size = content.len() as u64;
        prop_assume!(claimed != size);
        // The last range of the size that is claimed, which is where a download begins.
        let range = FileRange::numbered(FileRange::count(claimed) - 1, claimed).unwrap();
        let honest = slice_of(&content, FileRange::numbered(0, size).unwrap());
        let mut lie = honest;
        lie[..8].copy_from_slice(&claimed.to_le_bytes());
        prop_assert_eq!(open_slice(&FileId::of_block(&content), claimed, range, &lie), Err(SliceError::Unverified));
    }

    #[test]
    fn garbage_is_no_slice(slice in vec(any::<u8>(), 0..3000), size in 1..=MAX_FILE_BYTES, number in any::<Index>()) {
        let number = number.index(FileRange::count(size) as usize) as u64;
        let range = FileRange::numbered(number, size).unwrap();
        prop_assert!(open_slice(&FileId::from_hash([7; 32]), size, range, &slice).is_err());
        let mut sized = size.to_le_bytes().to_vec();
        sized.extend_from_slice(&slice);
        prop_assert_eq!(open_slice(&FileId::from_hash([7; 32]), size, range, &sized), Err(SliceError::Unverified));
    }
}

#[test]
fn the_largest_slice_fits_its_bound_at_any_depth() {
    // A chunk that is not the last of its range shows the longest way down; the rest follows from the formula.
    let content = content(5 << 20, 3);
    let size = content.len() as u64;
    for from in [0, 1024, 1 << 20, (1 << 20) + 1024, (3 << 20) - 1024] {
        let range = FileRange::new(from, FILE_RANGE_BYTES).unwrap();
        let slice = slice_of(&content, range);
        assert!(slice.len() <= MAX_SLICE_BYTES, "{} bytes from {from}", slice.len());
        assert!(open_slice(&FileId::of_block(&content), size, range, &slice).is_ok());
    }
}

#[test]
fn the_ranges_of_a_file_cover_it_once() {
    let mebibyte = FILE_RANGE_BYTES;
    for size in [1, 1023, 1024, mebibyte - 1, mebibyte, mebibyte + 1, 10 * mebibyte + 7, MAX_FILE_BYTES] {
        let count = FileRange::count(size);
        assert_eq!(FileRange::numbered(count, size), None);
        let last = FileRange::numbered(count - 1, size).unwrap();
        let chunk = FileRange::last_chunk(size).unwrap();
        assert_eq!((chunk.end(), chunk.from() >= last.from()), (size, true));
        assert!(chunk.size() <= 1024);
        assert_eq!((last.end(), FileRange::numbered(0, size).unwrap().from()), (size, 0));
        for number in (1..count).take(12) {
            let (before, range) = (FileRange::numbered(number - 1, size), FileRange::numbered(number, size));
            assert_eq!(before.unwrap().end(), range.unwrap().from());
        }
    }
    assert_eq!(FileRange::numbered(u64::MAX, 1), None);
    assert_eq!((FileRange::last_chunk(0), FileRange::last_chunk(MAX_FILE_BYTES + 1)), (None, None));
}

#[test]
fn ranges_that_nobody_may_ask_for_are_none() {
    assert!(FileRange::new(MAX_FILE_BYTES - 1024, 1024).is_some());
    for (from, len) in [
        (0, 0),
        (0, FILE_RANGE_BYTES + 1),
        (1, 1),
        (1023, 1),
        (MAX_FILE_BYTES, 1),
        (MAX_FILE_BYTES - 1024, 1025),
        (u64::MAX - 1023, 1024),
    ] {
        assert_eq!(FileRange::new(from, len), None, "{len} bytes from {from}");
    }
}

fn entry() -> Map {
    Map::new()
        .with("cid", FileId::from_hash([1; 32]))
        .with("size", 3_u64)
        .with("name", "a.txt")
        .with("type", "text/plain")
}

fn read(entries: Vec<Value>) -> Result<Vec<FileRef>, FilesError> {
    FileRef::of_body(&Body::new([1; 16], Map::new().with("files", entries)))
}

#[test]
fn a_list_of_files_that_is_unsound_names_none() {
    let sound = read(vec![entry().with("later", true).into()]).unwrap();
    assert_eq!((sound[0].name.as_str(), sound[0].size), ("a.txt", 3));
    let without = |key: &str| {
        let mut entry = entry();
        entry.remove(key);
        entry
    };
    let bent = [
        ("no id", without("cid")),
        ("no size", without("size")),
        ("no name", without("name")),
        ("no type", without("type")),
        ("an event's id", entry().with("cid", EventId::from_hash([1; 32]))),
        ("bytes for an id", entry().with("cid", vec![1_u8; 32])),
        ("nothing in it", entry().with("size", 0_u64)),
        ("more than a file may have", entry().with("size", MAX_FILE_BYTES + 1)),
        ("less than nothing", entry().with("size", Value::Int(-1))),
        ("an empty name", entry().with("name", "")),
        ("a long name", entry().with("name", "x".repeat(256))),
        ("a path", entry().with("name", "../../etc/passwd")),
        ("another system's path", entry().with("name", "..\\secret")),
        ("the directory above", entry().with("name", "..")),
        ("a name of two lines", entry().with("name", "a\nb")),
        ("a name that clears the screen", entry().with("name", "\u{1b}[2J")),
        ("a type without a slash", entry().with("type", "text")),
        ("a type of two headers", entry().with("type", "text/plain\r\nSet-Cookie: a=b")),
        ("a long type", entry().with("type", format!("text/{}", "x".repeat(251)))),
        ("half a size", entry().with("width", 10_u64)),
        ("no width", entry().with("width", 0_u64).with("height", 10_u64)),
        ("too wide", entry().with("width", u64::from(MAX_PIXELS) + 1).with("height", 10_u64)),
        ("a width that is a text", entry().with("width", "10").with("height", 10_u64)),
    ];
    for (name, entry) in bent {
        assert!(matches!(read(vec![entry.clone().into()]), Err(FilesError::Unsound { number: 1, .. })), "{name}");
        let behind = entry.with("cid", FileId::from_hash([2; 32]));
        if !matches!(name, "no id" | "an event's id" | "bytes for an id") {
            let both = read(vec![self::entry().into(), behind.into()]);
            assert!(matches!(both, Err(FilesError::Unsound { number: 2, .. })), "{name}");
        }
    }
    assert!(matches!(read(vec![Value::Null]), Err(FilesError::Unsound { number: 1, field: "entry", .. })));
    assert_eq!(read(vec![entry().into(), entry().into()]), Err(FilesError::Twice(FileId::from_hash([1; 32]))));
    let many = |count: u8| -> Vec<Value> {
        (0..count).map(|at| entry().with("cid", FileId::from_hash([at; 32])).into()).collect()
    };
    assert_eq!(read(many(10)).unwrap().len(), MAX_FILES_PER_MESSAGE);
    assert_eq!(read(many(11)), Err(FilesError::TooMany(11)));
    let no_list = FileRef::of_body(&Body::new([1; 16], Map::new().with("files", entry())));
    assert_eq!(no_list, Err(FilesError::NoList));
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let file = read(vec![entry().into()]).unwrap().remove(0);
    let unsound = FileRef { name: "a/b".to_owned(), ..file.clone() };
    assert!(FileRef::into_fields(&[unsound], Map::new()).is_err());
    assert_eq!(
        FileRef::into_fields(&[file.clone(), file], Map::new()),
        Err(FilesError::Twice(FileId::from_hash([1; 32])))
    );
}

#[test]
fn only_a_message_or_a_profile_whose_body_is_here_names_files() {
    let server = Server::new(1, "alice");
    let room = TestRoom::made_by(&server);
    let files = read(vec![entry().into()]).unwrap();
    let fields = FileRef::into_fields(&files, Map::new()).unwrap();
    let draft = Draft { body: Some(Body::new([1; 16], fields)), ..message(&server, "") };
    let event = room.author(&server, draft.clone());
    assert_eq!(event.files(), Ok(files));
    assert_eq!(event.without_body().files(), Ok(Vec::new()));
    let named = room.author(
        &server,
        Draft { kind: kind::PROFILE.to_owned(), state_key: Some(server.user.to_string()), ..draft.clone() },
    );
    assert_eq!(named.files(), event.files(), "a profile names a picture");
    let other = room.author(&server, Draft { kind: format!("org.example.{}", kind::MESSAGE), ..draft });
    assert_eq!(other.files(), Ok(Vec::new()));
}
