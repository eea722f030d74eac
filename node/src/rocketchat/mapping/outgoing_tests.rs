//! One test for each row of the mapping and for each trap, on the way out.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::mock::Mock;
use super::outgoing::{News, What, deleted, edited, message, words};
use super::seen::Seen;
use crate::rocketchat::client::Message;
use rocketmesh_protocol::event::{Label, Membership, Role, Switch};

fn mock() -> Mock {
    let mut mock = Mock::new();
    mock.local("alice");
    mock.local("carol");
    mock.shadow("bob", "bob.there");
    mock.link(1, "FirstMessage12345");
    mock.wrote(1, &mock.user("alice"));
    mock.link(2, "RemoteMessage1234");
    mock.wrote(2, &mock.remote("bob"));
    mock
}

/// A message of alice with changes.
fn doc(changes: Value) -> Message {
    let mut doc = json!({
        "_id": "FirstMessage12345", "rid": "r", "msg": "hello", "u": {"_id": "id-alice", "username": "alice"},
        "ts": {"$date": 1000}, "_updatedAt": {"$date": 1000}
    });
    for (key, value) in changes.as_object().unwrap() {
        doc[key] = value.clone();
    }
    serde_json::from_value(doc).unwrap()
}

/// What was seen of alice's message, which became event 1.
fn seen() -> Seen {
    let mut seen = message(&doc(json!({})), None, &mock()).seen.unwrap();
    seen.event = Some(mock().event_of(1).to_string());
    seen.updated_ms = 1000;
    seen
}

/// What was seen of bob's message, which came as event 2.
fn remote() -> Seen {
    Seen { updated_ms: 1000, ..Seen::inserted(&mock().event_of(2), "hello") }
}

fn remote_doc(changes: Value) -> Message {
    let mut all = json!({"_id": "RemoteMessage1234", "u": {"_id": "id-x", "username": "bob.there"}});
    for (key, value) in changes.as_object().unwrap() {
        all[key] = value.clone();
    }
    doc(all)
}

/// Who does what, without the times.
fn said(news: &News) -> Vec<(&str, &What)> {
    news.said.iter().map(|said| (said.sender.as_str(), &said.what)).collect()
}

fn only(news: &News) -> (&str, &What) {
    assert_eq!(news.said.len(), 1, "{news:?}");
    said(news)[0]
}

fn system(kind: &str, by: &str, about: &str) -> News {
    let doc = doc(json!({"_id": "S", "t": kind, "msg": about, "u": {"_id": format!("id-{by}"), "username": by}}));
    message(&doc, None, &mock())
}

#[test]
fn a_new_message_of_a_local_user_is_said_once() {
    let news = message(&doc(json!({"tmid": "RemoteMessage1234"})), None, &mock());
    let What::Message { text, thread, in_room: false, files } = only(&news).1 else { panic!("{news:?}") };
    assert_eq!((text.words.as_str(), *thread), ("hello", Some(mock().event_of(2))));
    assert!(files.is_empty());
    assert_eq!(message(&doc(json!({})), Some(&seen()), &mock()).said, []);
}

#[test]
fn the_same_message_with_a_counter_or_a_preview_says_nothing() {
    for changes in [
        json!({"tcount": 3, "_updatedAt": {"$date": 2000}}),
        json!({"urls": [{"url": "http://x"}], "_updatedAt": {"$date": 2000}}),
    ] {
        assert_eq!(message(&doc(changes), Some(&seen()), &mock()).said, []);
    }
}

#[test]
fn nothing_is_ever_said_for_whoever_is_not_local() {
    let changed = json!({
        "msg": "changed", "editedAt": {"$date": 3000}, "_updatedAt": {"$date": 3000},
        "editedBy": {"_id": "id-x", "username": "bob.there"}, "reactions": {":+1:": {"usernames": ["bob.there", "bridge"]}}
    });
    assert_eq!(message(&remote_doc(changed.clone()), Some(&remote()), &mock()).said, []);
    assert_eq!(message(&remote_doc(changed.clone()), None, &mock()).said, []);
    assert_eq!(message(&doc(changed), Some(&seen()), &mock()).said, []);
    assert_eq!(message(&doc(json!({"u": {"_id": "id-bridge", "username": "bridge"}})), None, &mock()).said, []);
    for kind in
        ["uj", "ul", "au", "ru", "r", "room_changed_topic", "user-muted", "subscription-role-added", "room-archived"]
    {
        assert_eq!(system(kind, "bob.there", "alice").said, [], "{kind}");
        assert_eq!(
            system(kind, "bridge", "alice").said.iter().filter(|said| said.sender.as_str() == "bridge").count(),
            0
        );
    }
}

