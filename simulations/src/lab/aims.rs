//! What the laboratory is to show, and whether a run did.

use std::time::Duration;

use serde::Serialize;

use crate::lab::addresses::Transports;
use crate::lab::paths::{Connection, Way};
use crate::lab::report::{Pair, Report, Row, RowReport};
use crate::lab::topology::{Expected, Host, expected};
use crate::lab::upnp::REACHED_WITHIN;

/// Within this, pairs that can be direct are so, from when they met.
pub const DIRECT_WITHIN: Duration = Duration::from_secs(15);
/// Within this, everything said has arrived after a disturbance.
pub const FLOWS_WITHIN: Duration = Duration::from_secs(60);
/// How many pairs are named that miss an aim.
const NAMED: usize = 4;

/// An aim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Aim {
    /// What is to be.
    pub aim: String,
    /// Whether it is so; none where nothing was measured that says.
    pub met: Option<bool>,
    /// Which pairs miss it, or what else there is to say.
    pub remark: String,
}

impl std::fmt::Display for Aim {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "-",
        };
        write!(formatter, "{word:<7} {}", self.aim)?;
        match (self.met, self.remark.as_str()) {
            (None, "") => formatter.write_str(": not measured"),
            (None, why) => write!(formatter, ": not measured\n          {why}"),
            (_, "") => Ok(()),
            (_, remark) => write!(formatter, "\n          {remark}"),
        }
    }
}

/// Every aim, and whether the run met it.
pub fn judge(report: &Report) -> Vec<Aim> {
    let hosts = &report.hosts;
    let meetings = rows(report, |_, row| row == Row::Meeting);
    let both = report.passes.iter().any(|pass| pass.transports == Transports::Both);
    let always = [Transports::Quic, Transports::Tcp, Transports::Private];
    let mut aims: Vec<Aim> = always.into_iter().map(|transports| direct(report, transports)).collect();
    aims.extend(both.then(|| direct(report, Transports::Both)));
    let aim = "public servers, and those of one LAN, are connected directly";
    aims.push(over_pairs(&meetings, aim, |pair| {
        expected_of(hosts, pair) != Expected::Direct || pair.is_as_expected(hosts)
    }));
    let aim = "symmetric and TCP-443-only pairs are relayed and work";
    aims.push(over_pairs(&meetings, aim, |pair| {
        let works = pair.is_as_expected(hosts) && pair.flowed_s().is_some();
        expected_of(hosts, pair) != Expected::Relayed || works
    }));
    aims.push(mdns(report));
    let aim = "every pair exchanges messages in every row";
    aims.push(over_pairs(&rows(report, |_, _| true), aim, |pair| pair.flowed_s().is_some()));
    aims.extend(Row::ALL.into_iter().filter(|row| *row != Row::Meeting).map(|row| recovery(report, row)));
    aims.push(upnp(report));
    aims
}

/// A server whose port the router forwards is reached by others.
fn upnp(report: &Report) -> Aim {
    let aim = format!("UPnP: the router forwards a port, others dial it within {} s", REACHED_WITHIN.as_secs());
    let Some(upnp) = &report.upnp else { return Aim { aim, met: None, remark: String::new() } };
    let (met, remark) = match (&upnp.left_out, upnp.mapped_s, upnp.reached_s) {
        (Some(why), _, _) => (None, why.clone()),
        (None, Some(mapped), Some(reached)) => {
            (Some(true), format!("forwarded after {mapped:.1} s, dialled after {reached:.1} s"))
        }
        (None, Some(mapped), None) => (Some(false), format!("forwarded after {mapped:.1} s, and nobody could dial it")),
        (None, None, _) => (Some(false), "the router was not found, or forwards nothing".to_owned()),
    };
    Aim { aim, met, remark }
}

fn expected_of(hosts: &[Host], pair: &Pair) -> Expected {
    expected(&hosts[pair.places.0], &hosts[pair.places.1])
}

fn rows(report: &Report, which: impl Fn(Transports, Row) -> bool) -> Vec<&RowReport> {
    let all = report.passes.iter().flat_map(|pass| pass.rows.iter().map(|row| (pass.transports, row)));
    all.filter(|(transports, row)| which(*transports, row.row)).map(|(_, row)| row).collect()
}

