//! An internet in miniature, real nodes in it, and a table of how they connect before and after something breaks.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> ExitCode {
    linux::main().await
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    let why = "it is made of network namespaces, which only Linux has";
    rocketmesh_simulations::finish("laboratory", Err(why.into()))
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;
    use std::time::{Duration, Instant};

    use clap::Parser;
    use rocketmesh_simulations::lab::addresses::Transports;
    use rocketmesh_simulations::lab::aims::{Aim, judge};
    use rocketmesh_simulations::lab::ground::{check, clean};
    use rocketmesh_simulations::lab::orders::INTERNET;
    use rocketmesh_simulations::lab::report::{LEGEND, Report, Row, table};
    use rocketmesh_simulations::lab::rows::measure;
    use rocketmesh_simulations::lab::stage::{Setup, Stage};
    use rocketmesh_simulations::lab::topology::hosts;
    use rocketmesh_simulations::lab::upnp;
    use rocketmesh_simulations::{Failure, finish};
    use serde::Serialize;
    use tokio::signal::unix::{Signal, SignalKind, signal};

    const AFTER_HELP: &str = "\
It needs root, `ip` (iproute2) and `nft` (nftables). Everything that it makes has
names that begin with rmlab- and its process id, and is deleted at the end, also
when it fails or is interrupted.

Examples:
  rocketmesh-lab --rocketmesh target/release/rocketmesh
  rocketmesh-lab --rocketmesh target/release/rocketmesh --transport private
  rocketmesh-lab --rocketmesh target/release/rocketmesh --only network-split --keep
  rocketmesh-lab --clean

