//! Medians and quartiles.

use serde::{Deserialize, Serialize};

/// Median and quartiles of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quartiles {
    /// A quarter of the numbers is smaller.
    pub low: f64,
    /// Half of them are smaller.
    pub median: f64,
    /// Three quarters of them are smaller.
    pub high: f64,
}

impl Quartiles {
    /// Of these numbers, between neighbours in proportion; NaN if there is none.
    pub fn of(numbers: &[f64]) -> Self {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let Some(last) = sorted.len().checked_sub(1) else {
                return f64::NAN;
            };
            let place = share * last as f64;
            let (below, above) = (
                sorted[place.floor() as usize],
                sorted[place.ceil() as usize],
            );
            below + (above - below) * place.fract()
        };
        Self {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        }
    }

    /// Of the quotients, round by round.
    pub fn of_ratios(above: &[f64], below: &[f64]) -> Self {
        let ratios: Vec<f64> = above.iter().zip(below).map(|(a, b)| a / b).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours_in_proportion() {
        let got = Quartiles::of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((got.low, got.median, got.high), (1.75, 2.5, 3.25));
        let one = Quartiles::of(&[7.0]);
        assert_eq!((one.low, one.median, one.high), (7.0, 7.0, 7.0));
        assert!(Quartiles::of(&[]).median.is_nan());
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        // Both sides halve in the second round, which the ratio does not see.
        let got = Quartiles::of_ratios(&[200.0, 100.0, 200.0], &[100.0, 50.0, 100.0]);
        assert_eq!((got.low, got.median, got.high), (2.0, 2.0, 2.0));
    }
}
