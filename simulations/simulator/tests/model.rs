//! Whole runs of the protocol layer: that a seed repeats one, that nothing breaks in it, and that each deliberate bug
//! is caught by the invariant that is there for it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use rocketmesh_sim::model::{self, Options};
use rocketmesh_sim::plan::Plan;
use rocketmesh_sim::record::Record;
use rocketmesh_sim::sabotage::Sabotage;
use rocketmesh_sim::scenario::Scenario;

fn run(scenario: &str, seed: u64, sabotage: Option<Sabotage>) -> Record {
    let scenario = Scenario::parse("test", scenario).unwrap();
    let plan = Plan::new(&scenario, seed, Path::new(".")).unwrap();
    let options = Options { sabotage, ..Options::default() };
    model::run(Arc::new(plan), options, &mut |_, _| {}).unwrap().record
}

/// The names of the invariants that did not hold.
fn broken(record: &Record) -> Vec<&str> {
    record.invariants.iter().filter(|row| row.violations > 0).map(|row| row.name.as_str()).collect()
}

/// The scenario passes, and with the bug exactly one invariant does not hold.
fn only_breaks(sabotage: Sabotage, scenario: &str, invariant: &str) {
    let sound = run(scenario, 1, None);
    assert_eq!(sound.about.failures, [""; 0], "without the bug");
    let bent = run(scenario, 1, Some(sabotage));
    assert_eq!(broken(&bent), [invariant], "{:?}", bent.about.failures);
}

const THIRTY: &str = r#"
title = "Thirty servers with churn, a partition and loss"
layer = "protocol"
servers = 30
duration = "90s"
warm_up = "20s"
settle = "4m"

[network]
regions = ["London", "Tokyo", "Sydney"]
loss = 0.01
nat = 0.3

[[room]]
name = "all"

[[room]]
name = "some"
servers = 10
moderators = 1

[[talk]]
room = "all"
rate = 2.0

[[talk]]
room = "some"
rate = 1.0

[[churn]]
share = 0.2
stay = "30s"
away = "10s"

[[partition]]
at = "20s"
until = "60s"
share = 0.4
"#;

#[test]
fn a_seed_repeats_a_run_and_another_seed_does_not() {
    let (one, same, other) = (run(THIRTY, 7, None), run(THIRTY, 7, None), run(THIRTY, 8, None));
    assert_eq!(one.about.trace, same.about.trace);
    assert_eq!(one.events, same.events);
    assert_ne!(one.about.trace, other.about.trace);
}

#[test]
fn churn_a_partition_and_loss_break_nothing_and_everything_arrives() {
    let record = run(THIRTY, 3, None);
    assert_eq!(record.about.failures, [""; 0]);
    assert!(record.about.events > 150, "{}", record.about.events);
    assert_eq!(record.about.delivered, record.about.expected);
    assert!(record.disturbances.iter().all(|row| row.healed_s.is_some()), "{:?}", record.disturbances);
}

#[test]
fn gossip_delivers_nearly_everything_while_nothing_goes_wrong() {
    let scenario = r#"
title = "Forty servers and no fault"
layer = "protocol"
servers = 40
duration = "30s"
[network]
regions = ["London", "Tokyo"]
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 3.0
"#;
    let record = run(scenario, 1, None);
    assert_eq!(record.about.failures, [""; 0]);
    assert_eq!(record.about.delivered, record.about.expected);
    // A comparison may find an event that is still on its way.
    let share = record.about.by_gossip as f64 / record.about.expected as f64;
    assert!(share > 0.95, "{share}");
    assert!((1.0..8.0).contains(&record.about.copies), "{} copies", record.about.copies);
}

#[test]
fn a_thousand_servers_with_churn_end_alike() {
    let scenario = r#"
title = "A thousand servers"
layer = "protocol"
servers = 1000
duration = "60s"
settle = "4m"
[network]
regions = ["London", "Tokyo", "Sydney"]
nat = 0.3
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 0.5
[[churn]]
share = 0.05
stay = "30s"
away = "10s"
"#;
    let record = run(scenario, 1, None);
    assert_eq!(record.about.failures, [""; 0]);
    assert!(record.about.expected > 10_000 && record.about.delivered == record.about.expected, "{:?}", record.about);
}

