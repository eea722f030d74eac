//! Axes: where a value stands along one, and which marks it has.

use super::numbers::Unit;

/// One axis of a picture.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    name: String,
    low: f64,
    high: f64,
    unit: Unit,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Linear,
    Log,
    Words(Vec<String>),
}

/// Stretches of time that people count in, in seconds.
const TIMES: [f64; 20] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 21_600.0,
    43_200.0, 86_400.0, 172_800.0, 604_800.0,
];
/// Marks of a logarithmic axis of time, in milliseconds: about one for every factor of ten.
const SPARSE_MS: [f64; 13] = [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 6e4, 6e5, 3.6e6, 3.6e7, 8.64e8];
/// Marks of a short logarithmic axis of time, in milliseconds.
const DENSE_MS: [f64; 22] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 6e4, 1.2e5, 3e5, 6e5,
    3.6e6,
];

impl Axis {
    /// From one value to another.
    pub(super) fn linear(name: &str, low: f64, high: f64, unit: Unit) -> Self {
        let low = if low.is_finite() { low } else { 0.0 };
        let high = if high.is_finite() && high > low { high } else { low + 1.0 };
        Axis { name: name.to_owned(), low, high, unit, kind: Kind::Linear }
    }

    /// From zero to a round number that is no less than `most`.
    pub(super) fn from_zero(name: &str, most: f64, unit: Unit) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = step(most / 5.0, unit);
        Axis::linear(name, 0.0, (most / step - 1e-9).ceil() * step, unit)
    }

    /// Around values that are all above zero: from zero if they differ much, else from a round number below them.
    pub(super) fn around(name: &str, low: f64, high: f64, unit: Unit) -> Self {
        let (low, mut high) = if high > low { (low, high) } else { (low * 0.9, low * 1.1) };
        if unit == Unit::Share {
            high = high.min(1.0);
        }
        if !low.is_finite() || !high.is_finite() || low * 2.0 < high || high <= low {
            return Axis::from_zero(name, high, unit);
        }
        let step = step((high - low) / 5.0, unit);
        Axis::linear(name, (low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step, unit)
    }

    /// Equal stretches for equal factors, with a little room beyond both ends. It begins above zero.
    pub(super) fn log(name: &str, low: f64, high: f64, unit: Unit) -> Self {
        let low = if low.is_finite() { low.max(1e-3) } else { 1e-3 };
        let high = if high.is_finite() { high.max(low * 2.0) } else { low * 10.0 };
        let low = round_up(low * 1.000_1) / 2.5;
        Axis { name: name.to_owned(), low, high: round_up(high), unit, kind: Kind::Log }
    }

    /// One place for each word, in their order; the n-th one's middle is at n + 0.5.
    pub(super) fn words(name: &str, words: Vec<String>) -> Self {
        let high = words.len().max(1) as f64;
        Axis { name: name.to_owned(), low: 0.0, high, unit: Unit::Count, kind: Kind::Words(words) }
    }

    /// What it shows.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How far along a value stands, from 0 to 1.
    pub(super) fn fraction(&self, value: f64) -> f64 {
        let along = match self.kind {
            Kind::Log => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            Kind::Linear | Kind::Words(_) => (value - self.low) / (self.high - self.low),
        };
        if along.is_finite() { along.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Its marks and what is written at them. Words that have no room in this many pixels are left out evenly.
    pub(super) fn ticks(&self, room: f64) -> Vec<(f64, String)> {
        match &self.kind {
            Kind::Linear => {
                let step = step((self.high - self.low) / 5.0, self.unit);
                let first = (self.low / step - 1e-9).ceil() as i64;
                let last = (self.high / step + 1e-9).floor() as i64;
                (first..=last).map(|at| self.tick(at as f64 * step)).collect()
            }
            Kind::Log => self.log_ticks().into_iter().map(|at| self.tick(at)).collect(),
            Kind::Words(words) => {
                let words: Vec<String> = words.iter().map(|word| shorten(word, 14)).collect();
                let widest = words.iter().map(|word| word.chars().count()).max().unwrap_or(0) as f64 * 7.0 + 12.0;
                let every = (widest * words.len() as f64 / room.max(1.0)).ceil().max(1.0) as usize;
                let places = words.into_iter().enumerate().step_by(every);
                places.map(|(at, word)| (at as f64 + 0.5, word)).collect()
            }
        }
    }

    fn tick(&self, at: f64) -> (f64, String) {
        (at, self.unit.text(at))
    }

    fn log_ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let marks: Vec<f64> = match self.unit {
            Unit::Ms if decades > 2.5 => SPARSE_MS.to_vec(),
            Unit::Ms => DENSE_MS.to_vec(),
            _ => (-3..=15).map(|power| 10_f64.powi(power)).collect(),
        };
        marks.into_iter().filter(|at| *at >= self.low * 0.999 && *at <= self.high * 1.001).collect()
    }
}

/// A text with at most this many characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The next round number of a unit.
pub(super) fn step(wanted: f64, unit: Unit) -> f64 {
    match unit {
        Unit::Count => round_up(wanted).max(1.0),
        Unit::Number | Unit::Share => round_up(wanted),
        Unit::Ms => step(wanted / 1_000.0, Unit::Seconds) * 1_000.0,
        Unit::Seconds if wanted <= 0.5 => round_up(wanted),
        Unit::Seconds => {
            let known = TIMES.into_iter().find(|time| *time >= wanted * 0.999_999);
            known.unwrap_or_else(|| round_up(wanted / 86_400.0) * 86_400.0)
        }
        Unit::Bytes | Unit::Rate => {
            let mut base = 1.0;
            while wanted >= base * 1_024.0 && base < 1e15 {
                base *= 1_024.0;
            }
            let step = round_up(wanted / base).max(1.0);
            if step > 512.0 { 1_024.0 * base } else { step * base }
        }
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_up(number: f64) -> f64 {
    if !number.is_finite() || number < 1e-12 {
        return 1.0;
    }
    let power = 10_f64.powf(number.log10().floor());
    let mut steps = [1.0, 2.0, 5.0].into_iter().map(|times| times * power);
    steps.find(|step| *step >= number * 0.999_999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(axis: &Axis) -> Vec<String> {
        axis.ticks(500.0).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn marks_are_round_numbers_of_the_unit() {
        assert_eq!(written(&Axis::from_zero("", 9.3, Unit::Count)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(written(&Axis::from_zero("", 2.0, Unit::Count)), ["0", "1", "2"]);
        assert_eq!(written(&Axis::linear("", 0.0, 300.0, Unit::Seconds)).last().map(String::as_str), Some("5 min"));
        assert_eq!(written(&Axis::from_zero("", 4_000.0, Unit::Bytes))[1], "1 KiB");
        assert_eq!(written(&Axis::log("", 1.0, 9_000.0, Unit::Ms)), ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
    }

    #[test]
    fn a_value_always_has_a_place_from_0_to_1() {
        let axes = [
            Axis::linear("", f64::NAN, f64::INFINITY, Unit::Number),
            Axis::from_zero("", 0.0, Unit::Bytes),
            Axis::around("", 0.0, 0.0, Unit::Share),
            Axis::log("", 0.0, 0.0, Unit::Ms),
            Axis::words("", Vec::new()),
        ];
        for axis in axes {
            for value in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
                assert!((0.0..=1.0).contains(&axis.fraction(value)), "{axis:?} {value}");
            }
            assert!(axis.ticks(500.0).len() < 20, "{axis:?}");
        }
    }
}
