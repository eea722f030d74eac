//! A small internet of its own: a server that everybody reaches, and one behind a router that forwards ports if it is asked to.

use std::net::Ipv4Addr;

use super::{
    LAN_PREFIX, LINK_PREFIX, Names, Order, ROUTER, address, cable, default_route, forward, gate_table, inside, ip,
    namespace, rule_set,
};
use crate::lab::topology::{Gate, LAN, Link, on_lan};

/// The roles of its namespaces.
pub const INTERNET: &str = "upnp-internet";
/// The router.
pub const GATEWAY: &str = "upnp-gw";
/// The server that everybody reaches.
pub const OPEN: &str = "upnp-open";
/// The server behind the router.
pub const MAPPED: &str = "upnp-mapped";

/// Where the open server is.
pub const OPEN_LINK: Link = Link { provider: Ipv4Addr::new(203, 0, 113, 253), site: Ipv4Addr::new(203, 0, 113, 254) };
/// Where the router is. Both sides of UPnP take addresses that are reserved for documentation for private ones and give up, so
/// that this one is not reserved. Nothing leaves the namespaces.
pub const GATEWAY_LINK: Link = Link { provider: Ipv4Addr::new(44, 128, 0, 1), site: Ipv4Addr::new(44, 128, 0, 2) };
/// The last byte of the address of the server behind it.
const HOST: u8 = 10;

/// Everything, from nothing.
pub fn build(names: &Names) -> Vec<Order> {
    let [internet, gateway, open, mapped] = [INTERNET, GATEWAY, OPEN, MAPPED].map(|role| names.namespace(role));
    let mut orders = namespace(&internet);
    orders.push(forward(&internet));

    orders.extend(namespace(&open));
    orders.extend(cable(&open, "eth0", &internet, "open"));
    orders.push(address(&internet, "add", OPEN_LINK.provider, LINK_PREFIX, "open"));
    orders.push(address(&open, "add", OPEN_LINK.site, LINK_PREFIX, "eth0"));
    orders.push(default_route(&open, OPEN_LINK.provider));

    orders.extend(namespace(&gateway));
    orders.push(forward(&gateway));
    orders.push(rule_set(&gateway, rules()));
    orders.extend(cable(&gateway, "wan", &internet, "gateway"));
    orders.push(address(&internet, "add", GATEWAY_LINK.provider, LINK_PREFIX, "gateway"));
    orders.push(address(&gateway, "add", GATEWAY_LINK.site, LINK_PREFIX, "wan"));
    orders.push(default_route(&gateway, GATEWAY_LINK.provider));
    orders.push(ip(&gateway, "link add lan type bridge"));
    orders.push(ip(&gateway, "link set dev lan up"));
    orders.push(address(&gateway, "add", on_lan(LAN, ROUTER), LAN_PREFIX, "lan"));

    orders.extend(namespace(&mapped));
    orders.extend(cable(&mapped, "eth0", &gateway, "mapped"));
    orders.push(ip(&gateway, "link set dev mapped master lan"));
    orders.push(address(&mapped, "add", on_lan(LAN, HOST), LAN_PREFIX, "eth0"));
    orders.push(default_route(&mapped, on_lan(LAN, ROUTER)));
    orders
}

/// Shows what the router forwards: prints the chain that the program writes to.
pub fn forwarded(names: &Names) -> Order {
    let chain = ["nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd"];
    inside(&names.namespace(GATEWAY), &chain)
}

/// A NAT that keeps ports, which lets in what is forwarded, and the chains that `miniupnpd` fills: their names are its defaults.
fn rules() -> String {
    let chains = "table inet filter {
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump miniupnpd
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump prerouting_miniupnpd
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump postrouting_miniupnpd
  }
  chain miniupnpd {
  }
  chain prerouting_miniupnpd {
  }
  chain postrouting_miniupnpd {
  }
}
";
    format!("{}{chains}", gate_table(Gate::Keeping, "    ct status dnat accept\n"))
}

/// What `miniupnpd` is told, for its file.
pub fn configuration() -> String {
    let [a, b, c] = LAN;
    format!(
        "ext_ifname=wan
listening_ip=lan
http_port=0
enable_upnp=yes
enable_natpmp=no
ipv6_disable=yes
secure_mode=yes
force_igd_desc_v1=yes
uuid=6f0e2a4c-54cb-4bc5-8d5e-1a37c2f0a9b1
allow 1024-65535 {a}.{b}.{c}.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_namespace_is_made_before_it_is_used_and_belongs_to_this_run() {
        let mut made = BTreeSet::new();
        for order in build(&Names::new("rmlab-7-")) {
            match order {
                Order::Make(namespace) => assert!(namespace.starts_with("rmlab-7-") && made.insert(namespace)),
                Order::Remove(_) => panic!("nothing is removed while building"),
                Order::Run { words, .. } => {
                    let at = if words[1] == "-n" { 2 } else { 3 };
                    assert!(words[0] == "ip" && made.contains(&words[at]), "{words:?}");
                }
            }
        }
        assert_eq!(made.len(), 4);
    }

    #[test]
    fn the_router_lets_in_what_is_forwarded_and_nothing_else() {
        let rules = rules();
        assert!(rules.contains("policy drop;\n    ct status dnat accept\n"), "{rules}");
        assert!(rules.contains("hook prerouting priority dstnat") && rules.contains("iifname \"wan\" ct state new"));
        assert_eq!(rules.matches('{').count(), rules.matches('}').count());
        assert!(configuration().contains("allow 1024-65535 192.168.1.0/24 1024-65535"));
    }
}
