//! A file that the node sends: written beside its name, and given it once it is whole and on disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar};
use reqwest::Response;

use crate::client::next_chunk;
use crate::cmd::Context;
use crate::failure::Failure;

/// How long the node may say nothing. A disk under load may take its time; a node that is gone closes the connection.
pub(super) const SILENCE: Duration = Duration::from_secs(120);

/// Where to and how.
#[derive(Debug)]
pub(super) struct Download<'a> {
    /// The file to make.
    pub(super) file: &'a Path,
    /// Whether a file of this name may be replaced.
    pub(super) force: bool,
    /// Whether nobody but its owner may read it.
    pub(super) secret: bool,
}

impl Download<'_> {
    /// Writes all that the node sends, and tells people or scripts about it.
    pub(super) async fn save(&self, context: &Context, mut response: Response) -> Result<(), Failure> {
        let part = self.part();
        let progress = context.output.byte_spinner();
        let received = self.receive(&mut response, &part, &progress).await;
        progress.finish_and_clear();
        let bytes = received.and_then(|bytes| self.publish(&part).map(|()| bytes)).inspect_err(|_| {
            // What is left of a failed transfer is of no use, and the failure is what the administrator must read.
            let _ = fs::remove_file(&part);
        })?;
        if context.output.is_json() {
            let file = self.file.display().to_string();
            return context.output.json(&serde_json::json!({ "file": file, "bytes": bytes }).to_string());
        }
        context.output.text(&format!("saved {} to {}", HumanBytes(bytes), self.file.display()))
    }

    /// Fails if there is something of this name that may not be replaced.
    pub(super) fn refuse_to_overwrite(&self) -> Result<(), Failure> {
        let file = self.file.display();
        if self.file.is_dir() {
            return Err(Failure::failed("file_exists", format!("{file} is a directory; name a file")));
        }
        if !self.force && self.file.symlink_metadata().is_ok() {
            let message = format!("{file} is there already; use another name, or --force to replace it");
            return Err(Failure::failed("file_exists", message));
        }
        Ok(())
    }

    /// Writes all that the node sends to `part` and onto the disk.
    async fn receive(&self, response: &mut Response, part: &Path, progress: &ProgressBar) -> Result<u64, Failure> {
        let mut file = self.create(part).map_err(|error| Failure::file("create", part, &error))?;
        let mut bytes = 0;
        while let Some(chunk) = next_chunk(response, SILENCE).await? {
            file.write_all(&chunk).map_err(|error| Failure::file("write", part, &error))?;
            bytes += chunk.len() as u64;
            progress.inc(chunk.len() as u64);
        }
        file.sync_all().map_err(|error| Failure::file("write", part, &error))?;
        if bytes == 0 {
            return Err(Failure::failed("nothing_sent", "the node sent nothing; look at its log"));
        }
        Ok(bytes)
    }

    /// Gives the whole file its name.
    fn publish(&self, part: &Path) -> Result<(), Failure> {
        // Somebody may have made the file meanwhile.
        self.refuse_to_overwrite()?;
        fs::rename(part, self.file).map_err(|error| Failure::file("create", self.file, &error))?;
        sync_directory(self.file).map_err(|error| Failure::file("write", self.file, &error))
    }

    fn part(&self) -> PathBuf {
        let mut name = OsString::from(self.file);
        name.push(".part");
        PathBuf::from(name)
    }

    fn create(&self, part: &Path) -> io::Result<File> {
        // An earlier transfer that was interrupted may have left one, with whatever mode.
        match fs::remove_file(part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if self.secret {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        options.open(part)
    }
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
        let path = dir.path().join("b");
        let mut download = Download { file: &path, force: false, secret: false };
        let part = download.part();
        assert_eq!(part, dir.path().join("b.part"));
        let fill = |download: &Download<'_>, text: &[u8]| {
            download.create(&part).and_then(|mut file| file.write_all(text)).expect("writable");
        };

        fill(&download, b"one");
        download.publish(&part).expect("nothing is in the way");
        fill(&download, b"two");
        assert_eq!(download.publish(&part).expect_err("it is there already").code(), "file_exists");
        assert_eq!(fs::read(&path).expect("readable"), b"one");
        download.force = true;
        download.publish(&part).expect("forced");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_a_secret_file_even_where_an_old_part_was_open_to_all() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("b");
        let download = Download { file: &path, force: false, secret: true };
        let part = download.part();
        fs::write(&part, "old").expect("writable");
        fs::set_permissions(&part, fs::Permissions::from_mode(0o666)).expect("its owner may");
        let mode = download.create(&part).and_then(|file| file.metadata()).expect("created").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
