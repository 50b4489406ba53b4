//! Linear mode connectivity: how much worse networks get on the line between two stored points.

use serde::{Deserialize, Deserializer, Serialize};

use super::line::{self, Settings};
use super::{Line, StatisticsError, check_comparable};
use crate::records::{BARRIERS, number_or_null};
use crate::store::{RunDir, StoreError};
use crate::trainer::{Evaluation, Trainer};

/// The line between two stored points of one seed: a line of `barriers.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Barrier {
    /// Seed.
    pub seed: u64,
    /// Where the line starts, at 0.
    pub a: End,
    /// Where it ends, at 1.
    pub b: End,
    /// How it was evaluated.
    pub settings: Settings,
    /// Samples that were evaluated.
    pub samples: u64,
    /// Share of the prunable weights of `a` that are not 0.
    pub density_a: f64,
    /// The same of `b`.
    pub density_b: f64,
    /// The same of the networks between them, which have what either has.
    pub density_between: f64,
    /// Positions on the line, from 0 to 1.
    pub alphas: Vec<f64>,
    /// Share of the samples that are classified wrongly there.
    pub errors: Vec<f64>,
    /// Mean cross-entropy there.
    #[serde(deserialize_with = "numbers_or_null")]
    pub losses: Vec<f64>,
    /// Greatest error less the mean of the ends' errors.
    pub error_barrier: f64,
    /// Greatest loss less the mean of the ends' losses.
    #[serde(deserialize_with = "number_or_null")]
    pub loss_barrier: f64,
    /// How far the error rises at most above a straight line between the ends' errors.
    pub error_rise: f64,
    /// How far the loss rises at most above a straight line between the ends' losses.
    #[serde(deserialize_with = "number_or_null")]
    pub loss_rise: f64,
}

/// One end of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Name of the run's folder.
    pub run: String,
    /// The point, such as `level-3-end`.
    pub point: String,
    /// BLAKE3 of the point's file.
    pub digest: String,
}

fn numbers_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers = Vec::<Option<f64>>::deserialize(deserializer)?;
    Ok((numbers.into_iter())
        .map(|number| number.unwrap_or(f64::NAN))
        .collect())
}

/// Evaluates lines that have no record yet, and returns the records of all of them in their order.
/// Records are kept in `barriers.jsonl` in the folder of each line's first run. `observe` sees each
/// as soon as it is there.
///
/// `trainer` is that of the first lines' run: see [`trainer`](super::trainer).
///
/// # Errors
/// If a point is missing, the runs differ in data or model, or a record cannot be written.
pub fn barriers(
    trainer: &Trainer,
    lines: &[Line],
    settings: &Settings,
    mut observe: impl FnMut(&Barrier),
) -> Result<Vec<Barrier>, StatisticsError> {
    let mut barriers = Vec::new();
    for line in lines {
        if line.a.run.name() != line.b.run.name() {
            check_comparable(&line.a.run, &line.b.run)?;
        }
        let mut known: Vec<Barrier> = BARRIERS.read(&line.a.run)?;
        let mut lock = None;
        let (mut new, first) = (Vec::new(), barriers.len());
        for &seed in &line.seeds {
            let (a, b) = (line.a.end(seed, trainer)?, line.b.end(seed, trainer)?);
            let is_this =
                |it: &&Barrier| (it.seed, &it.a, &it.b, &it.settings) == (seed, &a, &b, settings);
            if lock.is_none() && !known.iter().any(|it| is_this(&it)) {
                lock = Some(BARRIERS.lock(&line.a.run)?);
                // Another process may have measured it meanwhile.
                known = BARRIERS.read(&line.a.run)?;
            }
            if let Some(barrier) = known.iter().find(is_this) {
                barriers.push(barrier.clone());
                continue;
            }
            let points = [&line.a, &line.b].map(|end| end.read(seed, trainer));
            let [from, to] = points;
            let (from, to) = (from?, to?);
            let evaluations = line::evaluate(trainer, &from, &to, settings)?;
            let densities = line::densities(trainer, &from, &to);
            let barrier = Barrier::new(seed, [a, b], *settings, densities, &evaluations);
            new.push(barrier.clone());
            barriers.push(barrier);
        }
        if !new.is_empty() {
            BARRIERS.add(&line.a.run, new, is_same_line)?;
        }
        barriers[first..].iter().for_each(&mut observe);
    }
    Ok(barriers)
}

impl Barrier {
    fn new(
        seed: u64,
        [a, b]: [End; 2],
        settings: Settings,
        [density_a, density_b, density_between]: [f64; 3],
        evaluations: &[Evaluation],
    ) -> Self {
        let alphas = line::positions(evaluations.len());
        let samples = evaluations.first().map_or(0, |first| first.samples);
        let wrong = |it: &Evaluation| (it.samples - it.correct) as f64 / it.samples as f64;
        let errors: Vec<f64> = evaluations.iter().map(wrong).collect();
        let losses: Vec<f64> = evaluations.iter().map(|it| it.loss).collect();
        Self {
            seed,
            a,
            b,
            settings,
            samples,
            density_a,
            density_b,
            density_between,
            error_barrier: height(&errors),
            loss_barrier: height(&losses),
            error_rise: rise(&alphas, &errors),
            loss_rise: rise(&alphas, &losses),
            alphas,
            errors,
            losses,
        }
    }
}

