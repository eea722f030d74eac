//! Where servers are and how they are connected.

use serde::{Deserialize, Serialize};

use super::Span;

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
    /// Links between two regions that are not as the rest.
    #[serde(rename = "link", skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
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

/// What differs between two regions, both ways. What is not given is as everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The two regions; the same one twice for what is within it.
    pub between: [String; 2],
    /// How long one way takes without load, instead of the table's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Span>,
    /// As [`Network::jitter`]. 0 to 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<f64>,
    /// As [`Network::loss`]. 0 to 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// What all servers there share of it, in kbit/s each way. From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kbps: Option<u64>,
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
            links: Vec::new(),
            nat: 0.0,
            bootstraps: 3,
        }
    }
}
