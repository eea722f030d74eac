//! Tables of single events and servers.

use super::html::{self, Cell};
use super::numbers::{NONE, bytes, count, decimal, many, ms};
use crate::record::{EventRow, Record, ServerRow};

/// How many events are listed.
const MOST_EVENTS: usize = 20;
/// How many servers are listed.
const MOST_SERVERS: usize = 100;

/// The slowest events.
pub(super) fn events(record: &Record) -> String {
    let heading = "The slowest events";
    if record.events.is_empty() {
        return html::section("events", heading, &html::absent("No event was said in this run."));
    }
    let mut slowest: Vec<&EventRow> = record.events.iter().collect();
    slowest.sort_by(|a, b| b.max_ms.total_cmp(&a.max_ms).then(a.event.cmp(&b.event)));
    slowest.truncate(MOST_EVENTS);
    let head = [
        "Event", "Id", "Kind", "Room", "Origin", "Region", "Said at", "Size", "Expected", "Gossip", "Sync", "Missing",
        "Copies", "p50", "p99", "Longest",
    ];
    let rows: Vec<Vec<Cell>> = slowest.iter().map(|row| event_cells(row)).collect();
    let incomplete = record.events.iter().filter(|row| missing(row) > 0).count() as u64;
    let note = format!(
        "The {} of {} whose slowest delivery took longest. Times count from when the event was on its own server's \
         disk. Of all events, {} did not come to every server that should have it.",
        rows.len(),
        many(record.events.len() as u64, "event"),
        count(incomplete)
    );
    html::section("events", heading, &(html::paragraph(&note) + &html::table(&head, &rows)))
}

fn missing(row: &EventRow) -> u32 {
    row.expected.saturating_sub(row.by_gossip.saturating_add(row.by_sync))
}

fn event_cells(row: &EventRow) -> Vec<Cell> {
    let number = |number: u32| Cell::number(count(u64::from(number)));
    let missed = missing(row);
    vec![
        number(row.event),
        Cell::words(row.id.clone()),
        Cell::words(row.kind.clone()),
        number(row.room),
        number(row.origin),
        Cell::words(row.region.clone()),
        Cell::number(ms(row.said_ms)),
        Cell::number(bytes(f64::from(row.bytes))),
        number(row.expected),
        number(row.by_gossip),
        number(row.by_sync),
        number(missed).marked(if missed > 0 { "bad" } else { "" }),
        number(row.copies),
        Cell::number(ms(row.p50_ms)),
        Cell::number(ms(row.p99_ms)),
        Cell::number(ms(row.max_ms)),
    ]
}

/// The servers at the end.
pub(super) fn servers(record: &Record) -> String {
    let heading = "Servers at the end";
    if record.servers.is_empty() {
        return html::section("servers", heading, &html::absent("No server is in this record."));
    }
    let head = [
        "Server",
        "Region",
        "Line",
        "NAT",
        "Hostile",
        "Rooms",
        "Connections",
        "Mesh",
        "Events",
        "Received",
        "Sent",
        "Store",
        "Restarts",
    ];
    let rows: Vec<Vec<Cell>> = record.servers.iter().take(MOST_SERVERS).map(server_cells).collect();
    let note = match record.servers.len() > MOST_SERVERS {
        true => format!(
            "The first {MOST_SERVERS} of {}; all of them are in servers.csv of the run's folder.",
            many(record.servers.len() as u64, "server")
        ),
        false => format!("All {}.", many(record.servers.len() as u64, "server")),
    };
    let note = format!("{note} Mesh is the mean number of peers in the meshes of a server's rooms.");
    html::section("servers", heading, &(html::paragraph(&note) + &html::table(&head, &rows)))
}

fn server_cells(row: &ServerRow) -> Vec<Cell> {
    let number = |number: u32| Cell::number(count(u64::from(number)));
    let size = |number: u64| Cell::number(bytes(number as f64));
    let hostile =
        if row.hostile.is_empty() { Cell::words(NONE) } else { Cell::words(row.hostile.clone()).marked("bad") };
    vec![
        number(row.server),
        Cell::words(row.region.clone()),
        Cell::words(row.line.clone()),
        Cell::words(if row.nat { "yes" } else { "no" }),
        hostile,
        number(row.rooms),
        number(row.connections),
        Cell::number(decimal(row.mesh_degree)),
        Cell::number(count(row.events)),
        size(row.bytes_in),
        size(row.bytes_out),
        size(row.store_bytes),
        number(row.restarts),
    ]
}
