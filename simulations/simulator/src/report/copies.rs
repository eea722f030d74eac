//! How many copies of an event servers got.

use super::axis::Axis;
use super::chart::{Chart, WIDE};
use super::figures::copies_per_event;
use super::html;
use super::numbers::{Unit, decimal, many};
use super::spread::{Bins, Spread};
use crate::record::Record;

/// The part of the page.
pub(super) fn section(record: &Record) -> String {
    let spread = Spread::of(copies_per_event(record));
    let (Some(most), Some(median), Some(mean)) = (spread.most(), spread.median(), spread.mean()) else {
        let absent = html::absent("No event in this run was delivered by gossip.");
        return html::section("copies", "Copies of events", &absent);
    };
    let bins = Bins::of(spread.values(), Bins::width_for(most, Unit::Number));
    let highest = bins.counts.iter().max().copied().unwrap_or(0) as f64;
    let x = Axis::linear("copies for each delivery by gossip", 0.0, bins.end(), Unit::Number);
    let y = Axis::from_zero("events", highest, Unit::Count);
    let about = "Histogram of the copies of an event that arrived for each of its deliveries by gossip.";
    let mut chart = Chart::new("copies-histogram", "Copies of events", about, WIDE, x, y);
    chart.histogram(&bins, "fill c0", "events", decimal);
    chart.upright(median, &format!("median {}", decimal(median)));
    let unheard = record.events.len().saturating_sub(spread.values().len());
    let caption = format!(
        "How to read it: of each event, all copies that gossip brought, over the servers that had it from gossip \
         first; each bar counts the events with that ratio. 1 is the least that gossip can do; what is above it is \
         the price of redundancy. The mean of events is {}, the median {}. Left out, because gossip brought them to \
         no server first: {}.",
        decimal(mean),
        decimal(median),
        many(unheard as u64, "event"),
    );
    html::section("copies", "Copies of events", &html::figure(&chart.svg(), "", &caption))
}
