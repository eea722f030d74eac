//! Where servers are and how they are connected.

use serde::{Deserialize, Serialize};

/// Where servers are and how they are connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Cities of the latency table that servers are spread over in turn; `["lan"]` is one room with 0.5 ms.
    pub regions: Vec<String>,
    /// How much a packet's way varies: up to this fraction of the latency is added at random. 0 to 10.
    pub jitter: f64,
    /// The probability that a packet is lost. TCP sends it again after a round trip and more, in order. 0 to 0.5.
    pub loss: f64,
    /// The probability that a message comes a second time, up to two seconds later. 0 to 0.5. Protocol layer only.
    pub duplicates: f64,
    /// The probability that a message takes up to two seconds longer, so that later ones overtake it. 0 to 0.5. Protocol layer
    /// only.
    pub reordering: f64,
    /// Kinds of lines and how many servers have them. The rest has 100 Mbit/s both ways.
    pub bandwidth: Vec<Bandwidth>,
    /// The share of servers that nobody can dial. 0 to 0.95.
    pub nat: f64,
    /// How many servers are known: each server is told the addresses of three of them. They are never behind NAT and never
    /// hostile.
    pub bootstraps: usize,
}

/// One kind of line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// A name for reports.
    pub name: String,
    /// The share of servers that have it. 0 to 1.
    pub share: f64,
    /// To the server, in kbit/s.
    pub down_kbps: u64,
    /// From the server, in kbit/s.
    pub up_kbps: u64,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            regions: vec!["lan".to_owned()],
            jitter: 0.1,
            loss: 0.0,
            duplicates: 0.0,
            reordering: 0.0,
            bandwidth: Vec::new(),
            nat: 0.0,
            bootstraps: 3,
        }
    }
}
