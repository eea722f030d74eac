//! What a run found: pair by pair, row by row, and as one table.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::{Serialize, Serializer};

use crate::lab::addresses::Transports;
use crate::lab::paths::{Connection, Transport, Way};
use crate::lab::topology::{Expected, Host, expected, pairs};

/// What happens before a row is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    /// Nothing: the nodes start, meet, and talk.
    Meeting,
    /// A relay is killed, and started again at the end.
    RelayKilled,
    /// Routers are rebooted and have forgotten their mappings.
    RouterRebooted,
    /// A site gets another address on the internet, and its host another on the LAN.
    AddressChanged,
    /// The internet falls into two halves, and is healed.
    NetworkSplit,
    /// The interface of a host goes down for a while.
    InterfaceLost,
    /// A machine sleeps for longer than others wait for it, and wakes.
    Asleep,
}

impl Row {
    /// Every row, in the order in which they are run.
    pub const ALL: [Row; 7] = [
        Row::Meeting,
        Row::RelayKilled,
        Row::RouterRebooted,
        Row::AddressChanged,
        Row::NetworkSplit,
        Row::InterfaceLost,
        Row::Asleep,
    ];

    /// What happened, for people.
    pub fn words(self) -> &'static str {
        match self {
            Row::Meeting => "meeting",
            Row::RelayKilled => "relay killed",
            Row::RouterRebooted => "router rebooted",
            Row::AddressChanged => "address changed",
            Row::NetworkSplit => "network split",
            Row::InterfaceLost => "interface lost",
            Row::Asleep => "asleep",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Row::Meeting => "meeting",
            Row::RelayKilled => "relay",
            Row::RouterRebooted => "reboot",
            Row::AddressChanged => "address",
            Row::NetworkSplit => "split",
            Row::InterfaceLost => "iface",
            Row::Asleep => "sleep",
        }
    }
}

/// A pair in a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The hosts' names.
    pub hosts: [&'static str; 2],
    /// The hosts' places.
    #[serde(skip)]
    pub places: (usize, usize),
    /// How they were connected at the row's end; none if only through others.
    pub connection: Option<Connection>,
    /// For [`Row::Meeting`]: seconds from when they met until they were connected that way.
    pub connected_s: Option<f64>,
    /// Seconds until what the first said was at the second; none if something is missing.
    pub there_s: Option<f64>,
    /// The same from the second to the first.
    pub back_s: Option<f64>,
}

impl Pair {
    /// Seconds until messages had passed both ways; none if something is missing.
    pub fn flowed_s(&self) -> Option<f64> {
        Some(self.there_s?.max(self.back_s?))
    }

    /// Whether they are connected as they ought to be.
    pub fn is_as_expected(&self, hosts: &[Host]) -> bool {
        is_as_expected(&hosts[self.places.0], &hosts[self.places.1], self.connection)
    }
}

/// Whether a connection is what is expected of two hosts.
pub fn is_as_expected(a: &Host, b: &Host, connection: Option<Connection>) -> bool {
    let way = connection.map(|connection| connection.way);
    match expected(a, b) {
        Expected::Direct | Expected::Punched => way.is_some_and(Way::is_direct),
        Expected::Relayed => way == Some(Way::Relayed),
    }
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowReport {
    /// What happened.
    pub row: Row,
    /// Every pair, in the order of [`pairs`].
    pub pairs: Vec<Pair>,
    /// Events that had not arrived in time, over all nodes.
    pub missing: usize,
    /// Whether all nodes held the same room at the end.
    pub agreed: bool,
}

/// A laboratory from its building to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pass {
    /// What its nodes used.
    pub transports: Transports,
    /// Whether the two hosts of one LAN found each other by mDNS.
    pub found_by_mdns: bool,
    /// What was measured.
    pub rows: Vec<RowReport>,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The hosts, in the order in which pairs name them.
    #[serde(serialize_with = "names")]
    pub hosts: Vec<Host>,
    /// One for each choice of transports.
    pub passes: Vec<Pass>,
    /// How a router that forwards ports was asked to, if that was to be measured.
    pub upnp: Option<Upnp>,
}

/// A server behind a router that forwards ports if it is asked to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Upnp {
    /// Why it was left out, if it was.
    pub left_out: Option<String>,
    /// Seconds from the server's start until it said that the router forwards its port.
    pub mapped_s: Option<f64>,
    /// Seconds until it knew that others reach it, since one of them had dialled it through the router.
    pub reached_s: Option<f64>,
}

fn names<S: Serializer>(hosts: &[Host], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(hosts.iter().map(|host| host.name))
}

/// What the letters of the table mean.
pub const LEGEND: &str = "\
How each pair was connected then, and how many seconds it took.
  D direct   P direct, through NATs punched open   R through a relay
  - not with each other: what they said came through other servers
  q QUIC   t TCP
Seconds: for the meeting, from when the two met until they were connected so;
after that, until messages said at once had passed both ways.
LOST: something said did not arrive in time.
";

/// Columns that fit beside each other into eighty characters.
const COLUMNS: usize = 6;

/// The table: a line for each pair, a column for each row. With many rows they are several, one below the other.
pub fn table(report: &Report) -> String {
    let columns: Vec<(&Pass, &RowReport)> =
        report.passes.iter().flat_map(|pass| pass.rows.iter().map(move |row| (pass, row))).collect();
    // As many in each as in the others, or one less.
    let tables = columns.len().div_ceil(COLUMNS).max(1);
    let each = columns.len().div_ceil(tables).max(1);
    columns.chunks(each).map(|columns| part(report, columns)).collect::<Vec<String>>().join("\n\n")
}

