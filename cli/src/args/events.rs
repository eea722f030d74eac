//! Options of the commands that read what happened.

use clap::{Args, Subcommand};

/// `rocketmesh tail`
#[derive(Debug, Args)]
#[command(after_help = "\
Prints a line for each event, from now on or from --after on, and finds the node
again when it restarts. With --json a line is the API's entry; its `position` is
what --after takes, so that a script misses nothing.

Examples:
  rocketmesh tail
  rocketmesh tail general
  rocketmesh --json tail --after 0 | jq -r .event.body.text")]
pub(crate) struct TailArgs {
    /// The room; all of them without it
    pub(crate) room: Option<String>,
    /// Begin after this position of the local log; 0 is its beginning
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
    /// Stop after so many entries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: Option<u64>,
    /// Begin each line with the event's id
    #[arg(long)]
    pub(crate) ids: bool,
    /// Show who types and who is there too; nothing keeps that, so none of it is old
    #[arg(long)]
    pub(crate) typing: bool,
}

/// `rocketmesh events`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rocketmesh events list general --newest --limit 20
  rocketmesh events show bafyr4i...
  rocketmesh events graph general | dot -Tsvg > general.svg")]
pub(crate) struct EventsArgs {
    /// What to show.
    #[command(subcommand)]
    pub(crate) command: EventsCommand,
}

/// What to show of events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List a room's events in room order
    List {
        /// The room
        room: String,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
        /// The newest ones rather than the oldest
        #[arg(long)]
        newest: bool,
        /// Begin after this event; with --newest, end before it
        #[arg(long, value_name = "EVENT")]
        from: Option<String>,
        /// Print ids in full, a line for each event
        #[arg(long)]
        ids: bool,
    },
    /// Show one event in full
    Show {
        /// The event's id
        event: String,
    },
    /// Print how a room's newest events refer to each other, as Graphviz DOT
    Graph {
        /// The room
        room: String,
        /// At most so many events
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
}
