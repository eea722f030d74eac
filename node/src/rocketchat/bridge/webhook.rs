//! The way round a restricted workspace: an incoming webhook of the room, which such a workspace does not stop.
//!
//! A webhook takes a text, a name and the address of a picture, and answers with nothing that says which message it made. The address
//! of the picture therefore carries a mark that is made from the event. By it the message is found and recorded as the event's, so
//! that it is not said again, and not taken for something that somebody said here.
//!
//! ```text
//!  recorded: begun ──► the call ──► recorded: said ──► found by its mark ──► recorded: as which message
//!        └── no answer: it is looked for before the call is made again
//! ```
//!
//! It is said twice only if the answer is lost and the message is not among the last 50 of the room when it is looked for.

use rocketmesh_protocol::id::EventId;
use rocketmesh_protocol::identity::UserId;
use rocketmesh_storage::StoreError;

use super::room::RoomTask;
use super::{Bridge, FederateError, Stall};
use crate::clock::random_16;
use crate::rocketchat::client::{Client, Hook, Message, RestError, RoomKind};
use crate::rocketchat::mapping::id::{ALPHABET, LENGTH, message_id};
use crate::rocketchat::mapping::seen::Seen;
use crate::rocketchat::mapping::{Who, shadow};
use crate::rocketchat::records::{Changes, Hooked, Hooking, Shown, event_key, hook_key, message_key};
use crate::rocketchat::status::{Counted, ProblemKind};

/// Messages that are looked through for one with a mark.
const LOOKED_THROUGH: usize = 50;
/// What stands before the mark in a picture's address. Rocket.Chat ignores it.
const BEFORE_MARK: &str = "?rocketmesh=";
/// What is said by a webhook to see whether it works.
const TRIAL: &str =
    "This channel's webhook works. While the workspace takes no messages, people of other servers speak through it.";

/// Why a room's webhook is not changed. Nothing was kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    /// The room.
    #[error(transparent)]
    Room(#[from] FederateError),
    /// It is no address of a webhook of the server that is connected.
    #[error("this is no address of an incoming webhook of the server that is connected, such as {0}/hooks/ID/TOKEN")]
    Address(String),
    /// The server does not take it.
    #[error(
        "the webhook does not work: {0}; look in Administration, Integrations whether it is enabled, and copy its address again"
    )]
    Refused(#[from] RestError),
    /// It speaks in another room.
    #[error("the webhook speaks in another room than this one; set its channel in Administration, Integrations")]
    Elsewhere,
    /// It speaks as somebody.
    #[error("the webhook speaks as {0}, who is a person here; set its `Post as` to the service account")]
    Person(String),
    /// It cannot be kept.
    #[error("{0}")]
    Vault(String),
    /// Something failed on the way.
    #[error(transparent)]
    Stall(#[from] Stall),
}

impl From<StoreError> for WebhookError {
    fn from(error: StoreError) -> Self {
        WebhookError::Stall(error.into())
    }
}

/// The address of somebody's picture, with a mark in it.
fn marked(url: &str, username: &str, mark: &str) -> String {
    format!("{url}/avatar/{username}{BEFORE_MARK}{mark}")
}

/// The mark of a message that a webhook said for the node; none of other messages.
fn mark(message: &Message) -> Option<&str> {
    let (_, mark) = message.avatar.as_deref()?.split_once(BEFORE_MARK)?;
    let sound = mark.len() == LENGTH && mark.bytes().all(|byte| ALPHABET.contains(&byte));
    sound.then_some(mark)
}

async fn find(client: &Client, kind: RoomKind, rid: &str, wanted: &str) -> Result<Option<Message>, RestError> {
    let last = client.history(kind, rid, (None, None), LOOKED_THROUGH).await?;
    Ok(last.messages.into_iter().find(|message| mark(message) == Some(wanted)))
}

impl Bridge {
    /// Gives a room its incoming webhook, once it has said a line in the room; or takes it away.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub(crate) async fn set_webhook(&self, room: &str, address: Option<&str>) -> Result<(), WebhookError> {
        let (rid, federated) = self.federated_named(room)?;
        let Some(address) = address else {
            return self.host.keep_webhook(&rid, None).map_err(WebhookError::Vault);
        };
        let address = address.trim();
        // People's words go there: to no other server than the one that they are for.
        let own = address.strip_prefix(&self.url).is_some_and(|path| path.starts_with("/hooks/"));
        let no_address = || WebhookError::Address(self.url.clone());
        let parsed = address.parse::<reqwest::Url>().ok().filter(|_| own).ok_or_else(no_address)?;
        let mut random = [0; 32];
        random[..16].copy_from_slice(&random_16(&*self.engine.entropy));
        let wanted = message_id(&EventId::from_hash(random), 0);
        let username = &self.service.username;
        let said =
            Hook { text: TRIAL.to_owned(), alias: username.clone(), avatar: marked(&self.url, username, &wanted) };
        self.client.post_webhook(&parsed, &said).await?;
        let found = find(&self.client, federated.kind, &rid, &wanted).await?.ok_or(WebhookError::Elsewhere)?;
        self.meet(Some(&found.u.id), &found.u.username).await?;
        let speaks_as = self.records.account(&found.u.id)?.map(|account| account.who());
        if let Some(Who::Local(person)) = speaks_as {
            return Err(WebhookError::Person(person.to_string()));
        }
        self.host.keep_webhook(&rid, Some(address)).map_err(WebhookError::Vault)?;
        self.nudge();
        Ok(())
    }
}

