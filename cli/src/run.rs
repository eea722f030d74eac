//! `rocketmesh run`: the node itself.

use std::io::{self, IsTerminal};
use std::time::Duration;

use rocketmesh_node::config::{self, Config, Overrides};
use rocketmesh_node::{Node, NodeBuilder, StartError};
use rocketmesh_storage::StoreError;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::text::clean;

/// libp2p reports at warning level what its peers do wrong; nobody here can do anything about that.
const QUIET: [&str; 9] = [
    "libp2p_autonat=error",
    "libp2p_dcutr=error",
    "libp2p_gossipsub=error",
    "libp2p_identify=error",
    "libp2p_kad=error",
    "libp2p_mdns=error",
    "libp2p_quic=error",
    "libp2p_relay=error",
    "netlink_proto=error",
];

/// Runs a node until it is told to stop.
pub(crate) async fn run(args: RunArgs, output: &Output) -> Result<(), Failure> {
    let file = args.config.clone().or_else(|| std::env::var_os("ROCKETMESH_CONFIG").map(Into::into));
    let loaded = config::load(file.as_deref(), &overrides(&args))
        .map_err(|error| Failure::failed("bad_configuration", error.to_string()))?;
    start_log(&loaded.config.log.level)?;
    let config = loaded.config.clone();
    let node = NodeBuilder::new(loaded).start().await.map_err(|error| failure(&error))?;
    // Whoever started it may not read on, as `head` does not: the node is there for the mesh, and runs.
    let _ = greet(&node, &config, output).await;
    stopped().await?;
    output.note("Stopping.");
    node.shutdown().await;
    Ok(())
}

fn overrides(args: &RunArgs) -> Overrides {
    let mut overrides = Overrides::default();
    let texts = [("name", &args.name), ("api.listen", &args.api_listen), ("log.level", &args.log)];
    for (key, text) in texts {
        if let Some(text) = text {
            overrides.set(key, text.as_str());
        }
    }
    for (key, list) in [("network.listen", &args.listen), ("network.bootstrap", &args.bootstrap)] {
        if !list.is_empty() {
            overrides.set(key, list.clone());
        }
    }
    if args.no_mdns {
        overrides.set("network.mdns", false);
    }
    if let Some(directory) = &args.data_dir {
        overrides.set("data_dir", directory.display().to_string());
    }
    overrides
}

fn start_log(level: &str) -> Result<(), Failure> {
    let refused = |why: String| {
        let message = format!(
            "log.level `{level}` cannot be used ({why}); use error, warn, info, debug or trace, or a filter such as \
             rocketmesh_node=debug"
        );
        Failure::failed("bad_configuration", message)
    };
    if let Some(word) = misspelt(level) {
        return Err(refused(format!("`{word}` is no level")));
    }
    let quiet = QUIET.join(",");
    let filter = EnvFilter::try_new(format!("{quiet},{level}")).map_err(|error| refused(error.to_string()))?;
    // Fails only where a log was started before, which then goes on. Where nobody reads the log any more the node goes on
    // without: the subscriber would write of it to standard error, which is what is gone.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(coloured())
        .log_internal_errors(false)
        .try_init();
    Ok(())
}

/// A part of a filter that is a bare word and no level. The filter would take it for a module, and log nothing else.
fn misspelt(level: &str) -> Option<&str> {
    // What is in brackets is about spans, and may have commas of its own.
    if level.contains('[') {
        return None;
    }
    level.split(',').map(str::trim).find(|part| !part.contains('=') && part.parse::<LevelFilter>().is_err())
}

/// Colours are for terminals; in a file or a journal they are noise. See <https://no-color.org>.
fn coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn failure(error: &StartError) -> Failure {
    let code = match error {
        StartError::Store(StoreError::Damaged(_)) => {
            let message = format!(
                "{error}; `rocketmesh doctor` looks closer; else restore a backup, or move the store away, start the node and \
                 join its rooms again, which loses what only this server had"
            );
            return Failure::failed("store_damaged", message);
        }
        StartError::Store(StoreError::Io(_)) => {
            let message = format!(
                "{error}; look at that place: its owner, its mode, whether its disk is mounted read-only, and the free space"
            );
            return Failure::failed("store_failed", message);
        }
        StartError::Store(StoreError::NotWritable { .. }) => "store_not_writable",
        StartError::Config(_) => "bad_configuration",
        StartError::Identity(_) => "damaged_identity",
        StartError::Store(_) => "store_failed",
        StartError::Network(_) | StartError::Api { .. } => "cannot_listen",
        _ => "cannot_start",
    };
    Failure::failed(code, error.to_string())
}

