//! Messages as Rocket.Chat tells them, over DDP and over REST, reduced to what is mapped.
//!
//! Whatever is missing or of another type is taken as absent: servers of four versions tell slightly different documents, and one
//! that cannot be read at all is passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The most files of a message that are read; more than an event may name.
const MOST_FILES: usize = 32;
/// The most emoji and people of each that are read.
const MOST_REACTIONS: usize = 1000;

/// Somebody as a message names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) username: String,
}

/// A file of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) media_type: String,
    /// Where it is taken from, behind the server's address: `/file-upload/ID/NAME`.
    pub(crate) path: String,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) rid: String,
    /// What it says; of a file's message what its first attachment says beside the file.
    pub(crate) text: String,
    pub(crate) author: Person,
    /// When it was said, in milliseconds since 1970.
    pub(crate) said_ms: u64,
    /// When the document last changed.
    pub(crate) updated_ms: u64,
    /// When and by whom the text was last changed.
    pub(crate) edited: Option<(u64, Person)>,
    /// What of a system message it is; none for what people say.
    pub(crate) system: Option<String>,
    /// The role that a system message is about.
    pub(crate) role: Option<String>,
    /// Whether it is no longer shown, although it is kept.
    pub(crate) hidden: bool,
    /// Who reacted, by emoji with colons.
    pub(crate) reactions: BTreeMap<String, BTreeSet<String>>,
    /// The message that began the thread.
    pub(crate) thread: Option<String>,
    pub(crate) files: Vec<File>,
    /// Whether a bot said it under another name.
    pub(crate) aliased: bool,
}

impl Message {
    /// Reads a message; none if it has no id, room or author.
    pub(crate) fn read(value: &Value) -> Option<Message> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let files = files(value);
        let caption = value["attachments"][0]["description"].as_str().unwrap_or_default();
        let said = value["msg"].as_str().unwrap_or_default();
        let said_ms = moment(&value["ts"]).unwrap_or(0);
        Some(Message {
            id: text("_id")?,
            rid: text("rid")?,
            text: if said.is_empty() && !files.is_empty() { caption } else { said }.to_owned(),
            author: person(&value["u"])?,
            said_ms,
            updated_ms: moment(&value["_updatedAt"]).unwrap_or(said_ms),
            edited: moment(&value["editedAt"]).map(|at| (at, person(&value["editedBy"]).unwrap_or_default())),
            system: text("t").filter(|kind| !kind.is_empty()),
            role: text("role"),
            hidden: value["_hidden"].as_bool().unwrap_or(false),
            reactions: reactions(&value["reactions"]),
            thread: text("tmid").filter(|thread| !thread.is_empty()),
            files,
            aliased: value["alias"].as_str().is_some_and(|alias| !alias.is_empty()),
        })
    }
}

fn person(value: &Value) -> Option<Person> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Some(Person { id: text("_id")?, username: text("username")? })
}

fn reactions(value: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let Some(emoji) = value.as_object() else { return BTreeMap::new() };
    let people = |value: &Value| -> BTreeSet<String> {
        let names = value["usernames"].as_array().map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(|name| name.as_str().map(str::to_owned)).take(MOST_REACTIONS).collect()
    };
    emoji.iter().take(MOST_REACTIONS).map(|(name, value)| (name.clone(), people(value))).collect()
}

