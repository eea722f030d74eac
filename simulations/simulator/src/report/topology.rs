//! Who is connected to whom at the end: servers around a circle, region by region.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use super::chart::{Key, legend, open};
use super::html::{self, escape};
use super::numbers::{count, many};
use super::style::colour;
use crate::record::{LinkRow, Record, ServerRow};

const SIZE: (f64, f64) = (1000.0, 660.0);
const CENTRE: (f64, f64) = (500.0, 330.0);
/// Of the innermost ring of servers, in pixels.
const RADIUS: f64 = 225.0;
/// From one ring to the next, and at least from one server of a ring to the next.
const PITCH: f64 = 8.0;
/// Between two regions, in radians.
const GAP: f64 = 0.07;

/// The most servers and links that are drawn, so that a page stays small and a picture can be read.
const MOST_SERVERS: usize = 1_200;
const MOST_LINKS: usize = 2_000;

/// The part of the page.
pub(super) fn section(record: &Record) -> String {
    let heading = "Who is connected to whom at the end";
    if record.servers.is_empty() {
        return html::section("topology", heading, &html::absent("No server is in this record."));
    }
    let regions = regions(&record.servers);
    let places = places(&regions);
    let drawable: Vec<&LinkRow> =
        record.links.iter().filter(|link| places.contains_key(&link.from) && places.contains_key(&link.to)).collect();
    let links = evenly(&drawable, MOST_LINKS);
    let about = "Servers around a circle, grouped by region, and lines between those that are connected.";
    let picture = [
        open("topology-picture", "Connections at the end", about, SIZE),
        arcs(&regions),
        lines(&links, &places),
        nodes(&regions, &places),
        "</svg>\n".to_owned(),
    ];
    let caption = caption(record, places.len(), links.len());
    let body = html::figure(&picture.concat(), &keys(record, &regions), &caption);
    html::section("topology", heading, &body)
}

/// A region, the servers of it that are drawn, and the part of the circle that it has.
struct Region<'a> {
    name: &'a str,
    number: usize,
    all: usize,
    servers: Vec<&'a ServerRow>,
    /// Where it begins, in radians clockwise from the top.
    begin: f64,
    length: f64,
}

fn regions(servers: &[ServerRow]) -> Vec<Region<'_>> {
    let mut by_name: BTreeMap<&str, Vec<&ServerRow>> = BTreeMap::new();
    for server in servers {
        by_name.entry(server.region.as_str()).or_default().push(server);
    }
    let room = (TAU - GAP * by_name.len() as f64).max(TAU / 2.0);
    let mut begin = GAP / 2.0;
    let mut regions = Vec::with_capacity(by_name.len());
    for (number, (name, members)) in by_name.into_iter().enumerate() {
        let length = room * members.len() as f64 / servers.len() as f64;
        let most = (MOST_SERVERS * members.len()).div_ceil(servers.len());
        regions.push(Region { name, number, all: members.len(), servers: evenly(&members, most), begin, length });
        begin += length + GAP;
    }
    regions
}

/// At most so many of a list, at even distances.
fn evenly<'a, T>(list: &[&'a T], most: usize) -> Vec<&'a T> {
    if list.len() <= most {
        return list.to_vec();
    }
    (0..most).filter_map(|at| list.get(at * list.len() / most).copied()).collect()
}

/// Where a server is drawn.
struct Place {
    x: f64,
    y: f64,
    region: usize,
}

/// How many rings hold so many servers.
fn rings(servers: usize) -> usize {
    let one = (RADIUS * (TAU - 1.0) / PITCH) as usize;
    servers.div_ceil(one).max(1)
}

