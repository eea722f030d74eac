//! Everything the server knows, and the events that changes of it bring about.
//!
//! ```text
//!  call ──► rules ──► put_* ──► documents ──► journal        written by commit, before the call is answered
//!                        └────► outbox ─────► subscribers    sent by the server, after it was written
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::documents::{Author, Deleted, Message, Room, Subscription, Upload, User, Webhook};
use crate::id;
use crate::journal::{Change, Journal};
use crate::limits::{REST, Rate};
use crate::moment::Moment;
use crate::permissions::Permission;
use crate::version::Version;

/// The room that every server has.
const GENERAL: &str = "GENERAL";

/// Something that is told to whoever listens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A message that is new or was changed, whole.
    Message(Box<Message>),
    /// `<rid>/<name>` of `stream-notify-room`.
    Room { rid: String, name: &'static str, args: Vec<Value>, origin: Option<u64> },
    /// Something of `stream-notify-logged`.
    Logged { name: &'static str, args: Vec<Value> },
    /// A subscription that is new, was changed or is gone.
    Subscription { action: &'static str, subscription: Box<Subscription> },
    /// A room that is new, was changed or is gone, for `rooms-changed` of whoever is in it, and of whoever was in one that is
    /// gone.
    RoomChanged { action: &'static str, room: Box<Room>, former: Vec<String> },
    /// A login that is no longer valid: its connections are closed.
    LoggedOut { uid: String },
}

/// All documents.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) version: Version,
    pub(crate) users: BTreeMap<String, User>,
    usernames: HashMap<String, String>,
    pub(crate) rooms: BTreeMap<String, Room>,
    subscriptions: BTreeMap<(String, String), Subscription>,
    rooms_of: HashMap<String, BTreeSet<String>>,
    messages: HashMap<String, Message>,
    messages_of: HashMap<String, Vec<String>>,
    pub(crate) deleted_messages: Vec<Deleted>,
    pub(crate) deleted_subscriptions: Vec<Deleted>,
    pub(crate) uploads: BTreeMap<String, Upload>,
    files: HashMap<String, Vec<u8>>,
    settings: BTreeMap<String, Value>,
    pub(crate) webhooks: BTreeMap<String, Webhook>,
    /// What stands still while a test wants two documents in one millisecond.
    pub(crate) frozen: Option<Moment>,
    /// How far the clock is ahead of the time, in milliseconds.
    pub(crate) ahead_ms: i64,
    /// Whether the workspace may not send, as one that has not reached its vendor for ten days.
    pub(crate) restricted: bool,
    /// The roles of permissions that an administrator has changed, by the permission's name.
    pub(crate) permitted: BTreeMap<String, Vec<String>>,
    /// Emojis that this server does not have.
    pub(crate) refused_emojis: BTreeSet<String>,
    outbox: Vec<Event>,
    journal: Option<Journal>,
}

impl State {
    /// A server with its room `general`, or the one whose journal stands in a directory.
    pub(crate) fn open(version: Version, directory: Option<&Path>) -> io::Result<Self> {
        let mut state = State {
            version,
            users: BTreeMap::new(),
            usernames: HashMap::new(),
            rooms: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            rooms_of: HashMap::new(),
            messages: HashMap::new(),
            messages_of: HashMap::new(),
            deleted_messages: Vec::new(),
            deleted_subscriptions: Vec::new(),
            uploads: BTreeMap::new(),
            files: HashMap::new(),
            settings: default_settings(),
            webhooks: BTreeMap::new(),
            frozen: None,
            ahead_ms: 0,
            restricted: false,
            permitted: BTreeMap::new(),
            refused_emojis: BTreeSet::new(),
            outbox: Vec::new(),
            journal: None,
        };
        if let Some(directory) = directory {
            let (journal, changes) = Journal::open(directory)?;
            for change in changes {
                state.apply(change);
            }
            state.journal = Some(journal);
        }
        if !state.rooms.contains_key(GENERAL) {
            let mut general = state.blank_room(GENERAL.to_owned(), "c");
            general.name = Some("general".to_owned());
            state.put_room(general, "inserted");
        }
        state.commit()?;
        state.outbox.clear();
        Ok(state)
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Moment {
        self.frozen.unwrap_or_else(|| Moment(Moment::now().0.saturating_add(self.ahead_ms)))
    }

    /// Writes what was changed.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        self.journal.as_mut().map_or(Ok(()), Journal::commit)
    }

    /// What is to be told, once it is written.
    pub(crate) fn take_outbox(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.outbox)
    }

    /// Tells something that changes no document.
    pub(crate) fn tell(&mut self, event: Event) {
        self.outbox.push(event);
    }

    /// Whether somebody has a permission, by a role of their own or by one in a room.
    pub(crate) fn may(&self, uid: &str, permission: Permission, rid: Option<&str>) -> bool {
        let Some(user) = self.users.get(uid).filter(|user| user.active) else { return false };
        let own = user.roles.iter();
        let local = rid.and_then(|rid| self.member(rid, uid)).into_iter().flat_map(|member| member.roles.iter());
        let roles = self.roles_of(permission);
        own.chain(local).any(|role| roles.contains(&role.as_str()))
    }

    /// The roles that have a permission: those of a new server, or those that an administrator has given it.
    pub(crate) fn roles_of(&self, permission: Permission) -> Vec<&str> {
        let name = Permission::NAMED.iter().find(|(_, of)| *of == permission).map(|(name, _)| *name);
        match name.and_then(|name| self.permitted.get(name)) {
            Some(roles) => roles.iter().map(String::as_str).collect(),
            None => permission.roles().to_vec(),
        }
    }

    /// How often somebody may call over REST: an administrator can change both numbers.
    pub(crate) fn rest_rate(&self) -> Rate {
        let number = |id: &str| self.setting(id).as_i64();
        Rate {
            calls: number("API_Enable_Rate_Limiter_Limit_Calls_Default")
                .and_then(|calls| u64::try_from(calls).ok())
                .unwrap_or(REST.calls),
            ms: number("API_Enable_Rate_Limiter_Limit_Time_Default").unwrap_or(REST.ms),
        }
    }

    /// Whether somebody may read a room: members may, and everybody a public channel unless they were banned from it.
    pub(crate) fn can_access(&self, rid: &str, uid: &str) -> bool {
        let Some(room) = self.rooms.get(rid) else { return false };
        match self.subscription(rid, uid) {
            Some(subscription) => subscription.is_member(),
            None => room.t == "c" && self.may(uid, Permission::ViewChannel, None),
        }
    }

    /// A setting, or `null`.
    pub(crate) fn setting(&self, id: &str) -> &Value {
        self.settings.get(id).unwrap_or(&Value::Null)
    }

    /// A setting that is on or off.
    pub(crate) fn is_on(&self, id: &str) -> bool {
        self.setting(id).as_bool().unwrap_or(false)
    }

    pub(crate) fn user_named(&self, username: &str) -> Option<&User> {
        self.users.get(self.usernames.get(username)?)
    }

    pub(crate) fn author(&self, uid: &str) -> Option<Author> {
        let user = self.users.get(uid)?;
        Some(Author { id: user.id.clone(), username: user.username.clone(), name: Some(user.name.clone()) })
    }

    pub(crate) fn room_named(&self, name: &str) -> Option<&Room> {
        self.rooms.values().find(|room| room.name.as_deref() == Some(name))
    }

    /// Somebody's subscription, also that of a ban.
    pub(crate) fn subscription(&self, rid: &str, uid: &str) -> Option<&Subscription> {
        self.subscriptions.get(&(rid.to_owned(), uid.to_owned()))
    }

    /// The subscription of somebody who is in a room.
    pub(crate) fn member(&self, rid: &str, uid: &str) -> Option<&Subscription> {
        self.subscription(rid, uid).filter(|subscription| subscription.is_member())
    }

    /// Everybody who is in a room, in the order of their ids.
    pub(crate) fn members(&self, rid: &str) -> Vec<&Subscription> {
        let from = (rid.to_owned(), String::new());
        let of_room = self.subscriptions.range(from..).take_while(|((of, _), _)| of == rid);
        of_room.map(|(_, subscription)| subscription).filter(|subscription| subscription.is_member()).collect()
    }

    /// The subscriptions of somebody.
    pub(crate) fn subscriptions_of(&self, uid: &str) -> Vec<&Subscription> {
        let rooms = self.rooms_of.get(uid).into_iter().flatten();
        rooms.filter_map(|rid| self.subscription(rid, uid)).collect()
    }

    pub(crate) fn message(&self, id: &str) -> Option<&Message> {
        self.messages.get(id)
    }

    /// The messages of a room in the order in which they came, also hidden ones.
    pub(crate) fn messages(&self, rid: &str) -> impl Iterator<Item = &Message> {
        let ids = self.messages_of.get(rid).into_iter().flatten();
        ids.filter_map(move |id| self.messages.get(id))
    }

    /// The bytes of an upload or an avatar.
    pub(crate) fn file(&self, id: &str) -> Option<Vec<u8>> {
        match (&self.journal, self.files.get(id)) {
            (_, Some(bytes)) => Some(bytes.clone()),
            (Some(journal), None) => journal.kept(id).ok(),
            (None, None) => None,
        }
    }

    /// Keeps the bytes of an upload or an avatar.
    pub(crate) fn put_file(&mut self, id: &str, bytes: Vec<u8>) -> io::Result<()> {
        match &self.journal {
            Some(journal) => journal.keep(id, &bytes),
            None => {
                self.files.insert(id.to_owned(), bytes);
                Ok(())
            }
        }
    }

    pub(crate) fn put_user(&mut self, mut user: User) {
        user.updated_at = self.now();
        self.change(Change::User(Box::new(user)));
    }

    pub(crate) fn remove_user(&mut self, uid: &str) {
        self.change(Change::UserGone(uid.to_owned()));
    }

    pub(crate) fn put_room(&mut self, mut room: Room, action: &'static str) {
        room.updated_at = self.now();
        self.tell(Event::RoomChanged { action, room: Box::new(room.clone()), former: Vec::new() });
        self.change(Change::Room(Box::new(room)));
    }

    /// Takes a room away with its messages and subscriptions.
    pub(crate) fn remove_room(&mut self, rid: &str) {
        let Some(room) = self.rooms.get(rid).cloned() else { return };
        let members: Vec<String> = self.members(rid).into_iter().map(|member| member.u.id.clone()).collect();
        self.tell(Event::RoomChanged { action: "removed", room: Box::new(room), former: members.clone() });
        for uid in members {
            self.remove_subscription(rid, &uid);
        }
        for id in self.messages_of.get(rid).cloned().unwrap_or_default() {
            self.change(Change::MessageGone(id));
        }
        self.change(Change::RoomGone(rid.to_owned()));
    }

    pub(crate) fn put_subscription(&mut self, mut subscription: Subscription, action: &'static str) {
        subscription.updated_at = self.now();
        self.tell(Event::Subscription { action, subscription: Box::new(subscription.clone()) });
        self.change(Change::Subscription(Box::new(subscription)));
    }

    /// Takes a subscription away, and tells so.
    pub(crate) fn remove_subscription(&mut self, rid: &str, uid: &str) {
        let Some(subscription) = self.subscription(rid, uid).cloned() else { return };
        let (id, rid, uid) = (subscription.id.clone(), rid.to_owned(), uid.to_owned());
        let deleted = Deleted { id, rid: rid.clone(), uid: Some(uid.clone()), deleted_at: self.now() };
        self.change(Change::DeletedSubscription(deleted));
        self.change(Change::SubscriptionGone { rid, uid });
        self.tell(Event::Subscription { action: "removed", subscription: Box::new(subscription) });
    }

    /// Keeps a message and tells it, whole. A hidden one is not told.
    pub(crate) fn put_message(&mut self, mut message: Message) {
        message.updated_at = self.now();
        if !message.hidden {
            self.tell(Event::Message(Box::new(message.clone())));
        }
        self.change(Change::Message(Box::new(message)));
    }

    /// Takes a message away. It stands in the list of deletions from then on.
    pub(crate) fn remove_message(&mut self, id: &str) {
        let Some(rid) = self.messages.get(id).map(|message| message.rid.clone()) else { return };
        let deleted = Deleted { id: id.to_owned(), rid, uid: None, deleted_at: self.now() };
        self.change(Change::DeletedMessage(deleted));
        self.change(Change::MessageGone(id.to_owned()));
    }

    pub(crate) fn put_upload(&mut self, upload: Upload) {
        self.change(Change::Upload(Box::new(upload)));
    }

    pub(crate) fn remove_upload(&mut self, id: &str) {
        self.change(Change::UploadGone(id.to_owned()));
    }

    pub(crate) fn set(&mut self, id: &str, value: Value) {
        self.change(Change::Setting { id: id.to_owned(), value });
    }

    pub(crate) fn put_webhook(&mut self, webhook: Webhook) {
        self.change(Change::Webhook(webhook));
    }

    /// A room with nothing in it.
    pub(crate) fn blank_room(&self, id: String, t: &str) -> Room {
        let now = self.now();
        Room {
            id,
            t: t.to_owned(),
            name: None,
            fname: None,
            ts: now,
            updated_at: now,
            msgs: 0,
            users_count: 0,
            u: None,
            ro: false,
            react_when_read_only: false,
            archived: false,
            topic: None,
            description: None,
            announcement: None,
            custom_fields: None,
            muted: Vec::new(),
            unmuted: Vec::new(),
            usernames: Vec::new(),
            uids: Vec::new(),
            last_message: None,
            lm: None,
        }
    }

    /// A new message of somebody.
    pub(crate) fn blank_message(&self, rid: &str, u: Author, msg: String) -> Message {
        let now = self.now();
        Message {
            id: id::id(),
            rid: rid.to_owned(),
            msg,
            ts: now,
            u,
            updated_at: now,
            t: None,
            role: None,
            groupable: None,
            alias: None,
            avatar: None,
            emoji: None,
            urls: Vec::new(),
            mentions: Vec::new(),
            channels: Vec::new(),
            reactions: None,
            tmid: None,
            tshow: None,
            tcount: None,
            tlm: None,
            replies: None,
            attachments: None,
            file: None,
            files: None,
            custom_fields: None,
            edited_at: None,
            edited_by: None,
            hidden: false,
            parent: None,
        }
    }

    fn change(&mut self, change: Change) {
        if let Some(journal) = &mut self.journal {
            journal.note(&change);
        }
        self.apply(change);
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::User(user) => {
                if let Some(before) = self.users.get(&user.id) {
                    self.usernames.remove(&before.username);
                }
                self.usernames.insert(user.username.clone(), user.id.clone());
                self.users.insert(user.id.clone(), *user);
            }
            Change::UserGone(uid) => {
                if let Some(user) = self.users.remove(&uid) {
                    self.usernames.remove(&user.username);
                }
            }
            Change::Room(room) => {
                self.rooms.insert(room.id.clone(), *room);
            }
            Change::RoomGone(rid) => {
                self.rooms.remove(&rid);
                self.messages_of.remove(&rid);
            }
            Change::Subscription(subscription) => {
                let key = (subscription.rid.clone(), subscription.u.id.clone());
                self.rooms_of.entry(key.1.clone()).or_default().insert(key.0.clone());
                self.subscriptions.insert(key, *subscription);
            }
            Change::SubscriptionGone { rid, uid } => {
                if let Some(rooms) = self.rooms_of.get_mut(&uid) {
                    rooms.remove(&rid);
                }
                self.subscriptions.remove(&(rid, uid));
            }
            Change::Message(message) => {
                if !self.messages.contains_key(&message.id) {
                    self.messages_of.entry(message.rid.clone()).or_default().push(message.id.clone());
                }
                self.messages.insert(message.id.clone(), *message);
            }
            Change::MessageGone(id) => {
                if let Some(message) = self.messages.remove(&id)
                    && let Some(ids) = self.messages_of.get_mut(&message.rid)
                {
                    ids.retain(|other| *other != id);
                }
            }
            Change::DeletedMessage(deleted) => self.deleted_messages.push(deleted),
            Change::DeletedSubscription(deleted) => self.deleted_subscriptions.push(deleted),
            Change::Upload(upload) => {
                self.uploads.insert(upload.id.clone(), *upload);
            }
            Change::UploadGone(id) => {
                self.uploads.remove(&id);
                self.files.remove(&id);
            }
            Change::Setting { id, value } => {
                self.settings.insert(id, value);
            }
            Change::Webhook(webhook) => {
                self.webhooks.insert(webhook.id.clone(), webhook);
            }
        }
    }
}

