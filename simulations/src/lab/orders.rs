//! What `ip` and `nft` are told, worked out from the topology: pure, so that it can be looked at without root.
//!
//! Interfaces are called the same everywhere: a router has `wan` towards its provider and the bridge `lan` with a port for each
//! host; a host has `eth0`; the internet, itself a router, has one for each site. Nothing is made in the namespace that the
//! laboratory itself runs in.

pub mod mapped;

use std::net::Ipv4Addr;

use crate::lab::topology::{CARRIER_LAN, Gate, HTTPS_PORT, Half, Host, LAN, Link, SITES, Site, hosts};
use crate::lab::topology::{link, moved_link, on_lan};

/// The role of the namespace that routes between sites.
pub const INTERNET: &str = "internet";
/// The length of the prefix of a site's link, and of a LAN.
const LINK_PREFIX: u8 = 30;
const LAN_PREFIX: u8 = 24;
/// The last byte of a router's address on its LAN, and of the customer's on the carrier's.
const ROUTER: u8 = 1;
const CUSTOMER: u8 = 2;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Make a namespace.
    Make(String),
    /// Delete a namespace.
    Remove(String),
    /// Run a program.
    Run {
        /// The program and its arguments.
        words: Vec<String>,
        /// What it reads from standard input.
        input: Option<String>,
    },
}

/// How namespaces are called, so that a run touches its own only.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// Names that begin with `prefix`.
    pub fn new(prefix: impl Into<String>) -> Self {
        Names { prefix: prefix.into() }
    }

    /// What all of them begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The namespace of a role: a host's name, `internet`, or a router's.
    pub fn namespace(&self, role: &str) -> String {
        format!("{}{role}", self.prefix)
    }

    /// The namespace of a site's router.
    pub fn router(&self, site: &Site) -> String {
        format!("{}gw-{}", self.prefix, site.name)
    }

    /// The namespace of the carrier in front of a site's router.
    fn carrier(&self, site: &Site) -> String {
        format!("{}carrier-{}", self.prefix, site.name)
    }

    fn internet(&self) -> String {
        self.namespace(INTERNET)
    }
}

/// Everything, from nothing.
pub fn build(names: &Names) -> Vec<Order> {
    let mut orders = namespace(&names.internet());
    orders.push(forward(&names.internet()));
    for host in hosts() {
        orders.extend(make_host(names, &host));
    }
    for site in (0..SITES.len()).filter(|site| SITES[*site].gate != Gate::Open) {
        orders.extend(power_on(names, site));
    }
    orders
}

/// Takes a site's router away, with everything that it remembers. Its hosts keep their interfaces and see the cable unplugged.
/// A carrier's own router stays.
pub fn power_off(names: &Names, site: usize) -> Vec<Order> {
    let router = names.router(&SITES[site]);
    let unplug =
        |host: Host| ip(&router, &format!("link set dev {0} netns {1}", host.name, names.namespace(host.name)));
    let mut orders: Vec<Order> = hosts_of(site).map(unplug).collect();
    // Links of a deleted namespace go some time later, and would be in the way of new ones with their names.
    orders.push(ip(&router, "link del dev wan"));
    orders.push(Order::Remove(router));
    orders
}

/// Puts a site's router in its place, which remembers nothing, and plugs its hosts in. A carrier's own router comes with it.
fn power_on(names: &Names, site: usize) -> Vec<Order> {
    let what = &SITES[site];
    if what.gate != Gate::Carrier {
        return plug_in(names, site);
    }
    let carrier = names.carrier(what);
    let mut orders = uplink(names, site).router(&carrier, CARRIER_LAN, what.gate);
    orders.extend(plug_in(names, site));
    orders
}

