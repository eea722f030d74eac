//! A disk that loses power, for the tests of the store.
//!
//! [`Disk::watch`] takes note of every write, flush, renaming and removal of files below a directory. A cut of the
//! power takes a copy of these notes and lets the program go on, so that one run serves many cuts.
//! [`Remains::write_to`] then makes the files that might be found on the disk:
//!
//! - What `fsync` or `fdatasync` of a file covered is there. `sync_file_range` makes nothing certain.
//! - Of each later write everything, nothing, or some of its sectors. A sector holds what the file held there at one
//!   moment since the flush, so the order of writes to different sectors does not matter.
//! - A file that appeared, changed its name or went since the last `fsync` of its directory has done so or not.
//!   Directories themselves are always there.
//!
//! For that, this crate defines the C library's functions at its end. The linker prefers them for every call out of the
//! test's own binary, those of the standard library and of sled among them; [`Disk::watch`] makes sure that it did.
#![cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr, c_char, c_int, c_long, c_void};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{iter, mem, slice};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

static DISKS: Mutex<Vec<Journal>> = Mutex::new(Vec::new());

/// A directory on a disk that can lose power, until this is dropped.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
}

impl Disk {
    /// Watches what is below `directory`, which has to be empty. A file is seen with its first write.
    ///
    /// # Errors
    /// The system's, if the directory cannot be written.
    ///
    /// # Panics
    /// If calls go to the C library past this crate.
    pub fn watch(directory: &Path) -> io::Result<Self> {
        let root = directory.canonicalize()?;
        disks().push(Journal { root: root.clone(), ..Journal::default() });
        let disk = Disk { root };
        disk.call_every_function()?;
        let seen = disk.journal(|journal| {
            let fresh = Journal { root: journal.root.clone(), ..Journal::default() };
            mem::replace(journal, fresh).calls
        });
        assert_eq!(seen, 7, "the linker took the C library's functions");
        Ok(disk)
    }

    /// The directory, by the only path under which renamings and removals are seen.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Cuts the power after so many more calls that write, flush, rename or remove; 0 is never.
    pub fn cut_after(&self, calls: usize) {
        self.journal(|journal| journal.cut_at = journal.calls + calls);
    }

    /// What the cut left, once it has come.
    pub fn remains(&self) -> Option<Remains> {
        self.journal(|journal| journal.cut.take())
    }

    fn call_every_function(&self) -> io::Result<()> {
        let (path, renamed) = (self.root.join("probe"), self.root.join("renamed"));
        let mut file = File::create(&path)?;
        file.write_all(b"1")?;
        file.write_all_at(b"2", 1)?;
        file.set_len(1)?;
        file.sync_data()?;
        file.sync_all()?;
        fs::rename(path, &renamed)?;
        fs::remove_file(renamed)
    }

