//! Random numbers that follow from a seed, everywhere the same.
//!
//! BLAKE3's output stream under a key made of the seed and a purpose: what one purpose draws never shifts what another one
//! gets, so that a change to one part of a scenario leaves the others as they were.

use std::time::Duration;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(blake3::OutputReader);

impl Random {
    /// The stream of a seed and a purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("rocketmesh-sim random numbers");
        hasher.update(&seed.to_be_bytes()).update(purpose.as_bytes());
        Random(hasher.finalize_xof())
    }

    /// Fills bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }

    /// A number below `bound`; 0 for a bound of 0. The bias is below 2^-40 for any bound that occurs here.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.number()) * bound as u128) >> 64) as usize
    }

    /// A number from 0 to just below 1.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// A waiting time of a memoryless process with this mean.
    pub fn wait(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.fraction()).ln())
    }

    /// `count` different ones of `from`, in random order; all if there are fewer.
    pub fn choose<T: Clone>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut rest: Vec<T> = from.to_vec();
        let count = count.min(rest.len());
        for at in 0..count {
            let other = at + self.below(rest.len() - at);
            rest.swap(at, other);
        }
        rest.truncate(count);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_has_a_stream_of_its_own_and_a_seed_repeats_it() {
        let draw = |seed, purpose| Random::new(seed, purpose).number();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }

    #[test]
    fn choices_differ_from_each_other_and_stay_within_bounds() {
        let mut random = Random::new(7, "choices");
        let mut chosen = random.choose(&(0..50).collect::<Vec<_>>(), 20);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 20);
        assert!((0..1000).all(|_| random.below(3) < 3));
        let mean = (0..2000).map(|_| random.wait(Duration::from_secs(1)).as_secs_f64()).sum::<f64>() / 2000.0;
        assert!((0.9..1.1).contains(&mean));
    }
}
