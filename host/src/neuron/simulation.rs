//! Many inits, one after the other, on all cores.

use rayon::prelude::*;

use super::closed_form::logistic;
use super::descent::{Outcome, SUCCESS_LOSS, Start, outcomes};
use super::gradient::{Kept, Neuron};
use super::trajectory::trajectories;
use super::{
    ClosedForm, Fraction, LossGap, Method, NeuronRecord, Quadrant, Settings, StepError,
    clopper_pearson,
};

/// Points of the curve beside the closed form.
const POINTS: u64 = 200;

/// Simulates every init of every dimension. The result does not depend on the number of threads.
///
/// # Errors
/// If the threads cannot be started.
pub fn simulate(
    settings: &Settings,
    threads: usize,
) -> Result<NeuronRecord, rayon::ThreadPoolBuildError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()?;
    Ok(pool.install(|| {
        let mut fractions = Vec::new();
        let mut gap = LossGap {
            threshold: SUCCESS_LOSS,
            ..LossGap::default()
        };
        for &dimension in &settings.dimensions {
            let inits = inits(settings, dimension);
            for (_, outcomes) in &inits {
                outcomes.iter().for_each(|outcome| gap.add(outcome.loss));
            }
            fractions.extend(Method::BOTH.map(|method| fraction(dimension, method, &inits)));
        }
        let exact = settings.update.is_gradient();
        NeuronRecord {
            seed: settings.seed,
            time: settings.time,
            step: settings.step,
            scale: settings.scale,
            update: settings.update,
            gap,
            fractions,
            trajectories: trajectories(settings),
            closed_form: match exact {
                true => beside_closed_form(settings, settings.step),
                false => Vec::new(),
            },
            step_errors: match exact {
                true => step_errors(settings),
                false => Vec::new(),
            },
        }
    }))
}

/// The signs of an init, and what becomes of it.
type Init = ([bool; 2], [Outcome; 2]);

fn inits(settings: &Settings, dimension: u64) -> Vec<Init> {
    let one = |init| {
        let seed = settings.seed_of(dimension, init);
        let start = Start::draw(dimension, settings.scale, seed);
        (start.signs(), outcomes(&start, settings))
    };
    (0..settings.inits).into_par_iter().map(one).collect()
}

fn fraction(dimension: u64, method: Method, inits: &[Init]) -> Fraction {
    let count = |wanted: &dyn Fn(&[bool; 2]) -> bool| {
        let own = || inits.iter().filter(|(signs, _)| wanted(signs));
        let succeeds = |(_, outcomes): &&Init| {
            let mut own = outcomes.iter().filter(|it| it.method == method);
            own.any(|outcome| outcome.is_success())
        };
        (own().count() as u64, own().filter(succeeds).count() as u64)
    };
    let (all, successes) = count(&|_| true);
    let (low, high) = clopper_pearson(successes, all);
    let quadrants = QUADRANTS.map(|signs| {
        let (inits, successes) = count(&|own| *own == signs);
        Quadrant {
            a_positive: signs[0],
            w1_positive: signs[1],
            inits,
            successes,
        }
    });
    Fraction {
        dimension,
        method,
        inits: all,
        successes,
        low,
        high,
        quadrants: quadrants.into(),
    }
}

/// Whether a and w_1 are positive.
pub(super) const QUADRANTS: [[bool; 2]; 4] =
    [[true, true], [true, false], [false, true], [false, false]];

impl Start {
    /// Whether a and w_1 are positive.
    pub(super) fn signs(&self) -> [bool; 2] {
        [self.a > 0.0, self.w.first().is_some_and(|&w| w > 0.0)]
    }
}

impl LossGap {
    fn add(&mut self, loss: f64) {
        if loss < self.threshold {
            let greatest = self.greatest_success.unwrap_or(loss);
            self.greatest_success = Some(greatest.max(loss));
        } else {
            let least = self.least_failure.unwrap_or(loss);
            self.least_failure = Some(least.min(loss));
        }
    }
}

/// One input, from positive weights: simulated and exact, at up to [`POINTS`] times and the end.
fn beside_closed_form(settings: &Settings, step: f64) -> Vec<ClosedForm> {
    let all = one_input(settings, step);
    let every = (all.len() as u64).div_ceil(POINTS).max(1) as usize;
    let last = all.len() - 1;
    let kept = |place: &usize| place.is_multiple_of(every) || *place == last;
    (0..=last)
        .filter(kept)
        .map(|place| all[place].clone())
        .collect()
}

/// One input, from positive weights, at every step.
fn one_input(settings: &Settings, step: f64) -> Vec<ClosedForm> {
    let scale = settings.scale;
    let kept = Kept {
        w1: true,
        rest: false,
    };
    let start = Neuron {
        a: scale,
        w1: scale,
        rest: 0.0,
    };
    let neurons = std::iter::successors(Some(start), |neuron| Some(neuron.descend(kept, step)));
    let steps = (settings.time / step).round() as usize;
    (neurons.take(steps + 1).enumerate())
        .map(|(place, neuron)| {
            let time = step * place as f64;
            ClosedForm {
                time,
                simulated: neuron.a * neuron.w1,
                exact: logistic(scale, time),
            }
        })
        .collect()
}

/// The largest distance from the closed form, for four, two, one and half a step.
fn step_errors(settings: &Settings) -> Vec<StepError> {
    let error = |factor: f64| {
        let step = factor * settings.step;
        let curve = one_input(settings, step);
        let distance = |it: &ClosedForm| (it.simulated - it.exact).abs();
        StepError {
            step,
            error: curve.iter().map(distance).fold(0.0, f64::max),
        }
    };
    [4.0, 2.0, 1.0, 0.5].map(error).into()
}

#[cfg(test)]
mod tests;
