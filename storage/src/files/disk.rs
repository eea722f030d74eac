//! Blobs as ordinary files.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::blobs::{Blob, Blobs, NEW};

/// Files below one directory, which is made with the first of them.
pub(crate) struct DiskBlobs {
    directory: PathBuf,
}

impl Blob for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl DiskBlobs {
    pub(crate) fn in_directory(directory: PathBuf) -> Self {
        DiskBlobs { directory }
    }

    /// Where a blob lies, in a folder that is there and whose name is certain.
    fn prepared(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.directory.join(name);
        let folder = path.parent().unwrap_or(&self.directory);
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
            let above = self.directory.parent().filter(|above| !above.as_os_str().is_empty());
            for made in [Some(self.directory.as_path()), above].into_iter().flatten() {
                sync_directory(made)?;
            }
        }
        Ok(path)
    }
}

/// An error that says where: what has to be looked at is not always the whole store.
fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    // Elsewhere directories cannot be opened, and their entries need no flush of their own.
    let synced = || File::open(directory)?.sync_all();
    if cfg!(unix) { synced().map_err(|error| at(directory, error)) } else { Ok(()) }
}

fn none_if_absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Blobs for DiskBlobs {
    fn create(&self, name: &str) -> io::Result<Box<dyn Blob>> {
        let path = self.prepared(name)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|error| at(&path, error))?;
        if !name.starts_with(NEW) {
            sync_directory(path.parent().unwrap_or(&self.directory))?;
        }
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Blob>>> {
        let path = self.directory.join(name);
        let file = OpenOptions::new().read(true).write(true).open(&path).or_else(|error| match error.kind() {
            // What is whole is only read.
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => File::open(&path),
            _ => Err(error),
        });
        let file = none_if_absent(file).map_err(|error| at(&path, error))?;
        Ok(file.map(|file| Box::new(file) as Box<dyn Blob>))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.prepared(to)?;
        fs::rename(self.directory.join(from), &to).map_err(|error| at(&to, error))?;
        sync_directory(to.parent().unwrap_or(&self.directory))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.directory.join(name);
        none_if_absent(fs::remove_file(&path)).map(drop).map_err(|error| at(&path, error))
    }

    fn folders(&self) -> io::Result<Vec<String>> {
        list(&self.directory, |entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        list(&self.directory.join(folder), |entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
    }
}

/// The names in a directory that are text; none of this store's is anything else.
fn list(directory: &Path, pick: impl Fn(&DirEntry) -> bool) -> io::Result<Vec<String>> {
    let entries = none_if_absent(fs::read_dir(directory)).map_err(|error| at(directory, error))?;
    let Some(entries) = entries else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| at(directory, error))?;
        if pick(&entry) {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort_unstable();
    Ok(names)
}