#[test]
fn an_edit_is_one_if_it_is_newer_and_says_something_else() {
    let edited = |text: &str, at: u64| {
        doc(json!({"msg": text, "editedAt": {"$date": at}, "_updatedAt": {"$date": at},
            "editedBy": {"_id": "id-alice", "username": "alice"}}))
    };
    let news = message(&edited("hello!", 2000), Some(&seen()), &mock());
    assert!(matches!(only(&news), ("alice", What::Edit { text, .. }) if text.words == "hello!"));
    let after = news.seen.unwrap();
    assert_eq!(message(&edited("hello!", 2000), Some(&after), &mock()).said, [], "told twice");
    assert_eq!(message(&doc(json!({})), Some(&after), &mock()).said, [], "an older document");
    assert_eq!(message(&edited("hello!", 4000), Some(&after), &mock()).said, [], "the same text again");
}

#[test]
fn two_edits_in_one_millisecond_are_two_and_an_old_text_that_comes_again_is_none() {
    let mock = mock();
    let edit = |text: &str| {
        doc(json!({"msg": text, "editedAt": {"$date": 2000}, "_updatedAt": {"$date": 2000},
        "editedBy": {"_id": "id-alice", "username": "alice"}}))
    };
    let one = message(&edit("one"), Some(&seen()), &mock);
    assert!(matches!(said(&one)[..], [("alice", What::Edit { .. })]), "{one:?}");
    let two = message(&edit("two"), one.seen.as_ref(), &mock);
    assert!(matches!(said(&two)[..], [("alice", What::Edit { .. })]), "{two:?}");
    for old in ["one", "two"] {
        let again = message(&edit(old), two.seen.as_ref(), &mock);
        assert!(again.said.is_empty(), "{old}: {again:?}");
    }
}

#[test]
fn a_local_moderators_edit_of_a_remote_message_is_theirs() {
    let edited = remote_doc(json!({"msg": "mended", "editedAt": {"$date": 2000}, "_updatedAt": {"$date": 2000},
        "editedBy": {"_id": "id-carol", "username": "carol"}}));
    let news = message(&edited, Some(&remote()), &mock());
    assert!(matches!(only(&news), ("carol", What::Edit { target, .. }) if *target == mock().event_of(2)));
}

#[test]
fn reactions_are_told_for_each_local_user() {
    let reacted = doc(json!({"_updatedAt": {"$date": 2000},
        "reactions": {":+1:": {"usernames": ["alice", "bob.there"]}, ":party:": {"usernames": ["carol"]}}}));
    let news = message(&reacted, Some(&seen()), &mock());
    let add = |emoji: &str, remove| What::React { target: mock().event_of(1), emoji: emoji.to_owned(), remove };
    assert_eq!(said(&news), [("alice", &add(":+1:", false)), ("carol", &add(":party:", false))]);
    let after = news.seen.unwrap();
    assert_eq!(message(&reacted, Some(&after), &mock()).said, []);
    let news = message(&doc(json!({"_updatedAt": {"$date": 3000}})), Some(&after), &mock());
    assert_eq!(said(&news), [("alice", &add(":+1:", true)), ("carol", &add(":party:", true))]);
    assert!(news.seen.unwrap().reactions.is_empty());
}

#[test]
fn what_the_node_did_for_a_remote_user_is_not_forgotten_over_an_old_document() {
    let mut before = seen();
    before.note_reaction(":+1:", "bob.there", true);
    let after = message(&doc(json!({"_updatedAt": {"$date": 2000}})), Some(&before), &mock()).seen.unwrap();
    assert!(after.has_reaction(":+1:", "bob.there"));
}

#[test]
fn a_message_that_was_emptied_is_taken_down_by_whoever_emptied_it() {
    let emptied = json!({"t": "rm", "msg": "", "editedBy": {"_id": "id-carol", "username": "carol"}});
    let news = message(&doc(emptied.clone()), Some(&seen()), &mock());
    assert!(matches!(only(&news), ("carol", What::Redact { .. })));
    assert_eq!(message(&doc(emptied.clone()), news.seen.as_ref(), &mock()), News::default());
    assert_eq!(message(&doc(emptied), None, &mock()), News::default(), "of a message that nobody knew");
    let hidden = message(&doc(json!({"_hidden": true})), Some(&seen()), &mock());
    assert!(matches!(only(&hidden), ("alice", What::Redact { .. })), "by its author, if nobody is named");
}

#[test]
fn a_deletion_without_a_name_is_the_authors_and_of_a_remote_message_nobodys() {
    let own = deleted(&seen(), &mock(), 5);
    assert!(matches!(only(&own), ("alice", What::Redact { .. })));
    let remote = deleted(&remote(), &mock(), 5);
    assert!(remote.said.is_empty() && remote.taken_down && remote.seen.unwrap().gone);
    assert_eq!(deleted(&own.seen.unwrap(), &mock(), 6), News::default());
}

