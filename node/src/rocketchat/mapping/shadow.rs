//! Names of the accounts that stand for people of other servers.
//!
//! Rocket.Chat allows letters, digits, `.`, `-` and `_` in usernames, and compares them without regard to case. So `@bob:chat.example`
//! becomes `bob.chat.example`, as far as that can be written; a name that is taken gets a number. **A name is never read back**: who
//! stands for whom is in the records, and nowhere else.

use rocketmesh_protocol::identity::UserId;

/// The longest part of a username that comes from a name of a user, and from a name of a server.
const LONGEST_PART: usize = 60;
/// How many characters of a server's id tell it from others to people.
const ORIGIN_TAIL: usize = 8;

/// A username for somebody elsewhere. `server` is what their server calls itself; `attempt` counts names that were taken.
pub(crate) fn username(user: &UserId, server: Option<&str>, attempt: u32) -> String {
    let origin = user.origin.to_string();
    let local = written(user.localpart.as_str());
    let server = server.map(written).filter(|server| !server.is_empty());
    let server = server.unwrap_or_else(|| origin[origin.len() - ORIGIN_TAIL..].to_owned());
    let local = if local.is_empty() { "user".to_owned() } else { local };
    match attempt {
        0 => format!("{local}.{server}"),
        attempt => format!("{local}.{server}-{}", attempt + 1),
    }
}

/// What people read: the name as it is written everywhere in the mesh.
pub(crate) fn display(user: &UserId, server: Option<&str>) -> String {
    let origin = user.origin.to_string();
    let server = server.unwrap_or(&origin[origin.len() - ORIGIN_TAIL..]);
    format!("{} ({server})", user.localpart)
}

/// What is said with a file that the service account sends for somebody: no alias stands beside a file, so that the text names them.
pub(crate) fn signed(name: Option<&str>, text: &str) -> String {
    match name {
        Some(name) if text.is_empty() => format!("*{name}*"),
        Some(name) => format!("*{name}*\n{text}"),
        None => text.to_owned(),
    }
}

/// The text of a file without whose it is.
pub(crate) fn unsigned<'a>(name: Option<&str>, text: &'a str) -> &'a str {
    let bare = name.and_then(|name| text.strip_prefix(signed(Some(name), "").as_str()));
    bare.map_or(text, |bare| bare.strip_prefix('\n').unwrap_or(bare))
}

/// The domain of accounts' addresses. The top-level domain is reserved for names that lead nowhere.
pub(crate) const EMAIL_DOMAIN: &str = "rocketmesh.invalid";

/// An address that nobody reads: Rocket.Chat wants one for each account.
pub(crate) fn email(user: &UserId, attempt: u32) -> String {
    let hash = blake3::hash(format!("{user} {attempt}").as_bytes());
    format!("{}@{EMAIL_DOMAIN}", hex::encode(&hash.as_bytes()[..12]))
}

fn written(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let plain: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).take(LONGEST_PART).collect();
    plain.trim_matches(['.', '-', '_']).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rocketmesh_protocol::identity::Origin;

    use super::*;

    fn user(name: &str) -> UserId {
        UserId { origin: Origin::from_bytes([3; 32]), localpart: name.parse().unwrap() }
    }

    #[test]
    fn a_username_has_only_what_rocket_chat_allows() {
        assert_eq!(username(&user("bob"), Some("chat.example"), 0), "bob.chat.example");
        assert_eq!(username(&user("bob"), Some("chat.example:3000"), 1), "bob.chat.example_3000-2");
        let long = "ü".repeat(90);
        for name in ["Zoë", "日本", "a+b", &long] {
            let username = username(&user(name), None, 0);
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            assert!(!username.is_empty() && username.chars().all(allowed), "{username}");
        }
    }

    #[test]
    fn a_file_says_whose_it_is_only_where_the_account_does_not() {
        for (name, text, said) in [
            (None, "a cat", "a cat"),
            (Some("bob (b)"), "", "*bob (b)*"),
            (Some("bob (b)"), "a cat", "*bob (b)*\na cat"),
        ] {
            assert_eq!(signed(name, text), said);
            assert_eq!(unsigned(name, said), text);
        }
        assert_eq!(unsigned(Some("eve (e)"), "*bob (b)*"), "*bob (b)*");
    }

    #[test]
    fn two_users_never_share_an_address() {
        assert_ne!(email(&user("bob"), 0), email(&user("bobby"), 0));
        assert_ne!(email(&user("bob"), 0), email(&user("bob"), 1));
    }
}
