//! Two runs, or the same run of two builds, side by side.

use super::difference::{SAME, comparison_table};
use super::html::{self, Cell, escape};
use super::numbers::count;
use super::{compare_pictures, scenario_diff, summary};
use crate::record::{About, Record};

/// Two runs side by side, as a page of HTML: key figures with their differences, pictures of both, and what their
/// scenarios have different. The same two records always give the same page.
pub fn comparison(a: &Record, b: &Record) -> String {
    let (name_a, name_b) = (summary::title(&a.about), summary::title(&b.about));
    let title = match name_a == name_b {
        true => format!("{name_a}: two runs compared"),
        false => format!("{name_a} compared with {name_b}"),
    };
    let rows = comparison_table(a, b);
    let parts = [
        format!("<header>\n<h1>{}</h1>\n<p class='lead'>{}</p>\n", escape(&title), escape(&in_a_sentence(&rows))),
        identities(&a.about, &b.about),
        "</header>\n".to_owned(),
        html::section("figures", "Key figures", &key_figures(&rows)),
        compare_pictures::latency(a, b),
        compare_pictures::copies(a, b),
        compare_pictures::traffic(a, b),
        compare_pictures::heal(a, b),
        compare_pictures::apart(a, b),
        scenario_diff::section(a, b),
    ];
    html::document(&title, &parts.concat())
}

fn in_a_sentence(rows: &[[String; 5]]) -> String {
    let ending = |ending: &str| rows.iter().filter(|row| row[4].ends_with(ending)).count();
    let (better, worse, same) = (ending("better"), ending("worse"), ending(SAME));
    if same == rows.len() {
        return format!("There is no difference in any of {same} figures.");
    }
    format!("Of {} figures, B is better in {better} and worse in {worse}; {same} have no difference.", rows.len())
}

/// What A and B are.
fn identities(a: &About, b: &About) -> String {
    let read: [(&str, fn(&About) -> String); 8] = [
        ("Scenario", |about| about.scenario.clone()),
        ("Layer", |about| about.layer.clone()),
        ("Seed", |about| about.seed.to_string()),
        ("Commit", |about| about.commit.clone()),
        ("Version of rocketmesh-sim", |about| about.version.clone()),
        ("Compiler", |about| about.rustc.clone()),
        ("Servers and rooms", |about| format!("{} and {}", count(about.servers as u64), count(about.rooms as u64))),
        ("Trace hash", |about| about.trace.clone()),
    ];
    let row =
        |(what, read): (&str, fn(&About) -> String)| [what.to_owned(), read(a), read(b)].map(Cell::words).to_vec();
    let mut out = html::table(&["", "A", "B"], &read.into_iter().map(row).collect::<Vec<_>>());
    for (name, about) in [("A", a), ("B", b)] {
        out += &html::heading(&format!("The command that repeats {name}"));
        out += &match about.command.trim() {
            "" => html::absent("The record does not have the command."),
            command => html::copyable(command),
        };
        let failures: String = about.failures.iter().map(|failure| format!("<li>{}</li>\n", escape(failure))).collect();
        if !failures.is_empty() {
            out +=
                &format!("<div class='outcome failed'>\n<p><strong>{name} failed.</strong> What did not hold:</p>\n");
            out += &format!("<ul>\n{failures}</ul>\n</div>\n");
        }
    }
    out
}

fn key_figures(rows: &[[String; 5]]) -> String {
    let cells = |[what, a, b, difference, verdict]: &[String; 5]| {
        let mark = match verdict {
            verdict if verdict.ends_with("better") => "good",
            verdict if verdict.ends_with("worse") => "bad",
            _ => "",
        };
        vec![
            Cell::words(what.clone()),
            Cell::number(a.clone()),
            Cell::number(b.clone()),
            Cell::number(difference.clone()),
            Cell::words(verdict.clone()).marked(mark),
        ]
    };
    let head = ["Figure", "A", "B", "Difference, B against A", "Verdict"];
    let note = "A difference is B less A; × is B over A. One run each cannot tell a difference from chance: run \
                several seeds of both before you rest a claim on it. Memory and real time also depend on the machine.";
    html::table(&head, &rows.iter().map(cells).collect::<Vec<_>>()) + &html::paragraph(note)
}
