//! People of a test: each uses the REST API as a client of theirs does.

use std::future::Future;
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::control::{Account, Wish};
use crate::dump::HeldRoom;
use crate::id;

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Why something that somebody wanted did not happen.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// The server cannot be reached, or its answer cannot be read.
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[from] reqwest::Error),
    /// The server refused. Unless a fault was wished for, nothing was changed.
    #[error("{call} was refused with {status}: {body}")]
    Refused {
        /// What was called.
        call: String,
        /// The status of the answer.
        status: u16,
        /// The answer.
        body: Value,
    },
    /// The answer does not have the form that it has on a real server.
    #[error("{call} was answered in another form than a real server's: {body}")]
    Form {
        /// What was called.
        call: String,
        /// The answer.
        body: Value,
    },
    /// What was waited for did not come.
    #[error("in vain: {0}")]
    InVain(String),
}

impl PersonError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            PersonError::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The `errorType` of a refusal, or its `error` where it has no type.
    pub fn code(&self) -> Option<&str> {
        match self {
            PersonError::Refused { body, .. } => body["errorType"].as_str().or(body["error"].as_str()),
            _ => None,
        }
    }
}

/// A message as somebody sees it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Seen {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: String,
    /// What it says.
    pub msg: String,
    /// The type of what a room tells of itself.
    #[serde(default)]
    pub t: Option<String>,
    /// Everything else that it carries.
    #[serde(flatten)]
    pub rest: Value,
}

impl Seen {
    /// Who wrote it.
    pub fn who(&self) -> &str {
        self.rest["u"]["username"].as_str().unwrap_or_default()
    }
}

/// Somebody with an account and a token.
#[derive(Clone, Debug)]
pub struct Person {
    http: reqwest::Client,
    url: String,
    /// Their id.
    pub id: String,
    /// What they are called.
    pub username: String,
    /// The token that they act with.
    pub token: String,
}

impl Person {
    /// Somebody who uses the server at an address such as `http://127.0.0.1:3000`.
    pub fn new(url: &str, account: &Account) -> Self {
        Person {
            http: reqwest::Client::new(),
            url: url.trim_end_matches('/').to_owned(),
            id: account.user_id.clone(),
            username: account.username.clone(),
            token: account.token.clone(),
        }
    }

    /// Logs in by password.
    ///
    /// # Errors
    /// If the password is wrong, or there were too many logins.
    pub async fn log_in(url: &str, username: &str, password: &str) -> Result<Self, PersonError> {
        let nobody = Account {
            user_id: String::new(),
            username: username.to_owned(),
            token: String::new(),
            password: password.to_owned(),
        };
        let mut person = Person::new(url, &nobody);
        let answer: Value = person.post("login", json!({"user": username, "password": password})).await?;
        let text = |key: &str| answer["data"][key].as_str().map(str::to_owned);
        match (text("userId"), text("authToken")) {
            (Some(id), Some(token)) => {
                person.id = id;
                person.token = token;
                Ok(person)
            }
            _ => Err(PersonError::Form { call: "login".to_owned(), body: answer }),
        }
    }

