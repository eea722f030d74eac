//! The key figures of two runs, and which run is better in each.

use super::figures;
use super::numbers::{NONE, Unit, decimal};
use crate::record::{About, Record};

/// The key figures of two runs: a row has what it is, its value in `a`, its value in `b`, the difference with the
/// ratio, and a verdict in words: `no difference`, `B is better`, `B is slightly worse` and the like.
pub fn comparison_table(a: &Record, b: &Record) -> Vec<[String; 5]> {
    let mut rows = vec![outcome_row(&a.about, &b.about)];
    for figure in FIGURES {
        rows.push(row(figure.what, (figure.read)(a), (figure.read)(b), figure.unit, figure.better));
        if figure.what == LONGEST {
            rows.push(heal_row(a, b));
        }
    }
    let of = |record: &Record, kind: &str| {
        let sums = figures::bytes_by_kind(record);
        sums.into_iter()
            .find(|(name, _)| name == kind)
            .filter(|_| !record.traffic.is_empty())
            .map(|(_, sum)| sum as f64)
    };
    let both: Vec<_> = a.traffic.iter().chain(&b.traffic).cloned().collect();
    for kind in figures::kinds(&both) {
        rows.push(row(&format!("Bytes of {kind}"), of(a, &kind), of(b, &kind), Unit::Bytes, Better::Less));
    }
    rows
}

/// Which values are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Less,
    More,
    Neither,
}

/// A figure of a record.
struct Figure {
    what: &'static str,
    read: fn(&Record) -> Option<f64>,
    unit: Unit,
    better: Better,
}

/// The verdict on equal values.
pub(super) const SAME: &str = "no difference";
const UNLIKE: &str = "cannot be compared";
const LONGEST: &str = "Longest delivery";

/// Differences below this part of the value are slight.
const SLIGHT: f64 = 0.01;

const FIGURES: [Figure; 17] = [
    figure("Violations of invariants", |record| Some(figures::violations(record) as f64), Unit::Count, Better::Less),
    figure("Servers", |record| Some(record.about.servers as f64), Unit::Count, Better::Neither),
    figure("Hostile servers", |record| Some(record.about.hostile as f64), Unit::Count, Better::Neither),
    figure("Events said", |record| Some(record.about.events as f64), Unit::Count, Better::Neither),
    figure("Delivered, of what was due", |record| figures::delivered(&record.about), Unit::Share, Better::More),
    figure("By gossip alone, of what was due", |record| figures::by_gossip(&record.about), Unit::Share, Better::More),
    figure("Copies of an event", |record| figures::copies(&record.about), Unit::Number, Better::Less),
    figure(
        "Half delivered within (p50)",
        |record| figures::delay(&record.about, record.about.p50_ms),
        Unit::Ms,
        Better::Less,
    ),
    figure(
        "99 of 100 within (p99)",
        |record| figures::delay(&record.about, record.about.p99_ms),
        Unit::Ms,
        Better::Less,
    ),
    figure(LONGEST, |record| figures::delay(&record.about, record.about.max_ms), Unit::Ms, Better::Less),
    figure("Bytes sent", |record| figures::all_bytes(record).map(|sum| sum as f64), Unit::Bytes, Better::Less),
    figure("Bytes for each event", figures::bytes_per_event, Unit::Bytes, Better::Less),
    figure(
        "Peers in the mesh, median at the end",
        |record| figures::mesh_degree(record).map(f64::from),
        Unit::Count,
        Better::Neither,
    ),
    figure("Connections at the end", |record| Some(record.links.len() as f64), Unit::Count, Better::Neither),
    figure(
        "Stores at the end, all servers",
        |record| figures::stored(record).map(|sum| sum as f64),
        Unit::Bytes,
        Better::Less,
    ),
    figure("Memory of the process", |record| Some(record.about.peak_rss as f64), Unit::Bytes, Better::Less),
    figure("Real time of the run", |record| Some(record.about.wall_s), Unit::Seconds, Better::Less),
];

const fn figure(what: &'static str, read: fn(&Record) -> Option<f64>, unit: Unit, better: Better) -> Figure {
    Figure { what, read, unit, better }
}

