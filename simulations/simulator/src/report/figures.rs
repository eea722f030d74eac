//! Figures that follow from a record and stand in more than one place.

use std::collections::BTreeSet;

use super::numbers::seconds;
use super::spread::counted_quantile;
use crate::record::{About, Record, TRAFFIC, TrafficRow};

/// A part of a whole; none of nothing.
pub(super) fn part(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then_some(part as f64 / whole as f64)
}

/// The share of deliveries that were made, of those that should have been.
pub(super) fn delivered(about: &About) -> Option<f64> {
    part(about.delivered, about.expected)
}

/// The share of deliveries that gossip made, of those that should have been. An expectation in a scenario means the
/// same.
pub(super) fn by_gossip(about: &About) -> Option<f64> {
    part(about.by_gossip, about.expected)
}

/// Copies of an event that reached a server; none if gossip brought none.
pub(super) fn copies(about: &About) -> Option<f64> {
    (about.by_gossip > 0 && about.copies.is_finite()).then_some(about.copies)
}

/// A time of deliveries; none if there were none.
pub(super) fn delay(about: &About, ms: f64) -> Option<f64> {
    (about.delivered > 0 && ms.is_finite()).then_some(ms)
}

/// The longest time to heal, in words.
pub(super) fn heal(record: &Record) -> String {
    match record.about.heal_s {
        Some(healed) => seconds(healed),
        None if record.disturbances.is_empty() => "no disturbance".to_owned(),
        None => "never".to_owned(),
    }
}

/// Every kind of traffic, in the order in which pictures show them.
pub(super) fn kinds(traffic: &[TrafficRow]) -> Vec<String> {
    let unknown: BTreeSet<&str> =
        traffic.iter().map(|row| row.kind.as_str()).filter(|kind| !TRAFFIC.contains(kind)).collect();
    TRAFFIC.into_iter().chain(unknown).map(str::to_owned).collect()
}

/// Bytes of every kind, in the same order.
pub(super) fn bytes_by_kind(record: &Record) -> Vec<(String, u64)> {
    let sum = |kind: &str| record.traffic.iter().filter(|row| row.kind == kind).map(|row| row.bytes).sum::<u64>();
    let kinds = kinds(&record.traffic);
    kinds.into_iter().map(|kind| (kind.clone(), sum(&kind))).collect()
}

/// All bytes that servers sent; none if nobody counted.
pub(super) fn all_bytes(record: &Record) -> Option<u64> {
    (!record.traffic.is_empty()).then_some(record.traffic.iter().map(|row| row.bytes).sum())
}

/// Bytes that all servers sent, over the events that were said.
pub(super) fn bytes_per_event(record: &Record) -> Option<f64> {
    part(all_bytes(record)?, record.about.events)
}

/// Copies over deliveries, both by gossip, of each event that gossip delivered.
pub(super) fn copies_per_event(record: &Record) -> Vec<f64> {
    let heard = record.events.iter().filter(|row| row.by_gossip > 0);
    heard.map(|row| f64::from(row.copies) / f64::from(row.by_gossip)).collect()
}

/// How often invariants did not hold.
pub(super) fn violations(record: &Record) -> u64 {
    record.invariants.iter().map(|row| row.violations).sum()
}

/// How many peers in a room's mesh half of the servers had at most, in the end.
pub(super) fn mesh_degree(record: &Record) -> Option<u32> {
    let end = record.mesh.iter().map(|row| row.t_s).max_by(f64::total_cmp)?;
    let mut last: Vec<(u32, u64)> =
        record.mesh.iter().filter(|row| row.t_s == end).map(|row| (row.degree, u64::from(row.servers))).collect();
    last.sort_unstable();
    counted_quantile(last.into_iter(), 0.5)
}

/// Bytes of all stores in the end.
pub(super) fn stored(record: &Record) -> Option<u64> {
    (!record.servers.is_empty()).then_some(record.servers.iter().map(|row| row.store_bytes).sum())
}
