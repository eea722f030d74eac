//! How long deliveries took: a cumulative curve for each size of room and way, and their quantiles.

use std::collections::BTreeMap;

use super::axis::Axis;
use super::chart::{Chart, Key, Point, WIDE, legend};
use super::html::{self, Cell};
use super::numbers::{Unit, count, ms};
use super::spread::counted_quantile;
use super::style::colour;
use super::{figures, regions};
use crate::record::{LatencyRow, Record};

/// Deliveries by the upper end of their bucket, in microseconds.
pub(super) type Buckets = BTreeMap<u64, u64>;

/// Buckets grow by this factor.
const GROWTH: f64 = 1.1;

/// The part of the page.
pub(super) fn section(record: &Record) -> String {
    let series = series(&record.latency);
    let body = if series.is_empty() {
        html::absent("No delivery in this run.")
    } else {
        let caption = "How to read it: at each time on the x axis, the share of deliveries that took no longer; \
                       further left is faster. The x axis is logarithmic. Each line is over its own deliveries: \
                       those in rooms of one size that gossip brought (unbroken) or sync (broken).";
        [
            html::figure(&curves(&series), &keys(&series), caption),
            quantiles(&series),
            regions::matrix(&record.latency),
            late(record),
        ]
        .concat()
    };
    html::section("latency", "How long deliveries took", &body)
}

/// All deliveries of a record.
pub(super) fn all(latency: &[LatencyRow]) -> Buckets {
    let mut buckets = Buckets::new();
    for row in latency.iter().filter(|row| row.count > 0) {
        *buckets.entry(row.up_to_us).or_default() += row.count;
    }
    buckets
}

/// The points of a cumulative curve: milliseconds, and the share of deliveries that took no longer. Within a bucket
/// the line rises evenly.
pub(super) fn cumulative(buckets: &Buckets) -> Vec<Point> {
    let total = buckets.values().sum::<u64>().max(1) as f64;
    let mut so_far = 0_u64;
    let mut points: Vec<Point> = Vec::with_capacity(buckets.len() * 2);
    for (up_to_us, count) in buckets {
        let end = *up_to_us as f64 / 1_000.0;
        let previous = points.last().map_or(0.0, |(end, _)| *end);
        points.push(((end / GROWTH).max(previous), so_far as f64 / total));
        so_far += *count;
        points.push((end, so_far as f64 / total));
    }
    points
}

/// An axis of time for curves of these buckets.
pub(super) fn axis<'a>(buckets: impl Iterator<Item = &'a Buckets> + Clone) -> Axis {
    let first = buckets.clone().filter_map(|buckets| buckets.keys().next()).min();
    let last = buckets.filter_map(|buckets| buckets.keys().next_back()).max();
    let ms = |micros: Option<&u64>| micros.map_or(1.0, |micros| *micros as f64 / 1_000.0);
    Axis::log("time from the sender's disk to the receiver, log scale", ms(first) / GROWTH, ms(last), Unit::Ms)
}

/// A quantile of buckets, in words.
pub(super) fn quantile(buckets: &Buckets, share: f64) -> String {
    let counted = buckets.iter().map(|(up_to_us, count)| (*up_to_us, *count));
    Unit::Ms.text_of(counted_quantile(counted, share).map(|micros| micros as f64 / 1_000.0))
}

/// Deliveries of one way in rooms of one size.
struct Series {
    size: String,
    way: String,
    colour: String,
    buckets: Buckets,
}

impl Series {
    fn name(&self) -> String {
        let size = match self.size.trim_end_matches('-') {
            least if least.len() < self.size.len() => format!("{least} and more"),
            size => size.replace('-', " to "),
        };
        let number = self.buckets.values().sum::<u64>();
        format!("rooms of {size} servers, {}: {} deliveries", self.way, count(number))
    }

    fn is_gossip(&self) -> bool {
        self.way == "gossip"
    }
}

