//! `rocketmesh restore`: a data directory from a backup.

use std::fs::{self, File};
use std::io::BufReader;

use indicatif::{ProgressBar, ProgressStyle};
use rocketmesh_node::{identity, open_store};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_storage::backup::{self, BackupError};
use serde_json::json;

use crate::args::RestoreArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::text::{clean, count};

/// What the store may keep in memory while it is filled.
const CACHE_MIB: u64 = 64;

/// Fills an empty data directory.
pub(crate) fn restore(args: &RestoreArgs, output: &Output) -> Result<(), Failure> {
    let file = File::open(&args.file).map_err(|error| Failure::file("read", &args.file, &error))?;
    let directory = &args.data_dir;
    if identity::key_file(directory).exists() {
        let message = format!(
            "{} holds a server already; name an empty directory with --data-dir, or move this one away",
            directory.display()
        );
        return Err(Failure::failed("not_empty", message));
    }
    let made = !directory.exists();
    fs::create_dir_all(directory).map_err(|error| Failure::file("make", directory, &error))?;
    let fresh = !rocketmesh_node::store_directory(directory).exists();
    let restored = fill(args, file, output);
    if restored.is_err() && fresh {
        // A part of a backup is worse than none: it would start as a server that forgot something.
        let _ = fs::remove_dir_all(rocketmesh_node::store_directory(directory));
        if made {
            // Only an empty directory goes.
            let _ = fs::remove_dir(directory);
        }
    }
    let (key, summary) = restored?;
    if output.is_json() {
        let restored = json!({
            "id": key.origin().to_string(),
            "rooms": summary.rooms,
            "events": summary.events,
            "data_dir": directory.display().to_string(),
        });
        return output.json(&restored.to_string());
    }
    output.text(&format!(
        "Restored {} with {} and {}.\n\
         Start it with:  rocketmesh run --data-dir {}\n\
         The server that the backup was made of must not run any more: two with one key harm each other.",
        key.origin(),
        count(summary.rooms, "room"),
        count(summary.events, "event"),
        clean(&directory.display().to_string())
    ))
}

fn fill(args: &RestoreArgs, file: File, output: &Output) -> Result<(ServerKey, backup::Summary), Failure> {
    let directory = &args.data_dir;
    let failed = |error: String| Failure::failed("restore_failed", error);
    let store = open_store(directory, CACHE_MIB).map_err(|error| failed(error.to_string()))?;
    let bar = if output.is_json() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    let bar = bar.with_style(
        ProgressStyle::with_template("{spinner} {pos} events restored")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let restored = backup::restore(&store, &mut BufReader::new(file), |events| bar.set_position(events));
    bar.finish_and_clear();
    let (seed, summary) = restored.map_err(|error| match error {
        BackupError::Malformed(_) => {
            failed(format!("{}: {error}; name a file that `rocketmesh backup` wrote", args.file.display()))
        }
        _ => failed(error.to_string()),
    })?;
    let key = ServerKey::from_seed(&seed);
    identity::save(directory, &key).map_err(|error| failed(error.to_string()))?;
    Ok((key, summary))
}
