//! What the connector counts, for the status and the metrics.

use prometheus_client::metrics::counter::Counter;

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// A change from Rocket.Chat into the mesh.
    Taken,
    /// A change from the mesh into Rocket.Chat.
    Delivered,
    /// A change that was not taken.
    Refused,
    /// Something of one's own that was seen again.
    Echo,
    /// Another attempt.
    Retry,
    /// A connection for what happens.
    Connection,
}

/// What is counted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// Changes from Rocket.Chat into the mesh.
    pub(crate) taken: Counter,
    /// Changes from the mesh into Rocket.Chat.
    pub(crate) delivered: Counter,
    /// Changes that Rocket.Chat refused for good.
    pub(crate) refused: Counter,
    /// What was seen again and was one's own.
    pub(crate) echoes: Counter,
    /// Calls that were made again.
    pub(crate) retries: Counter,
    /// Connections for what happens.
    pub(crate) connections: Counter,
}

impl Counters {
    /// Counts one.
    pub(crate) fn count(&self, what: Counted) {
        let counter = match what {
            Counted::Taken => &self.taken,
            Counted::Delivered => &self.delivered,
            Counted::Refused => &self.refused,
            Counted::Echo => &self.echoes,
            Counted::Retry => &self.retries,
            Counted::Connection => &self.connections,
        };
        counter.inc();
    }
}
