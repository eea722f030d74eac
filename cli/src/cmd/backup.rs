//! `rocketmesh backup`

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar};
use reqwest::{Method, Response};

use crate::args::BackupArgs;
use crate::client::next_chunk;
use crate::cmd::Context;
use crate::failure::Failure;

/// How long the node may say nothing. A disk under load may take its time; a node that is gone closes the connection.
const SILENCE: Duration = Duration::from_secs(120);

pub(super) async fn run(context: &Context, args: &BackupArgs) -> Result<(), Failure> {
    refuse_to_overwrite(args)?;
    let mut response = context.client()?.open(Method::POST, &["backup"], &(), SILENCE).await?;
    let part = part_of(&args.file);
    let progress = context.output.byte_spinner();
    let received = receive(&mut response, &part, &progress).await;
    progress.finish_and_clear();
    let bytes = received.and_then(|bytes| publish(args, &part).map(|()| bytes)).inspect_err(|_| {
        // What is left of a failed backup is of no use, and the failure is what the administrator must read.
        let _ = fs::remove_file(&part);
    })?;
    if context.output.is_json() {
        let file = args.file.display().to_string();
        return context.output.json(&serde_json::json!({ "file": file, "bytes": bytes }).to_string());
    }
    context.output.text(&format!("saved {} to {}", HumanBytes(bytes), args.file.display()))
}

/// Writes all that the node sends to `part` and onto the disk.
async fn receive(response: &mut Response, part: &Path, progress: &ProgressBar) -> Result<u64, Failure> {
    let mut file = create(part).map_err(|error| Failure::file("create", part, &error))?;
    let mut bytes = 0;
    while let Some(chunk) = next_chunk(response, SILENCE).await? {
        file.write_all(&chunk).map_err(|error| Failure::file("write", part, &error))?;
        bytes += chunk.len() as u64;
        progress.inc(chunk.len() as u64);
    }
    file.sync_all().map_err(|error| Failure::file("write", part, &error))?;
    if bytes == 0 {
        return Err(Failure::failed("empty_backup", "the node sent nothing; look at its log"));
    }
    Ok(bytes)
}

/// Gives the whole backup its name.
fn publish(args: &BackupArgs, part: &Path) -> Result<(), Failure> {
    // Somebody may have made the file meanwhile.
    refuse_to_overwrite(args)?;
    fs::rename(part, &args.file).map_err(|error| Failure::file("create", &args.file, &error))?;
    sync_directory(&args.file).map_err(|error| Failure::file("write", &args.file, &error))
}

fn refuse_to_overwrite(args: &BackupArgs) -> Result<(), Failure> {
    if args.file.is_dir() {
        return Err(Failure::failed("file_exists", format!("{} is a directory; name a file", args.file.display())));
    }
    if !args.force && args.file.symlink_metadata().is_ok() {
        let message = format!("{} is there already; use another name, or --force to replace it", args.file.display());
        return Err(Failure::failed("file_exists", message));
    }
    Ok(())
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".part");
    PathBuf::from(name)
}

/// Creates the file for its owner alone, because it will hold the server's key.
fn create(part: &Path) -> io::Result<File> {
    // An earlier backup that was interrupted may have left one, with whatever mode.
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(part)
}

/// Makes the file's name survive a loss of power.
fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_replaced_only_by_force() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut args = BackupArgs { file: dir.path().join("b"), force: false };
        let part = part_of(&args.file);
        assert_eq!(part, dir.path().join("b.part"));
        let fill = |text: &[u8]| create(&part).and_then(|mut file| file.write_all(text)).expect("writable");

        fill(b"one");
        publish(&args, &part).expect("nothing is in the way");
        fill(b"two");
        assert_eq!(publish(&args, &part).expect_err("it is there already").code(), "file_exists");
        assert_eq!(fs::read(&args.file).expect("readable"), b"one");
        args.force = true;
        publish(&args, &part).expect("forced");
        assert_eq!(fs::read(&args.file).expect("readable"), b"two");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_a_backup_even_where_an_old_part_was_open_to_all() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().expect("a directory");
        let part = dir.path().join("b.part");
        fs::write(&part, "old").expect("writable");
        fs::set_permissions(&part, fs::Permissions::from_mode(0o666)).expect("its owner may");
        let mode = create(&part).and_then(|file| file.metadata()).expect("created").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