fn row(what: &str, a: Option<f64>, b: Option<f64>, unit: Unit, better: Better) -> [String; 5] {
    let (difference, verdict) = match (a, b) {
        (Some(a), Some(b)) => (difference(a, b, unit), verdict(a, b, better)),
        (None, None) => ("none".to_owned(), SAME.to_owned()),
        _ => (NONE.to_owned(), UNLIKE.to_owned()),
    };
    [what.to_owned(), unit.text_of(a), unit.text_of(b), difference, verdict]
}

fn difference(a: f64, b: f64, unit: Unit) -> String {
    if a == b {
        return "none".to_owned();
    }
    let sign = if b > a { "+" } else { "−" };
    let size = (b - a).abs();
    if unit == Unit::Share {
        return match size < 5e-6 {
            true => format!("{sign}under 0.001 points"),
            false => format!("{sign}{} points", decimal(size * 100.0)),
        };
    }
    let ratio = decimal(b / a);
    match a > 0.0 && ratio != "1" {
        true => format!("{sign}{} (×{ratio})", unit.text(size)),
        false => format!("{sign}{}", unit.text(size)),
    }
}

fn verdict(a: f64, b: f64, better: Better) -> String {
    if a == b {
        return SAME.to_owned();
    }
    let slight = if (b - a).abs() < a.abs() * SLIGHT { "slightly " } else { "" };
    match (better, b < a) {
        (Better::Neither, _) => "differs".to_owned(),
        (Better::Less, true) | (Better::More, false) => format!("B is {slight}better"),
        (Better::Less, false) | (Better::More, true) => format!("B is {slight}worse"),
    }
}

fn outcome_row(a: &About, b: &About) -> [String; 5] {
    let word = |about: &About| if about.passed { "passed" } else { "failed" }.to_owned();
    let verdict = match (a.passed, b.passed) {
        (true, false) => "B is worse",
        (false, true) => "B is better",
        _ => SAME,
    };
    let difference = if a.passed == b.passed { "none" } else { NONE };
    ["Outcome".to_owned(), word(a), word(b), difference.to_owned(), verdict.to_owned()]
}

fn heal_row(a: &Record, b: &Record) -> [String; 5] {
    let what = "Time to heal, the longest";
    let known = |record: &Record| record.about.heal_s.is_some() || !record.disturbances.is_empty();
    let verdict = match (a.about.heal_s, b.about.heal_s) {
        (Some(healed_a), Some(healed_b)) => {
            return row(what, Some(healed_a), Some(healed_b), Unit::Seconds, Better::Less);
        }
        _ if known(a) != known(b) => UNLIKE,
        (Some(_), None) => "B is worse",
        (None, Some(_)) => "B is better",
        (None, None) => SAME,
    };
    let difference = if verdict == SAME { "none" } else { NONE };
    [what.to_owned(), figures::heal(a), figures::heal(b), difference.to_owned(), verdict.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_better_where_it_is() {
        let [what, a, b, difference, verdict] = row("p99", Some(100.0), Some(250.0), Unit::Ms, Better::Less);
        assert_eq!([what, a, b], ["p99", "100 ms", "250 ms"]);
        assert_eq!([difference, verdict], ["+150 ms (×2.5)", "B is worse"]);
        let [.., difference, verdict] = row("share", Some(0.9), Some(0.905), Unit::Share, Better::More);
        assert_eq!([difference, verdict], ["+0.5 points", "B is slightly better"]);
        assert_eq!(row("heal", None, Some(1.0), Unit::Seconds, Better::Less)[4], UNLIKE);
    }

    #[test]
    fn to_heal_never_is_worse_than_to_heal_late() {
        let disturbance =
            crate::record::DisturbanceRow { what: "cut".to_owned(), at_s: 1.0, until_s: 2.0, healed_s: None };
        let never = Record { disturbances: vec![disturbance], ..Record::default() };
        let mut late = never.clone();
        late.about.heal_s = Some(900.0);
        assert_eq!(heal_row(&late, &never)[4], "B is worse");
        assert_eq!(heal_row(&never, &Record::default())[4], UNLIKE);
        assert_eq!(heal_row(&never, &never)[4], SAME);
    }
}