#[test]
fn a_crowd_that_comes_in_ends_with_everything() {
    let scenario = r#"
title = "Half of the servers come in"
layer = "protocol"
servers = 24
duration = "60s"
settle = "4m"
[[room]]
name = "all"
joined = { when = "crowd", at = "5s", within = "20s", share = 0.5 }
[[talk]]
room = "all"
rate = 2.0
"#;
    let record = run(scenario, 1, None);
    assert_eq!(record.about.failures, [""; 0]);
    assert_eq!(record.about.delivered, record.about.expected);
    assert_eq!(record.events.iter().filter(|row| row.kind == "room.member").count(), 12);
}

#[test]
fn servers_that_mean_harm_break_nothing() {
    let scenario = r#"
title = "Every kind of harm, and a ban for each"
layer = "protocol"
servers = 20
duration = "25s"
settle = "4m"
hostile = [
  { share = 0.05, what = "flood" },
  { share = 0.05, what = "fork" },
  { share = 0.05, what = "back-date" },
  { share = 0.05, what = "withhold" },
  { share = 0.05, what = "garbage" },
  { share = 0.05, what = "eclipse" },
]
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 2.0
"#;
    let bans =
        (14..20).map(|whom| format!("[[deed]]\nroom = \"all\"\nat = \"12s\"\nby = 0\nact = \"ban\"\nwhom = {whom}\n"));
    let scenario = format!("{scenario}{}", bans.collect::<String>());
    let record = run(&scenario, 1, None);
    assert_eq!(record.about.failures, [""; 0]);
    assert_eq!(record.about.hostile, 6);
    assert_eq!(record.about.delivered, record.about.expected);
}

#[test]
fn whoever_shows_more_than_it_has_or_brings_what_is_broken_keeps_nothing_back() {
    let scenario = r#"
title = "A cut, and a quarter of the servers lies or spoils what it brings"
layer = "protocol"
servers = 16
duration = "80s"
settle = "4m"
hostile = [{ share = 0.125, what = "lie" }, { share = 0.125, what = "spoil" }]
partition = [{ at = "10s", until = "60s", share = 0.5 }]
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 3.0
"#;
    let record = run(scenario, 1, None);
    assert_eq!(record.about.failures, [""; 0]);
    assert_eq!(record.about.hostile, 4);
    assert_eq!(record.about.delivered, record.about.expected);
}

#[test]
fn messages_that_come_twice_or_late_break_nothing() {
    let scenario = r#"
title = "A network that repeats and overtakes, with a cut and churn"
layer = "protocol"
servers = 12
duration = "60s"
settle = "4m"
partition = [{ at = "10s", until = "45s", share = 0.4 }]
churn = [{ share = 0.2, stay = "20s", away = "8s" }]
[network]
duplicates = 0.2
reordering = 0.2
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 3.0
"#;
    let record = run(scenario, 1, None);
    assert_eq!(record.about.failures, [""; 0]);
    assert_eq!(record.about.delivered, record.about.expected);
}

#[test]
fn what_only_the_protocol_layer_knows_is_refused_for_the_other() {
    let real = |more: &str| {
        let scenario = format!("title = \"A real run\"\nservers = 4\nduration = \"10s\"\n{more}\n");
        Scenario::parse("test", &scenario).map_err(|error| error.to_string())
    };
    assert!(real("").is_ok());
    for (more, named) in [
        ("hostile = [{ share = 0.25, what = \"lie\" }]", "`lie`"),
        ("hostile = [{ share = 0.25, what = \"spoil\" }]", "`spoil`"),
        ("[network]\nduplicates = 0.1", "`duplicates`"),
        ("[network]\nreordering = 0.1", "`reordering`"),
    ] {
        let refused = real(more).unwrap_err();
        assert!(refused.contains(named), "{refused}");
    }
}

