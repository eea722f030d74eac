//! How values are spread: quantiles and histograms.

use super::axis::step;
use super::numbers::Unit;

/// Finite values in order.
#[derive(Clone, Debug)]
pub(super) struct Spread(Vec<f64>);

impl Spread {
    /// Of these values; what is not finite is left out.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        Spread(values)
    }

    /// The values, the smallest first.
    pub(super) fn values(&self) -> &[f64] {
        &self.0
    }

    /// The value below which this share of all lies, between neighbours in proportion; none of no values.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let place = share.clamp(0.0, 1.0) * self.0.len().checked_sub(1)? as f64;
        let low = self.0.get(place.floor() as usize)?;
        let high = self.0.get(place.ceil() as usize)?;
        Some(low + (high - low) * place.fract())
    }

    /// Half of the values are no greater.
    pub(super) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The greatest value.
    pub(super) fn most(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// The mean.
    pub(super) fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then_some(self.0.iter().sum::<f64>() / self.0.len() as f64)
    }
}

/// The first of counted values, in their order, up to which this share of the counts lies; none of no counts.
pub(super) fn counted_quantile<T: Copy>(counted: impl Iterator<Item = (T, u64)> + Clone, share: f64) -> Option<T> {
    let total: u64 = counted.clone().map(|(_, count)| count).sum();
    let wanted = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
    let mut so_far = 0_u64;
    for (value, count) in counted {
        so_far += count;
        if so_far >= wanted {
            return Some(value);
        }
    }
    None
}

/// How many values lie in each of equal stretches from zero on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bins {
    /// How long each stretch is.
    pub(super) width: f64,
    /// How many values are in each; those beyond the last are counted there.
    pub(super) counts: Vec<u64>,
}

/// The most stretches of a histogram.
const MOST_BINS: usize = 60;

impl Bins {
    /// A round width with which values up to `most` fill about twenty stretches.
    pub(super) fn width_for(most: f64, unit: Unit) -> f64 {
        step(most / 24.0, unit)
    }

    /// Of values that are not below zero.
    pub(super) fn of(values: &[f64], width: f64) -> Self {
        let mut counts: Vec<u64> = Vec::new();
        for value in values {
            let at = ((value / width + 1e-9).max(0.0) as usize).min(MOST_BINS - 1);
            if counts.len() <= at {
                counts.resize(at + 1, 0);
            }
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
        Bins { width, counts }
    }

    /// Where all stretches end.
    pub(super) fn end(&self) -> f64 {
        self.width * self.counts.len() as f64
    }

    /// Each stretch's begin and end, and how many values are in it.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (f64, f64, u64)> {
        let width = self.width;
        self.counts.iter().enumerate().map(move |(at, count)| (at as f64 * width, (at + 1) as f64 * width, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let spread = Spread::of([4.0, 1.0, f64::NAN, 3.0, 2.0]);
        assert_eq!([spread.quantile(0.0), spread.median(), spread.quantile(1.0)], [Some(1.0), Some(2.5), Some(4.0)]);
        assert_eq!([spread.most(), spread.mean()], [Some(4.0), Some(2.5)]);
        assert_eq!([Spread::of([]).median(), Spread::of([]).mean()], [None, None]);
    }

    #[test]
    fn quantiles_of_counted_values_are_among_them() {
        let counted = [(10_u64, 98_u64), (20, 1), (30, 1)];
        let quantile = |share| counted_quantile(counted.into_iter(), share);
        assert_eq!([quantile(0.5), quantile(0.99), quantile(1.0)], [Some(10), Some(20), Some(30)]);
        assert_eq!(counted_quantile([(1_u64, 0_u64)].into_iter(), 0.5), None);
    }

    #[test]
    fn a_histogram_counts_every_value_once() {
        let bins = Bins::of(&[0.0, 0.1, 0.3, 5.0], 0.1);
        assert_eq!(bins.counts.iter().sum::<u64>(), 4);
        assert_eq!((bins.counts[0], bins.counts[1], bins.counts[3]), (1, 1, 1));
        assert!(Bins::of(&[1e12], 0.1).counts.len() <= MOST_BINS);
    }
}
