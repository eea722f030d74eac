//! What tests let go wrong: an answer that is lost although the server did what it was asked, and the like.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long an answer that shall never come is held back. Nobody waits as long.
pub(crate) const FOREVER: Duration = Duration::from_secs(600);

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// It is done, and 502 is answered.
    FailAfter,
    /// 502 is answered, and nothing is done.
    FailBefore,
    /// It is done, and no answer comes.
    HangAfter,
    /// Nothing is done, and no answer comes.
    HangBefore,
}

/// Calls that shall go wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// The call, such as `chat.sendMessage` or `rooms.mediaConfirm`, without the ids behind it; every call without it.
    #[serde(default)]
    pub call: Option<String>,
    /// So many of the next ones.
    pub times: u32,
    /// In this way.
    pub wrong: Wrong,
}

/// The faults that are due, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    due: Vec<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.due.push(fault);
    }

    pub(crate) fn take(&mut self, call: &str) -> Option<Fault> {
        let route = call.split('/').next().unwrap_or_default();
        let meant = |fault: &Fault| fault.call.as_deref().is_none_or(|of| of == call || of == route);
        let at = self.due.iter().position(meant)?;
        let fault = self.due.get_mut(at)?;
        let taken = fault.clone();
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            self.due.remove(at);
        }
        Some(taken)
    }
}
