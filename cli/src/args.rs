//! The command line: what may be typed and what `--help` says about it.

pub(crate) mod bridged;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod mesh;
pub(crate) mod queue;
pub(crate) mod rocketchat;
pub(crate) mod rooms;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

const AFTER_HELP: &str = "\
Examples:
  rocketmesh run                                start a node on its defaults
  rocketmesh status                             see how it does
  rocketmesh net                                see if others reach it, and how
  rocketmesh rooms create general --user alice  make a room
  rocketmesh send general --user alice Hello    say something in it
  rocketmesh files get general holiday.png      save a file that was sent
  rocketmesh tail general                       watch what is said
  rocketmesh rocketchat connect URL             join a Rocket.Chat server
  rocketmesh --json peers | jq .peers[].id      use it in a script

Exit codes:
  0  done
  1  the node refused, or something failed
  2  wrong usage, or a name that may mean several things
  3  no running node can be reached
  4  there is no such room, event, file or server
  5  the API token is missing or refused
";

/// Joins Rocket.Chat servers into one peer-to-peer mesh.
///
/// `rocketmesh run` is the node. All other commands speak to a running one over its API.
#[derive(Debug, Parser)]
#[command(name = "rocketmesh", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which node, and how to print.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The node's data directory [default: $XDG_DATA_HOME/rocketmesh or ~/.local/share/rocketmesh]
    #[arg(long, global = true, value_name = "DIR", env = "ROCKETMESH_DATA_DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The address of a running node's API, such as http://127.0.0.1:4849 [default: what the node wrote to
    /// DIR/api.address]
    #[arg(long, global = true, value_name = "URL", env = "ROCKETMESH_API", value_hint = ValueHint::Url)]
    pub(crate) api: Option<String>,
    /// The file with the API's token [default: DIR/api.token]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Print the API's JSON, and errors as {"error":{"code","message"}} on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Globals {
    /// The data directory that was named, or the default one.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(rocketmesh_node::config::default_data_dir)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node until it is stopped
    Run(RunArgs),
    /// What speaks to a running node.
    #[command(flatten)]
    Admin(AdminCommand),
    /// Make a data directory from a backup
    Restore(RestoreArgs),
    /// Check the store of a node that does not run, and mend it
    Doctor(DoctorArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// The commands that speak to a running node.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Show how the node does
    Status,
    /// Show the node's id
    Id(IdArgs),
    /// Show the configuration and where each value comes from
    Config,
    /// Show whether others reach the node, and how it is connected with whom
    Net(mesh::NetArgs),
    /// Show the servers that the node knows
    Peers(mesh::PeersArgs),
    /// Connect to a server
    Connect(mesh::ConnectArgs),
    /// Have nothing more to do with a server
    Ban(mesh::BanArgs),
    /// Lift a server's ban
    Unban(mesh::UnbanArgs),
    /// Show or set which servers may do what
    Policy(mesh::PolicyArgs),
    /// Show, make, join, leave and change rooms
    Rooms(rooms::RoomsArgs),
    /// Check with a room's other servers that nothing is missing
    VerifyRoom(rooms::VerifyRoomArgs),
    /// Say something in a room
    Send(rooms::SendArgs),
    /// React to a message
    React(rooms::ReactArgs),
    /// Take a message back
    Redact(rooms::RedactArgs),
    /// Send, save and list files
    Files(files::FilesArgs),
    /// Join a Rocket.Chat server to the mesh, and see how it does
    #[command(name = "rocketchat")]
    RocketChat(rocketchat::RocketChatArgs),
    /// Watch what happens, live
    Tail(events::TailArgs),
    /// Show events, and how they hang together
    Events(events::EventsArgs),
    /// Save the running node's data to a file
    Backup(BackupArgs),
}

/// `rocketmesh run`
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Values come from the defaults, then the file, then ROCKETMESH_* variables,
then these options; `rocketmesh config` shows which one counts.

Example:
  rocketmesh run --name chat.example.org --bootstrap /dnsaddr/mesh.example.net")]
pub(crate) struct RunArgs {
    /// The configuration file, TOML
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// What this server calls itself, such as chat.example.org
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where to listen for other servers, such as /ip4/0.0.0.0/tcp/4848
    #[arg(long, value_name = "ADDR", num_args = 1..)]
    pub(crate) listen: Vec<String>,
    /// Servers to connect to, such as /ip4/192.0.2.7/tcp/4848/p2p/12D3KooW... or /dnsaddr/mesh.example.net
    #[arg(long, value_name = "ADDR", num_args = 1..)]
    pub(crate) bootstrap: Vec<String>,
    /// Where the API listens
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) api_listen: Option<String>,
    /// Do not look for servers on the local network
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// How much to log: error, warn, info, debug, trace, or a filter such as rocketmesh_node=debug
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// The data directory where `--data-dir` named it; filled by `main`, so that one from the environment can be told
    /// from one on the command line.
    #[arg(skip)]
    pub(crate) data_dir: Option<PathBuf>,
}

