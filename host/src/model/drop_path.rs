//! Stochastic depth, whose coins follow from what a step is keyed by.

use tch::Tensor;

use super::dropout::drop_out;
use super::parts::Pass;
use crate::rng::Purpose;

/// Stochastic depth of a branch: a sample's part of it is 0 with a probability p, else divided by 1 - p.
///
/// # Source
/// Huang et al. 2016, "Deep networks with stochastic depth", section 3, for each sample, with the scale in
/// training, as timm's `DropPath`.
#[derive(Debug)]
pub(super) struct DropPath {
    name: String,
    probability: f64,
}

impl DropPath {
    /// That of the branch called `name`.
    pub(super) fn new(name: &str, probability: f64) -> Self {
        Self {
            name: name.to_owned(),
            probability,
        }
    }

    /// Whether anything is dropped in training.
    pub(super) fn is_on(&self) -> bool {
        self.probability > 0.0
    }

    /// `[batch, ...]`, without lanes, to the same shape; the input itself where nothing is dropped.
    pub(super) fn forward(&self, pass: Pass<'_>, input: Tensor) -> Tensor {
        let purpose = Purpose::DropPath(&self.name);
        // One number a sample.
        drop_out(pass, purpose, self.probability, input, |input| {
            let mut shape = vec![1; input.dim()];
            shape[0] = input.size()[0];
            shape
        })
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::model::{Keys, Mode, StepKey};
    use crate::rng::Moment;

    fn key(seed: u64, step: u64) -> StepKey {
        let moment = Moment {
            level: 1,
            epoch: 2,
            step,
        };
        StepKey {
            seed,
            moment,
            shard: None,
        }
    }

    fn drop(path: &DropPath, mode: Mode<'_>, input: &Tensor) -> Tensor {
        let pass = Pass {
            parameters: &[],
            buffers: &[],
            mode,
            taps: &[],
        };
        path.forward(pass, input.shallow_clone())
    }

    fn ones(samples: i64) -> Tensor {
        Tensor::ones([samples, 3, 2], (Kind::Float, Device::Cpu))
    }

    #[test]
    fn a_sample_passes_by_as_a_whole_with_its_probability_or_is_scaled() {
        let samples = 40_000;
        let path = DropPath::new("blocks.1.drop_path1", 0.25);
        let output = drop(&path, Mode::Train(Keys::of(&[key(3, 0)])), &ones(samples));
        let first = output.narrow(1, 0, 1).narrow(2, 0, 1);
        assert!(output.equal(&first.expand_as(&output)));
        let kept = first.ne(0.0);
        let scaled = first.masked_select(&kept);
        assert!(scaled.equal(&scaled.full_like(1.0 / 0.75)));
        let share = scaled.numel() as f64 / samples as f64;
        // Five standard errors.
        let near = 5.0 * (0.25 * 0.75 / samples as f64).sqrt();
        assert!((share - 0.75).abs() < near, "{share}");
    }

    #[test]
    fn coins_are_of_the_branch_the_seed_and_the_step_and_come_again() {
        let coins = |name: &str, key| {
            drop(
                &DropPath::new(name, 0.5),
                Mode::Train(Keys::of(&[key])),
                &ones(64),
            )
        };
        let own = coins("blocks.1.drop_path1", key(3, 0));
        assert_eq!(own, coins("blocks.1.drop_path1", key(3, 0)));
        for other in [
            coins("blocks.1.drop_path2", key(3, 0)),
            coins("blocks.1.drop_path1", key(4, 0)),
            coins("blocks.1.drop_path1", key(3, 1)),
        ] {
            assert_ne!(own, other);
        }
        let larger = DropPath::new("blocks.1.drop_path1", 0.5);
        let larger = drop(&larger, Mode::Train(Keys::of(&[key(3, 0)])), &ones(96));
        assert_eq!(own, larger.narrow(0, 0, 64));
    }

    #[test]
    fn nothing_is_dropped_out_of_training_or_at_probability_0() {
        let keys = [key(0, 0)];
        for (p, mode) in [
            (0.5, Mode::Eval),
            (0.5, Mode::Train(Keys::NONE)),
            (0.0, Mode::Train(Keys::of(&keys))),
        ] {
            let input = ones(8);
            let output = drop(&DropPath::new("blocks.1.drop_path1", p), mode, &input);
            assert_eq!(output.data_ptr(), input.data_ptr(), "{p}, {mode:?}");
        }
    }
}
