//! Why a dial failed, as people are told.

use std::error::Error;

use libp2p::swarm::DialError;

/// The innermost cause in one line, such as `Connection refused`, which says the most. libp2p's own text says it several
/// times, over several lines.
pub(super) fn dial_failure(error: &DialError) -> String {
    let said = match error {
        DialError::Transport(failures) if !failures.is_empty() => {
            let mut causes: Vec<String> = failures.iter().map(|(_, failure)| innermost(failure)).collect();
            causes.dedup();
            causes.join("; ")
        }
        DialError::WrongPeerId { obtained, .. } => format!("another server answers there: {obtained}"),
        DialError::LocalPeerId { .. } => "this node itself is there".to_owned(),
        other => innermost(other),
    };
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use libp2p::Multiaddr;
    use libp2p::core::transport::TransportError;
    use libp2p::identity::PeerId;

    use super::*;

    fn refused() -> (Multiaddr, TransportError<io::Error>) {
        (Multiaddr::empty(), TransportError::Other(io::Error::from(io::ErrorKind::ConnectionRefused)))
    }

    #[test]
    fn a_cause_is_said_once_and_in_one_line() {
        assert_eq!(dial_failure(&DialError::Transport(vec![refused(), refused()])), "connection refused");
        let lines = TransportError::Other(io::Error::other("several things:\n - no route\n"));
        let several = DialError::Transport(vec![(Multiaddr::empty(), lines), refused()]);
        assert_eq!(dial_failure(&several), "several things: - no route; connection refused");
    }

    #[test]
    fn every_failure_says_something() {
        let obtained = PeerId::random();
        let wrong = dial_failure(&DialError::WrongPeerId { obtained, address: Multiaddr::empty() });
        assert!(wrong.contains(&obtained.to_string()), "{wrong}");
        for error in [DialError::Transport(Vec::new()), DialError::NoAddresses, DialError::Aborted] {
            assert!(!dial_failure(&error).is_empty(), "{error:?}");
        }
    }
}