#[test]
fn a_server_that_hears_of_no_removal_breaks_convergence() {
    let scenario = r#"
title = "A ban"
layer = "protocol"
servers = 6
duration = "20s"
[[room]]
name = "all"
moderators = 1
[[talk]]
room = "all"
rate = 2.0
[[deed]]
room = "all"
at = "10s"
by = 1
act = "ban"
whom = 4
"#;
    only_breaks(Sabotage::IgnoresRemovals, scenario, "convergence");
}

const CRASH: &str = r#"
title = "Half of the servers crash on slow disks"
layer = "protocol"
servers = 6
duration = "40s"
settle = "4m"
slow_disk = [{ share = 1.0, flush = "500ms" }]
crash = [{ at = "20s", share = 0.5, after = "10s" }]
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 30.0
"#;

#[test]
fn acknowledging_before_the_flush_loses_what_was_acknowledged() {
    only_breaks(Sabotage::AcknowledgesUnflushed, CRASH, "nothing lost");
}

#[test]
fn forgetting_the_position_shows_everything_twice() {
    only_breaks(Sabotage::ForgetsPosition, CRASH, "nothing twice");
}

#[test]
fn asking_no_rules_lets_a_member_make_itself_an_owner() {
    let scenario = r#"
title = "A member wants to be an owner"
layer = "protocol"
servers = 5
duration = "20s"
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 2.0
[[deed]]
room = "all"
at = "10s"
by = 3
act = "owner"
whom = 3
"#;
    only_breaks(Sabotage::AsksNoRules, scenario, "authority by grant");
}

#[test]
fn asking_no_rules_lets_a_member_throw_another_out() {
    let scenario = r#"
title = "A member wants another gone"
layer = "protocol"
servers = 5
duration = "20s"
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 2.0
[[deed]]
room = "all"
at = "10s"
by = 3
act = "kick"
whom = 2
"#;
    only_breaks(Sabotage::AsksNoRules, scenario, "authority by grant");
    // It is seen when it happens, not when everything is over.
    let record = run(scenario, 1, Some(Sabotage::AsksNoRules));
    let row = record.invariants.iter().find(|row| row.violations > 0).unwrap();
    let seen: f64 = row.first.strip_prefix("at ").and_then(|at| at.split(' ').next()).unwrap().parse().unwrap();
    assert!((10.0..20.0).contains(&seen), "{}", row.first);
}

#[test]
fn holding_everything_outgrows_the_bound() {
    // The server that comes back waits ten seconds for an answer, and meanwhile hears more than it may hold.
    let scenario = r#"
title = "A server comes back into a busy room on slow disks"
layer = "protocol"
servers = 4
duration = "40s"
settle = "5m"
slow_disk = [{ share = 1.0, flush = "10s" }]
crash = [{ at = "12s", share = 0.25, after = "4s" }]
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 400.0
until = "27s"
bytes = 20
"#;
    only_breaks(Sabotage::HoldsEverything, scenario, "bounded");
}

#[test]
fn never_comparing_leaves_the_sides_of_a_cut_apart() {
    let scenario = r#"
title = "A cut through the middle"
layer = "protocol"
servers = 12
duration = "80s"
settle = "4m"
partition = [{ at = "10s", until = "60s", share = 0.5 }]
[[room]]
name = "all"
[[talk]]
room = "all"
rate = 2.0
"#;
    assert_eq!(run(scenario, 1, None).about.failures, [""; 0], "without the bug");
    let record = run(scenario, 1, Some(Sabotage::NeverCompares));
    let broken = broken(&record);
    assert!(broken.contains(&"liveness"), "{broken:?}");
    // What is said last and does not arrive was acknowledged, and leaves servers with different events: these two
    // follow.
    let others = ["convergence", "nothing lost", "liveness"];
    assert!(broken.iter().all(|name| others.contains(name)), "{broken:?}");
}
