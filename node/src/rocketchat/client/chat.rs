//! `chat.*`: messages.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::types::{Page, lenient, or_default};
use super::{Changes, Client, Message, Moment, PAGE, RestError, RoomKind};

/// The most pages of deletions that are read at once; whoever deletes more in one absence finds the rest next time.
const MAX_PAGES: usize = 1000;
/// What the server says of an emoji that it does not know, beside the code of what somebody may not do.
const NO_SUCH_EMOJI: &str = "Invalid emoji";

/// A message to be stored.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outgoing {
    /// Its id, derived from the event's: a second message with it is not stored.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    /// The room.
    pub(crate) rid: String,
    /// The text.
    pub(crate) msg: String,
    /// Under which message it stands. **It must be in the same room**: otherwise the message goes to that one's room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tmid: Option<String>,
    /// Whether it is shown in the room too, which only a reply may be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tshow: bool,
    /// The name that is shown instead of the account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alias: Option<String>,
    /// The address of the picture that is shown instead of the account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) avatar: Option<String>,
    /// Attachments, in Rocket.Chat's form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) attachments: Vec<Value>,
    /// Custom fields, if the server validates them so.
    #[serde(rename = "customFields", skip_serializing_if = "Option::is_none")]
    pub(crate) custom_fields: Option<Value>,
}

/// A message that the service account says in somebody's name.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spoken {
    /// The room.
    pub(crate) room_id: String,
    /// The text.
    pub(crate) text: String,
    /// The name that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) alias: Option<String>,
    /// The address of the picture that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) avatar: Option<String>,
}

#[derive(Deserialize)]
struct OneMessage {
    message: Message,
}

#[derive(Deserialize)]
struct Done {}

#[derive(Deserialize)]
struct Updated {
    message: Option<Value>,
}

#[derive(Deserialize)]
struct Synced {
    result: SyncedMessages,
}

#[derive(Deserialize)]
struct SyncedMessages {
    #[serde(default, deserialize_with = "lenient")]
    updated: Vec<Message>,
    #[serde(default, deserialize_with = "lenient")]
    deleted: Vec<Gone>,
}

#[derive(Deserialize)]
struct SyncedPage {
    result: UpdatedPage,
}

#[derive(Deserialize)]
struct UpdatedPage {
    #[serde(default)]
    updated: Page,
}

#[derive(Deserialize)]
struct History {
    #[serde(default)]
    messages: Page,
}

#[derive(Deserialize)]
struct Gone {
    #[serde(rename = "_id")]
    id: String,
}

#[derive(Deserialize)]
struct Deletions {
    /// As they were sent: by their number the next ones are asked for.
    #[serde(default, deserialize_with = "lenient")]
    messages: Vec<Value>,
    #[serde(default, deserialize_with = "or_default")]
    total: u64,
}

