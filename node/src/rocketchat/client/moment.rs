//! Moments as Rocket.Chat writes them: ISO text over REST, `{"$date": ms}` over DDP.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

const DAY: i64 = 86_400_000;

/// A moment, in milliseconds since 1970.
///
/// Read from either form; what is no date (Rocket.Chat writes `{"$date": null}` for the end of a token without one) is the
/// moment 0, so that one odd date does not make a whole message unreadable. Written as ISO text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    /// So many milliseconds earlier.
    pub(crate) fn before(self, ms: i64) -> Self {
        Moment(self.0.saturating_sub(ms))
    }

    /// As milliseconds since 1970, 0 for moments before.
    pub(crate) fn ms(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    /// Reads ISO text: a day and a time, with `Z`, an offset or neither (then it is UTC).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.trim().split_once(['T', ' '])?;
        let mut parts = day.splitn(3, '-').map(number);
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let (time, east) = offset(time)?;
        let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut parts = whole.splitn(3, ':').map(number);
        let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
        if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
            return None;
        }
        let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
        let ms = ((hour * 60 + minute - east) * 60 + second) * 1000 + number(&thousandths)?;
        Some(Moment(days_of(year, month, day) * DAY + ms))
    }

    /// Reads either form. `None` for what is no date.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Moment::parse(text),
            Value::Number(ms) => ms.as_i64().map(Moment),
            Value::Object(fields) => fields.get("$date")?.as_i64().map(Moment),
            _ => None,
        }
    }
}

/// A number without a sign.
fn number(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Takes the offset off a time: the time, and minutes east of UTC.
fn offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (time, written) = time.split_at(at);
    let sign = if written.starts_with('-') { -1 } else { 1 };
    let digits: String = written.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = (number(digits.get(..2)?)?, digits.get(2..4).map_or(Some(0), number)?);
    Some((time, sign * (hours * 60 + minutes)))
}

/// Days since 1970 of a day in the Gregorian calendar. Years are counted from March, so that the leap day ends one.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The day in the Gregorian calendar of days since 1970: the inverse of [`days_of`], found by a guess that is a few years off.
fn day_of(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(365);
    while days_of(year, 1, 1) > days {
        year -= 1;
    }
    let mut month = 12;
    while month > 1 && days_of(year, month, 1) > days {
        month -= 1;
    }
    (year, month, days - days_of(year, month, 1) + 1)
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A text that `Date.parse` takes has four digits of a year.
        let within = self.0.clamp(0, 253_402_300_799_999);
        let (year, month, day) = day_of(within.div_euclid(DAY));
        let ms = within.rem_euclid(DAY);
        let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Moment::of(&Value::deserialize(deserializer)?).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Moment;

    #[test]
    fn both_forms_of_a_date_are_read_and_iso_is_written() {
        let moment = Moment(1_700_000_000_123);
        assert_eq!(Moment::of(&json!("2023-11-14T22:13:20.123Z")), Some(moment));
        assert_eq!(Moment::of(&json!("2023-11-14T23:13:20.123+01:00")), Some(moment));
        assert_eq!(Moment::of(&json!({"$date": 1_700_000_000_123_i64})), Some(moment));
        assert_eq!(moment.to_string(), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn every_day_of_a_century_comes_back_as_it_was_written() {
        for day in 0..36_525 {
            let moment = Moment(day * 86_400_000 + 1);
            assert_eq!(Moment::parse(&moment.to_string()), Some(moment));
        }
    }

    #[test]
    fn what_is_no_date_is_none_and_does_not_panic() {
        for odd in ["", "T", "2023", "2023-13-01T00:00:00Z", "2023-01-01T99:00:00Z", "-1-1-1T::", "é-é-éTé+é"] {
            assert_eq!(Moment::parse(odd), None, "{odd}");
        }
        assert_eq!(Moment::of(&json!({"$date": null})), None);
        assert_eq!(Moment(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }
}