#[test]
fn every_file_goes_with_its_message_and_the_caption_is_its_text() {
    let files = doc(json!({"msg": "", "attachments": [{"description": "look @bob.there"}],
        "files": [{"_id": "a", "name": "a"}, {"_id": "t", "typeGroup": "thumb"}, {"_id": "b", "name": "b"}]}));
    let news = message(&files, None, &mock());
    let What::Message { text, files, .. } = only(&news).1 else { panic!("{news:?}") };
    assert_eq!(text.words, "look @bob.there");
    assert_eq!(text.mentions["bob.there"], mock().remote("bob"));
    assert_eq!(files.iter().map(|file| file.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_text_and_a_caption_are_both_told_and_an_edit_changes_what_the_server_lets_it() {
    let quoting = |text: &str, caption: &str| {
        doc(json!({"msg": text, "attachments": [{"description": caption}], "files": [{"_id": "a", "name": "a"}]}))
    };
    let both = quoting("[ ](http://elsewhere.test)", "the menu");
    assert_eq!(words(&both), "[ ](http://elsewhere.test)\nthe menu");
    assert_eq!(edited(&both, "[ ](http://elsewhere.test)\nthe soup"), "the soup");
    assert_eq!(edited(&both, "something else"), "something else");
    let text_alone = quoting("the menu", "");
    assert_eq!((&*words(&text_alone), edited(&text_alone, "the menu")), ("the menu", ""));
    let caption_alone = quoting("", "the menu");
    assert_eq!((&*words(&caption_alone), edited(&caption_alone, "the soup")), ("the menu", "the soup"));
    let card = doc(json!({"msg": "see", "attachments": [{"description": "of an integration"}]}));
    assert_eq!((&*words(&card), edited(&card, "saw")), ("see", "saw"));
}

#[test]
fn who_is_in_the_room_is_told() {
    let member = |user, change| What::Member { user, change };
    let mock = mock();
    assert_eq!(only(&system("uj", "alice", "alice")), ("alice", &member(mock.user("alice"), Membership::Join)));
    assert_eq!(only(&system("ul", "alice", "alice")), ("alice", &member(mock.user("alice"), Membership::Leave)));
    assert_eq!(
        said(&system("au", "alice", "carol")),
        [
            ("alice", &member(mock.user("carol"), Membership::Invite)),
            ("carol", &member(mock.user("carol"), Membership::Join))
        ]
    );
    assert_eq!(only(&system("au", "alice", "bob.there")), ("alice", &member(mock.remote("bob"), Membership::Invite)));
    assert_eq!(only(&system("ru", "alice", "bob.there")), ("alice", &member(mock.remote("bob"), Membership::Kick)));
    assert_eq!(
        only(&system("user-banned", "alice", "bob.there")),
        ("alice", &member(mock.remote("bob"), Membership::Ban))
    );
    assert_eq!(
        only(&system("user-unbanned", "alice", "carol")),
        ("alice", &member(mock.user("carol"), Membership::Unban))
    );
    assert_eq!(said(&system("au", "bridge", "carol")), [("carol", &member(mock.user("carol"), Membership::Join))]);
}

#[test]
fn the_rooms_settings_are_told() {
    let label = |label, text: &str| What::Label { label, text: text.to_owned() };
    assert_eq!(only(&system("r", "alice", "lunch")).1, &label(Label::Name, "lunch"));
    assert_eq!(only(&system("room_changed_topic", "alice", "soup")).1, &label(Label::Topic, "soup"));
    assert_eq!(only(&system("room_changed_description", "alice", "x")).1, &label(Label::Description, "x"));
    assert_eq!(only(&system("room_changed_announcement", "alice", "")).1, &label(Label::Announcement, ""));
    let switch = |switch, on| What::Switch { switch, on };
    assert_eq!(only(&system("room-set-read-only", "alice", "")).1, &switch(Switch::ReadOnly, true));
    assert_eq!(only(&system("room-removed-read-only", "alice", "")).1, &switch(Switch::ReadOnly, false));
    assert_eq!(only(&system("room-archived", "alice", "")).1, &switch(Switch::Archived, true));
    assert_eq!(only(&system("room-unarchived", "alice", "")).1, &switch(Switch::Archived, false));
    let mute = |on| What::Mute { user: mock().remote("bob"), on };
    assert_eq!(only(&system("user-muted", "alice", "bob.there")).1, &mute(true));
    assert_eq!(only(&system("user-unmuted", "alice", "bob.there")).1, &mute(false));
    let role = |kind: &str, role: &str| {
        let doc = doc(json!({"_id": "S", "t": kind, "msg": "bob.there", "role": role}));
        message(&doc, None, &mock())
    };
    let bobs = |role, given| What::Role { user: mock().remote("bob"), role, given };
    assert_eq!(only(&role("subscription-role-added", "moderator")).1, &bobs(Role::Moderator, true));
    assert_eq!(only(&role("subscription-role-added", "owner")).1, &bobs(Role::Owner, true));
    assert_eq!(only(&role("subscription-role-removed", "owner")).1, &bobs(Role::Owner, false));
    assert_eq!(role("subscription-role-added", "king").said, []);
}

#[test]
fn a_system_message_counts_once_and_unknown_ones_never() {
    let topic = doc(json!({"_id": "S", "t": "room_changed_topic", "msg": "soup"}));
    let seen = message(&topic, None, &mock()).seen;
    assert_eq!(message(&topic, seen.as_ref(), &mock()).said, []);
    for kind in ["e2e", "room_changed_privacy", "something-new"] {
        assert_eq!(system(kind, "alice", "x"), News::default());
    }
}
