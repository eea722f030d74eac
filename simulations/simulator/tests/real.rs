//! Real nodes in virtual time: the same seed twice is the same run, byte for byte, and invariants catch what they are for.
//!
//! Each run is a process of its own, as the tool's own runs are.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rocketmesh_sim::record::Record;
use tempfile::TempDir;

/// Everything that randomness could get into: churn, crashes, loss, a cut, hostile servers, joins.
const BUSY: &str = r#"
title = "A little of everything"
servers = 16
duration = "50s"
warm_up = "20s"
settle = "4m"
[network]
regions = ["Frankfurt", "Tokyo"]
loss = 0.02
nat = 0.2
[[room]]
name = "general"
owners = 1
joined = { when = "crowd", at = "5s", within = "5s", share = 0.3 }
[[room]]
name = "team"
count = 3
servers = 4
[[talk]]
room = "general"
rate = 2.0
[[talk]]
room = "team"
rate = 0.5
[[partition]]
at = "15s"
until = "30s"
share = 0.5
[[crash]]
at = "20s"
share = 0.2
after = "10s"
[[churn]]
share = 0.2
stay = "20s"
away = "5s"
[[hostile]]
share = 0.1
what = "garbage"
[[hostile]]
share = 0.1
what = "fork"
"#;

/// Everybody speaks all the time, and half of the servers crash.
const CRASHES: &str = r#"
title = "Crashes"
servers = 6
duration = "30s"
warm_up = "15s"
settle = "3m"
[[room]]
name = "general"
[[talk]]
room = "general"
rate = 20.0
[[crash]]
at = "20s"
share = 1.0
after = "5s"
[[slow_disk]]
share = 1.0
flush = "50ms"
"#;

/// Files are sent, asked for and taken back while the network is cut, servers crash, a disk fills up and one holder lies.
const FILES: &str = r#"
title = "Files"
servers = 10
duration = "50s"
warm_up = "15s"
settle = "8m"
[network]
regions = ["Frankfurt", "Tokyo"]
[[network.bandwidth]]
name = "dsl"
share = 0.3
down_kbps = 16000
up_kbps = 2000
[files]
server_quota_mib = 64
[[room]]
name = "general"
[[talk]]
room = "general"
rate = 1.5
[talk.files]
share = 0.3
bytes = [500, 2000000]
again = 0.3
taken_back = 0.4
after = "10s"
asked = 0.2
[[partition]]
at = "10s"
until = "25s"
share = 0.5
[[crash]]
at = "15s"
share = 0.2
after = "10s"
[[full_disk]]
at = "32s"
until = "45s"
share = 0.3
[[hostile]]
share = 0.1
what = "garbage"
"#;

/// One server for each harm that a server can do by itself, and all of them crash at once.
const HARMS: &str = r#"
title = "Harms"
servers = 10
duration = "40s"
warm_up = "15s"
settle = "3m"
hostile = [
  { share = 0.1, what = "fork" },
  { share = 0.1, what = "back-date" },
  { share = 0.1, what = "withhold" },
  { share = 0.1, what = "eclipse" },
  { share = 0.1, what = "flood" },
]
[network]
nat = 0.2
[[room]]
name = "general"
[[talk]]
room = "general"
rate = 1.0
[[crash]]
at = "5s"
share = 1.0
after = "2s"
"#;

struct Run {
    folder: TempDir,
    trace: PathBuf,
    held: bool,
}

impl Run {
    fn of(scenario: &str, more: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let (file, trace) = (folder.path().join("scenario.toml"), folder.path().join("trace"));
        std::fs::write(&file, scenario).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rocketmesh-sim"));
        command.arg("run").arg(&file).arg("--json").arg("--trace").arg(&trace);
        let output = command.arg("--out").arg(folder.path()).args(more).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
        Run { trace, held: output.status.success(), folder }
    }

    fn trace(&self) -> Vec<u8> {
        std::fs::read(&self.trace).unwrap()
    }

    fn record(&self) -> Record {
        Record::read(self.folder.path()).unwrap()
    }