/// Greatest value less the mean of the ends.
///
/// # Source
/// Frankle et al. 2020 (arXiv:1912.05671), section 2: the height of the error barrier.
fn height(values: &[f64]) -> f64 {
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return f64::NAN;
    };
    greatest(values.iter().copied()) - (first + last) / 2.0
}

/// Greatest difference to the straight line between the ends.
///
/// # Source
/// Entezari et al. 2022 (arXiv:2110.06296), the definition of the barrier.
fn rise(alphas: &[f64], values: &[f64]) -> f64 {
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return f64::NAN;
    };
    let above = |(alpha, value): (&f64, &f64)| value - ((1.0 - alpha) * first + alpha * last);
    greatest(alphas.iter().zip(values).map(above))
}

/// The greatest value, NaN if one is: a maximum that hides it would call a broken line flat.
fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, |greatest, value| {
        if value.is_nan() || greatest.is_nan() {
            f64::NAN
        } else {
            greatest.max(value)
        }
    })
}

/// The records that are kept of lines that start in a run.
///
/// # Errors
/// If the file is there and cannot be read.
pub fn recorded(run: &RunDir) -> Result<Vec<Barrier>, StoreError> {
    BARRIERS.read(run)
}

/// Whether one is the other measured again, of weights that have been trained again since.
fn is_same_line(old: &Barrier, new: &Barrier) -> bool {
    let ends = |it: &Barrier| [&it.a, &it.b].map(|end| (end.run.clone(), end.point.clone()));
    (old.seed, old.settings) == (new.seed, new.settings) && ends(old) == ends(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(correct: u64, loss: f64) -> Evaluation {
        Evaluation {
            loss,
            accuracy: correct as f64 / 10.0,
            correct,
            samples: 10,
        }
    }

    fn barrier(evaluations: &[Evaluation]) -> Barrier {
        let end = |point: &str| End {
            run: "lrr".to_owned(),
            point: point.to_owned(),
            digest: "d".to_owned(),
        };
        let ends = [end("level-0-end"), end("level-1-end")];
        Barrier::new(3, ends, Settings::default(), [1.0, 0.8, 1.0], evaluations)
    }

    #[test]
    fn the_barrier_is_the_greatest_value_less_the_mean_of_the_ends() {
        let got = barrier(&[
            evaluation(9, 0.25),
            evaluation(4, 2.0),
            evaluation(5, 1.5),
            evaluation(7, 0.75),
        ]);
        assert_eq!(got.errors, [0.1, 0.6, 0.5, 0.3]);
        assert!((got.error_barrier - (0.6 - 0.2)).abs() < 1e-15);
        assert_eq!(got.loss_barrier, 2.0 - 0.5);
        // A third of the way from 0.1 to 0.3, and from 0.25 to 0.75.
        assert!((got.error_rise - (0.6 - (0.1 + 0.2 / 3.0))).abs() < 1e-15);
        assert!((got.loss_rise - (2.0 - (0.25 + 0.5 / 3.0))).abs() < 1e-15);
    }

    #[test]
    fn a_line_is_the_same_whatever_its_weights_were_then() {
        let old = barrier(&[evaluation(9, 0.5), evaluation(9, 0.5), evaluation(9, 0.5)]);
        let mut new = old.clone();
        (new.a.digest, new.errors) = ("e".to_owned(), vec![0.0; 3]);
        assert!(is_same_line(&old, &new));
        let mut other = old.clone();
        other.settings.points += 2;
        assert!(!is_same_line(&old, &other));
        let mut other = old.clone();
        other.seed += 1;
        assert!(!is_same_line(&old, &other));
        let mut other = old.clone();
        other.b.point = "level-2-end".to_owned();
        assert!(!is_same_line(&old, &other));
    }

    #[test]
    fn a_line_that_only_falls_has_half_the_ends_difference_as_its_barrier_and_no_rise() {
        let got = barrier(&[evaluation(2, 4.0), evaluation(4, 3.0), evaluation(6, 2.0)]);
        assert!((got.error_barrier - 0.2).abs() < 1e-15);
        assert_eq!((got.loss_barrier, got.loss_rise), (1.0, 0.0));
    }

    #[test]
    fn a_loss_that_is_not_finite_shows_in_the_barrier_and_survives_the_file() {
        let got = barrier(&[
            evaluation(9, 0.5),
            evaluation(1, f64::NAN),
            evaluation(9, 0.5),
        ]);
        assert!(got.loss_barrier.is_nan());
        let text = serde_json::to_string(&got).unwrap();
        let back: Barrier = serde_json::from_str(&text).unwrap();
        assert!(back.losses[1].is_nan() && back.loss_barrier.is_nan());
        assert_eq!(back.errors, got.errors);
    }
}
