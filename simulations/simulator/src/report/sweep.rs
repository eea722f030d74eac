//! A sweep: one field of a scenario at several values, each of them with several seeds.

use std::collections::BTreeSet;

use super::figures;
use super::html::{self, Cell, escape};
use super::measures::{MEASURES, Measure};
use super::numbers::{NONE, Unit, count, many};
use crate::record::About;

/// One value of the field, and its runs: the same scenario with different seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SweepPoint {
    /// The value, as it was set.
    pub value: String,
    /// The runs, in any order; none counts as a value without a result.
    pub runs: Vec<About>,
}

/// The most runs that are listed one by one.
const MOST_RUNS: usize = 300;

/// A sweep as a page of HTML: for each key figure the medians and the spread over seeds at every value, and all runs.
/// Values stand in the order in which they are given.
pub fn sweep(title: &str, field: &str, points: &[SweepPoint]) -> String {
    let runs: usize = points.iter().map(|point| point.runs.len()).sum();
    let passed = runs_of(points).filter(|(_, about)| about.passed).count();
    let lead = format!(
        "{field} at {}, {} in all; {} of them passed.",
        many(points.len() as u64, "value"),
        many(runs as u64, "run"),
        count(passed as u64)
    );
    let head = format!("<header>\n<h1>{}</h1>\n<p class='lead'>{}</p>\n", escape(title), escape(&lead));
    let body = match runs {
        0 => html::absent("No run in this sweep."),
        _ => {
            let pictures: String = MEASURES.iter().map(|measure| measure.picture(field, points)).collect();
            let caption = "How to read them: for each value of the field, the box holds the middle half of the runs, \
                           the thick line in it is the median, the thin line reaches from the lowest run to the \
                           highest, and each dot is a run. The blue line connects the medians. The upright axis need \
                           not begin at zero.";
            [
                html::section("medians", "Medians", &medians(field, points)),
                html::section(
                    "spread",
                    "Spread over seeds",
                    &(html::paragraph(caption) + &html::side_by_side(&pictures)),
                ),
                html::section("runs", "All runs", &all_runs(field, points)),
            ]
            .concat()
        }
    };
    html::document(title, &[head, html::facts(&facts(field, points)), "</header>\n".to_owned(), body].concat())
}

/// The medians of a sweep; the first row names the columns. Columns: the value, how many runs it has, how many of
/// them passed, and the median of each key figure.
pub fn sweep_table(points: &[SweepPoint]) -> Vec<Vec<String>> {
    let mut head = vec!["Value".to_owned(), "Runs".to_owned(), "Passed".to_owned()];
    head.extend(MEASURES.iter().map(|measure| measure.name.to_owned()));
    let mut table = vec![head];
    for point in points {
        let passed = point.runs.iter().filter(|about| about.passed).count();
        let mut row = vec![point.value.clone(), count(point.runs.len() as u64), count(passed as u64)];
        row.extend(MEASURES.iter().map(|measure| median(measure, point, points)));
        table.push(row);
    }
    table
}

/// A median in words. Runs that have no value are named if that means something and other runs of the sweep have one.
fn median(measure: &Measure, point: &SweepPoint, all: &[SweepPoint]) -> String {
    let median = measure.unit.text_of(measure.spread(point).median());
    let lacking = point.runs.iter().filter(|about| (measure.read)(about).is_none()).count();
    let somewhere = runs_of(all).any(|(_, about)| (measure.read)(about).is_some());
    if measure.lacking.is_empty() || lacking == 0 || !somewhere {
        median
    } else if lacking == point.runs.len() {
        measure.lacking.to_owned()
    } else {
        format!("{median} ({lacking} of {} {})", point.runs.len(), measure.lacking)
    }
}

fn runs_of(points: &[SweepPoint]) -> impl Iterator<Item = (&str, &About)> {
    points.iter().flat_map(|point| point.runs.iter().map(move |about| (point.value.as_str(), about)))
}

