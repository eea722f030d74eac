//! What holds for fuzzed files holds for every one that was worth keeping.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/fuzz_checks.rs"]
mod checks;

use std::path::{Path, PathBuf};

#[test]
fn every_kept_car_passes_the_check() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/car");
    let mut inputs: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", directory.display());
    for input in inputs {
        // The test's output names the input that was checked last, which is the one that failed.
        println!("{}", input.display());
        let bytes = std::fs::read(&input).unwrap();
        checks::car(&bytes);
        // And cut at each byte of it.
        (0..bytes.len()).for_each(|end| checks::car(&bytes[..end]));
    }
}