    /// Calls `GET /api/v1/CALL`.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn get<T: DeserializeOwned>(&self, call: &str, query: &[(&str, &str)]) -> Result<T, PersonError> {
        let request = self.request(Method::GET, call).query(query);
        answer(call, request.send().await?).await
    }

    /// Calls `POST /api/v1/CALL`.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn post<T: DeserializeOwned>(&self, call: &str, body: Value) -> Result<T, PersonError> {
        let request = self.request(Method::POST, call).json(&body);
        answer(call, request.send().await?).await
    }

    /// Says something, and gives the message's id.
    ///
    /// # Errors
    /// If they may not write there.
    pub async fn say(&self, room: &str, text: &str) -> Result<String, PersonError> {
        self.send(json!({"rid": room, "msg": text})).await
    }

    /// Replies in the thread of a message, and gives the reply's id.
    ///
    /// # Errors
    /// If they may not write there.
    pub async fn reply(&self, room: &str, to: &str, text: &str) -> Result<String, PersonError> {
        self.send(json!({"rid": room, "msg": text, "tmid": to})).await
    }

    /// Sends a message with the fields of `chat.sendMessage`, and gives its id.
    ///
    /// # Errors
    /// If the server refuses, as it does with an id that it knows.
    pub async fn send(&self, message: Value) -> Result<String, PersonError> {
        let answer: Value = self.post("chat.sendMessage", json!({"message": message})).await?;
        text("chat.sendMessage", &answer, &["message", "_id"])
    }

    /// Edits a message.
    ///
    /// # Errors
    /// If they may not.
    pub async fn edit(&self, room: &str, message: &str, text: &str) -> Result<(), PersonError> {
        self.done("chat.update", json!({"roomId": room, "msgId": message, "text": text})).await
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// If they may not.
    pub async fn delete(&self, room: &str, message: &str) -> Result<(), PersonError> {
        self.done("chat.delete", json!({"roomId": room, "msgId": message})).await
    }

    /// Reacts to a message, with an emoji such as `:smile:`.
    ///
    /// # Errors
    /// If they may not, or the server has no such emoji.
    pub async fn react(&self, message: &str, emoji: &str) -> Result<(), PersonError> {
        self.done("chat.react", json!({"messageId": message, "emoji": emoji, "shouldReact": true})).await
    }

    /// Takes a reaction back. See `docs/standin.md` for what that does to a message without any.
    ///
    /// # Errors
    /// If they may not.
    pub async fn unreact(&self, message: &str, emoji: &str) -> Result<(), PersonError> {
        self.done("chat.react", json!({"messageId": message, "emoji": emoji, "shouldReact": false})).await
    }

    /// Uploads a file and shows it in a room, with a text if there is one. Gives the message's id.
    ///
    /// # Errors
    /// If they may not write there, or the file is too large.
    pub async fn upload(
        &self,
        room: &str,
        name: &str,
        mime: &str,
        bytes: &[u8],
        text: &str,
    ) -> Result<String, PersonError> {
        let file = self.offer(room, name, mime, bytes).await?;
        let call = format!("rooms.mediaConfirm/{room}/{file}");
        let answer: Value = self.post(&call, json!({"msg": text})).await?;
        self::text(&call, &answer, &["message", "_id"])
    }

    /// Uploads a file that is shown nowhere yet, and gives its id.
    ///
    /// # Errors
    /// If they may not write there, or the file is too large.
    pub async fn offer(&self, room: &str, name: &str, mime: &str, bytes: &[u8]) -> Result<String, PersonError> {
        let call = format!("rooms.media/{room}");
        let answer = self.post_file(&call, "file", name, mime, bytes).await?;
        text(&call, &answer, &["file", "_id"])
    }

    /// Sets their picture.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn set_avatar(&self, mime: &str, bytes: &[u8]) -> Result<(), PersonError> {
        self.post_file("users.setAvatar", "image", "avatar", mime, bytes).await.map(drop)
    }

    /// Fetches a file by a path such as `/file-upload/ID/NAME`.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn download(&self, path: &str) -> Result<Vec<u8>, PersonError> {
        let url = format!("{}{path}", self.url);
        let request = self.http.get(url).header("X-Auth-Token", &self.token).header("X-User-Id", &self.id);
        let response = request.send().await?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(PersonError::Refused { call: path.to_owned(), status: status.as_u16(), body: Value::Null });
        }
        Ok(response.bytes().await?.to_vec())
    }

    /// Creates a public channel with members by their usernames, and gives its id.
    ///
    /// # Errors
    /// If the name is taken or is none.
    pub async fn create_channel(&self, name: &str, members: &[&str]) -> Result<String, PersonError> {
        let answer: Value = self.post("channels.create", json!({"name": name, "members": members})).await?;
        text("channels.create", &answer, &["channel", "_id"])
    }

    /// Creates a private group with members by their usernames, and gives its id.
    ///
    /// # Errors
    /// If the name is taken or is none.
    pub async fn create_group(&self, name: &str, members: &[&str]) -> Result<String, PersonError> {
        let answer: Value = self.post("groups.create", json!({"name": name, "members": members})).await?;
        text("groups.create", &answer, &["group", "_id"])
    }

    /// Opens the direct room with others, by usernames separated by commas, and gives its id.
    ///
    /// # Errors
    /// If they may not.
    pub async fn direct(&self, usernames: &str) -> Result<String, PersonError> {
        let answer: Value = self.post("im.create", json!({"usernames": usernames})).await?;
        text("im.create", &answer, &["room", "_id"])
    }

    /// Joins a public channel.
    ///
    /// # Errors
    /// If they may not.
    pub async fn join(&self, room: &str) -> Result<(), PersonError> {
        self.done("channels.join", json!({"roomId": room})).await
    }

    /// Leaves a public channel.
    ///
    /// # Errors
    /// If they are not in it, or are its last owner.
    pub async fn leave(&self, room: &str) -> Result<(), PersonError> {
        self.done("channels.leave", json!({"roomId": room})).await
    }

    /// Brings somebody into a public channel.
    ///
    /// # Errors
    /// If they may not.
    pub async fn invite(&self, room: &str, user: &str) -> Result<(), PersonError> {
        self.done("channels.invite", json!({"roomId": room, "userId": user})).await
    }

    /// Removes somebody from a public channel.
    ///
    /// # Errors
    /// If they may not.
    pub async fn kick(&self, room: &str, user: &str) -> Result<(), PersonError> {
        self.done("channels.kick", json!({"roomId": room, "userId": user})).await
    }

    /// Bans somebody from a room.
    ///
    /// # Errors
    /// If they may not, or the server is older than 8.8.
    pub async fn ban(&self, room: &str, user: &str) -> Result<(), PersonError> {
        self.done("rooms.banUser", json!({"roomId": room, "userId": user})).await
    }

    /// Takes somebody's voice in a room, or gives it back.
    ///
    /// # Errors
    /// If they may not.
    pub async fn mute(&self, room: &str, user: &str, mute: bool) -> Result<(), PersonError> {
        let call = if mute { "rooms.muteUser" } else { "rooms.unmuteUser" };
        self.done(call, json!({"roomId": room, "userId": user})).await
    }

    /// Changes settings of a room, such as `roomTopic`.
    ///
    /// # Errors
    /// If they may not.
    pub async fn set_room(&self, room: &str, settings: Value) -> Result<(), PersonError> {
        let mut body = settings;
        body["rid"] = json!(room);
        self.done("rooms.saveRoomSettings", body).await
    }

    /// Marks a room as read.
    ///
    /// # Errors
    /// If they are not in it.
    pub async fn read(&self, room: &str) -> Result<(), PersonError> {
        self.done("subscriptions.read", json!({"rid": room})).await
    }

    /// What they see in a room, oldest first, also replies in threads; at most a hundred messages.
    ///
    /// # Errors
    /// If they may not read it.
    pub async fn messages(&self, room: &str) -> Result<Vec<Seen>, PersonError> {
        let about: Value = self.get("rooms.info", &[("roomId", room)]).await?;
        let kind = match about["room"]["t"].as_str() {
            Some("c") => "channels",
            Some("p") => "groups",
            _ => "im",
        };
        let call = format!("{kind}.history");
        let query = [("roomId", room), ("count", "100"), ("showThreadMessages", "true"), ("inclusive", "true")];
        let answer: Value = self.get(&call, &query).await?;
        let mut seen: Vec<Seen> =
            serde_json::from_value(answer["messages"].clone()).map_err(|_| PersonError::Form { call, body: answer })?;
        seen.reverse();
        Ok(seen)
    }

    /// Who wrote what in a room, oldest first, without what the room tells of itself.
    ///
    /// # Errors
    /// If they may not read it.
    pub async fn said(&self, room: &str) -> Result<Vec<(String, String)>, PersonError> {
        let seen = self.messages(room).await?;
        let said = seen.into_iter().filter(|message| message.t.is_none());
        Ok(said.map(|message| (message.who().to_owned(), message.msg)).collect())
    }

    /// Waits until they see what fulfils a condition in a room.
    ///
    /// # Errors
    /// If it does not come in time, or the server refuses.
    pub async fn until(
        &self,
        room: &str,
        what: &str,
        patience: Duration,
        condition: impl Fn(&[Seen]) -> bool,
    ) -> Result<Vec<Seen>, PersonError> {
        until(what, patience, || async {
            let seen = self.messages(room).await?;
            Ok(condition(&seen).then_some(seen))
        })
        .await
    }

    fn request(&self, method: Method, call: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}/api/v1/{call}", self.url));
        request.header("X-Auth-Token", &self.token).header("X-User-Id", &self.id)
    }

    async fn done(&self, call: &str, body: Value) -> Result<(), PersonError> {
        self.post::<Value>(call, body).await.map(drop)
    }

    async fn post_file(
        &self,
        call: &str,
        field: &str,
        name: &str,
        mime: &str,
        bytes: &[u8],
    ) -> Result<Value, PersonError> {
        let boundary = format!("standin{}", id::id());
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
             Content-Type: {mime}\r\n\r\n"
        );
        let mut body = head.into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={boundary}");
        let request = self.request(Method::POST, call).header(CONTENT_TYPE, kind).body(body);
        answer(call, request.send().await?).await
    }
}

