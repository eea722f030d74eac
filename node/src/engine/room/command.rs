//! What a room's task is asked for, and the way to it.

use std::sync::Arc;

use libp2p::identity::PeerId;
use rocketmesh_protocol::authority::{Refusal, RoomState};
use rocketmesh_protocol::event::{AuthorError, Draft, Event};
use rocketmesh_protocol::id::{EventId, RoomId};
use rocketmesh_protocol::identity::Origin;
use rocketmesh_storage::{LogPosition, Participation, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::network::GossipToken;

/// Why an event was not written. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The room's rules do not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It breaks a limit.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// The node was restored or was away, and does not know yet what it has said in the room.
    #[error("the node is still fetching what it missed in this room; try again in a moment")]
    CatchingUp,
    /// The node holds nothing of the room.
    #[error("this node does not know the room {0}; join it first")]
    UnknownRoom(RoomId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

/// An event that is on disk.
#[derive(Clone, Debug)]
pub struct Written {
    /// The event.
    pub event: Event,
    /// Its position in the local log.
    pub position: LogPosition,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ingested {
    pub(crate) new: usize,
    pub(crate) refused: usize,
    /// Events of the room that wait for others now.
    pub(crate) waiting: usize,
}

/// Why events came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Brought {
    /// They are said now, or are the newest that there are.
    AsNews,
    /// They were missing here: what of them waits is old, or about to be set free.
    AsHistory,
}

pub(in crate::engine) enum RoomCommand {
    /// Verified events, from a peer or from this node itself.
    Ingest {
        events: Vec<Event>,
        from: Option<PeerId>,
        brought: Brought,
        token: Option<GossipToken>,
        done: Option<oneshot::Sender<Result<Ingested, Arc<StoreError>>>>,
    },
    /// Make an event, or take in one that this node has made.
    Author { what: Authored, done: oneshot::Sender<Result<Written, PostError>> },
    /// Take part from now on, or no longer.
    Participate(Participation),
    /// Take part no longer, unless a local user is in the room or is about to be.
    LetGo,
    /// The state at the tips, and how many events wait.
    State { done: oneshot::Sender<Option<(Arc<RoomState>, usize)>> },
    /// Whether a server that was in the room once may read each of these events.
    Readable { server: Origin, events: Vec<Event>, done: oneshot::Sender<Vec<bool>> },
    /// What events wait for.
    Wanted { done: oneshot::Sender<Vec<EventId>> },
    /// Messages that wait for what they stand on and may be shown all the same.
    Ahead { done: oneshot::Sender<Vec<Event>> },
    /// Drop the bodies of these events, which are older than this node keeps bodies of the room.
    Expire { events: Vec<EventId> },
    /// A repair has ended.
    Repaired,
    /// Time to join tips, if there are still too many.
    Merge,
}

pub(in crate::engine) enum Authored {
    Draft(Draft),
    /// A create event, which has no place in any graph yet.
    Create(Event),
}

/// The way to a room's task.
#[derive(Clone)]
pub(in crate::engine) struct RoomHandle(pub(super) mpsc::Sender<RoomCommand>);

impl RoomHandle {
    /// Waits for room in the queue.
    pub(in crate::engine) async fn send(&self, command: RoomCommand) -> Result<(), PostError> {
        self.0.send(command).await.map_err(|_| PostError::Closed)
    }

    /// Gives up if the queue is full.
    pub(in crate::engine) fn offer(&self, command: RoomCommand) -> bool {
        self.0.try_send(command).is_ok()
    }

    pub(in crate::engine) async fn author(&self, what: Authored) -> Result<Written, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Author { what, done }).await?;
        answer.await.map_err(|_| PostError::Closed)?
    }

    pub(in crate::engine) async fn ingest(
        &self,
        events: Vec<Event>,
        from: Option<PeerId>,
    ) -> Result<Ingested, PostError> {
        self.ingest_as(Brought::AsNews, events, from).await
    }

    pub(in crate::engine) async fn ingest_as(
        &self,
        brought: Brought,
        events: Vec<Event>,
        from: Option<PeerId>,
    ) -> Result<Ingested, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Ingest { events, from, brought, token: None, done: Some(done) }).await?;
        Ok(answer.await.map_err(|_| PostError::Closed)??)
    }

    pub(in crate::engine) async fn wanted(&self) -> Result<Vec<EventId>, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Wanted { done }).await?;
        answer.await.map_err(|_| PostError::Closed)
    }

    /// Messages that came ahead of what they stand on and may be shown, in room order.
    pub(in crate::engine) async fn ahead(&self) -> Result<Vec<Event>, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Ahead { done }).await?;
        answer.await.map_err(|_| PostError::Closed)
    }

    /// Whether a server that was in the room once may read each of these events.
    pub(in crate::engine) async fn readable(&self, server: Origin, events: Vec<Event>) -> Result<Vec<bool>, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::Readable { server, events, done }).await?;
        answer.await.map_err(|_| PostError::Closed)
    }

    pub(in crate::engine) async fn state(&self) -> Result<Option<(Arc<RoomState>, usize)>, PostError> {
        let (done, answer) = oneshot::channel();
        self.send(RoomCommand::State { done }).await?;
        answer.await.map_err(|_| PostError::Closed)
    }
}
