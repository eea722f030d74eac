//! Memory: that of the process over time, and the stores of servers at the end.

use super::axis::Axis;
use super::chart::{Chart, HALF};
use super::html;
use super::numbers::{Unit, bytes};
use super::over_time::{points, time_axis};
use super::spread::{Bins, Spread};
use crate::record::{ProgressRow, Record};

/// The part of the page.
pub(super) fn section(record: &Record) -> String {
    html::section("memory", "Memory", &html::side_by_side(&(process(record) + &stores(record))))
}

fn rss(row: &ProgressRow) -> f64 {
    row.rss as f64
}

fn process(record: &Record) -> String {
    let points = points(&record.progress, rss);
    let most = points.iter().map(|(_, rss)| *rss).fold(0.0, f64::max);
    if most == 0.0 {
        return html::absent("The memory of the process was not measured in this run.");
    }
    let x = time_axis(record.progress.iter());
    let y = Axis::from_zero("memory of the process", most, Unit::Bytes);
    let about = "Resident memory of the simulator's process over virtual time.";
    let mut chart = Chart::new("memory-process", "Memory of the process", about, HALF, x, y);
    chart.line(&points, "c0", "memory of the process");
    let caption = format!(
        "How to read it: memory that the whole simulation took, all servers and the books kept on them together; {} \
         at most. A line that keeps rising after people have stopped talking points to a leak.",
        bytes(most.max(record.about.peak_rss as f64))
    );
    html::figure(&chart.svg(), "", &caption)
}

fn stores(record: &Record) -> String {
    let spread = Spread::of(record.servers.iter().map(|row| row.store_bytes as f64));
    let (Some(most), Some(median)) = (spread.most().filter(|most| *most > 0.0), spread.median()) else {
        return html::absent("No server's store was measured in this run.");
    };
    let bins = Bins::of(spread.values(), Bins::width_for(most, Unit::Bytes));
    let highest = bins.counts.iter().max().copied().unwrap_or(0) as f64;
    let x = Axis::linear("bytes of a server's store", 0.0, bins.end(), Unit::Bytes);
    let y = Axis::from_zero("servers", highest, Unit::Count);
    let about = "Histogram of the bytes of servers' stores at the end of the run.";
    let mut chart = Chart::new("memory-stores", "Stores at the end", about, HALF, x, y);
    chart.histogram(&bins, "fill c0", "servers", bytes);
    chart.upright(median, &format!("median {}", bytes(median)));
    let caption = format!(
        "How to read it: each bar counts the servers whose store was so large at the end. The largest has {}, half \
         have {} or less.",
        bytes(most),
        bytes(median)
    );
    html::figure(&chart.svg(), "", &caption)
}
