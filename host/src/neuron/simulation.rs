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
        NeuronRecord {
            seed: settings.seed,
            time: settings.time,
            step: settings.step,
            scale: settings.scale,
            gap,
            fractions,
            trajectories: trajectories(settings),
            closed_form: beside_closed_form(settings, settings.step),
            step_errors: step_errors(settings),
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
mod tests {
    use super::*;

    fn small() -> Settings {
        Settings {
            inits: 300,
            ..Settings::default()
        }
    }

    fn record() -> &'static NeuronRecord {
        static RECORD: std::sync::OnceLock<NeuronRecord> = std::sync::OnceLock::new();
        RECORD.get_or_init(|| simulate(&small(), 2).unwrap())
    }

    #[test]
    fn imp_learns_from_exactly_the_inits_with_both_signs_right() {
        let mut seen = 0;
        for fraction in record()
            .fractions
            .iter()
            .filter(|it| it.method == Method::Imp)
        {
            for quadrant in &fraction.quadrants {
                let right = quadrant.a_positive && quadrant.w1_positive;
                let expected = if right { quadrant.inits } else { 0 };
                assert_eq!(quadrant.successes, expected, "{fraction:?}");
                seen += quadrant.inits;
            }
            // Four standard deviations: one seed in 2,000 has a dimension beyond them.
            let (inits, successes) = (fraction.inits as f64, fraction.successes as f64);
            let spread = (inits * 0.25 * 0.75).sqrt();
            assert!(
                (successes - inits / 4.0).abs() < 4.0 * spread,
                "{fraction:?}"
            );
        }
        assert_eq!(seen, 8 * 300);
    }

    #[test]
    fn lrr_learns_from_the_inits_with_a_positive_once_there_are_more_inputs() {
        for fraction in record()
            .fractions
            .iter()
            .filter(|it| it.method == Method::Lrr)
        {
            for quadrant in &fraction.quadrants {
                let d = fraction.dimension;
                match (quadrant.a_positive, quadrant.w1_positive) {
                    (true, true) => assert_eq!(quadrant.successes, quadrant.inits, "d = {d}"),
                    (true, false) if d == 1 => assert_eq!(quadrant.successes, 0),
                    // Some start so close to the opposite direction that time does not suffice.
                    (true, false) if d < 5 => {
                        assert!(10 * quadrant.successes > 8 * quadrant.inits, "d = {d}");
                    }
                    (true, false) => assert_eq!(quadrant.successes, quadrant.inits, "d = {d}"),
                    (false, _) => assert_eq!(quadrant.successes, 0, "d = {d}"),
                }
            }
        }
    }

    #[test]
    fn no_init_ends_between_success_and_failure() {
        let gap = &record().gap;
        assert!(gap.greatest_success.unwrap() < 1e-6, "{gap:?}");
        assert!(gap.least_failure.unwrap() > 0.22, "{gap:?}");
    }

    #[test]
    fn the_simulation_follows_the_closed_form_and_its_error_falls_linearly_with_the_step() {
        let record = record();
        assert_eq!(record.closed_form.last().unwrap().time, 40.0);
        let error = |it: &ClosedForm| (it.simulated - it.exact).abs();
        assert!(record.closed_form.iter().all(|it| error(it) < 2e-3));
        let errors = &record.step_errors;
        assert_eq!(errors[2].step, 1e-2);
        assert!(errors[2].error < 2e-3, "{errors:?}");
        for pair in errors.windows(2) {
            let ratio = pair[0].error / pair[1].error;
            assert!((1.9..2.1).contains(&ratio), "{errors:?}");
        }
    }

    #[test]
    fn the_record_does_not_depend_on_the_number_of_threads_or_the_other_dimensions() {
        let few = Settings {
            dimensions: vec![2],
            ..small()
        };
        let alone = simulate(&few, 1).unwrap();
        let among = record().fractions.iter().filter(|it| it.dimension == 2);
        assert!(alone.fractions.iter().eq(among));
    }

    #[test]
    fn trajectories_show_every_quadrant_end_as_counted_and_begin_pruned_where_they_should() {
        let record = record();
        for &dimension in &[1, 2, 10] {
            for method in Method::BOTH {
                let own = |it: &&super::super::Trajectory| {
                    it.dimension == dimension && it.method == method
                };
                assert_eq!(record.trajectories.iter().filter(own).count(), 4);
            }
        }
        for trajectory in &record.trajectories {
            let seed = small().seed_of(trajectory.dimension, trajectory.init);
            let start = Start::draw(trajectory.dimension, 0.1, seed);
            let expected = outcomes(&start, &small())
                .into_iter()
                .find(|it| it.method == trajectory.method)
                .unwrap();
            assert_eq!(trajectory.success, expected.is_success());
            assert_eq!(*trajectory.loss.last().unwrap(), expected.loss);
            assert_eq!((trajectory.a[0], trajectory.w1[0]), (start.a, start.w[0]));
            assert_eq!(*trajectory.time.last().unwrap(), 80.0);
            let pruned = trajectory.pruned.iter().position(|&it| it).unwrap();
            assert_eq!(trajectory.time[pruned], 40.0);
            if trajectory.method == Method::Imp {
                assert_eq!(trajectory.a[pruned], start.a);
            } else {
                assert_eq!(trajectory.a[pruned], trajectory.a[pruned - 1]);
            }
        }
    }
}
