//! Finding a room in the network: one server after the other is asked for its state graph, until one has shown it whole.
//!
//! ```text
//!   nobody asked yet, those known to have the room first ──► brings something, others had their turn ──► asked again
//!                         │                                            ▲                                     ▲
//!                         ├── new verified events ─────────────────────┘                                     │
//!                         ├── nothing new for too long, broke off, does not have it: when nobody else is left┘
//!                         └── a lie: not again in this join
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::PeerId;
use rocketmesh_protocol::access::{Access, access, is_gossiped};
use rocketmesh_protocol::event::RoomType;
use rocketmesh_protocol::have::Sections;
use rocketmesh_protocol::id::RoomId;
use rocketmesh_protocol::preview::Preview;
use rocketmesh_protocol::wire::Refused;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::JoinError;
use super::let_down::{LetDown, Reason};
use super::patience::{GLANCE, Quiet, SHORTEST, SHOWN, one_holder};
use crate::engine::room::PostError;
use crate::engine::sync::{self, PullError};
use crate::engine::{Engine, history, invitations};
use crate::network::peer_id;

/// How long after a server did not hand over a room it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How long after the begin it is not over yet because one server said that this one is not admitted, or showed a room in part.
const HASTE: Duration = Duration::from_secs(3);
/// How long is waited for the DHT before it is looked who has connected meanwhile.
const PAUSE: Duration = Duration::from_secs(1);
/// How many further servers are asked where the rules refuse the join on what one showed.
const FURTHER: usize = 8;

/// What looking for a room came to.
pub(super) enum Obtained {
    /// All that it takes to join is here, from one server: the state graph at least.
    Whole { holder: PeerId },
    /// A server showed the room's state graph, in which a user of this server is invited.
    Invitation { preview: Box<Preview>, holder: PeerId },
}

/// What asking one server came to.
enum Heard {
    /// It answered to the end, or failed.
    Ended(Result<(), PullError>),
    /// It brings the room, and others have their turn.
    Part,
    /// It brought nothing new for too long.
    Nothing(Reason),
}

/// A server that was asked.
#[derive(Clone, Copy)]
struct Asked {
    at: Instant,
    /// From when on it may be asked again. A holder may be busy, or start anew, while somebody joins.
    again: Instant,
    /// Whether it brought something, and has more.
    brings: bool,
    /// Whether it is worth it to leave another one that brings nothing for this one.
    hopeful: bool,
}

/// One join's search for a room.
pub(super) struct Search<'a> {
    engine: &'a Engine,
    room: RoomId,
    wait: Duration,
    begun: Instant,
    deadline: Instant,
    /// Whom to ask of a room that is known to be private: nobody else is to hear of it.
    holders: Option<BTreeSet<PeerId>>,
    providers: Option<mpsc::Receiver<PeerId>>,
    /// Whether the DHT was searched to the end.
    searched: bool,
    /// Servers of which an invitation or the DHT says that they have the room, and how many the DHT named.
    known: BTreeSet<PeerId>,
    named: usize,
    asked: BTreeMap<PeerId, Asked>,
    let_down: LetDown,
    /// Who said that this server is not admitted, and who showed a part of what it names.
    refused: Option<PeerId>,
    in_part: Option<PeerId>,
}

impl<'a> Search<'a> {
    pub(super) async fn begin(engine: &'a Engine, room: RoomId, wait: Duration) -> Result<Self, PostError> {
        let begun = Instant::now();
        let invitation = engine.invitation(&room)?;
        Ok(Search {
            engine,
            room,
            wait,
            begun,
            deadline: begun + wait,
            holders: engine.private_holders(room).await?,
            providers: None,
            searched: false,
            known: invitation.map(|kept| kept.peers()).unwrap_or_default(),
            named: 0,
            asked: BTreeMap::new(),
            let_down: LetDown::default(),
            refused: None,
            in_part: None,
        })
    }

    /// Fetches the room: asks every connected server, and whoever the DHT names, until one hands it over.
    pub(super) async fn obtain(&mut self) -> Result<Obtained, JoinError> {
        loop {
            self.hear_names();
            let next = self.next().await?;
            if let Some(peer) = next
                && let Some(obtained) = self.ask(peer).await?
            {
                return Ok(obtained);
            }
            let late = Instant::now() >= self.deadline;
            if (late || next.is_none() && self.has_heard_all())
                && let Some(end) = self.end(late)?
            {
                return end;
            }
            if next.is_none() {
                self.wait_for_names().await?;
            } else if !self.let_down.is_empty() && self.providers.is_none() {
                // Whoever is connected is asked first, since the DHT takes seconds; while one of them stalls there are seconds.
                self.search_dht().await?;
            }
        }
    }