impl RoomTask {
    /// The name under which a webhook says something of somebody elsewhere.
    pub(super) fn shown_name(&self, user: &UserId) -> String {
        shadow::display(user, self.bridge.server_name(user).as_deref())
    }

    /// Says something by the room's webhook. [`RestError::Restricted`] if there is none: then it waits.
    pub(super) async fn hook(
        &mut self,
        event: EventId,
        shown: &mut Shown,
        (text, name, username): (&str, &str, &str),
    ) -> Result<(), Stall> {
        let address = self.bridge.host.webhook(&self.rid);
        let address = address.and_then(|address| address.parse::<reqwest::Url>().ok());
        let Some(address) = address else { return Err(RestError::Restricted.into()) };
        let mark = message_id(&event, shown.showing);
        shown.hook = Hooking::Begun;
        let mut changes = Changes::default();
        changes.set(event_key(&event), &*shown);
        changes.set(hook_key(&mark), &Hooked { event: Some(event.to_string()), message: None });
        self.record(changes).await?;
        let avatar = marked(&self.bridge.url, username, &mark);
        let said = Hook { text: text.to_owned(), alias: name.to_owned(), avatar };
        match self.bridge.client.post_webhook(&address, &said).await {
            Ok(()) => {}
            Err(error) if error.is_passing() || error.is_outcome_unknown() => return Err(error.into()),
            Err(error) => return Err(Stall::Hook(error)),
        }
        self.bridge.host.count(Counted::Delivered);
        self.bridge.host.trouble(Some(&self.rid), &RestError::Restricted);
        self.hooking = true;
        shown.hook = Hooking::Said;
        let mut changes = Changes::default();
        changes.set(event_key(&event), &*shown);
        self.record(changes).await?;
        if let Some(message) = find(&self.bridge.client, self.federated.kind, &self.rid, &mark).await? {
            self.note_hooked(event, shown, (&message.id, text)).await?;
        }
        Ok(())
    }

    /// The workspace takes messages: what the webhook could not say is told now.
    pub(super) fn is_open_again(&mut self) {
        if std::mem::take(&mut self.hooking) {
            self.bridge.host.clear(ProblemKind::RestrictedWorkspace, Some(&self.rid));
            self.mended = true;
        }
    }

    /// Whether something was said by the room's webhook already, so that it is not said again.
    pub(super) async fn was_hooked(&mut self, event: EventId, shown: &mut Shown, text: &str) -> Result<bool, Stall> {
        let mark = message_id(&event, shown.showing);
        let known = self.bridge.records.hooked(&mark)?;
        if shown.hook == Hooking::No && known.is_none() {
            return Ok(false);
        }
        if let Some(message) = known.and_then(|known| known.message) {
            self.note_hooked(event, shown, (&message, text)).await?;
            return Ok(true);
        }
        if let Some(message) = find(&self.bridge.client, self.federated.kind, &self.rid, &mark).await? {
            self.note_hooked(event, shown, (&message.id, text)).await?;
            return Ok(true);
        }
        Ok(shown.hook == Hooking::Said)
    }

    async fn note_hooked(
        &mut self,
        event: EventId,
        shown: &mut Shown,
        (message, text): (&str, &str),
    ) -> Result<(), Stall> {
        let mark = message_id(&event, shown.showing);
        shown.hook = Hooking::Said;
        message.clone_into(&mut shown.message);
        let mut changes = Changes::default();
        changes.set(event_key(&event), &*shown);
        changes.set(message_key(message), &Seen { hooked: true, ..Seen::inserted(&event, text) });
        changes.remove(hook_key(&mark));
        self.record(changes).await
    }

    /// Whether a message is one that the node's webhook said and that is not recorded yet: then it is recorded, and nobody here said it.
    pub(super) async fn is_hooked(&mut self, message: &Message) -> Result<bool, Stall> {
        let Some(mark) = mark(message) else { return Ok(false) };
        if self.bridge.records.seen(&message.id)?.is_some() {
            return Ok(false);
        }
        let known = self.bridge.records.hooked(mark)?.and_then(|known| known.event?.parse::<EventId>().ok());
        match known {
            Some(event) => {
                let mut shown = self.bridge.records.shown(&event)?.unwrap_or_default();
                self.note_hooked(event, &mut shown, (&message.id, &message.msg)).await?;
            }
            None => {
                // From before a backup was restored, or a trial: whose event it is will be seen when that comes.
                let mut changes = Changes::default();
                changes.set(hook_key(mark), &Hooked { event: None, message: Some(message.id.clone()) });
                self.record(changes).await?;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_webhook_said_is_known_by_the_address_of_its_picture() {
        let wanted = message_id(&EventId::from_hash([3; 32]), 1);
        let avatar = marked("https://chat.example.org", "bob.there", &wanted);
        let message = Message { avatar: Some(avatar), ..Message::default() };
        assert_eq!(mark(&message), Some(wanted.as_str()));
        for other in ["https://x/avatar/bob", "/avatar/bob?rocketmesh=short", "?rocketmesh=0000000000000000l"] {
            let message = Message { avatar: Some(other.to_owned()), ..Message::default() };
            assert_eq!(mark(&message), None, "{other}");
        }
        assert_eq!(mark(&Message::default()), None);
    }
}
