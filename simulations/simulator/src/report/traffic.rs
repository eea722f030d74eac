//! What servers sent: by kind, over time and in all.

use super::axis::Axis;
use super::bars::{Whole, divided};
use super::chart::{Chart, Key, Point, WIDE, legend};
use super::figures::{all_bytes, bytes_by_kind, kinds, part};
use super::html::{self, Cell};
use super::numbers::{NONE, Unit, bytes};
use super::style::colour;
use crate::record::{Record, TrafficRow};

/// The most stretches of time that are drawn; of more, neighbours are drawn as one.
const MOST_STRETCHES: usize = 250;

/// The part of the page.
pub(super) fn section(record: &Record) -> String {
    let heading = "What servers sent";
    if all_bytes(record).unwrap_or(0) == 0 {
        return html::section("traffic", heading, &html::absent("No traffic was counted in this run."));
    }
    let kinds = kinds(&record.traffic);
    let over_time = "How to read it: bytes a second that all servers together sent, kinds of traffic on top of each \
                     other; the upper edge is all of it. Times count from the end of the warm-up.";
    let in_all = "How to read it: the same bytes over the whole run, warm-up included; percentages are of all bytes.";
    let whole = Whole { label: String::new(), parts: bytes_by_kind(record) };
    let about = "All bytes of the run, divided by kind.";
    let body = [
        html::figure(&stack(record, &kinds), &keys(&kinds), over_time),
        html::figure(&divided("traffic-split", "Traffic by kind", about, &[whole]), "", in_all),
        table(record),
    ];
    html::section("traffic", heading, &body.concat())
}

/// The legend of kinds of traffic.
pub(super) fn keys(kinds: &[String]) -> String {
    let key = |(series, kind): (usize, &String)| (Key::Area, colour(series), kind.clone());
    legend(&kinds.iter().enumerate().map(key).collect::<Vec<_>>())
}

/// Bytes of each kind in one stretch of time.
struct Stretch {
    from: f64,
    to: f64,
    bytes: Vec<u64>,
}

impl Stretch {
    /// Bytes a second of the kinds below this number.
    fn rate_below(&self, kinds: usize) -> f64 {
        self.bytes.iter().take(kinds).sum::<u64>() as f64 / (self.to - self.from).max(1e-9)
    }
}

fn stretches(traffic: &[TrafficRow], kinds: &[String]) -> Vec<Stretch> {
    let mut ends: Vec<f64> = traffic.iter().map(|row| row.t_s).filter(|end| end.is_finite()).collect();
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    // Nobody wrote down where the first stretch began: it is taken to be as long as the second.
    let mut from = match ends.as_slice() {
        [first, second, ..] => first - (second - first),
        [only] => only - 1.0,
        [] => return Vec::new(),
    };
    let mut all: Vec<Stretch> = Vec::with_capacity(ends.len());
    for to in &ends {
        all.push(Stretch { from, to: *to, bytes: vec![0; kinds.len()] });
        from = *to;
    }
    for row in traffic {
        let Ok(at) = ends.binary_search_by(|end| end.total_cmp(&row.t_s)) else { continue };
        let Some(kind) = kinds.iter().position(|kind| *kind == row.kind) else { continue };
        if let Some(bytes) = all.get_mut(at).and_then(|stretch| stretch.bytes.get_mut(kind)) {
            *bytes += row.bytes;
        }
    }
    let few = all.len().div_ceil(MOST_STRETCHES).max(1);
    all.chunks(few).map(joined).collect()
}

fn joined(stretches: &[Stretch]) -> Stretch {
    let from = stretches.first().map_or(0.0, |first| first.from);
    let to = stretches.last().map_or(0.0, |last| last.to);
    let kinds = stretches.first().map_or(0, |first| first.bytes.len());
    let sum = |kind: usize| stretches.iter().filter_map(|stretch| stretch.bytes.get(kind)).sum::<u64>();
    Stretch { from, to, bytes: (0..kinds).map(sum).collect() }
}

fn stack(record: &Record, kinds: &[String]) -> String {
    let stretches = stretches(&record.traffic, kinds);
    let most = stretches.iter().map(|stretch| stretch.rate_below(kinds.len())).fold(0.0, f64::max);
    let from = stretches.first().map_or(0.0, |first| first.from);
    let to = stretches.last().map_or(1.0, |last| last.to);
    let x = Axis::linear("virtual time", from, to, Unit::Seconds);
    let y = Axis::from_zero("bytes a second, all servers", most, Unit::Rate);
    let about = "Bytes a second over time, stacked by kind of traffic.";
    let mut chart = Chart::new("traffic-over-time", "Traffic over time", about, WIDE, x, y);
    for (series, kind) in kinds.iter().enumerate() {
        let edge = |kinds: usize| -> Vec<Point> {
            let steps = stretches.iter().map(|stretch| (stretch, stretch.rate_below(kinds)));
            steps.flat_map(|(stretch, rate)| [(stretch.from, rate), (stretch.to, rate)]).collect()
        };
        let class = format!("stack {}", colour(series));
        chart.area(&edge(series + 1), &edge(series), &class, kind);
    }
    chart.svg()
}

fn table(record: &Record) -> String {
    let all = all_bytes(record).unwrap_or(0);
    let about = &record.about;
    let row = |(kind, sum): (String, u64)| {
        let over = |number: u64| part(sum, number).map_or_else(|| NONE.to_owned(), bytes);
        vec![
            Cell::words(kind),
            Cell::number(bytes(sum as f64)),
            Cell::number(Unit::Share.text_of(part(sum, all))),
            Cell::number(over(about.events)),
            Cell::number(over(about.delivered)),
        ]
    };
    let rows = bytes_by_kind(record).into_iter().chain([("all".to_owned(), all)]);
    let head = ["Kind", "Bytes", "Share", "For each event", "For each delivery"];
    html::table(&head, &rows.map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_lost_when_stretches_are_joined() {
        let row = |at: u32| TrafficRow { t_s: f64::from(at) / 2.0, kind: "sync".to_owned(), bytes: 3 };
        let traffic: Vec<TrafficRow> = (1..=1_001).map(row).collect();
        let stretches = stretches(&traffic, &kinds(&traffic));
        assert!(stretches.len() <= MOST_STRETCHES);
        let sum: u64 = stretches.iter().flat_map(|stretch| &stretch.bytes).sum();
        assert_eq!(sum, 3_003);
        assert!((stretches[0].from, stretches[stretches.len() - 1].to) == (0.0, 500.5));
    }
}
