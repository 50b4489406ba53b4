//! The hidden neuron's simulation, and what the theory says of it.

use std::path::{Path, PathBuf};

use super::verdict::Verdict;
use crate::neuron::{Fraction, Method, NeuronRecord};
use crate::store;

/// A simulation's folder.
#[derive(Debug)]
pub struct Simulation {
    /// The folder.
    pub folder: PathBuf,
    /// What is in it, or why it cannot be read.
    pub record: Result<NeuronRecord, String>,
}

impl Simulation {
    /// Whether a folder is a simulation's.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Reads a simulation.
    pub fn read(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let record = match path.exists() {
            false => Err("it has not been run".to_owned()),
            true => store::read(&path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| {
                    serde_json::from_slice(&bytes)
                        .map_err(|error| format!("{} is damaged: {error}", path.display()))
                }),
        };
        Self {
            folder: folder.to_owned(),
            record,
        }
    }
}

const FILE: &str = "neuron.json";

/// A claim of the theory beside what was simulated.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The claim.
    pub claim: String,
    /// What was simulated, in words.
    pub seen: String,
    /// The verdict.
    pub verdict: Verdict,
}

/// A success fraction is near what the theory says if it is within so much of it.
pub const NEAR: f64 = 0.05;

/// Compares a simulation with the theory.
///
/// # Source
/// Gadhikar & Burkholz 2024 (arXiv:2402.19262), theorems 2.1 to 2.3: iterative magnitude pruning
/// succeeds where a and w_1 are positive at init, learning-rate rewinding in more than one dimension
/// where a is. By updates other than gradient descent, one neuron succeeds where w_1 is positive if the
/// update frees a: Gadhikar, Jacobs, Zhou & Burkholz, NeurIPS 2025 (arXiv:2504.12801), theorem 5.2.
pub fn predict(record: &NeuronRecord) -> Vec<Prediction> {
    let near = |claim: &str, method, from: u64, to: u64, expected: f64| {
        let own = in_dimensions(record, method, from, to);
        let near = |it: &&Fraction| (share(it) - expected).abs() <= NEAR;
        let seen = own.iter().map(|it| {
            let (low, high) = (100.0 * it.low, 100.0 * it.high);
            let share = 100.0 * share(it);
            format!("d = {}: {share:.1} % [{low:.1}, {high:.1}]", it.dimension)
        });
        prediction(claim, seen.collect(), !own.is_empty(), own.iter().all(near))
    };
    let exact = |claim: &str, method, from: u64, to: u64, succeeds: fn(bool, bool) -> bool| {
        let own = in_dimensions(record, method, from, to);
        let mut seen = Vec::new();
        for it in &own {
            let (total, against) = against(it, succeeds);
            seen.push(format!(
                "d = {}: {against} of {total} otherwise",
                it.dimension
            ));
        }
        let holds = own.iter().all(|it| against(it, succeeds).1 == 0);
        prediction(claim, seen, !own.is_empty(), holds)
    };
    let all = u64::MAX;
    let both = |a, w1| a && w1;
    if !record.update.is_gradient() {
        let name = record.update.name();
        // One neuron whose weights have the same size.
        let frees_a = record.update.balance(record.scale, &[record.scale]) < 0.0;
        let (signs, succeeds): (_, fn(bool, bool) -> bool) = match frees_a {
            true => ("w\u{2081} > 0", |_, w1| w1),
            false => ("a > 0 and w\u{2081} > 0", both),
        };
        return Method::BOTH
            .map(|method| {
                let method_name = method.name().to_uppercase();
                let claim = format!(
                    "{method_name} by {name} in one dimension succeeds exactly where {signs}"
                );
                exact(&claim, method, 1, 1, succeeds)
            })
            .into();
    }
    vec![
        near(
            "IMP succeeds from about a quarter of the inits, in every dimension",
            Method::Imp,
            1,
            all,
            0.25,
        ),
        near(
            "LRR succeeds from about a quarter of the inits in one dimension",
            Method::Lrr,
            1,
            1,
            0.25,
        ),
        near(
            "LRR succeeds from about half of the inits from two dimensions on",
            Method::Lrr,
            2,
            all,
            0.5,
        ),
        exact(
            "IMP succeeds exactly where a > 0 and w\u{2081} > 0 at init",
            Method::Imp,
            1,
            all,
            both,
        ),
        exact(
            "LRR in one dimension succeeds exactly where a > 0 and w\u{2081} > 0",
            Method::Lrr,
            1,
            1,
            both,
        ),
        exact(
            "LRR succeeds exactly where a > 0, from five dimensions on",
            Method::Lrr,
            5,
            all,
            |a, _| a,
        ),
    ]
}

/// Inits that succeed.
pub fn share(fraction: &Fraction) -> f64 {
    match fraction.inits {
        0 => f64::NAN,
        inits => fraction.successes as f64 / inits as f64,
    }
}

fn in_dimensions(record: &NeuronRecord, method: Method, from: u64, to: u64) -> Vec<&Fraction> {
    let own = record.fractions.iter().filter(|it| it.method == method);
    own.filter(|it| (from..=to).contains(&it.dimension))
        .collect()
}

/// Number of inits, and of those whose outcome is not the one that their signs say.
fn against(fraction: &Fraction, succeeds: fn(bool, bool) -> bool) -> (u64, u64) {
    let (mut inits, mut against) = (0, 0);
    for it in &fraction.quadrants {
        inits += it.inits;
        against += match succeeds(it.a_positive, it.w1_positive) {
            true => it.inits - it.successes.min(it.inits),
            false => it.successes,
        };
    }
    (inits, against)
}

