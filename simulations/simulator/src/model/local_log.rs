//! A server's local log of a room, as whoever follows it by position sees it.

/// What an entry tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// An event of this server's own.
    Own,
    /// Somebody else's event arrived and is shown.
    Shown,
    /// It arrived and is withheld.
    Withheld,
    /// It arrived and is rejected.
    Rejected,
    /// An event is taken from view.
    Hidden,
    /// An event is shown again.
    Restored,
}

const ALL: [Told; 6] = [Told::Own, Told::Shown, Told::Withheld, Told::Rejected, Told::Hidden, Told::Restored];

/// An entry, in four bytes: millions of them are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u32);

impl Entry {
    /// The entry that tells this of an event.
    pub(super) fn new(told: Told, number: u32) -> Self {
        Entry((number << 3) | told as u32)
    }

    /// The event's number.
    pub(super) fn number(self) -> u32 {
        self.0 >> 3
    }

    /// What it tells.
    pub(super) fn told(self) -> Told {
        ALL[(self.0 & 7) as usize % ALL.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_what_it_tells() {
        for told in ALL {
            let entry = Entry::new(told, 123_456);
            assert_eq!((entry.told(), entry.number()), (told, 123_456));
        }
    }
}
