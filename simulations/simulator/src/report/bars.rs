//! Bars that lie: one below the other with their names, or as parts of a whole.

use super::axis::{Axis, shorten};
use super::chart::open;
use super::html::escape;
use super::numbers::{Unit, bytes, share};
use super::style::colour;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 6.0;
/// Room for what is written behind the longest bar.
const BEHIND: f64 = 110.0;
const TOP: f64 = 6.0;
const THICK: f64 = 15.0;
const LABEL: f64 = 19.0;
const GAP: f64 = 9.0;

/// Bars that belong together under one name.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Its name.
    pub(super) label: String,
    /// The bars: a class of colour, and a length, or none for what never came to an end.
    pub(super) bars: Vec<(String, Option<f64>)>,
}

/// Groups of bars below each other, with one axis for all.
pub(super) fn groups(id: &str, title: &str, about: &str, axis: &Axis, unit: Unit, groups: &[Group]) -> String {
    let along = WIDTH - LEFT - BEHIND;
    let mut marks = String::new();
    let mut y = TOP;
    for group in groups {
        let text_y = y + 13.0;
        marks += &format!("<text x='{LEFT}' y='{text_y}'>{}</text>\n", escape(&shorten(&group.label, 130)));
        y += LABEL;
        for (class, length) in &group.bars {
            let text_y = y + 12.0;
            match length {
                Some(length) => {
                    let width = (axis.fraction(*length) * along).max(1.5);
                    let behind = LEFT + width + 7.0;
                    marks += &format!(
                        "<rect class='bar fill {class}' x='{LEFT}' y='{y}' width='{width:.1}' height='{THICK}'/>\
                         <text class='soft' x='{behind:.1}' y='{text_y}'>{}</text>\n",
                        escape(&unit.text(*length))
                    );
                }
                None => {
                    let inside = LEFT + 8.0;
                    marks += &format!(
                        "<rect class='never' x='{LEFT}' y='{y}' width='{along}' height='{THICK}'/>\
                         <text class='never' x='{inside}' y='{text_y}'>never</text>\n"
                    );
                }
            }
            y += THICK + 2.0;
        }
        y += GAP;
    }
    let (tick_end, text_y, height) = (y + 5.0, y + 18.0, y + 42.0);
    let mut out = open(id, title, about, (WIDTH, height));
    out += &marks;
    let right = LEFT + along;
    out += &format!("<line class='base' x1='{LEFT}' x2='{right}' y1='{y}' y2='{y}'/>\n");
    for (at, text) in axis.ticks(along) {
        let x = LEFT + axis.fraction(at) * along;
        let anchor = if x < LEFT + 12.0 { "start" } else { "middle" };
        out += &format!(
            "<line class='base' x1='{x:.1}' x2='{x:.1}' y1='{y}' y2='{tick_end}'/>\
             <text class='tick' x='{x:.1}' y='{text_y}' text-anchor='{anchor}'>{}</text>\n",
            escape(&text)
        );
    }
    let name_y = height - 6.0;
    let name = escape(axis.name());
    out += &format!("<text class='name' x='{right}' y='{name_y}' text-anchor='end'>{name}</text>\n</svg>\n");
    out
}

/// A whole and its parts, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// Its name; empty for none.
    pub(super) label: String,
    /// Its parts by name, in the order of their colours.
    pub(super) parts: Vec<(String, u64)>,
}

/// Wholes below each other, each a bar that is divided in its parts, all on one scale.
pub(super) fn divided(id: &str, title: &str, about: &str, wholes: &[Whole]) -> String {
    let total = |whole: &Whole| whole.parts.iter().map(|(_, bytes)| *bytes).sum::<u64>();
    let most = wholes.iter().map(total).max().unwrap_or(0).max(1) as f64;
    let along = WIDTH - LEFT - BEHIND;
    let mut marks = String::new();
    let mut y = TOP;
    for whole in wholes {
        if !whole.label.is_empty() {
            let text_y = y + 13.0;
            marks += &format!("<text x='{LEFT}' y='{text_y}'>{}</text>\n", escape(&whole.label));
            y += LABEL;
        }
        let sum = total(whole);
        let mut x = LEFT;
        for (series, (name, part)) in whole.parts.iter().enumerate() {
            let width = *part as f64 / most * along;
            let percent = share(*part as f64 / sum.max(1) as f64);
            marks += &part_of(x, y, width, &colour(series), &percent, &format!("{name}: {}", bytes(*part as f64)));
            x += width;
        }
        let (behind, text_y) = (x + 8.0, y + 17.0);
        let sum = bytes(sum as f64);
        marks += &format!("<text class='soft' x='{behind:.1}' y='{text_y}'>{}</text>\n", escape(&sum));
        y += 52.0;
    }
    open(id, title, about, (WIDTH, y)) + &marks + "</svg>\n"
}

/// One part, with its share below it where there is room.
fn part_of(x: f64, y: f64, width: f64, class: &str, percent: &str, title: &str) -> String {
    let mut part = format!(
        "<rect class='stack {class}' x='{x:.1}' y='{y}' width='{width:.1}' height='26'><title>{} ({})</title></rect>\n",
        escape(title),
        escape(percent)
    );
    if width > 50.0 {
        let (middle, below) = (x + width / 2.0, y + 41.0);
        part += &format!(
            "<text class='tick' x='{middle:.1}' y='{below}' text-anchor='middle'>{}</text>\n",
            escape(percent)
        );
    }
    part
}
