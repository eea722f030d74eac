//! Stretches of virtual time, as people write them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MAX_DURATION;

/// A stretch of virtual time, written as `250ms`, `10s`, `5m`, `2h` or `30d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    pub(super) fn half_minute() -> Self {
        Span(Duration::from_secs(30))
    }

    pub(super) fn two_minutes() -> Self {
        Span(Duration::from_secs(120))
    }
}

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = || format!("`{text}` is no time; expected a number and ms, s, m, h or d, such as 30s or 5m");
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| expected())?;
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
        let ms = number.checked_mul(*ms).filter(|ms| u128::from(*ms) <= MAX_DURATION.as_millis());
        Ok(Span(Duration::from_millis(ms.ok_or_else(|| format!("`{text}` is longer than any run may be"))?)))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        let (name, unit) = UNITS.iter().rev().find(|(_, unit)| ms > 0 && ms.is_multiple_of(*unit)).unwrap_or(&UNITS[1]);
        write!(formatter, "{}{name}", ms / unit)
    }
}
