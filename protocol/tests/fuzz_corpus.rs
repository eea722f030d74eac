//! What holds for fuzzed inputs holds for every input that was worth keeping.
#![allow(clippy::unwrap_used, missing_docs)]
// Tests read their inputs from the tree; the protocol itself reads nothing.
#![allow(clippy::disallowed_methods)]

#[path = "support/fuzz_checks.rs"]
mod checks;

use std::path::{Path, PathBuf};

fn fuzz_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn every_kept_input_passes_its_targets_check() {
    for (target, check) in checks::CHECKS {
        let directory = fuzz_directory().join("corpus").join(target);
        let entries = std::fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}; record it as vectors/README.md says", directory.display()));
        let mut inputs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{} is empty", directory.display());
        for input in inputs {
            // The test's output names the input that was checked last, which is the one that failed.
            println!("{}", input.display());
            check(&std::fs::read(&input).unwrap());
        }
    }
}

#[test]
fn every_check_has_its_fuzz_target_and_every_target_its_check() {
    let manifest = std::fs::read_to_string(fuzz_directory().join("Cargo.toml")).unwrap();
    for (target, _) in checks::CHECKS {
        let path = format!("fuzz_targets/{target}.rs");
        assert!(fuzz_directory().join(&path).is_file(), "{path} is missing");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path} is not in the manifest");
    }
    let targets = std::fs::read_dir(fuzz_directory().join("fuzz_targets")).unwrap().count();
    assert_eq!(targets, checks::CHECKS.len());
}
