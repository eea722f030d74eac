//! `rocketmesh-standin`: the stand-in as a process of its own, for the demo, for tests that kill it, and for trying things.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rocketmesh_standin::{Options, RECORD_VARIABLE, Standin, Version, Wish};
use tracing_subscriber::EnvFilter;

/// Runs a small server that speaks as Rocket.Chat does, for tests and the demo. It is not Rocket.Chat, and nothing to keep
/// real conversations in.
#[derive(Debug, Parser)]
#[command(name = "rocketmesh-standin", version)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Where to keep what it knows; in memory without it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Which Rocket.Chat to be like: 7.0, 7.13, 8.0 or 8.8
    #[arg(long, default_value = "8.8", value_name = "VERSION")]
    like: Version,
    /// Limit calls as a real server does
    #[arg(long)]
    limited: bool,
    /// Seconds of silence before a connection is asked whether it is there; it is closed after twice as many
    #[arg(long, default_value_t = 15.0)]
    silence: f64,
    /// Let tests ask for faults, accounts and the like at /_standin
    #[arg(long)]
    control: bool,
    /// Make this account at the first start, with the roles admin and bot, and print its token; several are possible
    #[arg(long, value_name = "USERNAME")]
    service: Vec<String>,
    /// Make this account at the first start, with the role user, and print its token; several are possible
    #[arg(long, value_name = "USERNAME")]
    person: Vec<String>,
    /// Append what programs ask to this file, one request a line, for `make contract`
    #[arg(long, value_name = "FILE", env = RECORD_VARIABLE)]
    record: Option<PathBuf>,
    /// Log as RUST_LOG does, such as `debug`
    #[arg(long, default_value = "warn")]
    log: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "The stand-in failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let filter = EnvFilter::try_new(&args.log).map_err(|error| format!("--log {}: {error}", args.log))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false).init();
    let silence = Duration::try_from_secs_f64(args.silence).map_err(|error| format!("--silence: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let options = Options {
            version: args.like,
            listen: args.listen,
            data: args.data,
            limited: args.limited,
            silence,
            control: args.control,
            record: args.record,
        };
        let standin = Standin::start(options).await?;
        for (names, roles) in [(&args.service, &["admin", "bot"][..]), (&args.person, &["user"][..])] {
            for name in names {
                add(&standin, name, roles);
            }
        }
        // The last line that is printed at the start: whoever waits for it may call. Nobody has to read it.
        let _ = writeln!(io::stdout(), "listening on {}", standin.url());
        tokio::signal::ctrl_c().await?;
        standin.stop().await;
        Ok(())
    })
}

fn add(standin: &Standin, username: &str, roles: &[&str]) {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    match standin.wish(Wish::AddUser { username: username.to_owned(), roles }) {
        Ok(account) => {
            let _ = writeln!(io::stdout(), "account {account}");
        }
        // At a second start the account is there, and its token was printed before.
        Err(error) => {
            let _ = writeln!(io::stderr(), "{username} is not made: {error}");
        }
    }
}
