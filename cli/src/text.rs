//! How ids, times and foreign text are written for people.

use std::borrow::Cow;

/// Makes text safe to print on a terminal. Names, messages and agents come from other servers, and a control character
/// or an escape sequence in them could move the cursor, forge a line or reorder what an administrator reads.
///
/// Control characters become their pictures (`␛`), tabs become spaces, and what reorders text becomes `�`.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) { Cow::Owned(text.chars().map(visible).collect()) } else { Cow::Borrowed(text) }
}

/// Escapes what JSON allows in strings and a terminal does not bear. The result is the same JSON value.
pub(crate) fn clean_json(json: &str) -> String {
    let mut cleaned = String::with_capacity(json.len());
    for c in json.chars() {
        // A raw line feed is formatting: inside of strings JSON never has one.
        if c != '\n' && is_unsafe(c) {
            cleaned.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            cleaned.push(c);
        }
    }
    cleaned
}

/// Control characters, line and paragraph separators, and the controls of bidirectional text. All of them lie below
/// U+10000, which [`clean_json`] relies on.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        c if is_unsafe(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// An id with its middle left out, such as `bafyr4i…x7k2m3q`: 15 characters that may be pasted back where a room or a
/// server is asked for.
pub(crate) fn short_id(id: &str) -> String {
    const ENDS: usize = 7;
    let length = id.chars().count();
    if length <= 2 * ENDS + 1 {
        return id.to_owned();
    }
    let head: String = id.chars().take(ENDS).collect();
    let tail: String = id.chars().skip(length - ENDS).collect();
    format!("{head}…{tail}")
}

/// A user with the server's id, where it stands for a name, shortened.
pub(crate) fn short_user(user: &str) -> String {
    match user.split_once(':') {
        Some((local, server)) if server.parse::<rocketmesh_protocol::identity::Origin>().is_ok() => {
            format!("{local}:{}", short_id(server))
        }
        _ => user.to_owned(),
    }
}

/// The beginning of a text, with `…` where something was left out.
pub(crate) fn excerpt(text: &str, characters: usize) -> String {
    let mut excerpt: String = text.chars().take(characters).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    excerpt
}

/// The time of day in UTC of milliseconds since 1970.
pub(crate) fn clock(time_ms: u64) -> String {
    let seconds = time_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `1 room`, `2 rooms`.
pub(crate) fn count(number: u64, singular: &str) -> String {
    if number == 1 { format!("1 {singular}") } else { format!("{number} {singular}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_stays_as_it_is() {
        for text in ["", "hello", "Grüße, 世界", "👩\u{200d}🚀", "שלום"] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn nothing_in_foreign_text_reaches_the_terminal_as_a_control() {
        assert_eq!(clean("a\u{1b}[2Jb"), "a␛[2Jb");
        assert_eq!(clean("one\ntwo\r\0"), "one␊two␍␀");
        assert_eq!(clean("a\tb\u{7f}"), "a b␡");
        assert_eq!(clean("csi \u{9b}31m"), "csi �31m");
        assert_eq!(clean("\u{202e}drow\u{2066}\u{2028}"), "�drow��");
        let everything: String = (0..0x3000).filter_map(char::from_u32).collect();
        assert!(!clean(&everything).chars().any(is_unsafe));
    }

    #[test]
    fn json_keeps_its_value_while_controls_are_escaped() {
        let json = "{\n  \"text\": \"\u{9b}31m \u{7f} \u{202e} ü\"\n}";
        let cleaned = clean_json(json);
        assert!(cleaned.contains("\\u009b31m \\u007f \\u202e ü"), "{cleaned}");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("this is JSON");
        assert_eq!(value(json), value(&cleaned));
    }

    #[test]
    fn ids_lose_their_middle_and_names_do_not() {
        assert_eq!(short_id("bafyr4iabcdefghijklmnopqrstuvwxyzx7k2m3q"), "bafyr4i…x7k2m3q");
        assert_eq!(short_id("bafyr4ix7k2m3q"), "bafyr4ix7k2m3q");
        assert_eq!(short_user("@alice:chat.example.org"), "@alice:chat.example.org");
        assert_eq!(short_user("alice"), "alice");
        let origin = rocketmesh_protocol::identity::Origin::from_bytes([7; 32]).to_string();
        assert_eq!(short_user(&format!("@alice:{origin}")), format!("@alice:{}", short_id(&origin)));
    }

    #[test]
    fn times_are_of_the_day_in_utc() {
        assert_eq!(clock(0), "00:00:00");
        assert_eq!(clock(86_399_999), "23:59:59");
        assert_eq!(clock(1_700_000_000_000), "22:13:20");
    }

    #[test]
    fn excerpts_say_that_they_are_some() {
        assert_eq!(excerpt("größer", 3), "grö…");
        assert_eq!(excerpt("abc", 3), "abc");
    }
}
