//! The internet of the laboratory as data: which sites there are, what stands between their hosts and the rest, which
//! addresses they have, and how each pair of them ought to meet.

use std::net::Ipv4Addr;

/// The addresses of the links between sites and the internet, a /30 for each site. Documentation addresses of RFC 5737: nothing
/// leaves the laboratory, and whatever does belongs to nobody.
const LINKS: [u8; 3] = [203, 0, 113];
/// Where a site's link goes when its provider gives it another address.
const OTHER_LINKS: [u8; 3] = [198, 51, 100];
/// The LAN of every site. The same everywhere, as at home: an address in it leads to somebody else, or to oneself.
pub const LAN: [u8; 3] = [192, 168, 1];
/// What the carrier has between itself and the routers of its customers, RFC 6598.
pub const CARRIER_LAN: [u8; 3] = [100, 64, 0];
/// The last byte of the first host's address on a LAN, and of the address that it has after it changed.
const FIRST_HOST: u8 = 10;
const FIRST_MOVED: u8 = 70;

/// The port on which firewalls let everybody out.
pub const HTTPS_PORT: u16 = 443;

/// What stands between a site's hosts and the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: its one host has an address of the internet.
    Open,
    /// A NAT that keeps the source port and lets in only answers.
    Keeping,
    /// A NAT as [`Gate::Keeping`], whose address is one of a carrier that does the same once more.
    Carrier,
    /// A NAT that takes a random source port for every destination.
    Symmetric,
    /// A NAT that lets nothing out but TCP to port 443.
    Strict,
}

/// The half of the internet that a site is in when it is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// With the first relay.
    Left,
    /// With the second relay.
    Right,
}

/// A place with hosts.
#[derive(Debug)]
pub struct Site {
    /// Its name, at most 12 bytes, since an interface is called by it.
    pub name: &'static str,
    /// What its hosts are behind.
    pub gate: Gate,
    /// Where it is when the internet is split.
    pub half: Half,
    /// The names of its hosts and the ports on which their nodes listen.
    pub hosts: &'static [(&'static str, u16)],
}

/// Every site, the relays first: whoever starts later is told their addresses.
///
/// The two hosts at `home` listen on different ports. With the same one their router could keep it for one of them only, and the
/// other would be behind a symmetric NAT in all but name.
pub static SITES: [Site; 9] = [
    Site { name: "relay1", gate: Gate::Open, half: Half::Left, hosts: &[("relay1", 4848)] },
    Site { name: "relay2", gate: Gate::Open, half: Half::Right, hosts: &[("relay2", 4848)] },
    Site { name: "office-a", gate: Gate::Keeping, half: Half::Left, hosts: &[("office-a", 4848)] },
    Site { name: "office-b", gate: Gate::Keeping, half: Half::Right, hosts: &[("office-b", 4848)] },
    Site { name: "cgnat", gate: Gate::Carrier, half: Half::Right, hosts: &[("cgnat", 4848)] },
    Site { name: "home", gate: Gate::Keeping, half: Half::Left, hosts: &[("lan-1", 4848), ("lan-2", 4858)] },
    Site { name: "sym-a", gate: Gate::Symmetric, half: Half::Left, hosts: &[("sym-a", 4848)] },
    Site { name: "sym-b", gate: Gate::Symmetric, half: Half::Right, hosts: &[("sym-b", 4848)] },
    Site { name: "strict", gate: Gate::Strict, half: Half::Right, hosts: &[("strict", 4848)] },
];

/// How a pair of hosts ought to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// At once, without anybody's help.
    Direct,
    /// Directly, through NATs that were opened from both sides.
    Punched,
    /// Through a relay: a NAT that cannot be opened is between them.
    Relayed,
}

/// A host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, which is its namespace's and its server's too.
    pub name: &'static str,
    /// The port on which its node listens.
    pub port: u16,
    /// Its site's place in [`SITES`].
    pub site: usize,
    /// Its place among the site's hosts.
    pub place: usize,
}

/// Every host, in the order of [`SITES`].
pub fn hosts() -> Vec<Host> {
    let of_site = |(site, what): (usize, &'static Site)| {
        what.hosts.iter().enumerate().map(move |(place, &(name, port))| Host { name, port, site, place })
    };
    SITES.iter().enumerate().flat_map(of_site).collect()
}

/// Every pair of `count` hosts, each once, the earlier host first.
pub fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