    fn journal<T>(&self, act: impl FnOnce(&mut Journal) -> T) -> T {
        let mut disks = disks();
        act(disks.iter_mut().find(|journal| journal.root == self.root).expect("a disk is watched until it is dropped"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        disks().retain(|journal| journal.root != self.root);
    }
}

/// What is left of a disk: what is certain, and what luck decides. Names are paths from the watched directory.
#[derive(Clone, Default)]
pub struct Remains {
    files: BTreeMap<u64, Contents>,
    /// As at the last flush of each directory.
    names: BTreeMap<PathBuf, u64>,
    renamings: Vec<Renaming>,
}

impl Remains {
    /// Makes in `directory` the files that may be found after the cut. Each call decides anew.
    ///
    /// # Errors
    /// The system's.
    pub fn write_to(&self, directory: &Path, random: &mut Random) -> io::Result<()> {
        let percent = 25 * random.below(5);
        let mut luck = Luck { random, percent };
        let mut names = self.names.clone();
        for renaming in &self.renamings {
            if luck.has_it() {
                renaming.apply(&mut names);
            }
        }
        for (name, file) in names {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap_or(directory))?;
            fs::write(path, self.files[&file].survivors(&mut luck))?;
        }
        Ok(())
    }

    fn flush_directory(&mut self, directory: &Path) {
        // Where a renaming is certain, the file has gone through all that came before.
        let mut arrived = BTreeSet::new();
        let (mut certain, mut open) = (Vec::new(), Vec::new());
        for renaming in mem::take(&mut self.renamings).into_iter().rev() {
            if renaming.directory() == Some(directory) || arrived.contains(&renaming.file) {
                arrived.insert(renaming.file);
                certain.push(renaming);
            } else {
                open.push(renaming);
            }
        }
        self.renamings = open.into_iter().rev().collect();
        for renaming in certain.into_iter().rev() {
            renaming.apply(&mut self.names);
            if renaming.to.is_none() {
                self.files.remove(&renaming.file);
            }
        }
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number, below `bound`, which is not 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

struct Luck<'a> {
    random: &'a mut Random,
    percent: usize,
}

impl Luck<'_> {
    fn has_it(&mut self) -> bool {
        self.random.below(100) < self.percent
    }
}

#[derive(Clone, Default)]
struct Contents {
    flushed: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Contents {
    fn flush(&mut self) {
        for change in mem::take(&mut self.pending) {
            match change {
                Change::Write { at, bytes } => put(&mut self.flushed, at, &bytes),
                Change::Length(length) => self.flushed.resize(length, 0),
            }
        }
    }

    fn survivors(&self, luck: &mut Luck<'_>) -> Vec<u8> {
        let mut image = self.flushed.clone();
        // A sector cannot have a later write without an earlier one: both went through the same page of memory.
        let mut outdated = BTreeSet::new();
        for change in &self.pending {
            let survives = luck.has_it();
            let torn = luck.random.below(4) == 0;
            match change {
                Change::Length(length) if survives => image.resize(*length, 0),
                Change::Length(_) => {}
                Change::Write { at, bytes } => {
                    for (at, piece) in sectors(*at, bytes) {
                        let survives = if torn { luck.has_it() } else { survives };
                        if survives && !outdated.contains(&(at / SECTOR)) {
                            put(&mut image, at, piece);
                        } else {
                            outdated.insert(at / SECTOR);
                        }
                    }
                }
            }
        }
        image
    }
}

fn put(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[at..end].copy_from_slice(bytes);
}

/// The parts of a write that fall into one sector each.
fn sectors(mut at: usize, mut bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    iter::from_fn(move || {
        let (piece, rest) = bytes.split_at(bytes.len().min(SECTOR - at % SECTOR));
        let start = at;
        at += piece.len();
        bytes = rest;
        (!piece.is_empty()).then_some((start, piece))
    })
}

/// A file that appears, has another name from now on, or goes.
#[derive(Clone)]
struct Renaming {
    file: u64,
    from: Option<PathBuf>,
    to: Option<PathBuf>,
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        if let Some(from) = &self.from {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.file);
        }
    }

    fn directory(&self) -> Option<&Path> {
        self.to.as_deref().or(self.from.as_deref()).and_then(Path::parent)
    }
}

#[derive(Default)]
struct Journal {
    root: PathBuf,
    /// What a cut at this moment would leave.
    state: Remains,
    /// As programs see them.
    names: BTreeMap<PathBuf, u64>,
    files_seen: u64,
    calls: usize,
    cut_at: usize,
    cut: Option<Remains>,
}

impl Journal {
    fn change(&mut self, name: PathBuf, change: Change) {
        let known = self.names.get(&name).copied();
        let file = known.unwrap_or_else(|| {
            self.files_seen += 1;
            self.rename(Renaming { file: self.files_seen, from: None, to: Some(name) });
            self.files_seen
        });
        self.state.files.entry(file).or_default().pending.push(change);
        self.count();
    }

    fn rename(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.state.renamings.push(renaming);
    }

    fn flush(&mut self, name: &Path) {
        if let Some(file) = self.names.get(name) {
            self.state.files.entry(*file).or_default().flush();
        } else {
            self.state.flush_directory(name);
        }
        self.count();
    }

    fn count(&mut self) {
        self.calls += 1;
        if self.calls == self.cut_at {
            self.cut = Some(self.state.clone());
        }
    }
}