impl Client {
    /// Stores a message. An id that is known already is refused with 400, and nothing is stored: after **any** error ask
    /// [`Client::get_message`] whether it is there.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn send_message(&self, message: &Outgoing) -> Result<Message, RestError> {
        let answer: OneMessage = self.post("chat.sendMessage", &json!({"message": message})).await?;
        Ok(answer.message)
    }

    /// Says something under another name and picture, where there is no shadow. Not protected against being said twice.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn post_message(&self, spoken: &Spoken) -> Result<Message, RestError> {
        let answer: OneMessage = self.post("chat.postMessage", &json!(spoken)).await?;
        Ok(answer.message)
    }

    /// Changes a text; of a message whose file has a caption that one. The same text again changes and streams nothing. When that was, if
    /// the answer shows that the last edit is this account's.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn update_message(&self, rid: &str, id: &str, text: &str) -> Result<Option<Moment>, RestError> {
        let answer: Updated = self.post("chat.update", &json!({"roomId": rid, "msgId": id, "text": text})).await?;
        let message = answer.message.and_then(|message| serde_json::from_value::<Message>(message).ok());
        let own = |message: &Message| {
            let account = self.account().map(|account| account.user_id.as_str());
            account.is_some() && message.edited_by.as_ref().map(|by| by.id.as_str()) == account
        };
        Ok(message.filter(own).and_then(|message| message.edited_at))
    }

    /// Deletes a message. One that is not there is refused.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn delete_message(&self, rid: &str, id: &str) -> Result<(), RestError> {
        let Done {} = self.post("chat.delete", &json!({"roomId": rid, "msgId": id})).await?;
        Ok(())
    }

    /// Reacts, or takes the reaction back. Taking back one that is not there **adds** it: look first.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn react(&self, id: &str, emoji: &str, react: bool) -> Result<(), RestError> {
        let body = json!({"messageId": id, "emoji": emoji, "shouldReact": react});
        match self.post("chat.react", &body).await {
            Ok(Done {}) => Ok(()),
            // An emoji that this server has not is told like a lack of permission, in other words.
            Err(RestError::Forbidden { action, text }) if text.contains(NO_SUCH_EMOJI) => {
                Err(RestError::Refused { action, text, error_type: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a message. `None` when it is gone or the account may not read it. With history kept, a deleted message is
    /// still there and `hidden`.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn get_message(&self, id: &str) -> Result<Option<Message>, RestError> {
        match self.get::<OneMessage>("chat.getMessage", &[("msgId", id)]).await {
            Ok(answer) => Ok(Some(answer.message)),
            // Absence is 400 without a word.
            Err(RestError::Refused { .. } | RestError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The messages of a room that changed after a moment (exclusive), newest first, and the ids of those deleted since. Works
    /// on every release; everything comes in one answer, so that a long absence can end in [`RestError::TooLarge`]: then
    /// read [`Client::history`] in steps.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn sync_messages(&self, rid: &str, after: Moment) -> Result<Changes<Message>, RestError> {
        let after = after.to_string();
        let query = [("roomId", rid), ("lastUpdate", after.as_str())];
        let Synced { result } = self.get("chat.syncMessages", &query).await?;
        Ok(Changes { updated: result.updated, removed: result.deleted.into_iter().map(|gone| gone.id).collect() })
    }

    /// The messages of a room that changed after a moment (exclusive), oldest change first, at most `count`. From 7.13.9 on; earlier
    /// releases refuse it. Of several that changed in the last one's millisecond some may be missing: ask again from before it.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn sync_page(&self, rid: &str, after: Moment, count: usize) -> Result<Page, RestError> {
        let (next, count) = (after.0.to_string(), count.to_string());
        let query = [("roomId", rid), ("type", "UPDATED"), ("next", next.as_str()), ("count", count.as_str())];
        let SyncedPage { result } = self.get("chat.syncMessages", &query).await?;
        Ok(result.updated)
    }

    /// The ids of the messages of a room that were deleted after a moment. With history kept there are none.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn deleted_messages(&self, rid: &str, since: Moment) -> Result<Vec<String>, RestError> {
        let (since, count) = (since.to_string(), PAGE.to_string());
        let (mut gone, mut sent) = (Vec::new(), 0);
        for _ in 0..MAX_PAGES {
            let offset = sent.to_string();
            let query =
                [("roomId", rid), ("since", since.as_str()), ("offset", offset.as_str()), ("count", count.as_str())];
            let page: Deletions = self.get("chat.getDeletedMessages", &query).await?;
            let last = page.messages.is_empty();
            sent += page.messages.len();
            let read = |document: Value| serde_json::from_value::<Gone>(document).ok();
            gone.extend(page.messages.into_iter().filter_map(read).map(|gone| gone.id));
            if last || sent as u64 >= page.total {
                break;
            }
        }
        Ok(gone)
    }

    /// The messages of a room between two moments (exclusive), replies in threads among them, newest first, at most `count`.
    ///
    /// # Errors
    /// [`RestError`].
    pub(crate) async fn history(
        &self,
        kind: RoomKind,
        rid: &str,
        (oldest, latest): (Option<Moment>, Option<Moment>),
        count: usize,
    ) -> Result<Page, RestError> {
        let action = match kind {
            RoomKind::Channel => "channels.history",
            RoomKind::Group => "groups.history",
            RoomKind::Direct => "im.history",
        };
        let count = count.to_string();
        let (oldest, latest) = (oldest.map(|oldest| oldest.to_string()), latest.map(|latest| latest.to_string()));
        let mut query = vec![("roomId", rid), ("count", count.as_str()), ("showThreadMessages", "true")];
        query.extend(oldest.as_deref().map(|oldest| ("oldest", oldest)));
        query.extend(latest.as_deref().map(|latest| ("latest", latest)));
        let history: History = self.get(action, &query).await?;
        Ok(history.messages)
    }
}