impl Host {
    /// Its site.
    pub fn site(&self) -> &'static Site {
        &SITES[self.site]
    }

    /// Its site's gate.
    pub fn gate(&self) -> Gate {
        self.site().gate
    }

    /// Whether it relays for others: it stands on the internet itself.
    pub fn is_relay(&self) -> bool {
        self.gate() == Gate::Open
    }

    /// The address of its only interface, at first.
    pub fn address(&self) -> Ipv4Addr {
        match self.gate() {
            Gate::Open => link(self.site).site,
            _ => on_lan(LAN, FIRST_HOST + self.place_byte()),
        }
    }

    /// The address that it has on its LAN after it changed.
    pub fn moved_address(&self) -> Ipv4Addr {
        on_lan(LAN, FIRST_MOVED + self.place_byte())
    }

    fn place_byte(&self) -> u8 {
        u8::try_from(self.place).unwrap_or(u8::MAX - FIRST_MOVED)
    }
}

/// How two hosts ought to be connected. The NATs let in only answers from the very address and port that was asked, so a
/// symmetric one can be opened by nobody but a host without a NAT.
pub fn expected(a: &Host, b: &Host) -> Expected {
    let hard = |host: &Host| matches!(host.gate(), Gate::Symmetric | Gate::Strict);
    if a.site == b.site || a.is_relay() || b.is_relay() {
        Expected::Direct
    } else if hard(a) || hard(b) {
        Expected::Relayed
    } else {
        Expected::Punched
    }
}

/// A site's link to the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The address at the internet's end.
    pub provider: Ipv4Addr,
    /// The address at the site's end.
    pub site: Ipv4Addr,
}

/// The link of a site, by its place in [`SITES`].
pub fn link(site: usize) -> Link {
    link_in(LINKS, site)
}

/// The link that a site has after its address changed.
pub fn moved_link(site: usize) -> Link {
    link_in(OTHER_LINKS, site)
}

fn link_in(range: [u8; 3], site: usize) -> Link {
    let base = u8::try_from(4 * site).unwrap_or(u8::MAX - 3);
    Link { provider: on_lan(range, base + 1), site: on_lan(range, base + 2) }
}

/// An address of a /24.
pub fn on_lan(range: [u8; 3], last: u8) -> Ipv4Addr {
    Ipv4Addr::new(range[0], range[1], range[2], last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_host_has_a_name_of_its_own_and_the_relays_come_first() {
        let hosts = hosts();
        let names: BTreeSet<&str> = hosts.iter().map(|host| host.name).collect();
        assert_eq!(names.len(), hosts.len());
        let relays = hosts.iter().filter(|host| host.is_relay()).count();
        assert_eq!(relays, 2);
        assert!(hosts[..relays].iter().all(Host::is_relay));
        assert_eq!(pairs(hosts.len()).count(), hosts.len() * (hosts.len() - 1) / 2);
    }

    #[test]
    fn each_half_of_a_split_has_a_relay() {
        for half in [Half::Left, Half::Right] {
            assert!(SITES.iter().any(|site| site.half == half && site.gate == Gate::Open));
        }
    }

    #[test]
    fn no_two_links_share_an_address_and_every_lan_has_the_same() {
        let mut seen = BTreeSet::new();
        for site in 0..SITES.len() {
            for link in [link(site), moved_link(site)] {
                assert!(seen.insert(link.provider) && seen.insert(link.site), "{link:?}");
            }
        }
        let find = |name: &str| hosts().into_iter().find(|host| host.name == name).expect(name);
        assert_eq!(find("office-a").address(), find("office-b").address());
        assert_ne!(find("lan-1").address(), find("lan-2").address());
        assert_ne!(find("office-b").address(), find("office-b").moved_address());
    }

    #[test]
    fn whoever_is_behind_a_hard_nat_is_relayed_unless_the_other_side_is_open() {
        let find = |name: &str| hosts().into_iter().find(|host| host.name == name).expect(name);
        let expected = |a: &str, b: &str| expected(&find(a), &find(b));
        assert_eq!(expected("relay1", "sym-a"), Expected::Direct);
        assert_eq!(expected("relay2", "strict"), Expected::Direct);
        assert_eq!(expected("lan-1", "lan-2"), Expected::Direct);
        assert_eq!(expected("office-a", "office-b"), Expected::Punched);
        assert_eq!(expected("cgnat", "lan-2"), Expected::Punched);
        for (a, b) in [("sym-a", "sym-b"), ("office-a", "sym-a"), ("strict", "office-b"), ("strict", "sym-b")] {
            assert_eq!(expected(a, b), Expected::Relayed, "{a} {b}");
        }
    }
}