fn part(report: &Report, columns: &[(&Pass, &RowReport)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let several = report.passes.len() > 1;
    let header = columns.iter().map(|(pass, row)| match (several, pass.transports) {
        (false, _) => row.row.header().to_owned(),
        (true, Transports::Quic) => format!("quic\n{}", row.row.header()),
        (true, Transports::Tcp) => format!("tcp\n{}", row.row.header()),
        (true, Transports::Both) => format!("both\n{}", row.row.header()),
        (true, Transports::Private) => format!("private\n{}", row.row.header()),
    });
    table.set_header(std::iter::once(String::new()).chain(header).collect::<Vec<String>>());
    for (at, (a, b)) in pairs(report.hosts.len()).enumerate() {
        let name = format!("{} {}", report.hosts[a].name, report.hosts[b].name);
        let cells =
            columns.iter().map(|(_, row)| row.pairs.get(at).map(|pair| cell(row.row, pair)).unwrap_or_default());
        table.add_row(std::iter::once(name).chain(cells).collect::<Vec<String>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn cell(row: Row, pair: &Pair) -> String {
    let way = match pair.connection.map(|connection| connection.way) {
        Some(Way::Direct) => 'D',
        Some(Way::Punched) => 'P',
        Some(Way::Relayed) => 'R',
        None => '-',
    };
    let transport = match pair.connection.and_then(|connection| connection.transport) {
        Some(Transport::Quic) => 'q',
        Some(Transport::Tcp) => 't',
        None => '-',
    };
    let seconds = match (row, pair.flowed_s()) {
        (_, None) => return format!("{way}{transport} LOST"),
        (Row::Meeting, _) => pair.connected_s,
        (_, flowed) => flowed,
    };
    match seconds {
        Some(seconds) => format!("{way}{transport} {seconds:>4.1}"),
        None => format!("{way}{transport}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::topology::hosts;

    fn pair(places: (usize, usize), way: Option<Way>) -> Pair {
        let connection = way.map(|way| Connection { way, transport: Some(Transport::Quic) });
        let hosts = [hosts()[places.0].name, hosts()[places.1].name];
        Pair { hosts, places, connection, connected_s: Some(12.34), there_s: Some(0.4), back_s: Some(59.96) }
    }

    fn report() -> Report {
        let hosts = hosts();
        let row = |row| {
            let pairs = pairs(hosts.len()).map(|places| pair(places, Some(Way::Punched))).collect();
            RowReport { row, pairs, missing: 0, agreed: true }
        };
        let pass = |transports, rows: &[Row]| Pass {
            transports,
            found_by_mdns: true,
            rows: rows.iter().copied().map(row).collect(),
        };
        let passes = vec![
            pass(Transports::Quic, &Row::ALL),
            pass(Transports::Tcp, &[Row::Meeting]),
            pass(Transports::Private, &[Row::Meeting]),
        ];
        Report { hosts, passes, upnp: None }
    }

    #[test]
    fn the_table_has_a_line_for_each_pair_and_fits_eighty_columns() {
        let report = report();
        let text = table(&report);
        let lines = 2 + pairs(report.hosts.len()).count();
        assert_eq!(text.lines().count(), 2 * lines + 1, "two tables and a blank line: {text}");
        for line in text.lines().chain(LEGEND.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains("office-a office-b"), "{text}");
    }

    #[test]
    fn a_cell_says_how_and_how_long_or_that_something_was_lost() {
        assert_eq!(cell(Row::Meeting, &pair((0, 1), Some(Way::Punched))), "Pq 12.3");
        assert_eq!(cell(Row::NetworkSplit, &pair((0, 1), Some(Way::Relayed))), "Rq 60.0");
        assert_eq!(cell(Row::RelayKilled, &pair((0, 1), None)), "-- 60.0");
        let lost = Pair { back_s: None, ..pair((0, 1), Some(Way::Direct)) };
        assert_eq!(cell(Row::Meeting, &lost), "Dq LOST");
    }

    #[test]
    fn a_pair_that_ought_to_be_relayed_is_not_expected_to_be_direct() {
        let hosts = hosts();
        let place = |name: &str| hosts.iter().position(|host| host.name == name).expect(name);
        let is = |a, b, way| pair((place(a), place(b)), way).is_as_expected(&hosts);
        assert!(is("office-a", "office-b", Some(Way::Punched)) && is("office-a", "office-b", Some(Way::Direct)));
        assert!(!is("office-a", "office-b", Some(Way::Relayed)) && !is("office-a", "office-b", None));
        assert!(is("sym-a", "sym-b", Some(Way::Relayed)) && !is("sym-a", "sym-b", None));
    }

    #[test]
    fn as_json_a_pair_has_its_path_and_hosts_their_names() {
        let json = serde_json::to_value(report()).expect("it has a JSON form");
        assert_eq!(json["hosts"][0], "relay1");
        let pair = &json["passes"][0]["rows"][0]["pairs"][0];
        assert_eq!(pair["hosts"], serde_json::json!(["relay1", "relay2"]));
        assert_eq!((pair["connection"]["path"].as_str(), pair["back_s"].as_f64()), (Some("punched"), Some(59.96)));
        assert_eq!(json["passes"][0]["rows"][1]["row"], "relay-killed");
    }
}
