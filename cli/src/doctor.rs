//! `rocketmesh doctor`: the store of a stopped node, looked through and mended.

use std::collections::BTreeSet;
use std::path::Path;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use rocketmesh_node::{open_store, rooms_with_gaps, store_directory};
use rocketmesh_protocol::id::RoomId;
use rocketmesh_storage::StoreError;
use rocketmesh_storage::check::{Finding, FindingKind, Mode, Report, check, check_content};
use serde_json::json;

use crate::args::DoctorArgs;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::text::{count, short_id};

/// What the store may keep in memory meanwhile.
const CACHE_MIB: u64 = 64;

/// Checks the store in a data directory, and mends it if asked to.
pub(crate) fn doctor(args: &DoctorArgs, output: &Output) -> Result<(), Failure> {
    let directory = store_directory(&args.data_dir);
    if !directory.exists() {
        let message = format!("{} holds no store; name the node's directory with --data-dir", args.data_dir.display());
        return Err(Failure::failed("no_store", message));
    }
    let store = open_store(&args.data_dir, CACHE_MIB).map_err(|error| unusable(&error, &args.data_dir))?;
    let mode = if args.repair { Mode::Repair } else { Mode::Check };
    let bar = if output.is_json() { ProgressBar::hidden() } else { progress() };
    let checked = check(&store, mode, |read, of| {
        bar.set_length(of);
        bar.set_position(read);
    });
    let mut report = checked.map_err(|error| unusable(&error, &args.data_dir))?;
    if args.files {
        bar.set_position(0);
        let hashed = check_content(&store, mode, |read, of| {
            bar.set_length(of);
            bar.set_position(read);
        });
        report.absorb(hashed.map_err(|error| unusable(&error, &args.data_dir))?);
    }
    bar.finish_and_clear();
    let gaps = rooms_with_gaps(&store).map_err(|error| unusable(&error, &args.data_dir))?;
    match output.is_json() {
        true => output.json(&to_json(&report, &gaps))?,
        false => output.text(&format!("{}{}", people(&report), not_whole(&gaps)))?,
    }
    conclude(&report)
}

