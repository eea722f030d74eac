//! `rocketmesh restore`: a data directory from a backup.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use rocketmesh_node::{identity, open_store};
use rocketmesh_protocol::identity::ServerKey;
use rocketmesh_storage::backup::{self, BackupError};

use crate::args::RestoreArgs;
use crate::failure::Failure;

/// What the store may keep in memory while it is filled.
const CACHE_MIB: u64 = 64;

/// Fills an empty data directory.
pub(crate) fn restore(args: RestoreArgs) -> Result<(), Failure> {
    let file = File::open(&args.file).map_err(|error| Failure::file("read", &args.file, &error))?;
    let directory = &args.data_dir;
    if identity::key_file(directory).exists() {
        let message = format!(
            "{} holds a server already; name an empty directory with --data-dir, or move this one away",
            directory.display()
        );
        return Err(Failure::failed("not_empty", message));
    }
    fs::create_dir_all(directory).map_err(|error| Failure::file("make", directory, &error))?;
    let fresh = !rocketmesh_node::store_directory(directory).exists();
    let restored = fill(directory, file);
    if restored.is_err() && fresh {
        // A part of a backup is worse than none: it would start as a server that forgot something.
        let _ = fs::remove_dir_all(rocketmesh_node::store_directory(directory));
    }
    let (key, summary) = restored?;
    println!("Restored {} with {} rooms and {} events.", key.origin(), summary.rooms, summary.events);
    println!("Start it with:  rocketmesh run --data-dir {}", directory.display());
    println!("The server that the backup was made of must not run any more: two with one key harm each other.");
    Ok(())
}

fn fill(directory: &Path, file: File) -> Result<(ServerKey, backup::Summary), Failure> {
    let failed = |error: String| Failure::failed("restore_failed", error);
    let store = open_store(directory, CACHE_MIB).map_err(|error| failed(error.to_string()))?;
    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {pos} events restored")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let restored = backup::restore(&store, &mut BufReader::new(file), |events| bar.set_position(events));
    bar.finish_and_clear();
    let (seed, summary) = restored.map_err(|error: BackupError| failed(error.to_string()))?;
    let key = ServerKey::from_seed(&seed);
    identity::save(directory, &key).map_err(|error| failed(error.to_string()))?;
    Ok((key, summary))
}
