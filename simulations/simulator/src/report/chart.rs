//! Charts: two axes and what is drawn between them, as SVG.

use super::axis::Axis;
use super::html::escape;
use super::spread::Bins;

/// The size of a picture that takes the whole width, in pixels.
pub(super) const WIDE: (f64, f64) = (1000.0, 300.0);
/// The size of one of two pictures beside each other.
pub(super) const HALF: (f64, f64) = (490.0, 290.0);
/// The size of one of several pictures below each other.
pub(super) const FLAT: (f64, f64) = (1000.0, 165.0);

const LEFT: f64 = 76.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;

/// The most points of a line that are drawn; of more, the highest and the lowest of neighbours stand for all.
const MOST_POINTS: usize = 500;

/// A point: its value on the x axis and that on the y axis.
pub(super) type Point = (f64, f64);

/// Begins a picture. The id is its own on the page; title and description are for people who hear it read out.
pub(super) fn open(id: &str, title: &str, about: &str, (width, height): (f64, f64)) -> String {
    format!(
        "<svg viewBox='0 0 {width} {height}' role='img' aria-labelledby='{id}-title {id}-about'>\n\
         <title id='{id}-title'>{}</title><desc id='{id}-about'>{}</desc>\n",
        escape(title),
        escape(about)
    )
}

/// What stands for a series in a legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A line.
    Line,
    /// A broken line.
    Dashed,
    /// An area.
    Area,
    /// An area that is hardly there.
    Pale,
    /// A stretch of time in which something went wrong.
    Shade,
    /// A server.
    Dot,
    /// A server that nobody can dial.
    Hollow,
    /// A server that means harm.
    Diamond,
}

/// A legend: for each series its key, its class of colour and its name.
pub(super) fn legend(entries: &[(Key, String, String)]) -> String {
    let mut out = String::from("<ul class='legend'>");
    for (key, class, name) in entries {
        let shape = match key {
            Key::Line => format!("<path class='line {class}' d='M1 6H21'/>"),
            Key::Dashed => format!("<path class='line dashed {class}' d='M1 6H21'/>"),
            Key::Area => format!("<rect class='fill {class}' x='4' y='1' width='14' height='10'/>"),
            Key::Pale => format!("<rect class='pale {class}' x='4' y='1' width='14' height='10'/>"),
            Key::Shade => "<rect class='shade' x='4' y='1' width='14' height='10'/>".to_owned(),
            Key::Dot => format!("<circle class='node {class}' cx='11' cy='6' r='5'/>"),
            Key::Hollow => format!("<circle class='node hollow {class}' cx='11' cy='6' r='4.5'/>"),
            Key::Diamond => format!("<path class='node hostile {class}' d='M11 0L17 6L11 12L5 6Z'/>"),
        };
        out +=
            &format!("<li><svg class='key' viewBox='0 0 22 12' aria-hidden='true'>{shape}</svg>{}</li>", escape(name));
    }
    out + "</ul>\n"
}

/// A chart that is being drawn. What comes first lies below.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    head: String,
    width: f64,
    height: f64,
    x: Axis,
    y: Axis,
    marks: String,
}

impl Chart {
    /// An empty chart; for the texts see [`open`].
    pub(super) fn new(id: &str, title: &str, about: &str, size: (f64, f64), x: Axis, y: Axis) -> Self {
        Chart { head: open(id, title, about, size), width: size.0, height: size.1, x, y, marks: String::new() }
    }

    /// A line through points.
    pub(super) fn line(&mut self, points: &[Point], class: &str, title: &str) {
        if points.is_empty() {
            return;
        }
        let path = self.path(&thin(points));
        self.marks += &format!("<path class='line {class}' d='{path}'><title>{}</title></path>\n", escape(title));
    }

    /// The area between two lines that go the same way.
    pub(super) fn area(&mut self, upper: &[Point], lower: &[Point], class: &str, title: &str) {
        let around: Vec<Point> = upper.iter().chain(lower.iter().rev()).copied().collect();
        if around.is_empty() {
            return;
        }
        let path = self.path(&around);
        self.marks += &format!("<path class='{class}' d='{path}Z'><title>{}</title></path>\n", escape(title));
    }

    /// A bar from one place to another on both axes.
    pub(super) fn bar(&mut self, (left, right): Point, (low, high): Point, class: &str, title: &str) {
        let (x, y) = (self.across(left), self.down(high));
        let (width, height) = ((self.across(right) - x).max(0.5), (self.down(low) - y).max(0.5));
        self.marks += &format!(
            "<rect class='bar {class}' x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}'>\
             <title>{}</title></rect>\n",
            escape(title)
        );
    }

    /// A histogram; `what` says of how many values a bar tells, and `unit` writes where it begins and ends.
    pub(super) fn histogram(&mut self, bins: &Bins, class: &str, what: &str, unit: impl Fn(f64) -> String) {
        for (from, to, number) in bins.stretches().filter(|(_, _, number)| *number > 0) {
            let gap = (to - from) * 0.06;
            let title = format!("{} to {}: {} {what}", unit(from), unit(to), super::numbers::count(number));
            self.bar((from + gap, to - gap), (0.0, number as f64), class, &title);
        }
    }

    /// A dot.
    pub(super) fn dot(&mut self, (x, y): Point, class: &str, title: &str) {
        let (x, y) = (self.across(x), self.down(y));
        self.marks += &format!("<circle class='{class}' cx='{x:.1}' cy='{y:.1}' r='2.6'>");
        self.marks += &format!("<title>{}</title></circle>\n", escape(title));
    }

