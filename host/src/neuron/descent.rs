//! One init on its way: dense, pruned to one input, trained again.

use super::gradient::{Kept, Neuron};
use super::student::Student;
use super::{Method, Settings};
use crate::model::hidden_neuron;

/// A neuron whose loss is below this has learnt the target.
///
/// What has not learnt it ends at 1/4 (an output of 0) or, pruned to an input that the target does
/// not see, at 1/4 - 1/(4 pi^2) = 0.2247 or above; what has learnt it ends far below.
pub const SUCCESS_LOSS: f64 = 1e-2;

/// The weights that a neuron starts from.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Output weight.
    pub a: f64,
    /// Input weights; the target sees the first.
    pub w: Vec<f64>,
}

impl Start {
    /// The initial weights of the model `hidden-neuron` with this seed: to the bit those that an
    /// experiment with it starts from.
    pub fn draw(dimension: u64, scale: f64, seed: u64) -> Self {
        let (w, a) = hidden_neuron::initial(dimension, scale, seed);
        Self {
            a: f64::from(a),
            w: w.into_iter().map(f64::from).collect(),
        }
    }

    /// The input weights but the first.
    fn others(&self) -> impl Iterator<Item = f64> {
        self.w.iter().skip(1).copied()
    }

    pub(super) fn neuron(&self) -> Neuron {
        Neuron {
            a: self.a,
            w1: self.w.first().copied().unwrap_or_default(),
            rest: self.others().map(|w| w * w).sum::<f64>().sqrt(),
        }
    }

    pub(super) fn kept(&self) -> Kept {
        Kept {
            w1: true,
            rest: self.w.len() > 1,
        }
    }

    /// What the second training starts from, once the dense one has ended at `trained`: the largest
    /// input weight alone, by both methods.
    pub(super) fn prune(&self, trained: Neuron, method: Method) -> (Neuron, Kept) {
        let init = self.neuron();
        let largest = self.others().map(f64::abs).fold(0.0, f64::max);
        // The others have kept their proportions.
        let grown = if init.rest > 0.0 {
            trained.rest / init.rest
        } else {
            0.0
        };
        let first = trained.w1.abs() >= largest * grown;
        let kept = Kept {
            w1: first,
            rest: !first,
        };
        let (from, largest) = match method {
            Method::Imp => (init, largest),
            Method::Lrr => (trained, largest * grown),
        };
        let neuron = Neuron {
            a: from.a,
            w1: if first { from.w1 } else { 0.0 },
            rest: if first { 0.0 } else { largest },
        };
        (neuron, kept)
    }
}

/// How one init ends under one method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Method.
    pub method: Method,
    /// Loss of the pruned neuron after its training.
    pub loss: f64,
}

impl Outcome {
    /// Whether the target was learnt.
    pub fn is_success(self) -> bool {
        self.loss < SUCCESS_LOSS
    }
}

/// Trains, prunes and trains again by both methods, which share the dense training.
pub fn outcomes(start: &Start, settings: &Settings) -> [Outcome; 2] {
    let trained = Student::dense(start, settings).trained(settings);
    Method::BOTH.map(|method| {
        let pruned = trained.prune(start, method, settings);
        Outcome {
            method,
            loss: pruned.trained(settings).neuron().loss(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(a: f64, w: &[f64]) -> Start {
        Start { a, w: w.to_vec() }
    }

    fn succeeds(a: f64, w: &[f64]) -> [bool; 2] {
        outcomes(&start(a, w), &Settings::default()).map(Outcome::is_success)
    }

    #[test]
    fn with_one_input_both_need_both_signs() {
        for method in succeeds(0.1, &[0.1]) {
            assert!(method);
        }
        for (a, w) in [(0.1, -0.1), (-0.1, 0.1), (-0.1, -0.1)] {
            assert_eq!(succeeds(a, &[w]), [false, false], "a = {a}, w = {w}");
        }
    }

    #[test]
    fn with_more_inputs_a_wrong_sign_of_the_right_input_is_lost_on_imp_alone() {
        assert_eq!(succeeds(0.1, &[0.06, -0.08]), [true, true]);
        assert_eq!(succeeds(0.1, &[-0.06, -0.08]), [false, true]);
        assert_eq!(succeeds(-0.1, &[0.06, -0.08]), [false, false]);
        assert_eq!(succeeds(-0.1, &[-0.06, -0.08]), [false, false]);
    }

    #[test]
    fn pruning_keeps_the_weight_that_is_largest_after_training() {
        let start = start(0.5, &[0.1, -0.3, 0.4]);
        // The others had length 0.5 and have shrunk to half.
        let trained = |w1| Neuron {
            a: 0.9,
            w1,
            rest: 0.25,
        };
        let (imp, kept) = start.prune(trained(0.21), Method::Imp);
        assert_eq!((imp.a, imp.w1, imp.rest), (0.5, 0.1, 0.0));
        assert!(kept.w1 && !kept.rest);
        let (lrr, _) = start.prune(trained(0.21), Method::Lrr);
        assert_eq!((lrr.a, lrr.w1, lrr.rest), (0.9, 0.21, 0.0));
        let (imp, kept) = start.prune(trained(-0.19), Method::Imp);
        assert_eq!((imp.a, imp.w1, imp.rest), (0.5, 0.0, 0.4));
        assert!(!kept.w1 && kept.rest);
        let (lrr, _) = start.prune(trained(-0.19), Method::Lrr);
        assert!((lrr.rest - 0.2).abs() < 1e-15 && lrr.w1 == 0.0 && lrr.a == 0.9);
    }

    fn descend(mut neuron: Neuron, kept: Kept, settings: &Settings) -> Neuron {
        for _ in 0..settings.steps() {
            neuron = neuron.descend(kept, settings.step);
        }
        neuron
    }

    #[test]
    fn pruned_to_an_input_that_the_target_does_not_see_it_ends_at_the_best_of_that_input() {
        let neuron = Neuron {
            a: 0.3,
            w1: 0.0,
            rest: 0.3,
        };
        let kept = Kept {
            w1: false,
            rest: true,
        };
        let end = descend(neuron, kept, &Settings::default());
        let best = 0.25 - 0.25 / std::f64::consts::PI.powi(2);
        assert!((end.loss() - best).abs() < 1e-4, "{}", end.loss());
        assert!(best > 20.0 * SUCCESS_LOSS);
    }
}
