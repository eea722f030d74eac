//! `rocketmesh run`: the node itself.

use std::time::Duration;

use rocketmesh_node::config::{self, Overrides};
use rocketmesh_node::{Node, NodeBuilder, StartError};
use rocketmesh_storage::StoreError;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::args::RunArgs;
use crate::failure::Failure;

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
pub(crate) async fn run(args: RunArgs) -> Result<(), Failure> {
    let file = args.config.clone().or_else(|| std::env::var_os("ROCKETMESH_CONFIG").map(Into::into));
    let loaded = config::load(file.as_deref(), &overrides(&args))
        .map_err(|error| Failure::failed("bad_configuration", error.to_string()))?;
    start_log(&loaded.config.log.level)?;
    let data_dir = loaded.config.data_dir.clone();
    let name = loaded.config.name.clone();
    let node = NodeBuilder::new(loaded).start().await.map_err(|error| failure(&error))?;
    greet(&node, &name, &data_dir.display().to_string()).await;
    stopped().await?;
    eprintln!("Stopping.");
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
    let quiet = QUIET.join(",");
    let filter = EnvFilter::try_new(format!("{quiet},{level}")).map_err(|error| {
        let message = format!("log.level `{level}` cannot be used ({error}); use error, warn, info, debug or trace");
        Failure::failed("bad_configuration", message)
    })?;
    // Fails only where a log was started before, which then goes on.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    Ok(())
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

async fn greet(node: &Node, name: &str, data_dir: &str) {
    let addresses = node.addresses().await;
    println!("Rocketmesh {} is running.", env!("CARGO_PKG_VERSION"));
    println!();
    println!("  id         {}", node.origin());
    println!("  name       {}", if name.is_empty() { "(none; set one with --name)" } else { name });
    println!("  data       {data_dir}");
    if let Some(api) = node.api_address() {
        println!("  API        http://{api}/v1   (token in {data_dir}/api.token)");
        println!("  metrics    http://{api}/metrics");
    }
    println!();
    println!("Other servers on this network find it by themselves. Elsewhere, start them with one of these:");
    for address in &addresses {
        println!("  --bootstrap {address}");
    }
    println!();
    println!("Next, in another terminal:  rocketmesh rooms create general --user alice");
    println!("Stop with Ctrl-C.");
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