fn facts(field: &str, points: &[SweepPoint]) -> [(&'static str, String); 7] {
    let of = |read: fn(&About) -> String| {
        let values: BTreeSet<String> = runs_of(points).map(|(_, about)| read(about)).collect();
        let mut shown: Vec<String> = values.iter().filter(|value| !value.is_empty()).take(20).cloned().collect();
        match (shown.len(), values.len()) {
            (0, _) => NONE.to_owned(),
            (some, all) if some < all => {
                shown.push(format!("and more, {} in all", count(all as u64)));
                shown.join(", ")
            }
            _ => shown.join(", "),
        }
    };
    [
        ("Scenario", of(|about| about.scenario.clone())),
        ("Field", field.to_owned()),
        ("Layer", of(|about| about.layer.clone())),
        ("Seeds", of(|about| about.seed.to_string())),
        ("Commit", of(|about| about.commit.clone())),
        ("Version of rocketmesh-sim", of(|about| about.version.clone())),
        ("Compiler", of(|about| about.rustc.clone())),
    ]
}

fn medians(field: &str, points: &[SweepPoint]) -> String {
    let table = sweep_table(points);
    let Some((head, rows)) = table.split_first() else { return String::new() };
    let mut head: Vec<&str> = head.iter().map(String::as_str).collect();
    if let Some(first) = head.first_mut() {
        *first = field;
    }
    let cell = |(at, text): (usize, &String)| if at == 0 { Cell::words(text) } else { Cell::number(text) };
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().enumerate().map(cell).collect()).collect();
    html::table(&head, &rows)
}

fn all_runs(field: &str, points: &[SweepPoint]) -> String {
    let row = |(value, about): (&str, &About)| {
        let outcome = match about.passed {
            true => Cell::words("passed").marked("good"),
            false => Cell::words("failed").marked("bad"),
        };
        vec![
            Cell::words(value),
            Cell::number(about.seed.to_string()),
            outcome,
            Cell::number(count(about.events)),
            Cell::number(Unit::Share.text_of(figures::delivered(about))),
            Cell::words(about.trace.chars().take(12).collect::<String>()),
            Cell::words(about.command.clone()),
            Cell::words(about.failures.join("; ")),
        ]
    };
    let rows: Vec<Vec<Cell>> = runs_of(points).take(MOST_RUNS).map(row).collect();
    let all = runs_of(points).count();
    let note = match all > rows.len() {
        true => format!("The first {} of {}.", count(rows.len() as u64), many(all as u64, "run")),
        false => format!("All {}. The trace is the first digits of its hash.", many(all as u64, "run")),
    };
    let head = [field, "Seed", "Outcome", "Events", "Delivered", "Trace", "Command", "What did not hold"];
    html::paragraph(&note) + &html::table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(value: &str, p50: &[f64]) -> SweepPoint {
        let run = |(seed, p50): (usize, &f64)| About {
            seed: seed as u64,
            p50_ms: *p50,
            delivered: 9,
            by_gossip: 9,
            expected: 10,
            copies: 3.0,
            heal_s: (seed > 0).then_some(4.0),
            ..About::default()
        };
        SweepPoint { value: value.to_owned(), runs: p50.iter().enumerate().map(run).collect() }
    }

    #[test]
    fn a_sweep_shows_the_median_of_each_value() {
        let points = [point("4", &[10.0, 30.0, 20.0]), point("<8>", &[50.0, 70.0, 60.0])];
        let table = sweep_table(&points);
        let has = |row: &[String], text: &str| row.iter().any(|cell| cell == text);
        assert_eq!(table[1][..3], ["4", "3", "0"]);
        assert!(has(&table[1], "20 ms") && has(&table[2], "60 ms"), "{table:?}");
        assert!(has(&table[1], "4 s (1 of 3 never)"), "{table:?}");
        let page = sweep("Degrees", "mesh.degree", &points);
        assert!(
            page.contains("20 ms") && page.contains("60 ms") && page.contains("&lt;8&gt;") && !page.contains("<8>")
        );
        assert_eq!(page, sweep("Degrees", "mesh.degree", &points));
    }

    #[test]
    fn a_sweep_without_runs_is_a_page_with_a_sentence() {
        for points in [vec![], vec![SweepPoint::default()]] {
            let page = sweep("Nothing", "servers", &points);
            assert!(page.contains("No run in this sweep.") && !page.contains("NaN") && !page.contains("inf"));
        }
    }
}
