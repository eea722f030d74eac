//! Reports: a run, two runs side by side, or a sweep, each as one page of HTML that needs nothing else.
//!
//! A page has its style and its pictures inside, asks nothing of any network, runs no script, and is the same for the
//! same records. Every picture says in a sentence how to read it; what there is nothing to draw of is a sentence
//! instead.
//!
//! ```text
//!   Record ──► figures, spread ──► parts of the page: summary, latency, traffic, topology, … ──► html ──► page
//!                                      └─► chart, bars ──► axis, numbers
//! ```

mod axis;
mod bars;
mod chart;
mod compare;
mod compare_pictures;
mod copies;
mod degree;
mod difference;
mod figures;
mod heal;
mod html;
mod latency;
mod measures;
mod memory;
mod numbers;
mod over_time;
mod regions;
mod scenario_diff;
mod spread;
mod style;
mod summary;
mod sweep;
mod tables;
mod topology;
mod traffic;

pub use compare::comparison;
pub use difference::comparison_table;
pub use sweep::{SweepPoint, sweep, sweep_table};

use crate::record::Record;

/// The report of one run, as a page of HTML. The same record always gives the same page.
pub fn page(record: &Record) -> String {
    let parts = [
        summary::head(record),
        summary::key_figures(record),
        summary::invariants(record),
        latency::section(record),
        copies::section(record),
        traffic::section(record),
        degree::section(record),
        heal::section(record),
        over_time::section(record),
        topology::section(record),
        memory::section(record),
        tables::events(record),
        tables::servers(record),
        summary::scenario(record),
    ];
    html::document(&summary::title(&record.about), &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        About, DisturbanceRow, EventRow, InvariantRow, LatencyRow, LinkRow, MeshRow, ProgressRow, ServerRow, TRAFFIC,
        TrafficRow,
    };

    const EVIL: &str = "<script>alert('1')</script>";

    /// A record with one and more of everything.
    fn full() -> Record {
        Record {
            about: About {
                title: format!("A title with {EVIL}"),
                about: "What it shows.".to_owned(),
                command: "rocketmesh-sim run \"x\" --seed 7".to_owned(),
                seed: 7,
                servers: 4,
                hostile: 1,
                rooms: 2,
                virtual_s: 300.0,
                wall_s: 3.0,
                events: 2,
                expected: 6,
                delivered: 5,
                by_gossip: 4,
                copies: 2.5,
                p50_ms: 80.0,
                p99_ms: 1_200.0,
                max_ms: 1_200.0,
                failures: vec!["convergence: two servers differ & stay so".to_owned()],
                ..About::default()
            },
            scenario: "title = \"x\"\nservers = 4\n".to_owned(),
            events: (0..2).map(event).collect(),
            latency: ["gossip", "sync"].into_iter().enumerate().map(latency_row).collect(),
            traffic: TRAFFIC.into_iter().flat_map(|kind| [1_u32, 2, 3].map(|at| traffic_row(kind, at))).collect(),
            servers: (0..4).map(server).collect(),
            mesh: (0..6_u32).map(|at| MeshRow { t_s: f64::from(at / 2), degree: 2 + at % 2, servers: 3 }).collect(),
            links: (0..3_u32).map(|from| LinkRow { from, to: from + 1 }).collect(),
            progress: (0..9).map(progress_row).collect(),
            disturbances: [Some(12.0), None].into_iter().map(disturbance).collect(),
            invariants: vec![InvariantRow {
                name: "convergence".to_owned(),
                promise: "All hold the same in the end.".to_owned(),
                checks: 1_234,
                violations: 1,
                first: format!("at 12 s: {EVIL}"),
            }],
        }
    }

    fn event(event: u32) -> EventRow {
        EventRow {
            event,
            id: EVIL.to_owned(),
            kind: "message".to_owned(),
            room: 0,
            room_servers: 4,
            origin: 0,
            region: "London".to_owned(),
            said_ms: 5_000.0,
            bytes: 400,
            expected: 3,
            by_gossip: 2,
            by_sync: event,
            copies: 5,
            p50_ms: 80.0,
            p99_ms: 1_200.0,
            max_ms: 1_200.0,
        }
    }

    fn latency_row((at, way): (usize, &str)) -> LatencyRow {
        LatencyRow {
            room_size: "2-10".to_owned(),
            from: "London".to_owned(),
            to: if at == 0 { "London" } else { EVIL }.to_owned(),
            way: way.to_owned(),
            up_to_us: 80_000 * (at as u64 + 1),
            count: 3,
        }
    }

    fn traffic_row(kind: &str, at: u32) -> TrafficRow {
        TrafficRow { t_s: f64::from(at), kind: kind.to_owned(), bytes: 1_000 * u64::from(at) }
    }

    fn server(server: u32) -> ServerRow {
        ServerRow {
            server,
            region: if server == 0 { EVIL } else { "London" }.to_owned(),
            line: "dsl".to_owned(),
            nat: server == 1,
            hostile: if server == 2 { "flood" } else { "" }.to_owned(),
            store_bytes: 10_000,
            ..ServerRow::default()
        }
    }

    fn progress_row(at: u32) -> ProgressRow {
        ProgressRow {
            t_s: f64::from(at),
            up: 3,
            said: 2,
            delivered: 5,
            pending: 1,
            apart: at % 3,
            links: 3,
            rss: 50_000_000,
            wall_s: 0.1,
        }
    }

    fn disturbance(healed_s: Option<f64>) -> DisturbanceRow {
        DisturbanceRow { what: format!("a cut {EVIL}"), at_s: 1.0, until_s: 3.0, healed_s }
    }

    #[test]
    fn a_page_of_an_empty_record_says_what_is_not_there() {
        let page = page(&Record::default());
        assert!(!page.contains("NaN") && !page.contains("inf"));
        for sentence in
            ["No disturbance in this run.", "No delivery in this run.", "No traffic was counted in this run."]
        {
            assert!(page.contains(sentence), "{sentence}");
        }
        assert!(!page.contains("<svg"));
    }

    #[test]
    fn a_page_names_what_failed_and_escapes_what_comes_from_outside() {
        let record = full();
        let page = page(&record);
        assert!(page.contains("Failed.") && page.contains("two servers differ &amp; stay so"));
        assert!(page.contains("never") && page.contains("--seed 7"));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
        assert_eq!(page, super::page(&record));
    }

    #[test]
    fn every_tag_of_a_page_is_closed() {
        let pages = [page(&full()), page(&Record::default()), comparison(&full(), &Record::default())];
        for page in pages {
            for tag in
                ["svg", "g", "title", "text", "section", "figure", "table", "tr", "td", "ul", "li", "div", "header"]
            {
                let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
                assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
            }
        }
    }

    #[test]
    fn a_run_has_no_difference_to_itself() {
        let record = full();
        assert!(comparison_table(&record, &record).iter().all(|row| row[4] == "no difference"));
        let page = comparison(&record, &record);
        assert!(page.contains("There is no difference in any of") && !page.contains("B is"));
        assert!(page.contains("There is no difference between the two scenarios."));
        assert!(!page.contains("<script") && !page.contains("NaN"));
    }

    #[test]
    fn two_runs_are_compared_figure_by_figure() {
        let a = full();
        let mut b = full();
        b.about.p99_ms = 600.0;
        b.scenario = "title = \"x\"\nservers = 5\n".to_owned();
        let page = comparison(&a, &b);
        assert!(page.contains("B is better") && page.contains("−600 ms (×0.5)") && page.contains("<td>servers</td>"));
        let empty = comparison(&Record::default(), &Record::default());
        assert!(!empty.contains("NaN") && !empty.contains("inf"));
    }
}
