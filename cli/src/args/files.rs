//! Options of the commands about files.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// `rocketmesh files`
#[derive(Debug, Args)]
#[command(after_help = "\
A file goes by its id, by the beginning of it (8 letters or more after bafkr4i),
by its shortened form as the list prints it, or by its name if only one file of
the room has it.

Examples:
  rocketmesh files upload general holiday.png --user alice --text \"Look at this\"
  rocketmesh files list general
  rocketmesh files get general holiday.png -o /tmp/holiday.png")]
pub(crate) struct FilesArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: FilesCommand,
}

/// What to do with files.
#[derive(Debug, Subcommand)]
pub(crate) enum FilesCommand {
    /// Send files to a room, with a message that names them
    Upload(UploadArgs),
    /// Save a file of a room; fetched from other servers if it is not here
    Get(GetArgs),
    /// List the files that a room's messages name
    List {
        /// The room
        room: String,
    },
}

/// `rocketmesh files upload`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the message's id once it is on disk. Other servers of the room fetch the
files then.

Example:
  rocketmesh files upload general one.png two.png --user alice")]
pub(crate) struct UploadArgs {
    /// The room
    pub(crate) room: String,
    /// The files, at most 10
    #[arg(required = true, num_args = 1..=10, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) paths: Vec<PathBuf>,
    /// The local user who sends them
    #[arg(long, visible_alias = "as")]
    pub(crate) user: String,
    /// What to say about them
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
}

/// `rocketmesh files get`
#[derive(Debug, Args)]
#[command(after_help = "\
Whatever is sent is whole, and its hash is the file's id.

Examples:
  rocketmesh files get general bafkr4i... -o holiday.png
  rocketmesh files get general holiday.png --wait 600")]
pub(crate) struct GetArgs {
    /// The room
    pub(crate) room: String,
    /// The file
    pub(crate) file: String,
    /// Where to save it [default: under its name, here]
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to wait for other servers
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) wait: u64,
}
