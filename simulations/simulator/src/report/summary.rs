//! The top of a run's page: what came of it, how to repeat it, its key figures, its invariants.

use super::figures;
use super::html::{self, Cell, Tile, escape};
use super::numbers::{NONE, Unit, bytes, count, decimal, many, seconds};
use crate::record::{About, Record};

/// What a run is called.
pub(super) fn title(about: &About) -> String {
    let known = [&about.title, &about.scenario].into_iter().find(|name| !name.trim().is_empty());
    known.map_or_else(|| "A run without a name".to_owned(), String::clone)
}

/// Title, outcome, and how to repeat the run.
pub(super) fn head(record: &Record) -> String {
    let about = &record.about;
    let mut out = format!("<header>\n<h1>{}</h1>\n", escape(&title(about)));
    if !about.about.trim().is_empty() {
        out += &format!("<p class='lead'>{}</p>\n", escape(about.about.trim()));
    }
    out += &outcome(record);
    out += &html::heading("The command that repeats this run");
    out += &match about.command.trim() {
        "" => html::absent("The record does not have the command."),
        command => html::copyable(command),
    };
    out + &html::facts(&facts(about)) + "</header>\n"
}

/// Whether the run passed, in a sentence, and what did not hold.
fn outcome(record: &Record) -> String {
    let about = &record.about;
    let (class, word) = if about.passed { ("passed", "Passed.") } else { ("failed", "Failed.") };
    let mut out =
        format!("<div class='outcome {class}'>\n<p><strong>{word}</strong> {}</p>\n", escape(&sentence(about)));
    if !about.failures.is_empty() {
        let items = about.failures.iter().map(|failure| format!("<li>{}</li>\n", escape(failure))).collect::<String>();
        out += &format!("<p>What did not hold:</p>\n<ul>\n{items}</ul>\n");
    } else if !about.passed {
        out += &html::paragraph("The record does not say what did not hold.");
    }
    out + "</div>\n"
}

fn sentence(about: &About) -> String {
    let hostile = match about.hostile {
        0 => String::new(),
        hostile => format!(" ({} of them hostile)", count(hostile as u64)),
    };
    let who = format!("{}{hostile} in {}", many(about.servers as u64, "server"), many(about.rooms as u64, "room"));
    let said = format!("said {} in {} of virtual time", many(about.events, "event"), seconds(about.virtual_s));
    match figures::delivered(about) {
        None => format!("{who} {said}; no delivery was due."),
        Some(share) => format!(
            "{who} {said}; {} of {} deliveries were made, half of them within {} and 99 of 100 within {}.",
            Unit::Share.text(share),
            count(about.expected),
            Unit::Ms.text_of(figures::delay(about, about.p50_ms)),
            Unit::Ms.text_of(figures::delay(about, about.p99_ms)),
        ),
    }
}

fn facts(about: &About) -> [(&'static str, String); 9] {
    let known = |text: &str| if text.is_empty() { NONE.to_owned() } else { text.to_owned() };
    [
        ("Scenario", known(&about.scenario)),
        ("Seed", about.seed.to_string()),
        ("Layer", layer(&about.layer)),
        ("Commit", known(&about.commit)),
        ("Version of rocketmesh-sim", known(&about.version)),
        ("Compiler", known(&about.rustc)),
        ("Virtual time, warm-up and settling included", seconds(about.virtual_s)),
        ("Real time", real_time(about)),
        ("Trace hash: the same for the same seed and build", known(&about.trace)),
    ]
}

fn real_time(about: &About) -> String {
    let wall = seconds(about.wall_s);
    if about.wall_s > 0.0 && about.virtual_s > 0.0 {
        format!("{wall}; virtual time went {} times as fast", decimal(about.virtual_s / about.wall_s))
    } else {
        wall
    }
}

fn layer(layer: &str) -> String {
    match layer {
        "" => NONE.to_owned(),
        "real" => "real: the node itself".to_owned(),
        "protocol" => "protocol: its rules over modelled gossip".to_owned(),
        other => other.to_owned(),
    }
}

/// Key figures.
pub(super) fn key_figures(record: &Record) -> String {
    let about = &record.about;
    let tile = |name, value, note: &str| Tile { name, value, note: note.to_owned() };
    let time = |number: f64| Unit::Ms.text_of(figures::delay(about, number));
    let due = format!("of {} that were due", count(about.expected));
    let all = Unit::Bytes.text_of(figures::all_bytes(record).map(|bytes| bytes as f64));
    let peak = if about.peak_rss == 0 { NONE.to_owned() } else { bytes(about.peak_rss as f64) };
    let degree = figures::mesh_degree(record).map_or_else(|| NONE.to_owned(), |degree| count(u64::from(degree)));
    let copies = figures::copies(about).map_or_else(|| NONE.to_owned(), decimal);
    let tiles = [
        tile("Events said", count(about.events), ""),
        tile("Delivered", Unit::Share.text_of(figures::delivered(about)), &due),
        tile("By gossip alone", Unit::Share.text_of(figures::by_gossip(about)), "of the same"),
        tile("Copies of an event", copies, "for each server that gossip reached"),
        tile("Half delivered within", time(about.p50_ms), "p50"),
        tile("99 of 100 within", time(about.p99_ms), "p99"),
        tile("Longest delivery", time(about.max_ms), ""),
        tile("Time to heal", figures::heal(record), "the longest after any disturbance"),
        tile("Bytes sent", all, "all servers together"),
        tile("Bytes for each event", Unit::Bytes.text_of(figures::bytes_per_event(record)), "all servers together"),
        tile("Peers in the mesh", degree, "median at the end"),
        tile("Memory", peak, "most that the process took"),
    ];
    html::section("figures", "Key figures", &html::tiles(&tiles))
}

/// The table of invariants.
pub(super) fn invariants(record: &Record) -> String {
    if record.invariants.is_empty() {
        return html::section("invariants", "Invariants", &html::absent("No invariant was checked in this run."));
    }
    let rows: Vec<Vec<Cell>> = record
        .invariants
        .iter()
        .map(|row| {
            let mark = if row.violations > 0 { "bad" } else { "" };
            vec![
                Cell::words(row.name.clone()).marked(mark),
                Cell::words(row.promise.clone()),
                Cell::number(count(row.checks)),
                Cell::number(count(row.violations)).marked(mark),
                Cell::words(if row.violations > 0 { row.first.clone() } else { NONE.to_owned() }),
            ]
        })
        .collect();
    let broken = record.invariants.iter().filter(|row| row.violations > 0).count();
    let note = match broken {
        0 => format!("All {} held.", many(rows.len() as u64, "invariant")),
        broken => format!("{broken} of {} did not hold.", many(rows.len() as u64, "invariant")),
    };
    let head = ["Invariant", "What it promises", "Checks", "Violations", "First violation"];
    html::section("invariants", "Invariants", &(html::paragraph(&note) + &html::table(&head, &rows)))
}

/// The whole scenario, folded.
pub(super) fn scenario(record: &Record) -> String {
    let body = match record.scenario.trim() {
        "" => html::absent("The record does not have the scenario."),
        scenario => html::folded("The scenario with every default filled in", &html::copyable(scenario)),
    };
    html::section("scenario", "Scenario", &body)
}
