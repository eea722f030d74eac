//! Namespaces: orders carried out, and everything taken away again, whatever happened in between.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::Failure;
use crate::lab::orders::{Names, Order};

/// What the names of all namespaces and directories of laboratories begin with.
const NAMESPACES: &str = "rmlab-";
const DIRECTORIES: &str = "rocketmesh-lab-";
/// What the kernel calls a running laboratory.
const PROGRAM: &str = "rocketmesh-lab";
/// What is called in, and in what Debian and its relatives have it.
const TOOLS: [(&str, &str, &str); 2] = [("ip", "-V", "iproute2"), ("nft", "--version", "nftables")];
/// A rule set with everything in it that routers need.
const TRIAL: &str = r#"table ip trial {
    chain source {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade random,fully-random
    }
}
"#;

/// Why there can be no laboratory here.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// Not root.
    Root,
    /// A tool is not installed.
    Tool {
        /// The tool.
        name: &'static str,
        /// The package that brings it.
        package: &'static str,
    },
    /// The system does not let anybody do this, as in most containers.
    Refused(String),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Missing::Root => formatter.write_str("it makes network namespaces, which only root may do"),
            Missing::Tool { name, package } => {
                write!(formatter, "it needs `{name}`, which is not here; the package is called {package}")
            }
            Missing::Refused(what) => write!(formatter, "this system does not let it make what it needs: {what}"),
        }
    }
}

impl std::error::Error for Missing {}

/// Whether a laboratory can be built here. Makes a namespace and deletes it.
///
/// # Errors
/// [`Missing`], which says what to do.
pub fn check() -> Result<(), Missing> {
    // Who owns a process's own entry is its effective user.
    if fs::metadata("/proc/self").map(|own| own.uid()).unwrap_or(u32::MAX) != 0 {
        return Err(Missing::Root);
    }
    for (name, question, package) in TOOLS {
        if matches!(Command::new(name).arg(question).output(), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Err(Missing::Tool { name, package });
        }
    }
    let mut ground = Ground::new();
    let trial = ground.names.namespace("trial");
    let words = ["ip", "netns", "exec", &trial, "nft", "-f", "-"].map(str::to_owned).to_vec();
    let orders = [Order::Make(trial.clone()), Order::Run { words, input: Some(TRIAL.to_owned()) }];
    ground.carry_out(&orders).map_err(|failure| Missing::Refused(failure.to_string()))
}

/// The namespaces of this run. They are deleted with this value, and so is whatever runs in them.
#[derive(Debug)]
pub struct Ground {
    names: Names,
    made: Vec<String>,
}

impl Default for Ground {
    fn default() -> Self {
        Ground::new()
    }
}

impl Ground {
    /// Nothing yet; names carry this process's id.
    pub fn new() -> Self {
        Ground { names: Names::new(format!("{NAMESPACES}{}-", std::process::id())), made: Vec::new() }
    }

    /// How namespaces are called.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Does what was ordered, in order.
    ///
    /// # Errors
    /// What the tool said. What was done until then is taken back with this value.
    pub fn carry_out(&mut self, orders: &[Order]) -> Result<(), Failure> {
        for order in orders {
            match order {
                Order::Make(namespace) => {
                    // Noted before it is there: a deletion too many does no harm, one too few does.
                    self.made.push(namespace.clone());
                    run(&words(&["ip", "netns", "add", namespace]), None)?;
                }
                Order::Remove(namespace) => {
                    remove(namespace)?;
                    self.made.retain(|made| made != namespace);
                }
                Order::Run { words, input } => drop(run(words, input.as_deref())?),
            }
        }
        Ok(())
    }

