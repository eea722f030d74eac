//! How many peers servers have in the meshes of their rooms.

use super::axis::Axis;
use super::chart::{Chart, HALF, Key, Point, legend};
use super::html;
use super::numbers::{Unit, many};
use super::spread::counted_quantile;
use super::style::colour;
use crate::record::{MeshRow, Record};

/// The most moments that are drawn; of more, every few are.
const MOST_MOMENTS: usize = 300;

/// The part of the page.
pub(super) fn section(record: &Record) -> String {
    let moments = moments(&record.mesh);
    let body = match moments.last() {
        None => html::absent("No mesh was looked at in this run."),
        Some(end) => html::side_by_side(&(at_the_end(end) + &over_time(&moments))),
    };
    html::section("mesh", "Peers in the mesh", &body)
}

/// How many peers servers had at one moment: numbers of peers in order, and how many servers had so many.
struct Moment {
    t_s: f64,
    counts: Vec<(u32, u64)>,
}

impl Moment {
    fn quantile(&self, share: f64) -> f64 {
        counted_quantile(self.counts.iter().copied(), share).map_or(0.0, f64::from)
    }
}

fn moments(rows: &[MeshRow]) -> Vec<Moment> {
    let mut rows: Vec<&MeshRow> = rows.iter().filter(|row| row.t_s.is_finite() && row.servers > 0).collect();
    rows.sort_by(|a, b| a.t_s.total_cmp(&b.t_s).then(a.degree.cmp(&b.degree)));
    let moment = |rows: &[&MeshRow]| Moment {
        t_s: rows.first().map_or(0.0, |row| row.t_s),
        counts: rows.iter().map(|row| (row.degree, u64::from(row.servers))).collect(),
    };
    rows.chunk_by(|a, b| a.t_s == b.t_s).map(moment).collect()
}

fn at_the_end(end: &Moment) -> String {
    let widest = end.counts.iter().map(|(degree, _)| *degree).max().unwrap_or(0);
    let highest = end.counts.iter().map(|(_, servers)| *servers).max().unwrap_or(0);
    let x = Axis::linear("peers in a room's mesh", -0.5, f64::from(widest) + 0.5, Unit::Count);
    let y = Axis::from_zero("servers", highest as f64, Unit::Count);
    let about = "How many servers have how many peers in a room's mesh at the end of the run.";
    let mut chart = Chart::new("mesh-end", "Peers in the mesh at the end", about, HALF, x, y);
    for (degree, servers) in &end.counts {
        let title = format!("{}: {}", many(u64::from(*degree), "peer"), many(*servers, "server"));
        let degree = f64::from(*degree);
        chart.bar((degree - 0.42, degree + 0.42), (0.0, *servers as f64), "fill c0", &title);
    }
    let caption = format!(
        "How to read it: the height of a bar is the number of servers with so many peers at the end, each server \
         counted once for each of its rooms. Half have {} or fewer.",
        end.quantile(0.5)
    );
    html::figure(&chart.svg(), "", &caption)
}

fn over_time(moments: &[Moment]) -> String {
    let every = moments.len().div_ceil(MOST_MOMENTS).max(1);
    let line = |share: f64| -> Vec<Point> {
        moments.iter().step_by(every).map(|moment| (moment.t_s, moment.quantile(share))).collect()
    };
    let (least, median, most) = (line(0.0), line(0.5), line(1.0));
    let highest = most.iter().map(|(_, degree)| *degree).fold(0.0, f64::max);
    let from = moments.first().map_or(0.0, |first| first.t_s);
    let to = moments.last().map_or(1.0, |last| last.t_s);
    let x = Axis::linear("virtual time", from, to, Unit::Seconds);
    let y = Axis::from_zero("peers in a room's mesh", highest, Unit::Count);
    let about = "The fewest, the median and the most peers in a room's mesh over time.";
    let mut chart = Chart::new("mesh-over-time", "Peers in the mesh over time", about, HALF, x, y);
    chart.area(&most, &least, "pale c0", "all servers");
    chart.area(&line(0.75), &line(0.25), "pale c0", "half of the servers");
    chart.line(&median, "c0", "median");
    let keys = [
        (Key::Line, colour(0), "median".to_owned()),
        (Key::Pale, colour(0), "fewest to most; darker: the middle half".to_owned()),
    ];
    let caption = "How to read it: the band reaches from the server with the fewest peers to the one with the most, \
                   its darker part holds the middle half, and the line is the median. A band that stays narrow is a \
                   mesh in balance.";
    html::figure(&chart.svg(), &legend(&keys), caption)
}
