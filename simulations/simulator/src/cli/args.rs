//! The arguments.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use rocketmesh_sim::sabotage::Sabotage;

/// Thousands of Rocketmesh servers on one machine, in virtual time, twice the same.
#[derive(Debug, Parser)]
#[command(name = "rocketmesh-sim", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a scenario and write a folder with its measurements and a report
    Run(RunArgs),
    /// List the scenarios that ship with the tool
    List,
    /// Print a scenario with every default filled in, as a start for one of your own
    Show {
        /// A scenario's name, or a file
        scenario: String,
        /// Change a field, such as mesh.degree=4
        #[arg(long, value_name = "FIELD=VALUE")]
        set: Vec<String>,
    },
    /// Put two runs, or runs of two builds, side by side
    Compare {
        /// The folder of the one run
        a: PathBuf,
        /// The folder of the other
        b: PathBuf,
        /// Where the page goes
        #[arg(long, default_value = "comparison.html")]
        out: PathBuf,
    },
    /// Vary one field over several seeds and draw medians with their spread
    Sweep(SweepArgs),
    /// Draw a run's report again
    Report {
        /// The folder of the run
        run: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    /// A scenario's name (see `rocketmesh-sim list`), or a file
    pub(crate) scenario: String,
    /// What everything random follows from
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The folder that is written; it may exist
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Change a field, such as mesh.degree=4 or room.0.servers=50; may be given again
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Write the whole trace too; it grows to hundreds of megabytes
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Print the run in short as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// A deliberate bug, by which tests prove that it is caught
    #[arg(long, hide = true, value_enum)]
    pub(crate) sabotage: Option<Sabotage>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SweepArgs {
    /// A scenario's name, or a file
    pub(crate) scenario: String,
    /// The field, such as mesh.degree
    #[arg(long)]
    pub(crate) field: String,
    /// Its values, with commas between
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) values: Vec<String>,
    /// How many seeds each value is run with
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) seeds: u64,
    /// How many runs go on at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) jobs: u64,
    /// Change another field in all runs
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// The folder that is written
    #[arg(long)]
    pub(crate) out: PathBuf,
}
