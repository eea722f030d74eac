//! The run over time: servers that run, deliveries to come, copies of rooms that differ.

use super::axis::Axis;
use super::chart::{Chart, FLAT, Key, Point, legend};
use super::heal::label;
use super::html;
use super::numbers::{Unit, count, seconds};
use super::style::colour;
use crate::record::{ProgressRow, Record};

/// The most disturbances that are shaded.
const MOST_SHADES: usize = 300;

/// One of the pictures below each other.
struct Panel {
    id: &'static str,
    title: &'static str,
    about: &'static str,
    read: fn(&ProgressRow) -> f64,
}

const PANELS: [Panel; 3] = [
    Panel { id: "time-up", title: "servers that run", about: "Honest servers that run, over time.", read: up },
    Panel {
        id: "time-pending",
        title: "deliveries to come",
        about: "Deliveries still to come, over time.",
        read: pending,
    },
    Panel {
        id: "time-apart",
        title: "copies of rooms that differ",
        about: "Pairs of a server and a room that hold something else than most, over time.",
        read: apart,
    },
];

fn up(row: &ProgressRow) -> f64 {
    f64::from(row.up)
}

fn pending(row: &ProgressRow) -> f64 {
    row.pending as f64
}

/// Copies of rooms that differ from most.
pub(super) fn apart(row: &ProgressRow) -> f64 {
    f64::from(row.apart)
}

/// The part of the page.
pub(super) fn section(record: &Record) -> String {
    if record.progress.is_empty() {
        let absent = html::absent("No progress was written down in this run.");
        return html::section("time", "The run over time", &absent);
    }
    let pictures: String = PANELS.iter().map(|panel| picture(record, panel)).collect();
    let mut keys = vec![(Key::Line, colour(0), "value at the moment".to_owned())];
    if !record.disturbances.is_empty() {
        keys.push((Key::Shade, String::new(), "a disturbance".to_owned()));
    }
    let caption = format!(
        "How to read it: three pictures over the same virtual time, which counts from the end of the warm-up. On \
         top, honest servers that run; in the middle, deliveries that are due and not made; below, pairs of a \
         running honest server and one of its rooms that hold something else than most servers. The lower two should \
         fall to zero after each shaded stretch and at the end. {}",
        ending(record)
    );
    html::section("time", "The run over time", &html::figure(&pictures, &legend(&keys), &caption))
}

/// An axis over the whole time of these moments.
pub(super) fn time_axis<'a>(rows: impl Iterator<Item = &'a ProgressRow> + Clone) -> Axis {
    let from = rows.clone().map(|row| row.t_s).fold(f64::INFINITY, f64::min);
    let to = rows.map(|row| row.t_s).fold(f64::NEG_INFINITY, f64::max);
    Axis::linear("virtual time", from, to, Unit::Seconds)
}

/// What a row tells, at its moment.
pub(super) fn points(rows: &[ProgressRow], read: fn(&ProgressRow) -> f64) -> Vec<Point> {
    rows.iter().map(|row| (row.t_s, read(row))).collect()
}

fn picture(record: &Record, panel: &Panel) -> String {
    let points = points(&record.progress, panel.read);
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let y = Axis::from_zero(panel.title, most, Unit::Count);
    let mut chart = Chart::new(panel.id, panel.title, panel.about, FLAT, time_axis(record.progress.iter()), y);
    for row in record.disturbances.iter().take(MOST_SHADES) {
        chart.shade(row.at_s, row.until_s, &label(row));
    }
    chart.line(&points, "c0", panel.title);
    chart.svg()
}

fn ending(record: &Record) -> String {
    let unshaded = record.disturbances.len().saturating_sub(MOST_SHADES);
    let unshaded = match unshaded {
        0 => String::new(),
        more => format!(" Only the first {MOST_SHADES} disturbances are shaded; {} more are not.", count(more as u64)),
    };
    let Some(last) = record.progress.last() else { return unshaded };
    format!(
        "At the last look, at {}, {} deliveries were to come and {} copies differed.{unshaded}",
        seconds(last.t_s),
        count(last.pending),
        count(u64::from(last.apart))
    )
}