fn prediction(claim: &str, seen: Vec<String>, any: bool, holds: bool) -> Prediction {
    Prediction {
        claim: claim.to_owned(),
        seen: match any {
            true => seen.join("; "),
            false => "not simulated".to_owned(),
        },
        verdict: match (any, holds) {
            (false, _) => Verdict::NotDecided,
            (true, true) => Verdict::Visible,
            (true, false) => Verdict::NotVisible,
        },
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::neuron::{ClosedForm, Quadrant, StepError, Trajectory, Update};

    /// A record in which everything is as the theory says.
    pub fn record() -> NeuronRecord {
        let fraction = |dimension, method| {
            let quadrants = [(true, true), (true, false), (false, true), (false, false)];
            let quadrants = quadrants.map(|(a, w1)| Quadrant {
                a_positive: a,
                w1_positive: w1,
                inits: 25,
                successes: match method {
                    Method::Lrr if dimension > 1 => 25 * u64::from(a),
                    _ => 25 * u64::from(a && w1),
                },
            });
            let successes = quadrants.iter().map(|it| it.successes).sum();
            Fraction {
                dimension,
                method,
                inits: 100,
                successes,
                low: successes as f64 / 100.0 - 0.09,
                high: successes as f64 / 100.0 + 0.09,
                quadrants: quadrants.to_vec(),
            }
        };
        let dimensions = [1, 2, 5, 10, 50];
        let time: Vec<f64> = (0..80).map(f64::from).collect();
        let rise = |sign: f64| {
            time.iter()
                .map(|t| sign / (1.0 + (6.0 - 0.3 * t).exp()))
                .collect()
        };
        let exact = |t: f64| 1.0 / (1.0 + 99.0 * (-t).exp());
        NeuronRecord {
            time: 40.0,
            step: 0.01,
            scale: 0.1,
            fractions: (dimensions.iter())
                .flat_map(|&d| [fraction(d, Method::Imp), fraction(d, Method::Lrr)])
                .collect(),
            trajectories: [(Method::Imp, -1.0), (Method::Lrr, 1.0)]
                .map(|(method, sign)| Trajectory {
                    dimension: 2,
                    method,
                    init: 3,
                    success: sign > 0.0,
                    time: time.clone(),
                    pruned: time.iter().map(|t| *t >= 40.0).collect(),
                    a: rise(1.0),
                    w1: rise(sign),
                    loss: rise(0.5),
                })
                .to_vec(),
            closed_form: (0..40)
                .map(|t| ClosedForm {
                    time: f64::from(t),
                    simulated: exact(f64::from(t)) + 1e-3,
                    exact: exact(f64::from(t)),
                })
                .collect(),
            step_errors: [0.04, 0.02, 0.01]
                .map(|step| StepError {
                    step,
                    error: 0.1 * step,
                })
                .to_vec(),
            ..NeuronRecord::default()
        }
    }

    #[test]
    fn what_the_theory_says_is_found_in_a_record_that_follows_it() {
        let verdicts: Vec<Verdict> = predict(&record()).iter().map(|it| it.verdict).collect();
        assert_eq!(verdicts, [Verdict::Visible; 6]);
        assert!(
            predict(&NeuronRecord::default())
                .iter()
                .all(|it| it.verdict == Verdict::NotDecided)
        );
    }

    #[test]
    fn an_update_that_frees_the_output_weight_is_claimed_to_succeed_wherever_w1_is_positive() {
        let by = |alpha_a, alpha_w| {
            let mut record = NeuronRecord {
                update: Update::Ham {
                    alpha_a,
                    alpha_w,
                    beta: 0.0,
                },
                ..record()
            };
            // In one dimension both succeed where both signs are right; then from a < 0, too.
            let before: Vec<Verdict> = predict(&record).iter().map(|it| it.verdict).collect();
            for fraction in &mut record.fractions[..2] {
                fraction.quadrants[2].successes = 25;
            }
            let after = predict(&record);
            (
                before,
                after.iter().map(|it| it.verdict).collect::<Vec<_>>(),
            )
        };
        let (seen, not) = ([Verdict::Visible; 2], [Verdict::NotVisible; 2]);
        assert_eq!(by(4.0, 1.0), (not.to_vec(), seen.to_vec()));
        assert_eq!(by(4.0, 4.0), (seen.to_vec(), not.to_vec()));
    }

    #[test]
    fn a_single_init_that_goes_against_its_quadrant_is_counted() {
        let mut record = record();
        // IMP in two dimensions: an init with a < 0 succeeds.
        let fraction = &mut record.fractions[2];
        assert_eq!((fraction.dimension, fraction.method), (2, Method::Imp));
        fraction.quadrants[3].successes = 1;
        let predictions = predict(&record);
        assert_eq!(predictions[3].verdict, Verdict::NotVisible);
        assert!(predictions[3].seen.contains("d = 2: 1 of 100 otherwise"));
        assert!(predictions[3].seen.contains("d = 1: 0 of 100 otherwise"));
    }

    #[test]
    fn a_fraction_far_from_what_is_claimed_is_told() {
        let mut record = record();
        record.fractions[5].successes = 40;
        let predictions = predict(&record);
        assert_eq!(predictions[2].verdict, Verdict::NotVisible);
        assert!(predictions[2].seen.contains("d = 5: 40.0 %"));
    }
}
