//! UPnP with a router that forwards ports: `miniupnpd`, as on many home routers, in a small internet of its own. A server behind
//! it has to find it, have its port forwarded, and be dialled through it by another one.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::lab::ground::{self, Ground};
use crate::lab::node::{Node, Told};
use crate::lab::orders::mapped::{self, GATEWAY, MAPPED, OPEN, OPEN_LINK};
use crate::lab::report::Upnp;
use crate::lab::stage::GLANCE;
use crate::lab::topology::Host;

/// How long the router's program may take to answer.
const ROUTER: Duration = Duration::from_secs(5);
/// How long the server may take until others reach it: a search for the router takes up to ten seconds, a test some more.
pub const REACHED_WITHIN: Duration = Duration::from_secs(45);
/// Where the nodes listen.
const PORT: u16 = 4848;

/// What a run was asked for.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The binary of the nodes.
    pub binary: PathBuf,
    /// The router's program.
    pub program: PathBuf,
    /// What the nodes log.
    pub level: String,
    /// Where logs are kept; with the data, and gone with it, otherwise.
    pub logs: Option<PathBuf>,
}

/// Measures, or says why it was left out.
///
/// # Errors
/// If a tool or a node fails. A port that is not forwarded is no error but in the result.
pub async fn measure(setup: &Setup) -> Result<Upnp, Failure> {
    if let Some(why) = missing(&setup.program) {
        eprintln!("Left out: UPnP, because {why}.");
        return Ok(Upnp { left_out: Some(why), ..Upnp::default() });
    }
    eprintln!("UPnP: a server behind a router that forwards ports");
    let directory = ground::directory()?;
    let logs = setup.logs.clone().unwrap_or_else(|| directory.path().join("logs"));
    fs::create_dir_all(&logs).map_err(|error| format!("cannot make {}: {error}", logs.display()))?;
    let mut ground = Ground::new();
    ground.carry_out(&mapped::build(ground.names()))?;
    let router = Router::start(&ground, &setup.program, directory.path(), &logs)?;
    router.wait().await?;

    let node = |name: &'static str| {
        let host = Host { name, port: PORT, site: 0, place: 0 };
        Node::new(host, ground.names().namespace(name), &setup.binary, directory.path(), &logs)
    };
    let on = |ip: &str| vec![format!("/ip4/{ip}/udp/{PORT}/quic-v1"), format!("/ip4/{ip}/tcp/{PORT}")];
    let listen = on(&OPEN_LINK.site.to_string());
    let mut open = node(OPEN);
    let told = Told { listen: listen.clone(), external: listen.clone(), level: setup.level.clone(), ..Told::default() };
    open.start(&told).await?;
    let bootstrap = listen.iter().map(|address| format!("{address}/p2p/{}", open.id)).collect();
    let mut behind = node(MAPPED);
    let begun = Instant::now();
    behind.start(&Told { listen: on("0.0.0.0"), bootstrap, level: setup.level.clone(), ..Told::default() }).await?;

    let mut result = Upnp::default();
    while begun.elapsed() < REACHED_WITHIN && result.reached_s.is_none() {
        let sight = behind.sight().await.unwrap_or_default();
        let now = begun.elapsed().as_secs_f64();
        if sight.upnp == "mapped" {
            result.mapped_s.get_or_insert(now);
        }
        if sight.reached_through_router {
            result.reached_s = Some(now);
        }
        tokio::time::sleep(GLANCE).await;
    }
    let forwarded = ground.ask(&mapped::forwarded(ground.names()))?;
    let ports = forwarded.matches("dnat").count();
    eprintln!(
        "  the router forwards {ports} ports; mapped: {:?} s, reached: {:?} s",
        result.mapped_s, result.reached_s
    );
    Ok(result)
}

/// Why the program cannot be used, if it cannot.
fn missing(program: &Path) -> Option<String> {
    let Ok(output) = Command::new(program).arg("--version").stdin(Stdio::null()).output() else {
        return Some(format!("`{}` is not here; the package is called miniupnpd-nftables", program.display()));
    };
    wrong_build(&String::from_utf8_lossy(&output.stdout), &String::from_utf8_lossy(&output.stderr))
}

fn wrong_build(said: &str, complained: &str) -> Option<String> {
    let speaks_nft = [said, complained].iter().any(|text| text.contains("nftables"));
    (!speaks_nft)
        .then(|| "this `miniupnpd` is not built for nftables; the package is called miniupnpd-nftables".to_owned())
}

/// The router's program. Ends with this value.
struct Router {
    process: Child,
    log: PathBuf,
}

impl Router {
    fn start(ground: &Ground, program: &Path, directory: &Path, logs: &Path) -> Result<Self, Failure> {
        let file = directory.join("miniupnpd.conf");
        fs::write(&file, mapped::configuration())?;
        let log = logs.join("miniupnpd.log");
        let output = File::create(&log)?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &ground.names().namespace(GATEWAY)]).arg(program);
        // In the foreground, so that it ends with the run.
        command.arg("-d").arg("-f").arg(&file).arg("-P").arg(directory.join("miniupnpd.pid"));
        command.process_group(0).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let process = command.spawn().map_err(|error| format!("cannot start `ip`: {error}"))?;
        Ok(Router { process, log })
    }

    /// Waits until it answers.
    async fn wait(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            if log.contains("HTTP listening on port") {
                return Ok(());
            }
            if begun.elapsed() > ROUTER {
                return Err(format!("miniupnpd does not start: {}", log.trim()).into());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // The process is this value's own child, so its id cannot have become anybody else's.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_or_built_for_something_else_is_said_to_be() {
        let why = missing(Path::new("/nowhere/miniupnpd")).expect("it is missing");
        assert!(why.contains("miniupnpd-nftables"), "{why}");
        assert_eq!(wrong_build("miniupnpd 2.3.1\nusing netfilter(nftables) backend\n", ""), None);
        assert!(wrong_build("using netfilter(iptables) backend", "").is_some());
    }
}
