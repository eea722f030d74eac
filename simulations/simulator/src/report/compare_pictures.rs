//! Pictures of two runs over each other: A in the first colour and unbroken, B in the second and broken.

use super::axis::Axis;
use super::bars::{Group, Whole, divided, groups};
use super::chart::{Chart, Key, WIDE, legend};
use super::figures::{all_bytes, bytes_by_kind, copies_per_event, kinds};
use super::html;
use super::latency::{all, axis, cumulative};
use super::numbers::{Unit, count, decimal, share};
use super::over_time::{self, points, time_axis};
use super::spread::{Bins, Spread};
use super::{heal as healing, traffic as sending};
use crate::record::{DisturbanceRow, Record};

fn keys(key_a: Key, key_b: Key) -> String {
    legend(&[(key_a, "c0".to_owned(), "A".to_owned()), (key_b, "c1".to_owned(), "B".to_owned())])
}

/// The time of all deliveries.
pub(super) fn latency(a: &Record, b: &Record) -> String {
    let heading = "How long deliveries took";
    let (a, b) = (all(&a.latency), all(&b.latency));
    if a.is_empty() && b.is_empty() {
        return html::section("latency", heading, &html::absent("No delivery in either run."));
    }
    let x = axis([&a, &b].into_iter());
    let y = Axis::linear("share of deliveries", 0.0, 1.0, Unit::Share);
    let about = "Cumulative distributions of the time of deliveries in both runs.";
    let mut chart = Chart::new("latency-curves", "Time of deliveries", about, WIDE, x, y);
    chart.line(&cumulative(&a), "c0", "A");
    chart.line(&cumulative(&b), "dashed c1", "B");
    let caption = "How to read it: at each time on the x axis, the share of all deliveries that took no longer, in \
                   rooms of every size, by gossip and by sync. The line that is further left is the faster run. The \
                   x axis is logarithmic.";
    html::section("latency", heading, &html::figure(&chart.svg(), &keys(Key::Line, Key::Dashed), caption))
}

/// Copies of events.
pub(super) fn copies(a: &Record, b: &Record) -> String {
    let heading = "Copies of events";
    let (a, b) = (Spread::of(copies_per_event(a)), Spread::of(copies_per_event(b)));
    let most = a.most().unwrap_or(0.0).max(b.most().unwrap_or(0.0));
    if a.values().is_empty() && b.values().is_empty() {
        return html::section("copies", heading, &html::absent("No event in either run was delivered by gossip."));
    }
    let width = Bins::width_for(most, Unit::Number);
    let bins = [Bins::of(a.values(), width), Bins::of(b.values(), width)];
    let part = |bins: &Bins, number: u64| number as f64 / bins.counts.iter().sum::<u64>().max(1) as f64;
    let shares = bins.iter().flat_map(|bins| bins.counts.iter().map(move |number| part(bins, *number)));
    let highest = shares.fold(0.0, f64::max);
    let end = bins.iter().map(Bins::end).fold(width, f64::max);
    let x = Axis::linear("copies for each delivery by gossip", 0.0, end, Unit::Number);
    let y = Axis::from_zero("share of events", highest, Unit::Share);
    let about = "Histograms of the copies of an event for each of its deliveries by gossip, in both runs.";
    let mut chart = Chart::new("copies-histogram", "Copies of events", about, WIDE, x, y);
    for ((bins, name), (class, half)) in bins.iter().zip(["A", "B"]).zip([("fill c0", 0.04), ("fill c1", 0.5)]) {
        for (from, to, number) in bins.stretches().filter(|(_, _, number)| *number > 0) {
            let left = from + (to - from) * half;
            let title = format!("{name}, {} to {}: {} events", decimal(from), decimal(to), count(number));
            chart.bar((left, left + (to - from) * 0.46), (0.0, part(bins, number)), class, &title);
        }
    }
    let caption = format!(
        "How to read it: each pair of bars tells the share of events that came in so many copies for each delivery \
         by gossip, A on the left and B on the right; further left is less redundant. The medians are {} and {}.",
        Unit::Number.text_of(a.median()),
        Unit::Number.text_of(b.median())
    );
    html::section("copies", heading, &html::figure(&chart.svg(), &keys(Key::Area, Key::Area), &caption))
}