/// Asks wishes of a stand-in in another process, that was started with `--control`.
#[derive(Clone, Debug)]
pub struct Control {
    http: reqwest::Client,
    url: String,
}

impl Control {
    /// Of the stand-in at an address such as `http://127.0.0.1:3000`.
    pub fn new(url: &str) -> Self {
        Control { http: reqwest::Client::new(), url: format!("{}/_standin", url.trim_end_matches('/')) }
    }

    /// Has a wish granted.
    ///
    /// # Errors
    /// If it cannot be granted.
    pub async fn wish<T: DeserializeOwned>(&self, wish: &Wish) -> Result<T, PersonError> {
        answer("_standin", self.http.post(&self.url).json(wish).send().await?).await
    }

    /// What the stand-in holds.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn dump(&self) -> Result<Vec<HeldRoom>, PersonError> {
        self.wish(&Wish::Dump).await
    }
}

/// Looks again and again until there is something.
///
/// # Errors
/// If there is nothing in time, or looking fails.
async fn until<T, L>(what: &str, patience: Duration, look: impl Fn() -> L) -> Result<T, PersonError>
where
    L: Future<Output = Result<Option<T>, PersonError>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if begun.elapsed() > patience {
            return Err(PersonError::InVain(what.to_owned()));
        }
        tokio::time::sleep(GLANCE).await;
    }
}

async fn answer<T: DeserializeOwned>(call: &str, response: Response) -> Result<T, PersonError> {
    let status = response.status();
    let text = response.text().await?;
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if status != StatusCode::OK {
        return Err(PersonError::Refused { call: call.to_owned(), status: status.as_u16(), body });
    }
    serde_json::from_value(body.clone()).map_err(|_| PersonError::Form { call: call.to_owned(), body })
}

/// A text of an answer.
fn text(call: &str, answer: &Value, path: &[&str]) -> Result<String, PersonError> {
    let mut found = answer;
    for key in path {
        found = &found[*key];
    }
    let missing = || PersonError::Form { call: call.to_owned(), body: answer.clone() };
    found.as_str().map(str::to_owned).ok_or_else(missing)
}
