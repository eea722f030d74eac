//! Stand-ins for Rocket.Chat as processes, which can be killed and started again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rocketmesh_standin::{Account, Control, Person};

use crate::Failure;

/// How long a stand-in may take to start.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const GLANCE: Duration = Duration::from_millis(5);
/// The account that the node uses.
pub const SERVICE: &str = "rocketmesh";

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct StandinSettings {
    /// The `rocketmesh-standin` binary.
    pub binary: PathBuf,
    /// Where it keeps what it knows. Its output goes to files beside, of the same name.
    pub directory: PathBuf,
    /// Which Rocket.Chat it is like, such as `8.8`.
    pub like: String,
    /// Who has an account there, beside the service account.
    pub people: Vec<String>,
    /// Where what programs ask is written down, if anywhere.
    pub record: Option<PathBuf>,
}

/// A running stand-in, or one that was stopped. Ends with this value.
pub struct StandinProcess {
    settings: StandinSettings,
    child: Option<Child>,
    url: String,
    accounts: Vec<Account>,
}

impl StandinProcess {
    /// Starts a stand-in on a free port of this machine, and returns once it answers.
    ///
    /// # Errors
    /// With its own words if it does not start.
    pub async fn start(settings: StandinSettings) -> Result<Self, Failure> {
        fs::create_dir_all(&settings.directory)?;
        let mut process = StandinProcess { settings, child: None, url: String::new(), accounts: Vec::new() };
        let said = process.launch("127.0.0.1:0", true).await?;
        for line in said.lines() {
            if let Some(account) = line.strip_prefix("account ") {
                process.accounts.push(serde_json::from_str(account)?);
            }
        }
        Ok(process)
    }

    /// Kills it, as a machine that loses its power does. What it answered is in its directory.
    ///
    /// # Errors
    /// If the system does not let it be ended.
    pub fn stop(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            // The process is this value's own child, so its id cannot have become anybody else's.
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it again, with what it kept, at the address that it had.
    ///
    /// # Errors
    /// As [`StandinProcess::start`].
    pub async fn start_again(&mut self) -> Result<(), Failure> {
        let address = self.url.trim_start_matches("http://").to_owned();
        self.launch(&address, false).await.map(drop)
    }

    /// Its address, such as `http://127.0.0.1:3000`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Every account that was made at its start.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// One account that was made at its start.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn account(&self, username: &str) -> Result<&Account, Failure> {
        let found = self.accounts.iter().find(|account| account.username == username);
        found.ok_or_else(|| format!("the stand-in made no account {username}").into())
    }

    /// Somebody with an account there.
    ///
    /// # Errors
    /// As [`StandinProcess::account`].
    pub fn person(&self, username: &str) -> Result<Person, Failure> {
        Ok(Person::new(&self.url, self.account(username)?))
    }

    /// What no Rocket.Chat can be asked.
    pub fn control(&self) -> Control {
        Control::new(&self.url)
    }

    /// Starts the process, and gives what it printed once it listens.
    async fn launch(&mut self, listen: &str, first: bool) -> Result<String, Failure> {
        let StandinSettings { binary, directory, like, people, record } = &self.settings;
        let (printed, log) = (beside(directory, "out"), beside(directory, "log"));
        let mut command = Command::new(binary);
        command.args(["--listen", listen, "--like", like.as_str(), "--control", "--data"]).arg(directory);
        if first {
            command.args(["--service", SERVICE]);
            for person in people {
                command.args(["--person", person.as_str()]);
            }
        }
        if let Some(record) = record {
            command.arg("--record").arg(record);
        }
        command.stdin(Stdio::null()).stdout(File::create(&printed)?).stderr(File::create(&log)?);
        let child = command.spawn().map_err(|error| {
            format!("cannot start {}: {error}; `cargo build -p rocketmesh-standin` builds it", binary.display())
        })?;
        let child = self.child.insert(child);
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&printed)?;
            // A line that has no end yet may have no end of its address yet.
            let whole = &said[..said.rfind('\n').map_or(0, |end| end + 1)];
            if let Some(url) = whole.lines().find_map(|line| line.strip_prefix("listening on ")) {
                self.url = url.to_owned();
                return Ok(said);
            }
            if let Some(status) = child.try_wait()? {
                let why = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("the stand-in did not start ({status}): {why}").into());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("the stand-in does not listen; see {}", log.display()).into());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for StandinProcess {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// A file beside a directory, of its name.
fn beside(directory: &Path, extension: &str) -> PathBuf {
    directory.with_extension(extension)
}

/// Where the `rocketmesh-standin` binary is unless somebody says so: beside the program that runs.
///
/// # Errors
/// If the system does not say where this program is.
pub fn beside_this_program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    Ok(own.with_file_name(format!("rocketmesh-standin{}", std::env::consts::EXE_SUFFIX)))
}
