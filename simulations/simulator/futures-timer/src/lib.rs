//! A stand-in for `futures-timer` over tokio's timers.
//!
//! The real crate keeps a thread with a clock of its own. In a simulation all time is tokio's, which is paused and moves when
//! everybody waits.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A future that is ready after a while.
pub struct Delay {
    duration: Duration,
    /// Made when first polled: before that there may be no runtime.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Delay {
    /// Ready this long after it is first waited for.
    pub fn new(duration: Duration) -> Self {
        Delay { duration, sleep: None }
    }

    /// Ready this long from now.
    pub fn reset(&mut self, duration: Duration) {
        self.duration = duration;
        // The same sleep, so that whoever waits is woken by it still.
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(Instant::now() + duration);
        }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let duration = self.duration;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(duration)));
        sleep.as_mut().poll(context)
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delay").field("duration", &self.duration).finish()
    }
}