    /// How often an invariant was looked at.
    fn checks(&self, name: &str) -> u64 {
        self.record().invariants.into_iter().find(|row| row.name == name).map_or(0, |row| row.checks)
    }

    /// The invariants that did not hold.
    fn broken(&self) -> Vec<String> {
        self.record().invariants.into_iter().filter(|row| row.violations > 0).map(|row| row.name).collect()
    }
}

#[test]
fn a_seed_repeats_a_run_of_real_nodes_byte_for_byte_and_another_seed_does_not() {
    let [one, again, other] = ["7", "7", "8"].map(|seed| Run::of(BUSY, &["--seed", seed]));
    assert_eq!(one.record().about.failures, [""; 0]);
    // Some come in together, in one microsecond.
    for about in [&one, &other].map(|run| run.record().about) {
        assert!(about.by_gossip <= about.delivered && about.delivered == about.expected, "{about:?}");
    }
    let (traces, last) = ([one.trace(), again.trace()], other.trace());
    assert!(traces[0].len() > 100_000, "the trace tells what happened");
    let differs = traces[0].iter().zip(&traces[1]).position(|(a, b)| a != b);
    assert_eq!(differs, None, "the traces part here");
    assert_eq!(traces[0].len(), traces[1].len());
    assert_ne!(traces[0], last);
    let hashes = [&one, &again, &other].map(|run| run.record().about.trace);
    assert_eq!(hashes[0], hashes[1]);
    assert_ne!(hashes[0], hashes[2]);
}

/// How many events came to servers after the last one was back that nobody said: those of servers that mean harm.
fn lies(run: &Run) -> usize {
    assert!(run.held, "{:?}", run.record().about.failures);
    let trace = String::from_utf8(run.trace()).unwrap();
    let lines: Vec<Vec<&str>> = trace.lines().map(|line| line.split_whitespace().collect()).collect();
    let back = lines.iter().rposition(|line| line[1] == "up").unwrap();
    let told = |lines: &[Vec<&str>], how: &str| -> BTreeSet<String> {
        lines.iter().filter(|line| line[1] == how).map(|line| line[3].to_owned()).collect()
    };
    let (said, before) = (told(&lines, "said"), told(&lines[..back], "arrived"));
    told(&lines[back..], "arrived").iter().filter(|id| !said.contains(*id) && !before.contains(*id)).count()
}

#[test]
fn servers_that_mean_harm_go_on_after_a_crash_and_nothing_breaks() {
    let quiet = HARMS.replace("  { share = 0.1, what = \"flood\" },\n", "");
    let (forked, flooded) = (lies(&Run::of(&quiet, &[])), lies(&Run::of(HARMS, &[])));
    assert!((2..200).contains(&forked), "{forked} forks and back-dated events");
    assert!(flooded > 1_000, "{flooded} messages of a flood");
}

#[test]
fn every_server_crashes_at_once_and_nothing_acknowledged_is_lost() {
    let run = Run::of(CRASHES, &[]);
    assert!(run.held, "{:?}", run.record().about.failures);
    assert_eq!(run.record().about.delivered, run.record().about.expected);
}

#[test]
fn acknowledging_before_the_flush_is_caught() {
    let run = Run::of(CRASHES, &["--sabotage", "acknowledges-unflushed"]);
    assert!(run.broken().contains(&"nothing lost".to_owned()), "{:?}", run.broken());
}

#[test]
fn forgetting_ones_place_in_the_log_is_caught() {
    let run = Run::of(CRASHES, &["--sabotage", "forgets-position"]);
    assert!(run.broken().contains(&"nothing twice".to_owned()), "{:?}", run.broken());
}

#[test]
fn files_come_whole_and_go_when_they_are_taken_back_through_cuts_crashes_full_disks_and_liars() {
    let [one, again] = ["3", "3"].map(|seed| Run::of(FILES, &["--seed", seed]));
    assert!(one.held, "{:?}", one.record().about.failures);
    for invariant in ["files", "taken back", "full disk"] {
        assert!(one.checks(invariant) > 0, "{invariant}");
    }
    let traffic = one.record().traffic;
    let bytes: u64 = traffic.iter().filter(|row| row.kind == "files").map(|row| row.bytes).sum();
    assert!(bytes > 1_000_000, "{bytes} bytes of files");
    assert!(one.trace() == again.trace(), "files repeat as everything else does");
}