fn disks() -> MutexGuard<'static, Vec<Journal>> {
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The journal of the disk that a path is on, and the file's name there.
fn journal_of<'a>(disks: &'a mut [Journal], path: &Path) -> Option<(&'a mut Journal, PathBuf)> {
    disks.iter_mut().find_map(|journal| {
        let name = path.strip_prefix(&journal.root).ok()?.to_owned();
        Some((journal, name))
    })
}

fn journal_of_open(disks: &mut [Journal], file: c_int) -> Option<(&mut Journal, PathBuf)> {
    let path = fs::read_link(format!("/proc/self/fd/{file}")).ok()?;
    journal_of(disks, &path)
}

fn note_renaming(disks: &mut [Journal], from: &Path, to: Option<&Path>) {
    let Some((journal, from)) = journal_of(disks, from) else { return };
    let Some(&file) = journal.names.get(&from) else { return };
    let to = to.and_then(|to| to.strip_prefix(&journal.root).ok()).map(Path::to_owned);
    journal.rename(Renaming { file, from: Some(from), to });
    journal.count();
}

// The C library's functions. They are at the crate's root, so that they are in one object file with `Disk::watch`. Each
// holds the lock while the system works, so that the notes have the order in which things happened. None may lead to
// another of them while it holds the lock; a panic's message does not, as standard error is let through.

#[unsafe(no_mangle)]
unsafe extern "C" fn write(file: c_int, bytes: *const c_void, count: usize) -> isize {
    let call = || unsafe { libc::syscall(libc::SYS_write, c_long::from(file), bytes, count) as isize };
    if file <= libc::STDERR_FILENO {
        return call();
    }
    let mut disks = disks();
    let written = call();
    if written > 0
        && let Some((journal, name)) = journal_of_open(&mut disks, file)
    {
        let bytes = unsafe { slice::from_raw_parts(bytes.cast::<u8>(), written as usize) }.to_vec();
        let end = unsafe { libc::lseek(file, 0, libc::SEEK_CUR) } as usize;
        journal.change(name, Change::Write { at: end - bytes.len(), bytes });
    }
    written
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(file: c_int, bytes: *const c_void, count: usize, at: i64) -> isize {
    let mut disks = disks();
    let written = unsafe { libc::syscall(libc::SYS_pwrite64, c_long::from(file), bytes, count, at) as isize };
    if written > 0
        && let Some((journal, name)) = journal_of_open(&mut disks, file)
    {
        let bytes = unsafe { slice::from_raw_parts(bytes.cast::<u8>(), written as usize) }.to_vec();
        journal.change(name, Change::Write { at: at as usize, bytes });
    }
    written
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(file: c_int, length: i64) -> c_int {
    let mut disks = disks();
    let result = unsafe { libc::syscall(libc::SYS_ftruncate, c_long::from(file), length) as c_int };
    if result == 0
        && let Some((journal, name)) = journal_of_open(&mut disks, file)
    {
        journal.change(name, Change::Length(length as usize));
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(file: c_int) -> c_int {
    flush(file, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    flush(file, libc::SYS_fdatasync)
}

fn flush(file: c_int, call: c_long) -> c_int {
    if let Some((journal, name)) = journal_of_open(&mut disks(), file) {
        // The real disk has nothing to do: what the program reads back comes from the system's memory.
        journal.flush(&name);
        return 0;
    }
    unsafe { libc::syscall(call, c_long::from(file)) as c_int }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let mut disks = disks();
    let result = unsafe { libc::renameat(libc::AT_FDCWD, from, libc::AT_FDCWD, to) };
    if result == 0 {
        let (from, to) = unsafe { (path_at(from), path_at(to)) };
        note_renaming(&mut disks, from, Some(to));
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    let mut disks = disks();
    let result = unsafe { libc::unlinkat(libc::AT_FDCWD, path, 0) };
    if result == 0 {
        note_renaming(&mut disks, unsafe { path_at(path) }, None);
    }
    result
}

unsafe fn path_at<'a>(path: *const c_char) -> &'a Path {
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}