/// `rocketmesh id`
#[derive(Debug, Args)]
pub(crate) struct IdArgs {
    /// Print the addresses that others take as bootstrap addresses instead, one a line
    #[arg(long)]
    pub(crate) addresses: bool,
}

/// `rocketmesh backup`
#[derive(Debug, Args)]
#[command(after_help = "\
The node goes on meanwhile. The file holds the server's secret key: keep it as
safe as the data directory.

Example:
  rocketmesh backup rocketmesh-monday.backup")]
pub(crate) struct BackupArgs {
    /// The file to write; it appears when the backup is whole
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub(crate) force: bool,
}

/// `rocketmesh restore`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
No node may run on the directory meanwhile.

Example:
  rocketmesh restore rocketmesh-monday.backup --data-dir /var/lib/rocketmesh")]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The directory to make: `--data-dir` or the default; filled by `main`.
    #[arg(skip)]
    pub(crate) data_dir: PathBuf,
}

/// `rocketmesh doctor`
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
No node may run on the directory meanwhile. Every event's signature is checked,
and everything that follows from the events. Without --repair nothing changes.
Ends with 0 where nothing is wrong, or everything was repaired.

Example:
  rocketmesh doctor --data-dir /var/lib/rocketmesh --repair")]
pub(crate) struct DoctorArgs {
    /// Write anew what can be derived from the events, such as indexes and counts
    #[arg(long)]
    pub(crate) repair: bool,
    /// Read and hash every file too, which takes as long as the disk takes
    #[arg(long)]
    pub(crate) files: bool,
    /// The node's directory: `--data-dir` or the default; filled by `main`.
    #[arg(skip)]
    pub(crate) data_dir: PathBuf,
}

/// `rocketmesh completions`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  rocketmesh completions bash \\
      > ~/.local/share/bash-completion/completions/rocketmesh")]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn global_options_may_stand_before_and_behind_the_command() {
        for line in ["rocketmesh --json --data-dir /x status", "rocketmesh status --json --data-dir /x"] {
            let globals = parse(line).expect(line).globals;
            assert!(globals.json && globals.data_dir() == Path::new("/x"), "{line}");
        }
    }

    #[test]
    fn commands_that_show_something_need_no_more_words() {
        for command in ["rooms", "peers", "net", "policy", "tail", "config"] {
            parse(&format!("rocketmesh {command}")).expect(command);
        }
    }

    #[test]
    fn text_may_have_several_words_and_options_behind_it() {
        let line = "rocketmesh send general two words --user alice";
        let Command::Admin(AdminCommand::Send(send)) = parse(line).expect(line).command else { panic!("{line}") };
        assert_eq!((send.room.as_str(), send.user.as_str()), ("general", "alice"));
        assert_eq!(send.text, ["two", "words"]);
    }

    #[test]
    fn several_files_may_be_sent_at_once_and_their_sender_goes_by_two_names() {
        for user in ["--user", "--as"] {
            let line = format!("rocketmesh files upload general a.png b.png {user} alice");
            let Command::Admin(AdminCommand::Files(files)) = parse(&line).expect(&line).command else {
                panic!("{line}")
            };
            let files::FilesCommand::Upload(upload) = files.command else { panic!("{line}") };
            assert_eq!((upload.paths.len(), upload.user.as_str()), (2, "alice"));
        }
    }

    #[test]
    fn what_stands_below_the_options_in_a_help_fits_eighty_columns() {
        fn check(command: &clap::Command) {
            let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_exit_code_two() {
        for line in [
            "rocketmesh",
            "rocketmesh policy set",
            "rocketmesh policy set --federate everybody",
            "rocketmesh send general Hello",
            "rocketmesh send general --user alice",
            "rocketmesh send general --user alice --edit a --thread b Hello",
            "rocketmesh tail --events 0",
            "rocketmesh events list general --limit 1001",
            "rocketmesh rooms role general bob king --user alice",
            "rocketmesh files",
            "rocketmesh files upload general --user alice",
            "rocketmesh files upload general a b c d e f g h i j k --user alice",
            "rocketmesh files get general",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
