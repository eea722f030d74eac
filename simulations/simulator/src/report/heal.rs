//! How long disturbances took to heal.

use super::axis::Axis;
use super::bars::{Group, groups};
use super::html;
use super::numbers::{Unit, count, many, seconds};
use crate::record::{DisturbanceRow, Record};

/// The most disturbances that are drawn; of more, those that took longest.
const MOST: usize = 40;

/// The part of the page.
pub(super) fn section(record: &Record) -> String {
    let all = &record.disturbances;
    if all.is_empty() {
        return html::section("heal", "Time to heal", &html::absent("No disturbance in this run."));
    }
    let drawn = longest(all);
    let rows: Vec<Group> = drawn.iter().map(|row| Group { label: label(row), bars: vec![bar(row, "c0")] }).collect();
    let about = "A bar for each disturbance: from its end until everything said before was everywhere.";
    let picture = groups("heal-bars", "Time to heal", about, &axis(&drawn), Unit::Seconds, &rows);
    let never = all.iter().filter(|row| row.healed_s.is_none()).count();
    let never = match never {
        0 => "All of them healed.".to_owned(),
        never => format!("{} never healed: a broken outline marks those.", many(never as u64, "disturbance")),
    };
    let cut = match all.len() > drawn.len() {
        true => {
            format!(" Shown are the {} of {} that took longest.", count(drawn.len() as u64), count(all.len() as u64))
        }
        false => String::new(),
    };
    let caption = format!(
        "How to read it: a bar begins when the disturbance was over and ends when every event said before that \
         moment had come to every honest server in its room; no bar to speak of means that nothing was missing by \
         then. {never}{cut}"
    );
    html::section("heal", "Time to heal", &html::figure(&picture, "", &caption))
}

/// Those that took longest, in order of time.
pub(super) fn longest(all: &[DisturbanceRow]) -> Vec<&DisturbanceRow> {
    let mut places: Vec<usize> = (0..all.len()).collect();
    let took = |at: &usize| all.get(*at).and_then(|row| row.healed_s).unwrap_or(f64::INFINITY);
    places.sort_by(|a, b| took(b).total_cmp(&took(a)).then(a.cmp(b)));
    places.truncate(MOST);
    places.sort_unstable();
    places.into_iter().filter_map(|at| all.get(at)).collect()
}

/// A disturbance and when it was.
pub(super) fn label(row: &DisturbanceRow) -> String {
    if row.until_s > row.at_s {
        format!("{}: from {} to {}", row.what, seconds(row.at_s), seconds(row.until_s))
    } else {
        format!("{}: at {}", row.what, seconds(row.at_s))
    }
}

/// A bar in a class of colour.
pub(super) fn bar(row: &DisturbanceRow, class: &str) -> (String, Option<f64>) {
    (class.to_owned(), row.healed_s)
}

/// An axis for the bars of these.
pub(super) fn axis(rows: &[&DisturbanceRow]) -> Axis {
    let most = rows.iter().filter_map(|row| row.healed_s).fold(0.0, f64::max);
    Axis::from_zero("virtual time from its end until all was everywhere", most, Unit::Seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_disturbances_those_that_never_healed_stay() {
        let row = |at: u32| DisturbanceRow {
            what: format!("cut {at}"),
            at_s: f64::from(at),
            until_s: f64::from(at) + 1.0,
            healed_s: (at != 3).then_some(f64::from(at)),
        };
        let all: Vec<DisturbanceRow> = (0..100).map(row).collect();
        let longest = longest(&all);
        assert_eq!(longest.len(), MOST);
        assert_eq!(longest[0].what, "cut 3");
        assert_eq!(longest[1].what, "cut 61");
    }
}
