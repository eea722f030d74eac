//! The `rocketmesh` command: runs a node, and speaks to a running one over its API.
//!
//! ```text
//!  args ──► main ──► run, restore, doctor    on this machine
//!                └─► cmd ──► client ──► the running node's API
//!                      └───► output         tables for people, JSON for scripts
//! ```

mod args;
mod client;
mod cmd;
mod describe;
mod doctor;
mod dot;
mod failure;
mod output;
mod resolve;
mod restore;
mod run;
mod sse;
mod text;

use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};
use tokio::runtime::{Builder, Runtime};

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return unparsed(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error.format(&mut Cli::command())),
    };
    let output = Output::new(cli.globals.json);
    // What the environment names is for the configuration to read, so that `config` can say where it came from.
    let data_dir_typed = matches.value_source("data_dir") == Some(ValueSource::CommandLine);
    match dispatch(cli, output, data_dir_typed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Ends with the help that was asked for, or with what is wrong with the arguments: a script gets that as it gets every
/// other error.
fn unparsed(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || !std::env::args_os().any(|argument| argument == "--json") {
        error.exit();
    }
    let failure = Failure::arguments(error);
    Output::new(true).failure(&failure);
    ExitCode::from(failure.exit_code())
}

fn dispatch(cli: Cli, output: Output, data_dir_typed: bool) -> Result<(), Failure> {
    let Cli { globals, command } = cli;
    match command {
        Command::Run(mut args) => {
            args.data_dir = globals.data_dir.filter(|_| data_dir_typed);
            runtime(Builder::new_multi_thread())?.block_on(run::run(args, &output))
        }
        Command::Restore(mut args) => {
            args.data_dir = globals.data_dir();
            restore::restore(&args, &output)
        }
        Command::Doctor(mut args) => {
            args.data_dir = globals.data_dir();
            doctor::doctor(&args, &output)
        }
        Command::Completions(args) => cmd::completions::run(&output, &args),
        Command::Admin(command) => {
            let context = cmd::Context { globals, output };
            runtime(Builder::new_current_thread())?.block_on(cmd::run(&context, command))
        }
    }
}

fn runtime(mut builder: Builder) -> Result<Runtime, Failure> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("runtime", format!("cannot start the runtime: {error}")))
}
