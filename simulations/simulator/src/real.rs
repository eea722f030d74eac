//! The real node in virtual time: real swarms and the real room engine, in one process on one thread.
//!
//! ```text
//!   Plan ──► World ── start, stop, crash ──► Server: rocketmesh_node::Node on a MemoryDisk
//!              │                                │   libp2p: Noise, Yamux, gossipsub, Kademlia, identify, requests
//!              │                                └── Meter (looks into streams) ── SimTransport
//!              └── cut, mend, unplug ──► Internet: latency, jitter, loss, bandwidth ◄──┘
//! ```
//!
//! Time is tokio's, paused: it moves to the next timer when every task waits. The system's clock and random numbers are the
//! simulation's on this thread (see [`crate::virtual_time`]). A process runs one simulation: libraries keep state of their
//! own.

mod harm;
mod internet;
mod meter;
mod past;
mod server;
mod stage;
mod transport;
mod wire;
mod world;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::Plan;
use crate::record::{About, Record};
use crate::sabotage::Sabotage;
use crate::virtual_time;

/// The stack of the thread that a simulation runs on.
const STACK: usize = 64 * 1024 * 1024;

/// What a run is told beside its plan.
#[derive(Debug, Default)]
pub struct Options {
    /// A deliberate bug; none but in tests.
    pub sabotage: Option<Sabotage>,
    /// Where the trace goes beside its hash.
    pub trace_file: Option<File>,
    /// What the caller knows of the build and the command. The rest is filled in.
    pub about: About,
}

/// Why a run could not begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RealError {
    /// What was there before the run cannot be made.
    #[error("the servers' past cannot be made: {0}")]
    Past(String),
    /// A store failed, which one in memory does not.
    #[error(transparent)]
    Store(#[from] rocketmesh_storage::StoreError),
    /// A node does not start.
    #[error("a node does not start: {0}")]
    Start(#[from] rocketmesh_node::StartError),
    /// The system does not give what a run needs.
    #[error("the run cannot begin: {0}")]
    System(#[from] std::io::Error),
    /// The run ended in a panic: a bug in the simulator or in what it simulates.
    #[error("the run panicked; what it said stands above")]
    Panicked,
}

/// Runs a plan with real nodes. `progress` is told the virtual time and the latest end.
///
/// One simulation a process: a second one in the same process would find what libraries remember of the first.
///
/// # Errors
/// [`RealError`].
pub fn run(
    plan: Arc<Plan>,
    mut options: Options,
    mut progress: impl FnMut(Duration, Duration) + Send + 'static,
) -> Result<Record, RealError> {
    // A fresh thread: what it asks for at random, hash maps' keys among it, is the seed's from the first on.
    let simulation = move || {
        virtual_time::seed(plan.seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let about = std::mem::take(&mut options.about);
        runtime.block_on(async {
            virtual_time::start_clock();
            let outcome = match world::World::new(plan, &mut options, &mut progress) {
                Ok(world) => world.run(about).await,
                Err(error) => Err(error),
            };
            virtual_time::stop_clock();
            outcome
        })
    };
    let thread = std::thread::Builder::new().name("simulation".to_owned()).stack_size(STACK).spawn(simulation)?;
    thread.join().map_err(|_| RealError::Panicked)?
}