/// All files: `files` on newer servers, in which thumbnails stand beside what they are of; `file` where there is one only.
fn files(value: &Value) -> Vec<File> {
    let list = value["files"].as_array().map(Vec::as_slice).unwrap_or_default();
    let single = std::slice::from_ref(&value["file"]);
    let links: Vec<&str> = value["attachments"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(|attachment| attachment["title_link"].as_str())
        .collect();
    let mut found: Vec<File> = Vec::new();
    for file in if list.is_empty() { single } else { list } {
        let Some(id) = file["_id"].as_str().filter(|id| !id.is_empty()) else { continue };
        let name = file["name"].as_str().unwrap_or("file");
        // A preview that the server made is not what anybody sent.
        let thumbnail = file["typeGroup"].as_str() == Some("thumb") || name.starts_with("thumb-");
        if thumbnail || found.len() == MOST_FILES || found.iter().any(|known| known.id == id) {
            continue;
        }
        let marker = format!("/file-upload/{id}/");
        let link = links.iter().find_map(|link| link.find(&marker).map(|at| link[at..].to_owned()));
        found.push(File {
            id: id.to_owned(),
            name: name.to_owned(),
            media_type: file["type"].as_str().unwrap_or("application/octet-stream").to_owned(),
            path: link.unwrap_or_else(|| format!("{marker}{}", escaped(name))),
        });
    }
    found
}

/// A name as a part of a path.
fn escaped(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => path.push(char::from(byte)),
            byte => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// A time of a document in milliseconds since 1970: `{"$date": 1700000000000}` over DDP, `2023-11-14T22:13:20.000Z` over REST.
pub(crate) fn moment(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::Object(object) => object.get("$date")?.as_u64(),
        Value::String(text) => parse(text),
        _ => None,
    }
}

fn parse(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = bytes.get(from..to)?;
        digits
            .iter()
            .try_fold(0_u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let sound = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sound || hour > 23 || minute > 59 || second > 60 || !text.ends_with('Z') {
        return None;
    }
    let millis = if bytes.get(19) == Some(&b'.') { number(20, 23)? } else { 0 };
    // Days since 1970 by counting years from March, so that the leap day is a year's last.
    let (shifted, from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = |years: u64| years * 365 + years / 4 - years / 100 + years / 400;
    let days = (leaps(shifted) + (from_march * 153 + 2) / 5 + day - 1).checked_sub(719_468)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis)
}

/// A time as REST wants it.
pub(crate) fn iso(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    // The way of `parse` backwards, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millis) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dates_of_both_forms_are_read_and_written() {
        assert_eq!(moment(&json!({"$date": 1_700_000_000_000_u64})), Some(1_700_000_000_000));
        assert_eq!(moment(&json!("2023-11-14T22:13:20.000Z")), Some(1_700_000_000_000));
        assert_eq!(moment(&json!("2024-02-29T00:00:00.001Z")), Some(1_709_164_800_001));
        assert_eq!(moment(&json!({"$date": null})), None);
        assert_eq!(moment(&json!("yesterday")), None);
        for ms in [0, 951_782_400_000, 1_700_000_000_123, 4_102_444_800_000, 1_709_164_800_001] {
            assert_eq!(moment(&json!(iso(ms))), Some(ms));
        }
    }

    #[test]
    fn every_file_of_a_message_is_read_and_no_thumbnail() {
        let message = Message::read(&json!({
            "_id": "m", "rid": "r", "msg": "", "u": {"_id": "a", "username": "alice"}, "ts": {"$date": 5},
            "file": {"_id": "one", "name": "a.png", "type": "image/png"},
            "files": [
                {"_id": "one", "name": "a.png", "type": "image/png"},
                {"_id": "small", "name": "thumb-a.png", "type": "image/png"},
                {"_id": "two", "name": "b c.txt", "type": "text/plain"},
            ],
            "attachments": [{"title_link": "/file-upload/one/a.png", "description": "look"}],
        }))
        .unwrap();
        let files: Vec<(&str, &str)> =
            message.files.iter().map(|file| (file.id.as_str(), file.path.as_str())).collect();
        assert_eq!(files, [("one", "/file-upload/one/a.png"), ("two", "/file-upload/two/b%20c.txt")]);
        assert_eq!(message.text, "look", "a caption is what the message says");
        assert_eq!(message.updated_ms, 5);
    }

    #[test]
    fn what_is_no_message_is_passed_over() {
        for value in [json!(null), json!([]), json!({"_id": 1}), json!({"_id": "m", "rid": "r", "u": {}})] {
            assert_eq!(Message::read(&value), None);
        }
    }
}