/// Pairs behind NATs that keep ports are direct soon after they met, in passes over the transports.
fn direct(report: &Report, transports: Transports) -> Aim {
    let hosts = &report.hosts;
    let over = match transports {
        Transports::Quic => "over QUIC",
        Transports::Tcp => "over TCP",
        Transports::Both => "over either",
        Transports::Private => "private mesh",
    };
    let aim = format!("port-preserving pairs are direct within {} s of meeting, {over}", DIRECT_WITHIN.as_secs());
    let used = |connection: Connection| connection.transport.is_some_and(|transport| transports.has(transport));
    over_pairs(&rows(report, |pass, row| pass == transports && row == Row::Meeting), &aim, |pair| {
        let soon = pair.connected_s.is_some_and(|seconds| seconds <= DIRECT_WITHIN.as_secs_f64());
        let direct = pair.is_as_expected(hosts) && pair.connection.is_some_and(used);
        expected_of(hosts, pair) != Expected::Punched || soon && direct
    })
}

fn mdns(report: &Report) -> Aim {
    let measured = !report.passes.is_empty();
    let found = report.passes.iter().all(|pass| pass.found_by_mdns);
    Aim {
        aim: "the two hosts of one LAN found each other by mDNS".to_owned(),
        met: measured.then_some(found),
        remark: String::new(),
    }
}

fn recovery(report: &Report, row: Row) -> Aim {
    let rows = rows(report, |_, measured| measured == row);
    let limit = FLOWS_WITHIN.as_secs();
    let aim = format!("{}: traffic flows again within {limit} s, zero events missing", row.words());
    let mut judged =
        over_pairs(&rows, &aim, |pair| pair.flowed_s().is_some_and(|seconds| seconds <= FLOWS_WITHIN.as_secs_f64()));
    let missing: usize = rows.iter().map(|row| row.missing).sum();
    if missing > 0 {
        judged.met = Some(false);
        judged.remark = format!("{missing} events missing; {}", judged.remark);
    } else if rows.iter().any(|row| !row.agreed) {
        judged.met = Some(false);
        judged.remark = "not all hold the same room".to_owned();
    } else if judged.met == Some(true)
        && let Some(slowest) = rows.iter().flat_map(|row| &row.pairs).filter_map(Pair::flowed_s).reduce(f64::max)
    {
        judged.remark = format!("the slowest pair took {slowest:.1} s");
    }
    judged
}

/// An aim that every pair of some rows has to meet.
fn over_pairs(rows: &[&RowReport], aim: &str, meets: impl Fn(&Pair) -> bool) -> Aim {
    let pairs = rows.iter().flat_map(|row| row.pairs.iter().map(|pair| (row.row, pair)));
    let missed: Vec<String> = pairs
        .filter(|(_, pair)| !meets(pair))
        .map(|(row, pair)| format!("{} {} ({})", pair.hosts[0], pair.hosts[1], describe(row, pair)))
        .collect();
    let mut remark = missed.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if missed.len() > NAMED {
        remark.push_str(&format!(", and {} more", missed.len() - NAMED));
    }
    Aim { aim: aim.to_owned(), met: (!rows.is_empty()).then_some(missed.is_empty()), remark }
}