fn progress() -> ProgressBar {
    ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{spinner} {percent} % checked ({elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    )
}

fn unusable(error: &StoreError, data_dir: &Path) -> Failure {
    let directory = data_dir.display();
    match error {
        StoreError::Locked(_) => Failure::failed(
            "node_running",
            format!("a node runs in {directory}; stop it first, since the doctor needs the store for itself"),
        ),
        StoreError::Damaged(_) => Failure::failed(
            "store_damaged",
            format!(
                "{error}, and the doctor does not get past that; restore a backup into an empty directory, or move {} \
                 away, start the node and join its rooms again, which loses what only this server had",
                store_directory(data_dir).display()
            ),
        ),
        StoreError::Io(_) => {
            Failure::failed("store_failed", format!("{error}; look at the disk, and at who may read the directory"))
        }
        _ => Failure::failed("store_failed", error.to_string()),
    }
}

fn to_json(report: &Report, gaps: &[RoomId]) -> String {
    let finding = |finding: &Finding| {
        json!({
            "kind": finding.kind.word(),
            "room": finding.room.map(|room| room.to_string()),
            "event": finding.event.map(|event| event.to_string()),
            "what": finding.what,
            "derivable": finding.derivable,
            "repaired": finding.repaired,
        })
    };
    json!({
        "rooms": report.rooms,
        "events": report.events,
        "bodies": report.bodies,
        "log_entries": report.log_entries,
        "files": report.files,
        "hashed": report.hashed,
        "found": report.found,
        "derivable": report.derivable,
        "repaired": report.repaired,
        "unfinished": report.unfinished,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "gaps": gaps.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
    .to_string()
}

fn people(report: &Report) -> String {
    let mut text = String::new();
    if !report.findings.is_empty() {
        let rows = report.findings.iter().map(|finding| {
            [
                finding.kind.word().to_owned(),
                finding.room.map(|room| short_id(&room.to_string())).unwrap_or_default(),
                finding.event.map(|event| short_id(&event.to_string())).unwrap_or_default(),
                finding.what.clone(),
                outcome(finding).to_owned(),
            ]
        });
        text.push_str(&table(["FOUND", "ROOM", "EVENT", "WHAT", "OUTCOME"], rows));
        text.push_str("\n\n");
        let unlisted = report.found - report.findings.len() as u64;
        if unlisted > 0 {
            text.push_str(&format!("… and {} more\n\n", HumanCount(unlisted)));
        }
    }
    let events = if report.events == 1 { "event" } else { "events" };
    let files = match (report.files, report.hashed) {
        (0, _) => String::new(),
        (files, 0) => format!(", {}", count(files, "file")),
        (files, hashed) => format!(", {}, {hashed} of them hashed", count(files, "file")),
    };
    text.push_str(&format!("{} {events} in {}{files}: ", HumanCount(report.events), count(report.rooms, "room")));
    text.push_str(&sum(report));
    text
}

/// Rooms that were joined without their older history: nothing is wrong with them, and they are not whole.
fn not_whole(gaps: &[RoomId]) -> String {
    let line = |room: &RoomId| {
        format!(
            "\nGAP: older messages of room {} have not come yet; the running node fetches them",
            short_id(&room.to_string())
        )
    };
    gaps.iter().map(line).collect()
}

fn outcome(finding: &Finding) -> &'static str {
    match (finding.repaired, finding.derivable) {
        (true, _) => "repaired",
        (false, true) => "can be repaired",
        (false, false) => "cannot be derived",
    }
}

fn sum(report: &Report) -> String {
    if report.found == 0 && !report.unfinished {
        return "nothing wrong".to_owned();
    }
    let mut parts = vec![count(report.found, "finding")];
    let mut add = |number: u64, what: &str| {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    };
    add(report.repaired, "repaired");
    add(report.derivable - report.repaired, "can be repaired");
    add(report.found - report.derivable, "cannot be derived");
    if report.unfinished {
        parts.push("the rest was not looked at".to_owned());
    }
    parts.join(", ")
}

/// What is left to do, where something is.
fn conclude(report: &Report) -> Result<(), Failure> {
    if report.is_sound() {
        return Ok(());
    }
    let mut steps: Vec<&str> = Vec::new();
    if report.derivable > report.repaired {
        steps.push(match report.hashed {
            0 => "`rocketmesh doctor --repair` mends what can be repaired",
            _ => "`rocketmesh doctor --repair --files` mends what can be repaired",
        });
    }
    let lost = report.findings.iter().filter(|finding| !finding.derivable);
    let mut remedies: BTreeSet<&str> = lost.map(|finding| finding.kind.remedy()).collect();
    if remedies.is_empty() && report.found > report.derivable {
        // None of those is among the findings that are listed.
        remedies.insert(FindingKind::MissingEvent.remedy());
    }
    steps.extend(remedies);
    if report.unfinished && report.derivable == report.repaired {
        steps.push("so much is wrong that a backup is the better way");
    }
    Err(Failure::failed("not_sound", format!("the store is not sound: {}", steps.join("; "))))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rocketmesh_protocol::id::EventId;

    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        let number = |pick: fn(&Finding) -> bool| findings.iter().filter(|finding| pick(finding)).count() as u64;
        Report {
            rooms: 3,
            events: 42_118,
            found: findings.len() as u64,
            derivable: number(|finding| finding.derivable),
            repaired: number(|finding| finding.repaired),
            findings,
            ..Report::default()
        }
    }

    fn finding(kind: FindingKind, derivable: bool, repaired: bool) -> Finding {
        let (room, event) = (RoomId::from_hash([7; 32]), EventId::from_hash([8; 32]));
        Finding { kind, room: Some(room), event: Some(event), what: "it is lost".to_owned(), repaired, derivable }
    }

    #[test]
    fn a_sound_store_takes_one_line() {
        let sound = report(Vec::new());
        assert_eq!(people(&sound), "42,118 events in 3 rooms: nothing wrong");
        let hashed = Report { files: 2, hashed: 2, ..report(Vec::new()) };
        assert_eq!(people(&hashed), "42,118 events in 3 rooms, 2 files, 2 of them hashed: nothing wrong");
        assert!(conclude(&sound).is_ok());
    }

    #[test]
    fn findings_stand_in_a_table_above_what_they_come_to() {
        let some = report(vec![
            finding(FindingKind::OrderIndex, true, true),
            finding(FindingKind::Tips, true, true),
            finding(FindingKind::WrongHash, false, false),
        ]);
        let text = people(&some);
        assert!(text.starts_with("FOUND") && text.contains("order-index"), "{text}");
        assert!(text.ends_with("42,118 events in 3 rooms: 3 findings, 2 repaired, 1 cannot be derived"), "{text}");
        let left = conclude(&some).expect_err("something is left");
        assert!(left.exit_code() == 1 && left.to_string().contains("restore a backup"), "{left}");
    }

    #[test]
    fn a_check_names_the_option_that_repairs() {
        let some = report(vec![finding(FindingKind::Count, true, false)]);
        assert!(people(&some).ends_with("1 finding, 1 can be repaired"));
        assert!(conclude(&some).expect_err("something is left").to_string().contains("--repair"));
        assert!(conclude(&report(vec![finding(FindingKind::Count, true, true)])).is_ok(), "everything is repaired");
    }

    #[test]
    fn a_script_gets_one_object_with_whole_ids() {
        let json = to_json(&report(vec![finding(FindingKind::Count, true, false)]), &[]);
        let value: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!((value["events"].as_u64(), value["found"].as_u64()), (Some(42_118), Some(1)));
        let found = &value["findings"][0];
        assert_eq!(found["kind"], "count");
        assert_eq!(found["room"].as_str().map(str::len), Some(59));
        assert_eq!((&found["derivable"], &found["repaired"]), (&json!(true), &json!(false)));
    }

    #[test]
    fn a_store_that_does_not_open_says_what_to_do() {
        let home = Path::new("/var/lib/rocketmesh");
        let running = unusable(&StoreError::Locked(PathBuf::from("store")), home);
        assert!(running.code() == "node_running" && running.to_string().contains("stop it first"), "{running}");
        let damaged = unusable(&StoreError::Damaged("a room's id cannot be read".to_owned()), home);
        assert!(damaged.exit_code() == 1 && damaged.to_string().contains("restore a backup"), "{damaged}");
    }
}