    /// A stretch of the x axis in which something went wrong.
    pub(super) fn shade(&mut self, from: f64, to: f64, title: &str) {
        let x = self.across(from);
        let width = (self.across(to) - x).max(2.0);
        let height = self.height - TOP - BOTTOM;
        self.marks += &format!(
            "<rect class='shade' x='{x:.1}' y='{TOP}' width='{width:.1}' height='{height}'><title>{}</title></rect>\n",
            escape(title)
        );
    }

    /// An upright line at a value of the x axis, with a word beside it.
    pub(super) fn upright(&mut self, value: f64, word: &str) {
        let x = self.across(value);
        let bottom = self.height - BOTTOM;
        let (beside, anchor) = if x > self.width * 0.7 { (x - 6.0, "end") } else { (x + 6.0, "start") };
        let text_y = TOP + 10.0;
        self.marks += &format!(
            "<line class='mark' x1='{x:.1}' x2='{x:.1}' y1='{TOP}' y2='{bottom}'/>\
             <text x='{beside:.1}' y='{text_y}' text-anchor='{anchor}'>{}</text>\n",
            escape(word)
        );
    }

    /// The whole picture.
    pub(super) fn svg(&self) -> String {
        let (right, bottom) = (self.width - RIGHT, self.height - BOTTOM);
        let mut out = self.head.clone();
        for (at, text) in self.y.ticks(bottom - TOP) {
            let y = self.down(at);
            let (text_x, text_y) = (LEFT - 8.0, y + 4.0);
            out += &format!(
                "<line class='grid' x1='{LEFT}' x2='{right}' y1='{y:.1}' y2='{y:.1}'/>\
                 <text class='tick' x='{text_x}' y='{text_y:.1}' text-anchor='end'>{}</text>\n",
                escape(&text)
            );
        }
        out += &self.marks;
        out += &format!("<line class='base' x1='{LEFT}' x2='{right}' y1='{bottom}' y2='{bottom}'/>\n");
        let (tick_end, text_y) = (bottom + 5.0, bottom + 18.0);
        for (at, text) in self.x.ticks(right - LEFT) {
            let x = self.across(at);
            out += &format!(
                "<line class='base' x1='{x:.1}' x2='{x:.1}' y1='{bottom}' y2='{tick_end}'/>\
                 <text class='tick' x='{x:.1}' y='{text_y}' text-anchor='middle'>{}</text>\n",
                escape(&text)
            );
        }
        let (y_name, x_name) = (escape(self.y.name()), escape(self.x.name()));
        let (top, low) = (TOP - 14.0, self.height - 6.0);
        out += &format!("<text class='name' x='4' y='{top}'>{y_name}</text>\n");
        out += &format!("<text class='name' x='{right}' y='{low}' text-anchor='end'>{x_name}</text>\n</svg>\n");
        out
    }

    fn across(&self, value: f64) -> f64 {
        LEFT + self.x.fraction(value) * (self.width - LEFT - RIGHT)
    }

    fn down(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.fraction(value) * (self.height - TOP - BOTTOM)
    }

    fn path(&self, points: &[Point]) -> String {
        let mut path = String::new();
        for (at, (x, y)) in points.iter().enumerate() {
            let letter = if at == 0 { 'M' } else { 'L' };
            path += &format!("{letter}{:.1} {:.1}", self.across(*x), self.down(*y));
        }
        if let [(x, y)] = points {
            path += &format!("L{:.1} {:.1}", self.across(*x), self.down(*y));
        }
        path
    }
}

/// At most [`MOST_POINTS`] points of a line: the lowest and the highest of every few neighbours.
fn thin(points: &[Point]) -> Vec<Point> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let few = points.len().div_ceil(MOST_POINTS / 2 - 1);
    let mut kept = Vec::with_capacity(MOST_POINTS);
    for neighbours in points.chunks(few) {
        let low = neighbours.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let high = neighbours.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut both: Vec<Point> = low.into_iter().chain(high).copied().collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept.extend(both);
    }
    kept.extend(points.last().copied());
    kept
}

#[cfg(test)]
mod tests {
    use super::super::numbers::Unit;
    use super::*;

    #[test]
    fn a_long_line_keeps_its_peaks() {
        let mut points: Vec<Point> = (0..100_000_u32).map(|at| (f64::from(at), 0.0)).collect();
        points[77_777].1 = 9.0;
        let kept = thin(&points);
        assert!(kept.len() <= MOST_POINTS + 1);
        assert!(kept.contains(&(77_777.0, 9.0)));
        assert!(kept.windows(2).all(|two| two[0].0 <= two[1].0));
    }

    #[test]
    fn a_chart_of_odd_values_has_only_numbers() {
        let axis = || Axis::linear("axis", f64::NAN, f64::NAN, Unit::Number);
        let mut chart = Chart::new("id", "title", "about", HALF, axis(), axis());
        chart.line(&[(f64::NAN, f64::INFINITY)], "c0", "line");
        chart.area(&[(0.0, f64::NAN)], &[(f64::NEG_INFINITY, 0.0)], "c0", "area");
        chart.bar((f64::NAN, 1.0), (0.0, f64::INFINITY), "c0", "bar");
        chart.shade(f64::NAN, f64::NAN, "shade");
        let svg = chart.svg();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