Exit codes: 0 every aim is met, 1 one is missed or something failed, 2 wrong usage";

    /// Build an internet with NATs on this machine, run nodes in it, and show how they connect
    #[derive(Parser)]
    #[command(name = "rocketmesh-lab", after_help = AFTER_HELP, max_term_width = 100)]
    struct Args {
        /// The rocketmesh binary
        #[arg(long, required_unless_present_any = ["clean", "check"])]
        rocketmesh: Option<PathBuf>,
        /// What the nodes use; of several, the first goes through every row and the others only meet
        #[arg(long, value_delimiter = ',', default_values = ["quic", "tcp", "private"])]
        transport: Vec<Transports>,
        /// Only these rows, and no UPnP; the meeting is always one
        #[arg(long, value_delimiter = ',')]
        only: Vec<Row>,
        /// The program of the router that forwards ports, built for nftables
        #[arg(long, value_name = "PROGRAM", default_value = "miniupnpd")]
        miniupnpd: PathBuf,
        /// Leave the laboratory standing after the last row, until Ctrl-C
        #[arg(long)]
        keep: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        /// Keep the nodes' logs and the result in this directory
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// What the nodes log: a level, or a filter such as rocketmesh_node=debug,info
        #[arg(long, default_value = "info")]
        log: String,
        /// Give up after so many minutes
        #[arg(long, value_name = "MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
        within: u64,
        /// Delete what runs left behind that were killed, and do nothing else
        #[arg(long)]
        clean: bool,
        /// Say whether the laboratory can be built here, and do nothing else
        #[arg(long)]
        check: bool,
    }

    /// What `--json` prints.
    #[derive(Serialize)]
    struct Printed<'a> {
        #[serde(flatten)]
        report: &'a Report,
        aims: &'a [Aim],
        /// Why the run did not come to its end.
        failure: Option<String>,
    }

    pub(crate) async fn main() -> ExitCode {
        finish("laboratory", lab(Args::parse()).await)
    }

    async fn lab(args: Args) -> Result<(), Failure> {
        if args.clean {
            return clean_up();
        }
        check()?;
        if args.check {
            println!("The laboratory can be built here.");
            return Ok(());
        }
        let binary = args.rocketmesh.clone().unwrap_or_default();
        if !binary.is_file() {
            return Err(format!("there is no {}; `make lab` builds it", binary.display()).into());
        }
        let mut stop = Stop::new()?;
        // Dropping the run takes down what it has built.
        tokio::select! {
            biased;
            outcome = run(&args, &binary) => outcome,
            name = stop.wait() => Err(format!("stopped by {name}; what it had built is gone again").into()),
        }
    }

    fn clean_up() -> Result<(), Failure> {
        let cleaned = clean()?;
        for name in &cleaned {
            println!("deleted {name}");
        }
        if cleaned.is_empty() {
            println!("Nothing was left behind.");
        }
        Ok(())
    }

    async fn run(args: &Args, binary: &Path) -> Result<(), Failure> {
        let begun = Instant::now();
        if let Some(out) = &args.out {
            fs::create_dir_all(out).map_err(|error| format!("cannot make {}: {error}", out.display()))?;
        }
        let mut report = Report { hosts: hosts(), passes: Vec::new(), upnp: None };
        let limit = Duration::from_secs(60 * args.within);
        let (stage, outcome) = match tokio::time::timeout(limit, passes(args, binary, &mut report)).await {
            Ok(done) => done,
            Err(_) => (None, Err(format!("it was not done within {} minutes", args.within).into())),
        };
        // Taken down before anything is printed, unless it is to be looked at.
        let stage = stage.filter(|_| args.keep);
        let aims = judge(&report);
        let failure = outcome.as_ref().err().map(ToString::to_string);
        let printed = serde_json::to_string_pretty(&Printed { report: &report, aims: &aims, failure })?;
        if let Some(out) = &args.out {
            fs::write(out.join("report.json"), &printed)?;
        }
        if args.json {
            println!("{printed}");
        } else if !report.passes.is_empty() {
            println!("{LEGEND}\n{}\n", table(&report));
            for aim in &aims {
                println!("{aim}");
            }
            println!("\nDone after {} s.", begun.elapsed().as_secs());
        }
        let missed = aims.iter().filter(|aim| aim.met == Some(false)).count();
        let judged: Result<(), Failure> =
            if missed == 0 { Ok(()) } else { Err(format!("aims that are missed: {missed}").into()) };
        let outcome = outcome.and(judged);
        if outcome.is_err() {
            match &args.out {
                Some(out) => eprintln!("The nodes' logs are in {}.", out.display()),
                None => eprintln!("The nodes' logs are not kept; --out DIR keeps them."),
            }
        }
        if let Some(stage) = &stage {
            stand(stage, outcome.as_ref().err()).await?;
        }
        outcome
    }

    /// One laboratory for each choice of transports, one after the other. The last one, or the one that failed, still stands.
    async fn passes(args: &Args, binary: &Path, report: &mut Report) -> (Option<Stage>, Result<(), Failure>) {
        let wanted = |row: &Row| args.only.is_empty() || args.only.contains(row);
        let all: Vec<Row> = Row::ALL.into_iter().filter(wanted).collect();
        for (at, transports) in args.transport.iter().copied().enumerate() {
            eprintln!("Building an internet.");
            let logs = args.out.as_ref().map(|out| out.join(format!("{transports:?}").to_lowercase()));
            let setup = Setup { binary: binary.to_owned(), transports, level: args.log.clone(), logs };
            let mut stage = match Stage::build(setup) {
                Ok(stage) => stage,
                Err(failure) => return (None, Err(failure)),
            };
            let rows = if at == 0 { all.as_slice() } else { &[] };
            let mut outcome = measure(&mut stage, rows, report).await;
            let last = at + 1 == args.transport.len();
            if outcome.is_ok() && last && args.only.is_empty() {
                outcome = forwarded(args, binary, report).await;
            }
            if outcome.is_err() || last {
                return (Some(stage), outcome);
            }
        }
        (None, Ok(()))
    }

    /// A router that forwards ports, beside the laboratory that stands.
    async fn forwarded(args: &Args, binary: &Path, report: &mut Report) -> Result<(), Failure> {
        let logs = args.out.as_ref().map(|out| out.join("upnp"));
        let program = args.miniupnpd.clone();
        let setup = upnp::Setup { binary: binary.to_owned(), program, level: args.log.clone(), logs };
        report.upnp = Some(upnp::measure(&setup).await?);
        Ok(())
    }

    /// Says how to look around, and waits.
    async fn stand(stage: &Stage, failure: Option<&Failure>) -> Result<(), Failure> {
        if let Some(failure) = failure {
            eprintln!("It failed: {failure}");
        }
        eprintln!("\nThe laboratory stands. To look around:");
        for node in stage.nodes() {
            eprintln!("  {} peers", node.command_line());
        }
        eprintln!("  ip netns exec {} ip route", stage.names().namespace(INTERNET));
        eprintln!("Ctrl-C takes it down.");
        Stop::new()?.wait().await;
        Ok(())
    }

    /// What asks a program to stop.
    struct Stop {
        interrupt: Signal,
        terminate: Signal,
        hangup: Signal,
    }

    impl Stop {
        fn new() -> Result<Self, Failure> {
            Ok(Stop {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
            })
        }

        /// Returns once one came, with its name.
        async fn wait(&mut self) -> &'static str {
            tokio::select! {
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.hangup.recv() => "SIGHUP",
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use clap::CommandFactory;

        use super::*;

        #[test]
        fn the_command_line_is_consistent() {
            Args::command().debug_assert();
        }

        #[test]
        fn told_nothing_it_goes_over_quic_over_tcp_and_in_a_private_mesh() {
            let args = Args::try_parse_from(["rocketmesh-lab", "--rocketmesh", "x"]).map_err(|error| error.to_string());
            let all = vec![Transports::Quic, Transports::Tcp, Transports::Private];
            assert_eq!(args.map(|args| args.transport), Ok(all));
            assert!(Args::try_parse_from(["rocketmesh-lab"]).is_err());
            assert!(Args::try_parse_from(["rocketmesh-lab", "--clean"]).is_ok());
        }

        #[test]
        fn rows_are_named_as_the_report_names_them() {
            let only = Args::try_parse_from(["rocketmesh-lab", "--check", "--only", "relay-killed,network-split"]);
            assert_eq!(only.map(|args| args.only).ok(), Some(vec![Row::RelayKilled, Row::NetworkSplit]));
        }
    }
}
