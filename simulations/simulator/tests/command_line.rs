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
