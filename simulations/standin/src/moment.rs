//! Moments: milliseconds since 1970, in the two forms in which Rocket.Chat writes them.
//!
//! Over DDP a date is `{"$date": 1700000000000}` (EJSON); over REST the same date is `"2023-11-14T22:13:20.000Z"`.
//! Everything here is kept in the first form and turned into the second one on its way out.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

const DAY: i64 = 86_400_000;
/// The key of a date in EJSON.
const DATE: &str = "$date";

/// A moment, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

#[derive(Serialize, Deserialize)]
struct Ejson {
    #[serde(rename = "$date")]
    ms: i64,
}

impl Moment {
    /// What the system's clock says.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// As REST writes it.
    pub fn iso(self) -> String {
        let (days, ms) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }

    /// Reads what JavaScript's `Date.parse` reads of ISO dates: a day, or a day and a time with `Z`, an offset or neither
    /// (which is taken as UTC). A number of milliseconds is no date there either.
    pub fn parse(text: &str) -> Option<Self> {
        let (day, time) = match text.trim().split_once(['T', ' ']) {
            Some((day, time)) => (day, time),
            None => (text.trim(), "00:00:00Z"),
        };
        let mut parts = day.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let (time, offset) = split_offset(time)?;
        let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut parts = whole.splitn(3, ':').map(|part| part.parse::<i64>().ok());
        let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
        if !(0..=24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
            return None;
        }
        let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
        let ms = digits.parse::<i64>().ok()?;
        let clock = (hour * 3600 + minute * 60 + second) * 1000 + ms;
        Some(Moment(days(year, month, day) * DAY + clock - offset * 60_000))
    }

    /// A moment as it comes in a message: EJSON or ISO text.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Moment::parse(text),
            Value::Object(fields) => fields.get(DATE)?.as_i64().map(Moment),
            _ => None,
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Ejson { ms: self.0 }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Moment(Ejson::deserialize(deserializer)?.ms))
    }
}

/// Turns every date of a document into the form of REST.
pub(crate) fn rest(value: Value) -> Value {
    match value {
        Value::Object(fields) => match (fields.len(), fields.get(DATE).and_then(Value::as_i64)) {
            (1, Some(ms)) => Value::String(Moment(ms).iso()),
            _ => Value::Object(fields.into_iter().map(|(key, value)| (key, rest(value))).collect::<Map<_, _>>()),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(rest).collect()),
        other => other,
    }
}

/// Minutes east of UTC, behind a time.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (time, offset) = time.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) =
        (digits.get(..2)?.parse::<i64>().ok()?, digits.get(2..4).unwrap_or("0").parse::<i64>().ok()?);
    Some((time, sign * (hours * 60 + minutes)))
}

/// The day of a number of days since 1970 (the algorithm of Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The number of days since 1970 of a day.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_moment_is_read_back_from_its_text() {
        for ms in [0, 951_782_399_999, 951_782_400_000, 1_700_000_000_123, 4_102_444_800_000] {
            assert_eq!(Moment::parse(&Moment(ms).iso()), Some(Moment(ms)));
        }
        assert_eq!(Moment(1_700_000_000_000).iso(), "2023-11-14T22:13:20.000Z");
    }

    #[test]
    fn offsets_and_missing_parts_are_read_as_javascript_reads_them() {
        assert_eq!(Moment::parse("2023-11-14T23:13:20+01:00"), Some(Moment(1_700_000_000_000)));
        assert_eq!(Moment::parse("1970-01-02"), Some(Moment(DAY)));
        assert_eq!(Moment::parse("1700000000000"), None);
        assert_eq!(Moment::parse("yesterday"), None);
    }

    #[test]
    fn dates_change_form_wherever_they_stand() {
        let kept = json!({"a": [{"ts": {"$date": 0}}], "b": 1});
        assert_eq!(rest(kept), json!({"a": [{"ts": "1970-01-01T00:00:00.000Z"}], "b": 1}));
    }
}