async fn greet(node: &Node, config: &Config, output: &Output) -> Result<(), Failure> {
    let addresses: Vec<String> = node.addresses().await.iter().map(ToString::to_string).collect();
    let id = node.origin().to_string();
    let api = node.api_address().map(|api| api.to_string());
    if output.is_json() {
        let running = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "id": id,
            "name": config.name,
            "data_dir": config.data_dir.display().to_string(),
            "api": api,
            "addresses": addresses,
        });
        return output.json_line(&running.to_string());
    }
    output.text(&greeting(&id, config, api.as_deref(), &addresses))
}

/// What people read when their node is there: which one it is, how others find it, and what to do next.
fn greeting(id: &str, config: &Config, api: Option<&str>, addresses: &[String]) -> String {
    let data_dir = clean(&config.data_dir.display().to_string()).into_owned();
    let name = if config.name.is_empty() { "(none; set one with --name)" } else { config.name.as_str() };
    let mut lines = vec![
        format!("Rocketmesh {} is running.", env!("CARGO_PKG_VERSION")),
        String::new(),
        format!("  id         {id}"),
        format!("  name       {}", clean(name)),
        format!("  data       {data_dir}"),
    ];
    if let Some(api) = api {
        lines.push(format!("  API        http://{api}/v1   (token in {data_dir}/api.token)"));
        lines.push(format!("  metrics    http://{api}/metrics"));
    }
    lines.push(String::new());
    lines.push(match config.network.mdns {
        true => {
            "Other servers on this network find it by themselves. Elsewhere, start them with one of these:".to_owned()
        }
        false => "Others do not find it by themselves (network.mdns is off). Start them with one of these:".to_owned(),
    });
    lines.extend(addresses.iter().map(|address| format!("  --bootstrap {address}")));
    // Commands look where a node is that was told nothing.
    let elsewhere = match config.data_dir == config::default_data_dir() {
        true => String::new(),
        false => format!(" --data-dir {data_dir}"),
    };
    lines.extend([
        String::new(),
        format!("Next, in another terminal:  rocketmesh rooms create general --user alice{elsewhere}"),
        format!("Do others reach it?         rocketmesh net{elsewhere}"),
        "Stop with Ctrl-C.".to_owned(),
    ]);
    lines.join("\n")
}

/// Returns when the process is asked to stop.
async fn stopped() -> Result<(), Failure> {
    let watch = |kind| signal(kind).map_err(|error| Failure::failed("signals", error.to_string()));
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut terminate = watch(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // A second one means that stopping takes too long for somebody.
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::process::exit(130);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_greeting_names_commands_that_find_this_very_node() {
        let mut config = Config::defaults(config::default_data_dir());
        let address = ["/ip4/192.0.2.7/tcp/4848/p2p/12D3KooW".to_owned()];
        let text = greeting("12D3KooW", &config, Some("127.0.0.1:4849"), &address);
        for part in
            ["--bootstrap /ip4/192.0.2.7", "find it by themselves", "rocketmesh net", "http://127.0.0.1:4849/v1"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("--data-dir"), "{text}");
        config.data_dir = PathBuf::from("/srv/mesh");
        config.network.mdns = false;
        let text = greeting("12D3KooW", &config, None, &address);
        for part in ["--user alice --data-dir /srv/mesh", "net --data-dir /srv/mesh", "do not find it by themselves"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_misspelt_level_is_no_filter_that_logs_nothing() {
        for level in ["info", "WARN", "off", "rocketmesh_node=debug", "info,libp2p_swarm=warn", "[span{a,b}]=debug"] {
            assert_eq!(misspelt(level), None, "{level}");
        }
        assert_eq!(misspelt("loud"), Some("loud"));
        assert_eq!(misspelt("info, rocketmesh_node"), Some("rocketmesh_node"));
    }
}
