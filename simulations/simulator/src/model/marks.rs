//! Sets of an archive's numbers, a bit for each.

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    #[cfg(test)]
    /// The numbers below `count`.
    pub(super) fn below(count: u32) -> Self {
        let mut marks = Marks::default();
        (0..count).for_each(|number| marks.insert(number));
        marks
    }

    /// Adds a number.
    pub(super) fn insert(&mut self, number: u32) {
        let word = number as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    /// Takes a number out.
    pub(super) fn remove(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// Whether a number is in.
    pub(super) fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many are in.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The numbers that are in here and not in the other, ascending.
    pub(super) fn beyond(&self, other: &Marks) -> impl Iterator<Item = u32> {
        self.0.iter().enumerate().flat_map(move |(at, word)| {
            let word = word & !other.0.get(at).copied().unwrap_or(0);
            Ones(word).map(move |bit| at as u32 * 64 + bit)
        })
    }
}

/// The places of a word's ones.
struct Ones(u64);

impl Iterator for Ones {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.0 == 0 {
            return None;
        }
        let at = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_set_has_beyond_another_is_told_in_order() {
        let mut ours = Marks::below(3);
        ours.insert(200);
        ours.insert(64);
        ours.remove(1);
        let theirs = Marks::below(1);
        assert_eq!(ours.beyond(&theirs).collect::<Vec<_>>(), [2, 64, 200]);
        assert_eq!(theirs.beyond(&ours).count(), 0);
        assert!(ours.contains(200) && !ours.contains(1) && ours.count() == 4);
    }
}
