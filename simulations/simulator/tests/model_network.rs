//! What a scenario says of its network and its disks is what the protocol layer's runs show: each number has the effect that its
//! name promises.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use rocketmesh_sim::model::{self, Options};
use rocketmesh_sim::plan::Plan;
use rocketmesh_sim::record::Record;
use rocketmesh_sim::scenario::Scenario;

const BASE: &str = r#"
title = "Two cities"
layer = "protocol"
servers = 12
duration = "30s"
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 3.0
bytes = 1000
[network]
regions = ["London", "Tokyo"]
"#;

/// A run of the base with this behind it.
fn run(more: &str) -> Record {
    let scenario = Scenario::parse("test", &format!("{BASE}{more}")).unwrap();
    let plan = Plan::new(&scenario, 1, Path::new(".")).unwrap();
    let record = model::run(Arc::new(plan), Options::default(), &mut |_, _| {}).unwrap().record;
    assert_eq!(record.about.failures, [""; 0], "{more}");
    assert_eq!(record.about.delivered, record.about.expected, "{more}");
    record
}

/// The mean delay of deliveries between two cities, both ways, in milliseconds, by the upper ends of their classes.
fn mean(record: &Record, a: &str, b: &str) -> f64 {
    let between = |from: &str, to: &str| (from == a && to == b) || (from == b && to == a);
    let rows = record.latency.iter().filter(|row| between(&row.from, &row.to));
    let (sum, count) = rows.fold((0.0, 0), |(sum, count), row| {
        (sum + row.up_to_us as f64 / 1_000.0 * row.count as f64, count + row.count)
    });
    sum / count as f64
}

#[test]
fn a_link_that_is_slower_or_loses_more_or_carries_less_makes_deliveries_over_it_later() {
    let usual = run("");
    let over = mean(&usual, "London", "Tokyo");
    // What is lost on one way often comes by another one.
    for (link, least) in
        [("latency = \"700ms\"", over + 400.0), ("loss = 0.4", over + 10.0), ("kbps = 160", over + 100.0)]
    {
        let record = run(&format!("[[network.link]]\nbetween = [\"London\", \"Tokyo\"]\n{link}\n"));
        let later = mean(&record, "London", "Tokyo");
        assert!(later > least, "{link}: {later} ms instead of {over} ms");
        let within = mean(&record, "London", "London");
        assert!(within < least, "{link}: {within} ms within London");
    }
}

#[test]
fn a_thin_line_makes_deliveries_late() {
    let (usual, thin) =
        (run(""), run("[[network.bandwidth]]\nname = \"modem\"\nshare = 1.0\ndown_kbps = 200\nup_kbps = 200\n"));
    assert!(thin.about.p50_ms > usual.about.p50_ms * 1.5, "{} and {} ms", thin.about.p50_ms, usual.about.p50_ms);
}

#[test]
fn a_slow_disk_makes_deliveries_late() {
    let (usual, slow) = (run(""), run("[[slow_disk]]\nshare = 1.0\nflush = \"2s\"\n"));
    assert!(slow.about.p50_ms > usual.about.p50_ms + 500.0, "{} and {} ms", slow.about.p50_ms, usual.about.p50_ms);
}

#[test]
fn two_servers_behind_nats_are_not_connected() {
    let record = run("nat = 0.5\n");
    let behind = |server: u32| record.servers.iter().any(|row| row.server == server && row.nat);
    assert!(record.servers.iter().filter(|row| row.nat).count() >= 4);
    assert!(record.links.iter().any(|link| behind(link.from) != behind(link.to)), "{:?}", record.links);
    assert!(record.links.iter().all(|link| !(behind(link.from) && behind(link.to))), "{:?}", record.links);
    let usual = run("").links.len();
    assert!(record.links.len() < usual, "{} of {usual} connections", record.links.len());
}
