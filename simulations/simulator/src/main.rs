//! `rocketmesh-sim`: runs scenarios, compares runs, varies parameters.

mod cli;

use std::io::Write;
use std::process::ExitCode;

/// The node makes and drops small things all the time; the system's allocator took half of a run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::main() {
        Ok(code) => code,
        Err(error) => {
            // Where even that cannot be written there is nobody left to tell.
            let _ = writeln!(std::io::stderr().lock(), "rocketmesh-sim: {error}");
            ExitCode::from(2)
        }
    }
}
