//! The bot: what it is asked in direct rooms, and what it tells people by itself.

use rocketmesh_protocol::event::{Content, Membership};
use rocketmesh_protocol::identity::Localpart;

use super::{Bridge, FederateError, lock};
use crate::clock::random_16;
use crate::rocketchat::client::{Message, Outgoing, RestError, RoomKind};
use crate::rocketchat::commands::{self, Command};
use crate::rocketchat::mapping::Who;
use crate::rocketchat::mapping::id::{ALPHABET, LENGTH};

/// How many questions are remembered. A message comes whole again with whatever changes about it.
const QUESTIONS: usize = 1024;
/// How long after it was written a question may be told for the first time, in milliseconds. What comes later has been told before, maybe
/// to an earlier life of this node.
const FRESH_MS: u64 = 60_000;

impl Bridge {
    /// Whether this is told for the first time.
    fn is_new(&self, message: &Message) -> bool {
        if message.updated_at.ms() > message.ts.ms().saturating_add(FRESH_MS) {
            return false;
        }
        let mut asked = lock(&self.asked);
        if asked.contains(&message.id) {
            return false;
        }
        if asked.len() >= QUESTIONS {
            asked.pop_front();
        }
        asked.push_back(message.id.clone());
        true
    }

    /// Answers what somebody wrote to the bot. In the background: some answers take a while.
    pub(super) fn asked(&self, message: Message) {
        // What came before the bridge began is not asked any more: an answer to it would come again with every start.
        let own = self.clone();
        self.engine.background(async move {
            let answer = own.answer(&message).await;
            if let Some(answer) = answer
                && let Err(error) = own.say_in(&message.rid, &answer).await
            {
                tracing::warn!(%error, "an answer of the bot was not delivered");
            }
        });
    }

    async fn answer(&self, message: &Message) -> Option<String> {
        // An edit of a question, or a reaction to it, is no new one.
        if message.edited_at.is_some() || !message.reactions.is_empty() || message.tmid.is_some() {
            return None;
        }
        if !self.is_new(message) {
            return None;
        }
        if let Err(error) = self.meet(Some(&message.u.id), &message.u.username).await {
            return Some(format!("That did not work: {error}."));
        }
        let who = self.records.account(&message.u.id).ok()??.who();
        // Bots do not talk with bots.
        let Who::Local(user) = who else { return None };
        let command = match commands::parse(&message.msg) {
            Ok(command) => command,
            Err(error) => return Some(error.to_string()),
        };
        match self.execute(command, &user, &message.u.username).await {
            Ok(words) => Some(words),
            Err(error) => Some(format!("That did not work: {error}.")),
        }
    }

    async fn execute(&self, command: Command, user: &Localpart, username: &str) -> Result<String, FederateError> {
        match command {
            Command::Help => Ok(commands::HELP.to_owned()),
            Command::Status => self.status_words(user).await,
            Command::Federate { channel } => {
                let status = self.federate(&channel, Some(username)).await?;
                Ok(format!(
                    "#{} is open to other servers now. People there join it with `join {}`, or you invite them: \
                     `invite @bob:other.example #{}`.",
                    status.federated.name, status.federated.room, status.federated.name
                ))
            }
            Command::Invite { user: whom, channel } => {
                let (_, federated) = self.federated_named(&channel)?;
                let room = federated.room().ok_or_else(|| FederateError::NotFederated(channel.clone()))?;
                let whom_id =
                    self.engine.names.resolve(&whom).map_err(|error| FederateError::Whom(error.to_string()))?;
                let content = Content::Member { user: whom_id, change: Membership::Invite, seen: Vec::new() };
                let draft = self.engine.draft(Some(user.clone()), &content, None);
                self.engine.post(room, draft).await?;
                Ok(format!("{whom} is invited to #{}.", federated.name))
            }
            Command::Join { room, channel } => {
                let status = self.enter(room, username, channel.as_deref()).await?;
                Ok(format!("You are in: #{}.", status.federated.name))
            }
            Command::Direct { user: whom } => {
                let whom_id =
                    self.engine.names.resolve(&whom).map_err(|error| FederateError::Whom(error.to_string()))?;
                self.direct(user, username, whom_id).await?;
                Ok(format!("There is a direct room with {whom} in your list now. What you write there reaches them."))
            }
            Command::Leave { channel } => {
                let (rid, federated) = self.federated_named(&channel)?;
                self.unfederate(&rid, Some(username)).await?;
                Ok(format!("#{} is this server's own again. What was said in it stays.", federated.name))
            }
        }
    }

    /// What there is, as far as it is for somebody's eyes: channels, and the private rooms that they are in.
    async fn status_words(&self, user: &Localpart) -> Result<String, FederateError> {
        let about = self.engine.local(user.clone());
        let mut rooms = Vec::new();
        for room in self.rooms()? {
            let is_in = match room.federated.room() {
                Some(id) => self.engine.state(id).await.is_ok_and(|(state, _)| state.is_joined(&about)),
                None => false,
            };
            if is_in || room.federated.kind == RoomKind::Channel {
                rooms.push(room);
            }
        }
        let letters = self.records.letters()?.len();
        let mut words = match rooms.len() {
            0 => "No room is open to other servers.".to_owned(),
            1 => "One room is open to other servers:".to_owned(),
            number => format!("{number} rooms are open to other servers:"),
        };
        for room in rooms.iter().take(50) {
            let problem =
                room.report.problem.as_ref().map(|problem| format!(" – waits: {problem}")).unwrap_or_default();
            let name = match room.federated.kind {
                RoomKind::Direct => format!("your direct room with {}", room.federated.name),
                _ => format!("#{}", room.federated.name),
            };
            words.push_str(&format!("\n• {name}{problem}"));
        }
        if letters > 0 {
            words.push_str(&format!("\n{letters} things could not be delivered; an administrator sees which and why."));
        }
        Ok(words)
    }

    /// Tells a person of this server something. What cannot be told is in the log.
    pub(super) async fn explain(&self, user: &Localpart, words: &str) {
        let told = async {
            let Some(id) = self.records.local(user)? else { return Ok(()) };
            let Some(account) = self.records.account(&id)? else { return Ok(()) };
            let room = self.client.create_direct(std::slice::from_ref(&account.username)).await?;
            self.say_in(&room.id, words).await?;
            Ok::<(), super::Stall>(())
        };
        if let Err(error) = told.await {
            tracing::warn!(%user, %words, %error, "somebody was not told why something was undone");
        }
    }

    async fn say_in(&self, rid: &str, words: &str) -> Result<(), RestError> {
        let random = random_16(&*self.engine.entropy);
        let letters = random.iter().chain(&random[..LENGTH - 16]);
        let id = letters.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect();
        let message = Outgoing { id, rid: rid.to_owned(), msg: words.to_owned(), ..Outgoing::default() };
        self.client.send_message(&message).await.map(drop)
    }
}