/// Every series, small rooms first.
fn series(latency: &[LatencyRow]) -> Vec<Series> {
    let least = |size: &str| size.split('-').next().and_then(|least| least.parse::<u64>().ok()).unwrap_or(u64::MAX);
    let mut sorted: BTreeMap<(u64, &str), BTreeMap<&str, Buckets>> = BTreeMap::new();
    for row in latency.iter().filter(|row| row.count > 0) {
        let ways = sorted.entry((least(&row.room_size), row.room_size.as_str())).or_default();
        *ways.entry(row.way.as_str()).or_default().entry(row.up_to_us).or_default() += row.count;
    }
    let mut all = Vec::new();
    for (at, ((_, size), ways)) in sorted.into_iter().enumerate() {
        for (way, buckets) in ways {
            all.push(Series { size: size.to_owned(), way: way.to_owned(), colour: colour(at), buckets });
        }
    }
    all
}

fn curves(series: &[Series]) -> String {
    let x = axis(series.iter().map(|series| &series.buckets));
    let y = Axis::linear("share of deliveries", 0.0, 1.0, Unit::Share);
    let about = "Cumulative distribution of the time of deliveries, a line for each size of room and way.";
    let mut chart = Chart::new("latency-curves", "Time of deliveries", about, WIDE, x, y);
    for series in series {
        let class = if series.is_gossip() { series.colour.clone() } else { format!("dashed {}", series.colour) };
        chart.line(&cumulative(&series.buckets), &class, &series.name());
    }
    chart.svg()
}

fn keys(series: &[Series]) -> String {
    let key = |series: &Series| {
        let key = if series.is_gossip() { Key::Line } else { Key::Dashed };
        (key, series.colour.clone(), series.name())
    };
    legend(&series.iter().map(key).collect::<Vec<_>>())
}

fn quantiles(series: &[Series]) -> String {
    let row = |series: &Series| {
        let mut row = vec![
            Cell::words(series.size.clone()),
            Cell::words(series.way.clone()),
            Cell::number(count(series.buckets.values().sum())),
        ];
        let shares = [0.5, 0.9, 0.99, 0.999, 1.0];
        row.extend(shares.into_iter().map(|share| Cell::number(quantile(&series.buckets, share))));
        row
    };
    let head = ["Servers in the room", "Way", "Deliveries", "p50", "p90", "p99", "p99.9", "Longest"];
    let note = "Times are the upper ends of buckets that grow by a tenth: a time is at most a tenth too long.";
    html::table(&head, &series.iter().map(row).collect::<Vec<_>>()) + &html::paragraph(note)
}

/// Says what never came, since no time stands for it.
fn late(record: &Record) -> String {
    let missing = record.about.expected.saturating_sub(record.about.delivered);
    if missing == 0 {
        return String::new();
    }
    let share = Unit::Share.text_of(figures::part(missing, record.about.expected));
    let longest = ms(record.about.max_ms);
    html::paragraph(&format!(
        "{} of the deliveries that should have been ({share}) never came and have no time here; of those that came, \
         the longest took {longest}.",
        count(missing)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_from_none_to_all() {
        let points = cumulative(&Buckets::from([(11, 1), (12, 2), (5_000, 1)]));
        assert!(points.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 <= two[1].1), "{points:?}");
        assert_eq!(points.first().map(|point| point.1), Some(0.0));
        assert_eq!(points.last(), Some(&(5.0, 1.0)));
    }

    #[test]
    fn small_rooms_come_first_and_open_classes_are_named() {
        let row = |size: &str| LatencyRow {
            room_size: size.to_owned(),
            from: "lan".to_owned(),
            to: "lan".to_owned(),
            way: "gossip".to_owned(),
            up_to_us: 1_000,
            count: 2,
        };
        let names: Vec<String> = series(&[row("1001-"), row("2-10")]).iter().map(Series::name).collect();
        assert_eq!(
            names,
            ["rooms of 2 to 10 servers, gossip: 2 deliveries", "rooms of 1001 and more servers, gossip: 2 deliveries"]
        );
    }
}