fn ring_count(regions: &[Region<'_>]) -> usize {
    rings(regions.iter().map(|region| region.servers.len()).sum())
}

fn places(regions: &[Region<'_>]) -> BTreeMap<u32, Place> {
    let rings = ring_count(regions);
    let mut places = BTreeMap::new();
    for region in regions {
        let slots = region.servers.len().div_ceil(rings).max(1);
        for (at, server) in region.servers.iter().enumerate() {
            let along = ((at / rings) as f64 + 0.5) / slots as f64;
            let radius = RADIUS + (at % rings) as f64 * PITCH;
            let (x, y) = point(region.begin + region.length * along, radius);
            places.insert(server.server, Place { x, y, region: region.number });
        }
    }
    places
}

/// A point by its angle, clockwise from the top, and its distance from the centre.
fn point(angle: f64, radius: f64) -> (f64, f64) {
    (CENTRE.0 + radius * angle.sin(), CENTRE.1 - radius * angle.cos())
}

/// An arc outside each region, and its name.
fn arcs(regions: &[Region<'_>]) -> String {
    let radius = RADIUS + ring_count(regions) as f64 * PITCH + 6.0;
    let mut out = String::new();
    for region in regions {
        let (from, to) = (point(region.begin, radius), point(region.begin + region.length, radius));
        let large = u8::from(region.length > TAU / 2.0);
        out += &format!(
            "<path class='arc {}' d='M{:.1} {:.1}A{radius} {radius} 0 {large} 1 {:.1} {:.1}'/>\n",
            colour(region.number),
            from.0,
            from.1,
            to.0,
            to.1
        );
        let middle = region.begin + region.length / 2.0;
        let (x, y) = point(middle, radius + 14.0);
        let anchor = match middle.sin() {
            sin if sin > 0.25 => "start",
            sin if sin < -0.25 => "end",
            _ => "middle",
        };
        let y = y + 4.0 - 4.0 * middle.cos();
        let name = escape(&format!("{} ({})", region.name, count(region.all as u64)));
        out += &format!("<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{name}</text>\n");
    }
    out
}

/// Links as curves that bend towards the centre; those within a region have its colour.
fn lines(links: &[&LinkRow], places: &BTreeMap<u32, Place>) -> String {
    let opacity = (40.0 / links.len().max(1) as f64).clamp(0.1, 0.5);
    let width = if links.len() > 400 { 0.8 } else { 1.2 };
    let mut out = format!("<g stroke-opacity='{opacity:.2}' stroke-width='{width}'>\n");
    for link in links {
        let (Some(from), Some(to)) = (places.get(&link.from), places.get(&link.to)) else { continue };
        let class = if from.region == to.region { format!("link {}", colour(from.region)) } else { "link".to_owned() };
        let bend = |from: f64, to: f64, centre: f64| centre + ((from + to) / 2.0 - centre) * 0.45;
        let (x, y) = (bend(from.x, to.x, CENTRE.0), bend(from.y, to.y, CENTRE.1));
        out += &format!(
            "<path class='{class}' d='M{:.0} {:.0}Q{x:.0} {y:.0} {:.0} {:.0}'/>\n",
            from.x, from.y, to.x, to.y
        );
    }
    out + "</g>\n"
}

fn nodes(regions: &[Region<'_>], places: &BTreeMap<u32, Place>) -> String {
    let rings = ring_count(regions);
    let radius =
        if rings > 1 { PITCH * 0.42 } else { (RADIUS * TAU / places.len().max(1) as f64 * 0.35).clamp(3.0, 7.0) };
    let mut out = String::new();
    for server in regions.iter().flat_map(|region| &region.servers) {
        let Some(place) = places.get(&server.server) else { continue };
        let (x, y) = (place.x, place.y);
        let hollow = if server.nat { " hollow" } else { "" };
        let title = escape(&in_words(server));
        if server.hostile.is_empty() {
            let class = colour(place.region);
            out += &format!("<circle class='node {class}{hollow}' cx='{x:.1}' cy='{y:.1}' r='{radius:.1}'>");
            out += &format!("<title>{title}</title></circle>\n");
        } else {
            let far = radius * 1.5;
            out += &format!("<path class='node hostile{hollow}' d='M{x:.1} {:.1}l{far:.1} {far:.1}", y - far);
            out += &format!("l-{far:.1} {far:.1}l-{far:.1} -{far:.1}Z'><title>{title}</title></path>\n");
        }
    }
    out
}

fn in_words(server: &ServerRow) -> String {
    let mut words =
        format!("server {}, {}, {}", server.server, server.region, many(u64::from(server.connections), "connection"));
    if server.nat {
        words += ", behind NAT";
    }
    if !server.hostile.is_empty() {
        words += &format!(", hostile: {}", server.hostile);
    }
    words
}

fn keys(record: &Record, regions: &[Region<'_>]) -> String {
    let mut keys: Vec<(Key, String, String)> =
        regions.iter().map(|region| (Key::Dot, colour(region.number), region.name.to_owned())).collect();
    if record.servers.iter().any(|server| server.nat) {
        keys.push((Key::Hollow, colour(0), "hollow: nobody can dial it (NAT)".to_owned()));
    }
    if record.servers.iter().any(|server| !server.hostile.is_empty()) {
        keys.push((Key::Diamond, String::new(), "diamond: hostile".to_owned()));
    }
    legend(&keys)
}

fn caption(record: &Record, servers: usize, links: usize) -> String {
    let mut caption = String::from(
        "How to read it: each mark is a server, each region has a stretch of the circle, and each line is a \
         connection, in the colour of the region if it stays within one.",
    );
    caption += &match record.links.len() {
        0 => " No connection was there at the end, or the layer keeps none.".to_owned(),
        all if links < all => format!(" Of {} a sample of {} is drawn.", many(all as u64, "link"), count(links as u64)),
        all => format!(" There are {}, all drawn.", many(all as u64, "link")),
    };
    if servers < record.servers.len() {
        let all = many(record.servers.len() as u64, "server");
        caption += &format!(" Of {all} a sample of {} is drawn, with links between these only.", count(servers as u64));
    }
    caption
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(servers: u32, links: u32) -> Record {
        let region = |server: u32| match server % 3 {
            0 => "Tokyo".to_owned(),
            _ => "London".to_owned(),
        };
        Record {
            servers: (0..servers)
                .map(|server| ServerRow { server, region: region(server), ..ServerRow::default() })
                .collect(),
            links: (0..links).map(|link| LinkRow { from: link % servers, to: (link * 7 + 1) % servers }).collect(),
            ..Record::default()
        }
    }

    #[test]
    fn a_sample_says_that_it_is_one() {
        let few = section(&record(10, 30));
        assert!(few.contains("There are 30 links, all drawn.") && !few.contains("sample"));
        let many = section(&record(100, 2_500));
        assert!(many.contains("Of 2,500 links a sample of 2,000 is drawn."));
        assert!(section(&record(5_000, 10)).contains("Of 5,000 servers a sample of"));
    }

    #[test]
    fn every_server_has_a_place_of_its_own() {
        let record = record(900, 0);
        let places = places(&regions(&record.servers));
        assert_eq!(places.len(), 900);
        let mut points: Vec<(i64, i64)> =
            places.values().map(|place| ((place.x * 10.0) as i64, (place.y * 10.0) as i64)).collect();
        points.sort_unstable();
        points.dedup();
        assert_eq!(points.len(), 900);
    }
}
