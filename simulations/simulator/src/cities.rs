//! How far apart cities are: measured round-trip times between data centres.

use std::sync::LazyLock;
use std::time::Duration;

const TABLE: &str = include_str!("../data/latency-rtt-ms.csv");

/// What stands for servers of one local network.
pub const LAN: &str = "lan";

/// One way within one city, or on one local network.
const LOCAL: Duration = Duration::from_micros(500);

struct Cities {
    names: Vec<String>,
    rtt_ms: Vec<Vec<f64>>,
}

static CITIES: LazyLock<Cities> = LazyLock::new(|| {
    let mut lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<String> = lines.next().unwrap_or_default().split(',').skip(1).map(str::to_owned).collect();
    let number = |cell: &str| cell.trim().parse::<f64>().unwrap_or(0.0);
    let rtt_ms = lines.map(|line| line.split(',').skip(1).map(number).collect()).collect();
    Cities { names, rtt_ms }
});

/// The cities of the table.
pub fn names() -> &'static [String] {
    &CITIES.names
}

/// A region's number, by which plans and records name it: 0 for the local network, then the table's order from 1.
pub fn index(name: &str) -> Option<usize> {
    if name.eq_ignore_ascii_case(LAN) {
        return Some(0);
    }
    CITIES.names.iter().position(|city| city.eq_ignore_ascii_case(name)).map(|at| at + 1)
}

/// A region's name.
pub fn name(index: usize) -> &'static str {
    match index.checked_sub(1) {
        None => LAN,
        Some(city) => CITIES.names.get(city).map_or("?", String::as_str),
    }
}

/// One way from one region to another without load: half of the round trip. The local network is as far from a city as
/// Frankfurt is from London.
pub fn one_way(from: usize, to: usize) -> Duration {
    if from == to {
        return LOCAL;
    }
    let table = match (from.checked_sub(1), to.checked_sub(1)) {
        (Some(from), Some(to)) => CITIES.rtt_ms.get(from).and_then(|row| row.get(to)).copied(),
        _ => Some(13.0),
    };
    Duration::from_secs_f64(table.unwrap_or(0.0) / 2_000.0).max(LOCAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole_and_is_nearly_the_same_both_ways() {
        assert_eq!(names().len(), 10);
        for from in 1..=10 {
            for to in 1..=10 {
                let (there, back) = (one_way(from, to), one_way(to, from));
                assert!(there.abs_diff(back) <= Duration::from_millis(6), "{} {}", name(from), name(to));
                assert!(from == to || there >= Duration::from_millis(4));
            }
        }
        assert_eq!(index("sydney").map(name), Some("Sydney"));
        assert_eq!(one_way(index("London").unwrap_or(0), index("Tokyo").unwrap_or(0)).as_micros(), 121_500);
    }
}
