//! `rocketmesh completions`

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) fn run(output: &Output, args: &CompletionsArgs) -> Result<(), Failure> {
    // The generator panics where a write fails, so that it may only write to memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rocketmesh", &mut script);
    output.raw(&script)
}
