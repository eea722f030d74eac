//! The key figures of a sweep, and a picture for each: boxes over the seeds of every value.

use super::axis::Axis;
use super::chart::{Chart, HALF, Point};
use super::numbers::{Unit, count};
use super::spread::Spread;
use super::sweep::SweepPoint;
use super::{figures, html};
use crate::record::About;

/// The most runs of one value whose dots are drawn.
const MOST_DOTS: usize = 40;

/// One key figure of a run.
pub(super) struct Measure {
    /// Its name, short enough for the head of a column.
    pub(super) name: &'static str,
    id: &'static str,
    caption: &'static str,
    /// Its unit.
    pub(super) unit: Unit,
    /// Its value in a run; none if the run has none.
    pub(super) read: fn(&About) -> Option<f64>,
    /// What it means that a run has none; empty if nothing.
    pub(super) lacking: &'static str,
}

/// Every key figure, in the order of columns and pictures.
pub(super) const MEASURES: [Measure; 6] = [
    Measure {
        name: "Copies",
        id: "sweep-copies",
        caption: "Copies of an event for each server that gossip reached; less is cheaper.",
        unit: Unit::Number,
        read: figures::copies,
        lacking: "",
    },
    Measure {
        name: "By gossip",
        id: "sweep-gossip",
        caption: "Share of the deliveries that were due that gossip made; more is better.",
        unit: Unit::Share,
        read: figures::by_gossip,
        lacking: "",
    },
    Measure {
        name: "p50",
        id: "sweep-p50",
        caption: "Time within which half of the deliveries were made; less is better.",
        unit: Unit::Ms,
        read: p50,
        lacking: "",
    },
    Measure {
        name: "p99",
        id: "sweep-p99",
        caption: "Time within which 99 of 100 deliveries were made; less is better.",
        unit: Unit::Ms,
        read: p99,
        lacking: "",
    },
    Measure {
        name: "Heal",
        id: "sweep-heal",
        caption: "Longest time to heal after a disturbance; less is better. Runs that never healed have no dot and \
                  no part in the box; the table of medians counts them.",
        unit: Unit::Seconds,
        read: heal,
        lacking: "never",
    },
    Measure {
        name: "Delivered",
        id: "sweep-delivered",
        caption: "Share of the deliveries that were due that were made at all; anything below 100 % is a loss.",
        unit: Unit::Share,
        read: figures::delivered,
        lacking: "",
    },
];

fn p50(about: &About) -> Option<f64> {
    figures::delay(about, about.p50_ms)
}

fn p99(about: &About) -> Option<f64> {
    figures::delay(about, about.p99_ms)
}

fn heal(about: &About) -> Option<f64> {
    about.heal_s
}

impl Measure {
    /// Its values in the runs of one value of the field.
    pub(super) fn spread(&self, point: &SweepPoint) -> Spread {
        Spread::of(point.runs.iter().filter_map(self.read))
    }

    /// Boxes over the values of the field.
    pub(super) fn picture(&self, field: &str, points: &[SweepPoint]) -> String {
        let spreads: Vec<Spread> = points.iter().map(|point| self.spread(point)).collect();
        let every = Spread::of(spreads.iter().flat_map(|spread| spread.values().iter().copied()));
        let (Some(low), Some(high)) = (every.quantile(0.0), every.most()) else {
            return html::absent(&format!("{}: no run of this sweep has a value.", self.name));
        };
        let x = Axis::words(field, points.iter().map(|point| point.value.clone()).collect());
        let y = Axis::around(self.name, low, high, self.unit);
        let mut chart = Chart::new(self.id, self.name, self.caption, HALF, x, y);
        let middle = |at: usize| at as f64 + 0.5;
        let medians: Vec<Point> =
            spreads.iter().enumerate().filter_map(|(at, spread)| Some((middle(at), spread.median()?))).collect();
        chart.line(&medians, "fine c0", "medians");
        for ((at, spread), point) in spreads.iter().enumerate().zip(points) {
            self.draw(&mut chart, middle(at), spread, &point.value);
        }
        html::figure(&chart.svg(), "", self.caption)
    }

    fn draw(&self, chart: &mut Chart, middle: f64, spread: &Spread, value: &str) {
        let quantile = |share| spread.quantile(share).unwrap_or(0.0);
        let (low, quarter, half, three, high) =
            (quantile(0.0), quantile(0.25), quantile(0.5), quantile(0.75), quantile(1.0));
        if spread.values().is_empty() {
            return;
        }
        let text = |number: f64| self.unit.text(number);
        let title = format!(
            "{value}: median {}, middle half {} to {}, all {} to {}, runs: {}",
            text(half),
            text(quarter),
            text(three),
            text(low),
            text(high),
            count(spread.values().len() as u64)
        );
        chart.line(&[(middle, low), (middle, high)], "fine c6", &title);
        chart.bar((middle - 0.22, middle + 0.22), (quarter, three), "pale c0", &title);
        chart.line(&[(middle - 0.22, half), (middle + 0.22, half)], "thick c0", &title);
        for number in spread.values().iter().take(MOST_DOTS) {
            chart.dot((middle, *number), "fill c1", &format!("{value}: {}", text(*number)));
        }
    }
}
