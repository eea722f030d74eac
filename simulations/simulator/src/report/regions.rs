//! How long deliveries took from one region to another.

use std::collections::{BTreeMap, BTreeSet};

use super::html::{escape, heading, paragraph};
use super::latency::{Buckets, quantile};
use super::numbers::count;
use super::spread::counted_quantile;
use crate::record::LatencyRow;

/// How many shades the cells have: the classes `h0` and on.
const SHADES: f64 = 10.0;

/// A table of regions by regions; nothing if there is only one region.
pub(super) fn matrix(latency: &[LatencyRow]) -> String {
    let mut cells: BTreeMap<(&str, &str), Buckets> = BTreeMap::new();
    for row in latency.iter().filter(|row| row.count > 0) {
        let cell = cells.entry((row.from.as_str(), row.to.as_str())).or_default();
        *cell.entry(row.up_to_us).or_default() += row.count;
    }
    let regions: BTreeSet<&str> = cells.keys().flat_map(|(from, to)| [*from, *to]).collect();
    if regions.len() < 2 {
        return String::new();
    }
    let medians: Vec<f64> = cells.values().filter_map(median).collect();
    let low = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let high = medians.iter().copied().fold(0.0, f64::max);
    let mut out = heading("From region to region");
    out +=
        "<div class='scroll' tabindex='0'><table class='matrix'>\n<thead><tr><th scope='col'>from ↓ &nbsp; to →</th>";
    for to in &regions {
        out += &format!("<th scope='col'>{}</th>", escape(to));
    }
    out += "</tr></thead>\n<tbody>\n";
    for from in &regions {
        out += &format!("<tr><th scope='row'>{}</th>", escape(from));
        for to in &regions {
            out += &cells.get(&(*from, *to)).map_or_else(|| "<td>–</td>".to_owned(), |cell| cell_html(cell, low, high));
        }
        out += "</tr>\n";
    }
    out += "</tbody>\n</table></div>\n";
    let caption = "How to read it: each cell has the time that half of the deliveries took at most, and below it the \
                   time that 99 of 100 took at most, gossip and sync together. A darker cell has a longer half time, \
                   on a logarithmic scale from the fastest pair of regions to the slowest.";
    out + &paragraph(caption)
}

fn median(buckets: &Buckets) -> Option<f64> {
    let counted = buckets.iter().map(|(up_to_us, count)| (*up_to_us, *count));
    counted_quantile(counted, 0.5).map(|micros| micros.max(1) as f64)
}

fn cell_html(buckets: &Buckets, low: f64, high: f64) -> String {
    let along = median(buckets).map_or(0.0, |median| (median / low).ln() / (high / low).ln());
    let shade = if along.is_finite() { (along * SHADES).clamp(0.0, SHADES - 1.0) as usize } else { 0 };
    let deliveries = count(buckets.values().sum());
    let (half, most) = (quantile(buckets, 0.5), quantile(buckets, 0.99));
    format!(
        "<td class='h{shade}' title='{deliveries} deliveries'>{}<small>{}</small></td>",
        escape(&half),
        escape(&most)
    )
}