    /// What an order prints.
    ///
    /// # Errors
    /// As [`Ground::carry_out`]; also for an order that runs nothing.
    pub fn ask(&self, order: &Order) -> Result<String, Failure> {
        match order {
            Order::Run { words, input } => run(words, input.as_deref()),
            _ => Err("this order prints nothing".into()),
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for namespace in self.made.drain(..).rev() {
            if let Err(failure) = remove(&namespace)
                && Path::new("/var/run/netns").join(&namespace).exists()
            {
                eprintln!("Not cleaned up: {failure}; try rocketmesh-lab --clean");
            }
        }
    }
}

/// Deletes what laboratories left behind that were killed. Returns the names of what was deleted; those that still run are
/// left alone.
///
/// # Errors
/// If `ip` does not tell, or something cannot be deleted.
pub fn clean() -> Result<Vec<String>, Failure> {
    let mut cleaned = Vec::new();
    for (pid, namespace) in leftovers(&run(&words(&["ip", "netns", "list"]), None)?) {
        if !runs(pid) {
            remove(&namespace)?;
            cleaned.push(namespace);
        }
    }
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name, DIRECTORIES).is_some_and(|pid| !runs(pid)) && entry.path().is_dir() {
            fs::remove_dir_all(entry.path())?;
            cleaned.push(entry.path().display().to_string());
        }
    }
    Ok(cleaned)
}

/// A directory for this run, which goes away with the value.
///
/// # Errors
/// If it cannot be made.
pub fn directory() -> Result<tempfile::TempDir, Failure> {
    let prefix = format!("{DIRECTORIES}{}-", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir()?)
}

/// Namespaces of laboratories in what `ip netns list` prints, and the processes that made them.
fn leftovers(list: &str) -> Vec<(u32, String)> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter_map(|name| Some((owner(name, NAMESPACES)?, name.to_owned()))).collect()
}

/// The process in a name of ours: `PREFIX` and its id and a hyphen.
fn owner(name: &str, prefix: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.split_once('-')?.0.parse().ok()
}

/// Whether a process is a laboratory that runs, this one included.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == PROGRAM)
}

/// Deletes a namespace, and ends what runs in it: it was started there, and nothing else can have got in.
fn remove(namespace: &str) -> Result<(), Failure> {
    let inside = run(&words(&["ip", "netns", "pids", namespace]), None).unwrap_or_default();
    for pid in inside.lines().filter_map(|line| line.trim().parse::<u32>().ok()) {
        // One that has ended meanwhile cannot be ended; that is no fault.
        let _ = run(&words(&["sh", "-c", &format!("kill -9 {pid}")]), None);
    }
    run(&words(&["ip", "netns", "del", namespace]), None).map(drop)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Runs a program to its end and returns what it printed.
fn run(words: &[String], input: Option<&str>) -> Result<String, Failure> {
    let Some((program, arguments)) = words.split_first() else { return Ok(String::new()) };
    let told = || words.join(" ");
    let mut command = Command::new(program);
    // A group of its own, so that whoever presses Ctrl-C interrupts the laboratory and not its cleaning up.
    command.args(arguments).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().map_err(|error| format!("cannot run `{}`: {error}", told()))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // Rules are shorter than a pipe is long. A program that does not read them says itself why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!("`{}` failed: {}", told(), String::from_utf8_lossy(&stderr).trim()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_laboratories_are_left_over() {
        let list = "rmlab-17-office-a (id: 3)\nrmlab-17-gw-office-a\nmine\nrmlab-x-a\nrmlab-\n\nrmlab-9\nxrmlab-1-a\n";
        let found = leftovers(list);
        assert_eq!(found, [(17, "rmlab-17-office-a".to_owned()), (17, "rmlab-17-gw-office-a".to_owned())]);
        assert_eq!(owner("rocketmesh-lab-5-Ab3", DIRECTORIES), Some(5));
    }

    #[test]
    fn a_process_that_is_no_laboratory_is_taken_for_none() {
        assert!(!runs(std::process::id()), "a test is none");
        assert!(!runs(u32::MAX), "there is no such process");
    }

    #[test]
    fn a_program_that_fails_says_what_it_was_told_and_why() {
        let failure = run(&words(&["sh", "-c", "echo broken >&2; exit 3"]), None).expect_err("it fails");
        assert!(failure.to_string().contains("exit 3") && failure.to_string().ends_with("broken"), "{failure}");
        let printed = run(&words(&["cat"]), Some("rules\n")).expect("it works");
        assert_eq!(printed, "rules\n");
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let missing = Missing::Tool { name: "nft", package: "nftables" };
        assert_eq!(missing.to_string(), "it needs `nft`, which is not here; the package is called nftables");
    }
}
