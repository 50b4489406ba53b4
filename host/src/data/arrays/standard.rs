//! Standardising: mean and standard deviation of the training samples' values.

use super::super::DataError;
use super::options::{Over, Standardise};
use super::stored::StoredSamples;

/// What inputs are shifted and divided by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standard {
    /// Of each feature or channel.
    pub mean: Vec<f64>,
    /// The same; 1 where all values are equal.
    pub std: Vec<f64>,
    /// Neighbouring values of a sample that share one.
    each: usize,
}

impl Standard {
    /// Over what the option has them computed for samples of this shape; none if it is not asked for.
    pub fn over(option: Standardise, shape: &[i64]) -> Option<Over> {
        match (option, shape) {
            (Standardise::Usual(false), _) => None,
            (Standardise::Over(over), _) => Some(over),
            (Standardise::Usual(true), [_]) => Some(Over::Feature),
            (Standardise::Usual(true), _) => Some(Over::Channel),
        }
    }

    /// Those of samples of this shape, computed in f64 in the samples' order.
    ///
    /// # Errors
    /// If a sample cannot be read.
    pub fn of(samples: &StoredSamples, shape: &[i64], over: Over) -> Result<Self, DataError> {
        let values = shape.iter().product::<i64>() as usize;
        let groups = match over {
            Over::Feature => values,
            Over::Channel => shape.first().map_or(1, |&it| it as usize),
        };
        let each = values / groups.max(1);
        let mut sums = vec![0.0; groups];
        let mut count = 0usize;
        samples.each(|numbers| {
            count += numbers.len() / values.max(1);
            add(&mut sums, numbers, values, each, |_, number| number);
        })?;
        let number = (count * each).max(1) as f64;
        let mean: Vec<f64> = sums.iter().map(|sum| sum / number).collect();
        let mut squares = vec![0.0; groups];
        samples.each(|numbers| {
            add(&mut squares, numbers, values, each, |group, number| {
                (number - mean[group]) * (number - mean[group])
            });
        })?;
        let deviation = |(sum, mean): (&f64, &f64)| {
            let std = (sum / number).sqrt();
            // What is left by rounding is no deviation.
            match std > 1e-12 * mean.abs() && std.is_normal() {
                true => std,
                false => 1.0,
            }
        };
        Ok(Self {
            std: squares.iter().zip(&mean).map(deviation).collect(),
            mean,
            each,
        })
    }

    /// Standardises whole samples.
    pub fn apply(&self, numbers: &mut [f64]) {
        let values = self.mean.len() * self.each;
        for sample in numbers.chunks_mut(values.max(1)) {
            for (group, part) in sample.chunks_mut(self.each.max(1)).enumerate() {
                for number in part {
                    *number = (*number - self.mean[group]) / self.std[group];
                }
            }
        }
    }
}

/// Adds what `term` makes of each value to its group's sum.
fn add(
    sums: &mut [f64],
    numbers: &[f64],
    values: usize,
    each: usize,
    term: impl Fn(usize, f64) -> f64,
) {
    for sample in numbers.chunks(values.max(1)) {
        for (group, part) in sample.chunks(each.max(1)).enumerate() {
            for &number in part {
                sums[group] += term(group, number);
            }
        }
    }
}