    /// Asks servers that were not asked yet, after the rules refused the join on what one showed: that one may have left out what
    /// allows it. Returns whether anything new came.
    pub(super) async fn look_further(&mut self) -> Result<bool, JoinError> {
        let before = self.engine.held_events(&self.room)?;
        for _ in 0..FURTHER {
            self.hear_names();
            let next = self.next().await?.filter(|peer| !self.asked.contains_key(peer));
            let Some(peer) = next.filter(|_| Instant::now() < self.deadline) else { break };
            self.ask(peer).await?;
        }
        Ok(self.engine.held_events(&self.room)? > before)
    }

    /// Whether there is nobody left who would bring the room, as far as is known.
    fn has_heard_all(&self) -> bool {
        self.searched && self.begun.elapsed() >= HASTE && !self.is_brought()
    }

    /// Whether somebody brings the room, and has more.
    fn is_brought(&self) -> bool {
        self.asked.values().any(|asked| asked.brings)
    }

    /// What the search comes to if it ends now; none if it is worth it to go on.
    fn end(&self, late: bool) -> Result<Option<Result<Obtained, JoinError>>, PostError> {
        let events = self.engine.held_events(&self.room)?;
        let waited_s = self.wait.as_secs();
        if let Some(holder) = self.in_part.filter(|_| events > 0 && !self.is_brought()) {
            // With nobody else, what is here and verified has to do. Whoever comes later brings the rest.
            return Ok(Some(Ok(Obtained::Whole { holder })));
        }
        let error = match self.refused {
            _ if late && events > 0 => JoinError::Unfinished { waited_s, events, let_down: self.words() },
            Some(peer) => JoinError::NotAdmitted(peer),
            None if late => {
                JoinError::NotFound { waited_s, asked: self.asked.len(), named: self.named, let_down: self.words() }
            }
            None => return Ok(None),
        };
        Ok(Some(Err(error)))
    }

    fn words(&self) -> String {
        self.let_down.words(&self.engine.names)
    }

    /// Connected servers that may have the room and have not lied about it.
    async fn candidates(&self) -> Result<Vec<PeerId>, PostError> {
        let mut ready = self.engine.network.ready().await.map_err(|_| PostError::Closed)?;
        ready.retain(|peer| {
            let knows = self.holders.as_ref().is_none_or(|holders| holders.contains(peer));
            knows && !self.let_down.lied(peer) && self.engine.policy.may_federate(peer)
        });
        Ok(ready)
    }

    /// Whose turn it is.
    async fn next(&self) -> Result<Option<PeerId>, PostError> {
        let now = Instant::now();
        let turn = |peer: &PeerId| match self.asked.get(peer) {
            None => (0, !self.known.contains(peer), None),
            Some(asked) => (if asked.brings { 1 } else { 2 }, false, Some(asked.at)),
        };
        let candidates = self.candidates().await?.into_iter();
        let due = candidates.filter(|peer| self.asked.get(peer).is_none_or(|asked| asked.again <= now));
        Ok(due.min_by_key(turn))
    }

    /// Whether somebody else might bring the room while this one brings nothing.
    async fn has_others(&self, but: PeerId) -> Result<bool, PostError> {
        let now = Instant::now();
        let hopeful = |peer: &PeerId| self.asked.get(peer).is_none_or(|asked| asked.hopeful && asked.again <= now);
        Ok(self.candidates().await?.iter().any(|peer| *peer != but && hopeful(peer)))
    }

    /// Asks one server for the room. What it brings is kept as far as it is verified, and the next one goes on from there.
    async fn ask(&mut self, peer: PeerId) -> Result<Option<Obtained>, JoinError> {
        let heard = self.listen(peer).await?;
        let brings = matches!(heard, Heard::Part);
        let mut obtained = None;
        let reason = match heard {
            Heard::Ended(Ok(())) => {
                let here = self.engine.holds(&self.room)?;
                obtained = here.then_some(Obtained::Whole { holder: peer });
                (!here).then_some(Reason::Empty)
            }
            Heard::Ended(Err(PullError::Post(error))) => return Err(error.into()),
            Heard::Ended(Err(PullError::Refused(Refused::NotAdmitted))) => {
                // One server may lie; what others say is heard too.
                self.refused = Some(peer);
                None
            }
            Heard::Ended(Err(PullError::Refused(Refused::Invited))) => match self.preview(peer).await {
                Ok(preview) => {
                    obtained = Some(Obtained::Invitation { preview, holder: peer });
                    None
                }
                Err(reason) => reason,
            },
            Heard::Ended(Err(error)) => {
                tracing::debug!(room = %self.room, %peer, %error, "a server did not hand over the room");
                if matches!(error, PullError::Withheld) {
                    self.in_part = Some(peer);
                }
                Reason::of(&error)
            }
            Heard::Part => None,
            Heard::Nothing(reason) => Some(reason),
        };
        let at = Instant::now();
        let again = if brings { at } else { at + ASK_AGAIN };
        let hopeful = brings || reason.as_ref().is_some_and(Reason::may_pass);
        self.asked.insert(peer, Asked { at, again, brings, hopeful });
        if let Some(reason) = reason {
            tracing::debug!(room = %self.room, %peer, %reason, "a server let a join down");
            self.let_down.note(peer, reason);
        }
        Ok(obtained)
    }