/// Puts a site's router in its place, which remembers nothing, and plugs its hosts in.
pub fn plug_in(names: &Names, site: usize) -> Vec<Order> {
    let what = &SITES[site];
    let router = names.router(what);
    let uplink = match what.gate {
        Gate::Carrier => {
            let link = Link { provider: on_lan(CARRIER_LAN, ROUTER), site: on_lan(CARRIER_LAN, CUSTOMER) };
            Uplink { provider: names.carrier(what), port: "customer", link, prefix: LAN_PREFIX, shared: true }
        }
        _ => uplink(names, site),
    };
    let mut orders = uplink.router(&router, LAN, what.gate);
    for host in hosts_of(site) {
        orders.push(ip(&names.namespace(host.name), &format!("link set dev {} netns {router}", host.name)));
        orders.push(ip(&router, &format!("link set dev {} master lan", host.name)));
        orders.push(ip(&router, &format!("link set dev {} up", host.name)));
    }
    orders
}

/// Gives a site another address on the internet, and its hosts others on their LAN.
pub fn change_addresses(names: &Names, site: usize) -> Vec<Order> {
    let what = &SITES[site];
    let (router, internet) = (names.router(what), names.internet());
    let (old, new) = (link(site), moved_link(site));
    let mut orders = vec![
        address(&router, "del", old.site, LINK_PREFIX, "wan"),
        address(&internet, "del", old.provider, LINK_PREFIX, what.name),
        address(&internet, "add", new.provider, LINK_PREFIX, what.name),
        address(&router, "add", new.site, LINK_PREFIX, "wan"),
        default_route(&router, new.provider),
    ];
    for host in hosts_of(site) {
        let namespace = names.namespace(host.name);
        orders.push(address(&namespace, "del", host.address(), LAN_PREFIX, "eth0"));
        orders.push(address(&namespace, "add", host.moved_address(), LAN_PREFIX, "eth0"));
        orders.push(default_route(&namespace, on_lan(LAN, ROUTER)));
    }
    orders
}

/// Takes a host's only interface down. Its address stays with it, and its routes go.
pub fn unplug(names: &Names, host: &Host) -> Vec<Order> {
    vec![ip(&names.namespace(host.name), "link set dev eth0 down")]
}

/// Puts a host's interface up again, and its route, as whatever manages a machine's network would.
pub fn plug(names: &Names, host: &Host) -> Vec<Order> {
    let own = names.namespace(host.name);
    let router = if host.is_relay() { link(host.site).provider } else { on_lan(LAN, ROUTER) };
    vec![ip(&own, "link set dev eth0 up"), default_route(&own, router)]
}

/// Lets nothing pass between the two halves of the internet.
pub fn split(names: &Names) -> Vec<Order> {
    let half = |half: Half| {
        let sites = SITES.iter().filter(|site| site.half == half).map(|site| format!("\"{}\"", site.name));
        sites.collect::<Vec<_>>().join(", ")
    };
    let (left, right) = (half(Half::Left), half(Half::Right));
    let rules = format!(
        "table ip split {{
  chain through {{
    type filter hook forward priority filter;
    iifname {{ {left} }} oifname {{ {right} }} drop
    iifname {{ {right} }} oifname {{ {left} }} drop
  }}
}}
"
    );
    vec![rule_set(&names.internet(), rules)]
}

/// Takes the split back.
pub fn heal(names: &Names) -> Vec<Order> {
    vec![inside(&names.internet(), &["nft", "delete", "table", "ip", "split"])]
}

/// How many flows a site's router remembers: prints a number.
pub fn remembered(names: &Names, site: usize) -> Order {
    inside(&names.router(&SITES[site]), &["cat", "/proc/sys/net/netfilter/nf_conntrack_count"])
}

fn hosts_of(site: usize) -> impl Iterator<Item = Host> {
    hosts().into_iter().filter(move |host| host.site == site)
}

/// A host with its address. The far end of its cable is still with it, unless it stands on the internet itself.
fn make_host(names: &Names, host: &Host) -> Vec<Order> {
    let own = names.namespace(host.name);
    let mut orders = namespace(&own);
    let link = link(host.site);
    let (prefix, router) = match host.gate() {
        Gate::Open => {
            orders.extend(cable(&own, "eth0", &names.internet(), host.name));
            orders.push(address(&names.internet(), "add", link.provider, LINK_PREFIX, host.name));
            (LINK_PREFIX, link.provider)
        }
        _ => {
            orders.push(ip(&own, &format!("link add eth0 type veth peer name {}", host.name)));
            orders.push(ip(&own, "link set dev eth0 up"));
            (LAN_PREFIX, on_lan(LAN, ROUTER))
        }
    };
    orders.push(address(&own, "add", host.address(), prefix, "eth0"));
    orders.push(default_route(&own, router));
    orders
}

