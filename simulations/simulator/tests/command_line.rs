//! What the command prints, and how it ends.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_rocketmesh-sim");

#[test]
fn a_command_whose_reader_has_gone_ends_quietly() {
    for line in [&["list"][..], &["show", "first-steps"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = Command::new(BINARY).args(line).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{line:?}");
    }
}

#[test]
fn the_list_fits_eighty_columns_where_no_terminal_says_how_many_there_are() {
    let output = Command::new(BINARY).arg("list").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("first-steps") && text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn what_cannot_be_run_says_in_one_line_what_would_be_right() {
    for (line, words) in [
        (&["show", "nope"][..], &["`nope`", "rocketmesh-sim list"][..]),
        (&["show", "first-steps", "--set", "mesh.degre=3"], &["mesh.degre:", "`degree`"]),
        (&["show", "first-steps", "--set", "mesh.degree=x"], &["mesh.degree:", "\"x\""]),
        (&["show", "first-steps", "--set", "mesh.degree"], &["`mesh.degree`", "mesh.degree=4"]),
        (&["show", "first-steps", "--set", "room.7.servers=3"], &["`7`", "list"]),
        (&["compare", "/nonexistent/a", "/nonexistent/b"], &["/nonexistent/a", "rocketmesh-sim run"]),
        (&["report", "/nonexistent/a"], &["/nonexistent/a", "rocketmesh-sim run"]),
        (&["run", "first-steps", "--out", "/dev/null/below"], &["/dev/null/below", "cannot be written"]),
    ] {
        let output = Command::new(BINARY).args(line).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{line:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{line:?}: {said}");
    }
}

const SMALL: &str = "title = \"small\"\nservers = 4\nduration = \"5s\"\nwarm_up = \"20s\"\n\
    [network]\nregions = [\"London\", \"Tokyo\"]\n[[room]]\nname = \"hall\"\n[[talk]]\nroom = \"hall\"\nrate = 2.0\n";

/// A folder with a scenario in it.
fn written(more: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("small.toml");
    std::fs::write(&scenario, format!("{SMALL}{more}")).unwrap();
    let scenario = scenario.to_str().unwrap().to_owned();
    (folder, scenario)
}

fn run(line: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(BINARY).args(line).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_run_that_misses_what_was_expected_fails_and_says_how_to_repeat_it() {
    let (folder, scenario) = written("[expect]\np99 = \"1ms\"\n");
    let out = folder.path().join("run");
    let (code, said, errors) = run(&["run", &scenario, "--seed", "3", "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}{errors}");
    assert!(said.lines().any(|line| line.starts_with("FAILED  ")), "{said}");
    let last = said.trim_end().lines().last().unwrap();
    assert!(last.starts_with("trace "), "{said}");

    let again = said.lines().find_map(|line| line.strip_prefix("again   rocketmesh-sim ")).unwrap();
    let mut line: Vec<&str> = again.split(' ').collect();
    line.extend(["--out", out.to_str().unwrap()]);
    let (_, repeated, errors) = run(&line);
    assert_eq!(repeated.trim_end().lines().last(), Some(last), "{repeated}{errors}");
}

#[test]
fn a_recorded_scenario_is_the_same_run_and_names_every_parameter() {
    let (folder, scenario) = written("");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let (code, said, errors) = run(&["run", &scenario, "--out", first.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}{errors}");
    let recorded = first.join("scenario.toml");
    let text = std::fs::read_to_string(&recorded).unwrap();
    for field in ["degree = ", "prune_backoff = ", "spare_connections = "] {
        assert!(text.contains(field), "{field}: {text}");
    }
    let (code, repeated, errors) = run(&["run", recorded.to_str().unwrap(), "--out", second.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{repeated}{errors}");
    assert_eq!(repeated.trim_end().lines().last(), said.trim_end().lines().last());
}

#[test]
fn a_sweep_leaves_out_a_run_that_could_not_end_and_names_it() {
    let (folder, scenario) = written("[[talk]]\nroom = \"hall\"\nchat = \"ubuntu\"\n");
    let out = folder.path().join("sweep");
    // A file that is not there ends a run with exit code 2.
    let line = ["sweep", &scenario, "--field", "talk.1.chat", "--values", "missing,ubuntu"];
    let line = [&line[..], &["--seeds", "1", "--out", out.to_str().unwrap()]].concat();
    for stale in [false, true] {
        if stale {
            std::fs::remove_dir_all(out.join("missing-1")).unwrap_or_default();
            std::fs::rename(out.join("ubuntu-1"), out.join("missing-1")).unwrap();
        }
        let (code, said, errors) = run(&line);
        assert_eq!(code, Some(1), "{said}{errors}");
        assert!(said.contains("NOT COUNTED  talk.1.chat=missing with seed 1"), "{said}{errors}");
        assert_eq!(errors.matches(" of 2 runs ended: ").count(), 2, "{errors}");
        assert!(out.join("sweep.html").is_file());
    }
}