#[test]
fn files_stay_within_the_quota_and_what_finds_space_comes() {
    let run = Run::of(FILES, &["--set", "servers=6", "--set", "files.server_quota_mib=1"]);
    assert!(run.held, "{:?}", run.record().about.failures);
    assert!(run.checks("files") > 0 && run.checks("bounded") > 0);
}

#[test]
fn files_that_nobody_asks_for_stay_away_and_come_to_those_who_ask() {
    let run = Run::of(FILES, &["--set", "servers=6", "--set", "files.fetch_up_to_mib=0"]);
    assert!(run.held, "{:?}", run.record().about.failures);
    assert!(run.checks("files") > 0);
}

#[test]
fn a_spoiled_file_a_forgotten_redaction_and_a_disk_that_is_filled_are_caught() {
    let few = ["--set", "servers=4", "--set", "settle=10s", "--set", "full_disk.0.share=0.5", "--sabotage"];
    for (sabotage, invariants) in [
        ("spoils-files", &["files"][..]),
        ("forgets-redactions", &["files", "taken back"][..]),
        ("fills-disks", &["full disk"][..]),
    ] {
        let broken = Run::of(FILES, &[&few[..], &[sabotage]].concat()).broken();
        for invariant in invariants {
            assert!(broken.iter().any(|name| name == invariant), "{sabotage}: {broken:?}");
        }
    }
}

#[test]
fn a_link_between_two_cities_is_as_slow_as_the_scenario_says() {
    let usual = "title = \"x\"\nservers = 6\nduration = \"10s\"\n[[room]]\nname = \"a\"\n[[talk]]\nroom = \"a\"\nrate = 2.0\n\
                 [network]\nregions = [\"London\", \"Tokyo\"]\n";
    let slow = format!("{usual}[[network.link]]\nbetween = [\"London\", \"Tokyo\"]\nlatency = \"900ms\"\nkbps = 256\n");
    let [usual, slow] = [usual, &slow].map(|scenario| Run::of(scenario, &[]).record());
    assert!(usual.about.p99_ms < 900.0 && slow.about.p99_ms > 900.0, "{} {}", usual.about.p99_ms, slow.about.p99_ms);
}

#[test]
fn a_wrong_scenario_is_refused_with_what_would_be_right() {
    let folder = TempDir::new().unwrap();
    let refused = |text: &str| {
        let file: &Path = &folder.path().join("wrong.toml");
        std::fs::write(file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_rocketmesh-sim"));
        let output = command.arg("run").arg(file).arg("--out").arg(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let head = "title = \"x\"\nservers = 4\nduration = \"10s\"\n";
    assert!(refused(&format!("{head}colour = 1\n")).contains("unknown field `colour`"));
    assert!(refused(&format!("{head}[network]\nregions = [\"Atlantis\"]\n")).contains("Frankfurt"));
    assert!(
        refused(&format!("{head}[[talk]]\nroom = \"nowhere\"\nrate = 1.0\n")).contains("there is no room `nowhere`")
    );
    let files = "[[talk]]\nroom = \"a\"\nrate = 1.0\n[talk.files]\nshare = 0.5\nbytes = [9, 5]\n";
    let room = "[[room]]\nname = \"a\"\n";
    assert!(refused(&format!("{head}{room}{files}")).contains("talk.files.bytes"));
    assert!(refused(&format!("{head}layer = \"protocol\"\n{room}{files}")).contains("real layer only"));
    assert!(refused("title = \"x\"\nservers = 1\nduration = \"10s\"\n").contains("not between 2 and"));
    assert!(refused("title = \"x\"\nservers = 4\nduration = \"10 minutes\"\n").contains("such as 30s or 5m"));
}