/// Where a router's `wan` goes.
struct Uplink {
    /// The namespace at the other end, and what the cable is called there.
    provider: String,
    port: &'static str,
    link: Link,
    prefix: u8,
    /// Whether the other end is a port of a LAN, whose router has the provider's address.
    shared: bool,
}

fn uplink(names: &Names, site: usize) -> Uplink {
    let port = SITES[site].name;
    Uplink { provider: names.internet(), port, link: link(site), prefix: LINK_PREFIX, shared: false }
}

impl Uplink {
    /// A router in a namespace of its own, with an empty LAN.
    fn router(&self, router: &str, lan: [u8; 3], gate: Gate) -> Vec<Order> {
        let mut orders = namespace(router);
        orders.push(forward(router));
        // Before the first packet, so that nothing is remembered that the rules would not have let pass.
        orders.push(rule_set(router, rules(gate)));
        orders.extend(cable(router, "wan", &self.provider, self.port));
        orders.push(address(router, "add", self.link.site, self.prefix, "wan"));
        orders.push(if self.shared {
            ip(&self.provider, &format!("link set dev {} master lan", self.port))
        } else {
            address(&self.provider, "add", self.link.provider, self.prefix, self.port)
        });
        orders.push(default_route(router, self.link.provider));
        orders.push(ip(router, "link add lan type bridge"));
        orders.push(ip(router, "link set dev lan up"));
        orders.push(address(router, "add", on_lan(lan, ROUTER), LAN_PREFIX, "lan"));
        orders
    }
}

/// What a router translates and lets pass.
///
/// - New packets to the router's own address are dropped in silence. An answer would end a connection that the other side is
///   about to open, and a flow that is remembered would keep its port from being used for it.
/// - TCP that the router has not seen the beginning of is dropped: after a reboot a connection does not go on by itself.
fn rules(gate: Gate) -> String {
    gate_table(gate, "")
}

/// The same, with more that is let pass.
fn gate_table(gate: Gate, more: &str) -> String {
    let source = match gate {
        Gate::Symmetric => " random,fully-random",
        _ => "",
    };
    let out = match gate {
        Gate::Strict => format!("tcp dport {HTTPS_PORT} "),
        _ => String::new(),
    };
    format!(
        "table ip gate {{
  chain source {{
    type nat hook postrouting priority srcnat;
    oifname \"wan\" masquerade{source}
  }}
  chain own {{
    type filter hook input priority filter;
    iifname \"wan\" ct state new,invalid drop
  }}
  chain through {{
    type filter hook forward priority filter; policy drop;
{more}    iifname \"lan\" oifname \"lan\" accept
    ct state established,related accept
    tcp flags & (fin|syn|rst|ack) != syn drop
    iifname \"lan\" {out}ct state new accept
  }}
}}
"
    )
}

fn namespace(name: &str) -> Vec<Order> {
    vec![Order::Make(name.to_owned()), ip(name, "link set dev lo up")]
}

/// A cable between two namespaces.
fn cable(one: &str, here: &str, other: &str, there: &str) -> Vec<Order> {
    vec![
        ip(one, &format!("link add {here} type veth peer name {there} netns {other}")),
        ip(one, &format!("link set dev {here} up")),
        ip(other, &format!("link set dev {there} up")),
    ]
}

fn address(namespace: &str, change: &str, address: Ipv4Addr, prefix: u8, interface: &str) -> Order {
    ip(namespace, &format!("addr {change} {address}/{prefix} dev {interface}"))
}

fn default_route(namespace: &str, router: Ipv4Addr) -> Order {
    ip(namespace, &format!("route replace default via {router}"))
}

