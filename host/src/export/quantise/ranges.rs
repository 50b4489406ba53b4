//! Between which numbers activations lie, but for a few on either side.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::model::Value;

/// The greatest and the least numbers of each value, as many as may lie outside its range and one more.
pub struct Ranges {
    samples: i64,
    /// Share of the numbers that may lie above, and below.
    outside: f64,
    ends: BTreeMap<Value, [Tensor; 2]>,
}

impl Ranges {
    /// Of so many samples in all.
    pub fn new(samples: i64, percentile: f64) -> Self {
        Self {
            samples,
            outside: 1.0 - percentile / 100.0,
            ends: BTreeMap::new(),
        }
    }

    /// Takes in what a batch makes a value: `[batch, ...]`.
    pub fn see(&mut self, value: Value, made: &Tensor) {
        let each = made.numel() as i64 / made.size()[0].max(1);
        let kept = (self.outside * (each * self.samples) as f64) as i64 + 1;
        let new = [made.reshape([-1]), -made.reshape([-1])];
        let all = match self.ends.remove(&value) {
            Some(old) => [0, 1].map(|i: usize| Tensor::cat(&[&old[i], &new[i]], 0)),
            None => new,
        };
        let ends = all.map(|it| it.topk(kept.min(it.size()[0]), 0, true, true).0);
        self.ends.insert(value, ends);
    }

    /// The range of a value, if it was seen: the least number and the greatest, without those that may lie outside
    /// unless nothing but 0 is left, or some are not finite.
    pub fn of(&self, value: Value) -> Option<[f32; 2]> {
        let [high, low] = self.ends.get(&value)?;
        let at = |ends: &Tensor, place: i64| ends.double_value(&[place]) as f32;
        let last = |ends: &Tensor| ends.size()[0] - 1;
        let all = [-at(low, 0), at(high, 0)];
        let within = [-at(low, last(low)), at(high, last(high))];
        let is_told = all.iter().all(|it| it.is_finite()) && within.iter().any(|it| *it != 0.0);
        Some(if is_told { within } else { all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Graph;

    #[test]
    fn ranges_are_percentiles_of_all_batches_together_in_any_order() {
        let (_, value) = Graph::of_input();
        // 0 to 999, of which one in a hundred may lie outside on either side.
        let numbers: Vec<f32> = (0..1000).map(|it| (it * 387 % 1000) as f32).collect();
        for (percentile, expected) in [(100.0, [0.0, 999.0]), (99.0, [10.0, 989.0])] {
            for batch in [100, 20, 7] {
                let mut ranges = Ranges::new(100, percentile);
                let all = Tensor::from_slice(&numbers).view([100, 10]);
                for part in all.split(batch, 0) {
                    ranges.see(value, &part);
                }
                assert_eq!(ranges.of(value), Some(expected), "{percentile} {batch}");
            }
        }
    }

    #[test]
    fn a_value_that_is_seldom_other_than_0_has_all_of_its_range() {
        let (_, value) = Graph::of_input();
        let mut ranges = Ranges::new(100, 90.0);
        let all = Tensor::zeros([100, 1], (tch::Kind::Float, tch::Device::Cpu));
        ranges.see(value, &all.index_fill(0, &Tensor::from_slice(&[3i64]), 7.0));
        assert_eq!(ranges.of(value), Some([0.0, 7.0]));
    }
}