/// Bytes by kind.
pub(super) fn traffic(a: &Record, b: &Record) -> String {
    let heading = "What servers sent";
    let (sum_a, sum_b) = (all_bytes(a).unwrap_or(0), all_bytes(b).unwrap_or(0));
    if sum_a.max(sum_b) == 0 {
        return html::section("traffic", heading, &html::absent("No traffic was counted in either run."));
    }
    // A kind has one colour in both bars, also if one of the runs does not have it.
    let both: Vec<_> = a.traffic.iter().chain(&b.traffic).cloned().collect();
    let kinds = kinds(&both);
    let whole = |label: &str, record: &Record| {
        let sums = bytes_by_kind(record);
        let sum = |kind: &String| sums.iter().find(|(name, _)| name == kind).map_or(0, |(_, sum)| *sum);
        Whole { label: label.to_owned(), parts: kinds.iter().map(|kind| (kind.clone(), sum(kind))).collect() }
    };
    let about = "All bytes of both runs, divided by kind, on one scale.";
    let picture = divided("traffic-split", "Traffic by kind", about, &[whole("A", a), whole("B", b)]);
    let caption = "How to read it: the length of a bar is all that the servers of a run sent, on one scale for both; \
                   percentages are of that run's bytes.";
    html::section("traffic", heading, &html::figure(&picture, &sending::keys(&kinds), caption))
}

/// Time to heal.
pub(super) fn heal(a: &Record, b: &Record) -> String {
    let heading = "Time to heal";
    if a.disturbances.is_empty() && b.disturbances.is_empty() {
        return html::section("heal", heading, &html::absent("No disturbance in either run."));
    }
    let (rows_a, rows_b) = (healing::longest(&a.disturbances), healing::longest(&b.disturbances));
    let same = |one: &DisturbanceRow, other: &DisturbanceRow| healing::label(one) == healing::label(other);
    let mut rows: Vec<Group> = Vec::new();
    for row in &rows_a {
        let bars = [healing::bar(row, "c0")].into_iter();
        let of_b = rows_b.iter().find(|other| same(row, other)).map(|other| healing::bar(other, "c1"));
        rows.push(Group { label: healing::label(row), bars: bars.chain(of_b).collect() });
    }
    for row in rows_b.iter().filter(|row| !rows_a.iter().any(|other| same(row, other))) {
        rows.push(Group { label: healing::label(row), bars: vec![healing::bar(row, "c1")] });
    }
    let every: Vec<&DisturbanceRow> = rows_a.iter().chain(&rows_b).copied().collect();
    let about = "Bars for each disturbance of both runs: from its end until everything said before was everywhere.";
    let picture = groups("heal-bars", "Time to heal", about, &healing::axis(&every), Unit::Seconds, &rows);
    let cut = match a.disturbances.len() + b.disturbances.len() > every.len() {
        true => " Shown are those that took longest in either run.",
        false => "",
    };
    let caption = format!(
        "How to read it: a bar begins when the disturbance was over and ends when every event said before that \
         moment had come to every honest server in its room. A broken outline marks what never healed; a disturbance \
         with one bar was in one run only.{cut}"
    );
    html::section("heal", heading, &html::figure(&picture, &keys(Key::Area, Key::Area), &caption))
}

/// Copies of rooms that differ, over time.
pub(super) fn apart(a: &Record, b: &Record) -> String {
    let heading = "Copies of rooms that differ";
    if a.progress.is_empty() && b.progress.is_empty() {
        return html::section("apart", heading, &html::absent("No progress was written down in either run."));
    }
    let (points_a, points_b) = (points(&a.progress, over_time::apart), points(&b.progress, over_time::apart));
    let most = points_a.iter().chain(&points_b).map(|(_, apart)| *apart).fold(0.0, f64::max);
    let x = time_axis(a.progress.iter().chain(&b.progress));
    let y = Axis::from_zero("copies of rooms", most, Unit::Count);
    let about = "Pairs of a server and a room that hold something else than most, over time, in both runs.";
    let mut chart = Chart::new("time-apart", "Copies of rooms that differ", about, WIDE, x, y);
    chart.line(&points_a, "c0", "A");
    chart.line(&points_b, "dashed c1", "B");
    let zero = |points: &[(f64, f64)]| points.iter().filter(|(_, apart)| *apart == 0.0).count() as f64;
    let caption = format!(
        "How to read it: pairs of a running honest server and one of its rooms that hold something else than most \
         servers; zero is agreement, and the faster a line falls, the better. All agreed at {} of all looks in A and \
         {} in B.",
        share(zero(&points_a) / points_a.len() as f64),
        share(zero(&points_b) / points_b.len() as f64)
    );
    html::section("apart", heading, &html::figure(&chart.svg(), &keys(Key::Line, Key::Dashed), &caption))
}