/// The settings that are asked here, with the values of a new server.
fn default_settings() -> BTreeMap<String, Value> {
    let settings = [
        ("API_Allow_Infinite_Count", json!(true)),
        ("API_Enable_Rate_Limiter_Limit_Calls_Default", json!(REST.calls)),
        ("API_Enable_Rate_Limiter_Limit_Time_Default", json!(REST.ms)),
        ("API_Default_Count", json!(50)),
        ("API_Upper_Count_Limit", json!(100)),
        ("DirectMesssage_maxUsers", json!(8)),
        ("FileUpload_MaxFileSize", json!(104_857_600)),
        ("FileUpload_ProtectFiles", json!(true)),
        ("Message_AllowDeleting", json!(true)),
        ("Message_AllowDeleting_BlockDeleteInMinutes", json!(0)),
        ("Message_AllowEditing", json!(true)),
        ("Message_AllowEditing_BlockEditInMinutes", json!(0)),
        ("Message_CustomFields", json!("")),
        ("Message_CustomFields_Enabled", json!(false)),
        ("Message_KeepHistory", json!(false)),
        ("Message_MaxAllowedSize", json!(5000)),
        ("Message_ShowDeletedStatus", json!(false)),
        ("Site_Name", json!("Rocket.Chat")),
        ("Site_Url", json!("")),
        ("Threads_enabled", json!(true)),
        ("UTF8_Channel_Names_Validation", json!("[0-9a-zA-Z-_.]+")),
        ("UTF8_User_Names_Validation", json!("[0-9a-zA-Z-_.]+")),
        ("uniqueID", json!("standin")),
    ];
    settings.into_iter().map(|(id, value)| (id.to_owned(), value)).collect()
}
