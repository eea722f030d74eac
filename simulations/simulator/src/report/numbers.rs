//! Numbers as people read them: `1,234`, `3.4 ms`, `12.3 MiB`.

/// What stands where there is no number.
pub(super) const NONE: &str = "–";

/// What a number counts or measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Whole things.
    Count,
    /// A number without a unit.
    Number,
    /// Milliseconds.
    Ms,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    Rate,
    /// A part of a whole, from 0 to 1.
    Share,
}

impl Unit {
    /// A number of this unit, with the unit.
    pub(super) fn text(self, number: f64) -> String {
        match self {
            Unit::Count if number.is_finite() => count(number.max(0.0).round() as u64),
            Unit::Count | Unit::Number => decimal(number),
            Unit::Ms => ms(number),
            Unit::Seconds => seconds(number),
            Unit::Bytes => bytes(number),
            Unit::Rate if number.is_finite() => format!("{}/s", bytes(number)),
            Unit::Rate => NONE.to_owned(),
            Unit::Share => share(number),
        }
    }

    /// The same, or [`NONE`].
    pub(super) fn text_of(self, number: Option<f64>) -> String {
        number.map_or_else(|| NONE.to_owned(), |number| self.text(number))
    }
}

/// A whole number, with a comma before every three digits.
pub(super) fn count(mut number: u64) -> String {
    let mut groups = Vec::new();
    while number >= 1_000 {
        groups.push(format!("{:03}", number % 1_000));
        number /= 1_000;
    }
    groups.push(number.to_string());
    groups.reverse();
    groups.join(",")
}

/// How many of something: `1 server`, `2 servers`.
pub(super) fn many(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", count(number))
}

/// A number with about three digits that matter.
pub(super) fn decimal(number: f64) -> String {
    let size = number.abs();
    let places = if size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    fixed(number, places)
}

/// A stretch of time, given in seconds.
pub(super) fn seconds(number: f64) -> String {
    if number == 0.0 { "0 s".to_owned() } else { ms(number * 1_000.0) }
}

/// A stretch of time, given in milliseconds.
pub(super) fn ms(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        return NONE.to_owned();
    } else if size < 1e-9 {
        return "0 ms".to_owned();
    } else if size < 0.9995 {
        return format!("{} µs", decimal(number * 1_000.0));
    } else if size < 999.5 {
        return format!("{} ms", decimal(number));
    } else if size < 59_950.0 {
        return format!("{} s", decimal(number / 1_000.0));
    }
    let sign = if number < 0.0 { "−" } else { "" };
    let whole = (size / 1_000.0).round() as u64;
    let (large, small, names) = match whole {
        0..7_200 => (whole / 60, whole % 60, ["min", "s"]),
        7_200..172_800 => (whole / 3_600, whole % 3_600 / 60, ["h", "min"]),
        _ => (whole / 86_400, whole % 86_400 / 3_600, ["d", "h"]),
    };
    match small {
        0 => format!("{sign}{} {}", count(large), names[0]),
        _ => format!("{sign}{} {} {small} {}", count(large), names[0], names[1]),
    }
}

/// A number of bytes.
pub(super) fn bytes(number: f64) -> String {
    let mut number = number;
    let mut name = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if number.abs() < 1_023.5 {
            break;
        }
        number /= 1_024.0;
        name = next;
    }
    match number.is_finite() {
        true => format!("{} {name}", decimal(number)),
        false => NONE.to_owned(),
    }
}

/// A part of a whole in percent. What is not quite all never reads as all, and what is not quite none never as none.
pub(super) fn share(number: f64) -> String {
    let percent = number * 100.0;
    if percent > 0.0 && percent < 0.01 {
        return "under 0.01 %".to_owned();
    }
    let text = if percent > 99.9 && percent < 99.999_999 {
        fixed((percent * 100.0 + 1e-6).floor() / 100.0, 2)
    } else if percent.abs() >= 10.0 {
        fixed(percent, 1)
    } else {
        fixed(percent, 2)
    };
    match number.is_finite() {
        true => format!("{text} %"),
        false => NONE.to_owned(),
    }
}

fn fixed(number: f64, places: usize) -> String {
    if !number.is_finite() {
        return NONE.to_owned();
    }
    let text = format!("{:.places$}", number.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let whole = whole.parse::<u64>().map_or_else(|_| whole.to_owned(), count);
    let rest = rest.trim_end_matches('0');
    let sign = if number < 0.0 && (whole != "0" || !rest.is_empty()) { "−" } else { "" };
    match rest {
        "" => format!("{sign}{whole}"),
        rest => format!("{sign}{whole}.{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([count(0), count(999), count(1_234), count(1_000_007)], ["0", "999", "1,234", "1,000,007"]);
        assert_eq!([decimal(0.0), decimal(3.4), decimal(12.34), decimal(1_234.4)], ["0", "3.4", "12.3", "1,234"]);
        assert_eq!([ms(0.42), ms(3.4), ms(1_200.0), ms(90_000.0)], ["420 µs", "3.4 ms", "1.2 s", "1 min 30 s"]);
        assert_eq!([seconds(7_200.0), seconds(172_800.0), seconds(-2.5)], ["2 h", "2 d", "−2.5 s"]);
        assert_eq!([bytes(0.0), bytes(900.0), bytes(12_897_485.0)], ["0 B", "900 B", "12.3 MiB"]);
        assert_eq!([many(1, "server"), many(2_000, "server")], ["1 server", "2,000 servers"]);
    }

    #[test]
    fn nearly_all_is_not_all_and_nearly_none_is_not_none() {
        assert_eq!([share(1.0), share(0.999_999), share(0.5), share(0.0)], ["100 %", "99.99 %", "50 %", "0 %"]);
        assert_eq!(share(0.000_001), "under 0.01 %");
    }

    #[test]
    fn what_is_no_number_is_a_dash() {
        for unit in [Unit::Count, Unit::Number, Unit::Ms, Unit::Seconds, Unit::Bytes, Unit::Rate, Unit::Share] {
            assert_eq!([unit.text(f64::NAN), unit.text(f64::INFINITY), unit.text_of(None)], [NONE, NONE, NONE]);
        }
    }
}