    /// Fetches the room from one server for as long as that brings something, or nobody else is there to ask.
    async fn listen(&self, peer: PeerId) -> Result<Heard, PostError> {
        let (engine, room) = (self.engine, self.room);
        let known = engine.holds(&room)? && engine.gap(&room).is_none();
        let fetch = async {
            match known {
                true => sync::pull(engine, room, peer, Sections::ALL).await,
                false => history::begin(engine, room, peer).await,
            }
        };
        tokio::pin!(fetch);
        let one_holder = one_holder(self.wait);
        let mut quiet = Quiet::begin(engine, room)?;
        loop {
            tokio::select! {
                ended = &mut fetch => return Ok(Heard::Ended(ended)),
                () = tokio::time::sleep(GLANCE) => {}
            }
            let came = quiet.look()?;
            let late = Instant::now() >= self.deadline && quiet.asked_for() >= SHORTEST;
            if late && quiet.brought() {
                return Ok(Heard::Part);
            }
            // The turn of a server that brings something ends between two answers, so that none is under way in vain.
            let turn = if came { quiet.asked_for() } else { quiet.lasts() };
            if !late && (turn < one_holder || (came || turn < SHOWN) && !self.has_others(peer).await?) {
                continue;
            }
            return Ok(if came { Heard::Part } else { Heard::Nothing(quiet.reason()) });
        }
    }

    /// Reads the state graph of a room to which a server says that somebody is invited.
    async fn preview(&self, peer: PeerId) -> Result<Box<Preview>, Option<Reason>> {
        let waited = SHOWN.min(self.deadline.saturating_duration_since(Instant::now())).max(SHORTEST);
        let preview = match tokio::time::timeout(waited, invitations::preview(self.engine, self.room, peer)).await {
            Ok(Ok(preview)) => preview,
            Ok(Err(error)) => {
                tracing::debug!(room = %self.room, %peer, %error, "a server did not show what it invites to");
                return Err(Reason::of(&error));
            }
            Err(_) => return Err(Some(Reason::Silent { waited, brought: false })),
        };
        // The word of one server alone would have a join written that no other one takes.
        let invited = preview.state().is_some_and(|state| access(state, self.engine.origin) == Access::State);
        if invited { Ok(Box::new(preview)) } else { Err(Some(Reason::Uninvited)) }
    }

    /// Takes in whom the DHT has named meanwhile.
    fn hear_names(&mut self) {
        while let Some(peer) = self.providers.as_mut().and_then(|search| search.try_recv().ok()) {
            self.note_name(peer);
        }
    }

    fn note_name(&mut self, peer: PeerId) {
        self.named += 1;
        self.known.insert(peer);
        if let Some(holders) = &mut self.holders {
            holders.insert(peer);
        }
    }

    /// Waits a moment for a server that the DHT names.
    async fn wait_for_names(&mut self) -> Result<(), JoinError> {
        let pause = (Instant::now() + PAUSE).min(self.deadline);
        let found = match &mut self.providers {
            Some(search) => tokio::time::timeout_at(pause, search.recv()).await,
            None => Ok(None),
        };
        match found {
            Ok(Some(peer)) => self.note_name(peer),
            Ok(None) => {
                // A DHT that was still empty may know more by now.
                let again = self.providers.is_some();
                self.searched |= again;
                self.search_dht().await?;
                if again {
                    tokio::time::sleep_until(pause).await;
                }
            }
            Err(_) => {}
        }
        Ok(())
    }

    async fn search_dht(&mut self) -> Result<(), JoinError> {
        self.providers = Some(self.engine.network.providers(self.room).await.map_err(|_| PostError::Closed)?);
        Ok(())
    }
}

impl Engine {
    /// Whom to ask for a room that is known to be private: nobody else is to hear of it. None for any other room.
    async fn private_holders(&self, room: RoomId) -> Result<Option<BTreeSet<PeerId>>, PostError> {
        let invitation = self.invitation(&room)?.filter(|kept| kept.room_type != RoomType::Channel.letter());
        let stored = self.stored_type(&room).map_err(|error| PostError::Store(Arc::new(error)))?;
        if invitation.is_none() && stored.is_none_or(is_gossiped) {
            return Ok(None);
        }
        let mut holders = invitation.map(|kept| kept.peers()).unwrap_or_default();
        if let Ok((state, _)) = self.state(room).await {
            holders.extend(state.servers().iter().map(peer_id));
        }
        Ok(Some(holders))
    }
}