/// How a pair did, for whoever looks for the reason.
fn describe(row: Row, pair: &Pair) -> String {
    let way = match pair.connection.map(|connection| connection.way) {
        Some(Way::Direct) => "direct",
        Some(Way::Punched) => "punched",
        Some(Way::Relayed) => "relayed",
        None => "not connected",
    };
    let seconds = match row {
        Row::Meeting => pair.connected_s,
        _ => pair.flowed_s(),
    };
    match (pair.flowed_s(), seconds) {
        (None, _) => format!("{way}, lost"),
        (_, Some(seconds)) => format!("{way}, {seconds:.1} s"),
        (_, None) => way.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::paths::Transport;
    use crate::lab::report::{Pass, Upnp};
    use crate::lab::topology::{hosts, pairs};

    fn pair(hosts: &[Host], places: (usize, usize), transport: Transport) -> Pair {
        let way = match expected(&hosts[places.0], &hosts[places.1]) {
            Expected::Direct => Way::Direct,
            Expected::Punched => Way::Punched,
            Expected::Relayed => Way::Relayed,
        };
        Pair {
            hosts: [hosts[places.0].name, hosts[places.1].name],
            places,
            connection: Some(Connection { way, transport: Some(transport) }),
            connected_s: Some(1.0),
            there_s: Some(2.0),
            back_s: Some(3.0),
        }
    }

    /// A run in which everything is as it ought to be.
    fn ideal() -> Report {
        let hosts = hosts();
        let pass = |transports, transport, which: &[Row]| {
            let row = |row: &Row| RowReport {
                row: *row,
                pairs: pairs(hosts.len()).map(|places| pair(&hosts, places, transport)).collect(),
                missing: 0,
                agreed: true,
            };
            Pass { transports, found_by_mdns: true, rows: which.iter().map(row).collect() }
        };
        let passes = vec![
            pass(Transports::Quic, Transport::Quic, &Row::ALL),
            pass(Transports::Tcp, Transport::Tcp, &[Row::Meeting]),
            pass(Transports::Private, Transport::Tcp, &[Row::Meeting]),
        ];
        let upnp = Some(Upnp { left_out: None, mapped_s: Some(3.2), reached_s: Some(4.5) });
        Report { hosts, passes, upnp }
    }

    fn missed(report: &Report) -> Vec<String> {
        let missed = judge(report).into_iter().filter(|aim| aim.met == Some(false));
        missed.map(|aim| format!("{}: {}", aim.aim, aim.remark)).collect()
    }

    /// The pair of two hosts in a row of the first pass.
    fn pair_of<'a>(report: &'a mut Report, row: usize, names: [&str; 2]) -> &'a mut Pair {
        let mut pairs = report.passes[0].rows[row].pairs.iter_mut();
        pairs.find(|pair| pair.hosts == names).expect("there is such a pair")
    }

    #[test]
    fn an_ideal_run_meets_every_aim() {
        let aims = judge(&ideal());
        assert!(aims.iter().all(|aim| aim.met == Some(true)), "{aims:#?}");
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let mut report = ideal();
        report.passes.truncate(1);
        report.passes[0].rows.truncate(1);
        report.upnp = None;
        let open = judge(&report).into_iter().filter(|aim| aim.met.is_none()).count();
        assert_eq!(open, 2 + Row::ALL.len() - 1 + 1, "TCP, the private mesh, the disturbances and UPnP");
        assert!(missed(&report).is_empty());
    }

    #[test]
    fn a_router_that_was_left_out_says_why_and_one_that_does_not_forward_misses() {
        let mut report = ideal();
        report.upnp = Some(Upnp { left_out: Some("`miniupnpd` is not here".to_owned()), ..Upnp::default() });
        assert!(missed(&report).is_empty());
        let said = judge(&report).pop().map(|aim| aim.to_string()).unwrap_or_default();
        assert!(said.contains("not measured") && said.contains("`miniupnpd` is not here"), "{said}");
        for mapped_s in [None, Some(3.0)] {
            report.upnp = Some(Upnp { mapped_s, ..Upnp::default() });
            assert_eq!(missed(&report).len(), 1);
        }
    }

    #[test]
    fn a_pair_that_is_direct_too_late_or_over_something_else_misses() {
        let mut report = ideal();
        pair_of(&mut report, 0, ["office-a", "office-b"]).connected_s = Some(15.1);
        let late = missed(&report);
        assert!(late.len() == 1 && late[0].contains("over QUIC: office-a office-b (punched, 15.1 s)"), "{late:?}");
        let mut report = ideal();
        let connection = Connection { way: Way::Punched, transport: Some(Transport::Tcp) };
        pair_of(&mut report, 0, ["office-a", "cgnat"]).connection = Some(connection);
        assert_eq!(missed(&report).len(), 1);
    }

    #[test]
    fn a_pair_that_ought_to_be_relayed_misses_without_its_relay() {
        let mut report = ideal();
        pair_of(&mut report, 0, ["sym-a", "sym-b"]).connection = None;
        assert!(missed(&report)[0].contains("sym-a sym-b (not connected"), "{:?}", missed(&report));
    }

    #[test]
    fn aims_fit_eighty_columns() {
        for line in
            judge(&ideal()).iter().flat_map(|aim| aim.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
        {
            assert!(line.len() <= 80, "{line}");
        }
    }

    #[test]
    fn something_lost_misses_the_row_and_every_row() {
        let mut report = ideal();
        pair_of(&mut report, 2, ["relay1", "strict"]).back_s = None;
        report.passes[0].rows[2].missing = 1;
        let missed = missed(&report);
        assert_eq!(missed.len(), 2, "{missed:?}");
        assert!(missed[1].contains("router rebooted") && missed[1].contains("1 events missing"), "{missed:?}");
        let mut report = ideal();
        report.passes[0].rows[4].agreed = false;
        assert_eq!(judge(&report).iter().filter(|aim| aim.met == Some(false)).count(), 1);
    }
}