fn forward(namespace: &str) -> Order {
    inside(namespace, &["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
}

fn rule_set(namespace: &str, rules: String) -> Order {
    match inside(namespace, &["nft", "-f", "-"]) {
        Order::Run { words, .. } => Order::Run { words, input: Some(rules) },
        order => order,
    }
}

fn ip(namespace: &str, command: &str) -> Order {
    let words = ["ip", "-n", namespace].into_iter().chain(command.split(' ')).map(str::to_owned).collect();
    Order::Run { words, input: None }
}

fn inside(namespace: &str, command: &[&str]) -> Order {
    let words = ["ip", "netns", "exec", namespace].iter().chain(command).map(|word| (*word).to_owned()).collect();
    Order::Run { words, input: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names() -> Names {
        Names::new("rmlab-7-")
    }

    /// Every order of every kind.
    fn all() -> Vec<Order> {
        let names = names();
        let mut all = build(&names);
        for site in (0..SITES.len()).filter(|site| SITES[*site].gate != Gate::Open) {
            all.extend(power_off(&names, site));
            all.extend(plug_in(&names, site));
            all.extend(change_addresses(&names, site));
        }
        for host in hosts() {
            all.extend(unplug(&names, &host));
            all.extend(plug(&names, &host));
        }
        all.extend(split(&names));
        all.extend(heal(&names));
        all
    }

    #[test]
    fn every_order_is_for_a_namespace_of_this_run() {
        for order in all() {
            match order {
                Order::Make(namespace) | Order::Remove(namespace) => assert!(namespace.starts_with("rmlab-7-")),
                Order::Run { words, .. } => {
                    assert_eq!(words[0], "ip");
                    let at = if words[1] == "-n" { 2 } else { 3 };
                    assert!(at == 2 || words[1..3] == ["netns", "exec"], "{words:?}");
                    assert!(words[at].starts_with("rmlab-7-"), "{words:?}");
                    let mut others = words.windows(2).filter(|pair| pair[0] == "netns" && pair[1] != "exec");
                    assert!(others.all(|pair| pair[1].starts_with("rmlab-7-")), "{words:?}");
                }
            }
        }
    }

    #[test]
    fn a_namespace_is_made_before_it_is_used() {
        let mut made = BTreeSet::new();
        for order in build(&names()) {
            match order {
                Order::Make(namespace) => assert!(made.insert(namespace), "made twice"),
                Order::Remove(_) => panic!("nothing is removed while building"),
                Order::Run { words, .. } => {
                    let mut named = words.iter().filter(|word| word.starts_with("rmlab-7-"));
                    assert!(named.all(|word| made.contains(word)), "{words:?}");
                }
            }
        }
        // The internet, a carrier, a router for each site behind a NAT, and the hosts.
        let routers = SITES.iter().filter(|site| site.gate != Gate::Open).count();
        assert_eq!(made.len(), 2 + routers + hosts().len());
    }

    #[test]
    fn a_router_that_comes_back_is_set_up_as_it_was_at_first() {
        let names = names();
        let site = SITES.iter().position(|site| site.name == "office-a").expect("there is one");
        let again = plug_in(&names, site);
        let built = build(&names);
        assert!(built.windows(again.len()).any(|window| window == again));
        assert!(power_off(&names, site).contains(&Order::Remove(names.router(&SITES[site]))));
    }

    #[test]
    fn gates_differ_in_what_they_translate_and_let_out() {
        assert!(rules(Gate::Symmetric).contains("masquerade random,fully-random"));
        assert!(rules(Gate::Keeping).contains("masquerade\n") && rules(Gate::Keeping).contains("\"lan\" ct state new"));
        assert!(rules(Gate::Strict).contains("\"lan\" tcp dport 443 ct state new accept"));
        assert_eq!(rules(Gate::Carrier), rules(Gate::Keeping));
    }

    #[test]
    fn a_split_names_every_site_on_both_sides_of_its_rules() {
        let Some(Order::Run { input: Some(rules), .. }) = split(&names()).pop() else { panic!("a rule set") };
        for site in &SITES {
            assert_eq!(rules.matches(&format!("\"{}\"", site.name)).count(), 2, "{}", site.name);
        }
    }

    #[test]
    fn interfaces_have_names_that_linux_takes() {
        for name in SITES.iter().map(|site| site.name).chain(hosts().iter().map(|host| host.name)) {
            assert!(name.len() <= 15 && !["lan", "wan", "lo", "eth0", "all", "default"].contains(&name), "{name}");
        }
    }
}
