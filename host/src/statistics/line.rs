//! The straight line between two networks.

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::StatisticsError;
use crate::trainer::{Evaluation, On, Snapshot, TrainError, Trainer};

/// How a line between two networks is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Number of evenly spaced points of the line, the two ends among them.
    #[schemars(range(min = 3, max = 10_001))]
    pub points: usize,
    /// Where the running statistics between the ends come from.
    pub batch_norm: BatchNorm,
    /// Samples that are evaluated.
    pub data: On,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            points: 21,
            batch_norm: BatchNorm::default(),
            data: On::default(),
        }
    }
}

/// Where a batch norm's running statistics come from on the line. Its scale and shift are always
/// interpolated, as weights and biases are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorm {
    /// Recomputed from the training data at every point of the line, also at its ends.
    ///
    /// # Source
    /// Jordan et al. 2022 (REPAIR, arXiv:2211.08403): the variance of the activations collapses
    /// between two networks, so that statistics from the ends normalise wrongly in between.
    #[default]
    Recompute,
    /// Interpolated like weights; the ends are the stored networks as they are.
    Interpolate,
}

/// Networks that are evaluated together, where the model has lanes.
const TOGETHER: usize = 32;

/// The positions of `points` evenly spaced points, from 0 to 1.
pub(super) fn positions(points: usize) -> Vec<f64> {
    let last = points.saturating_sub(1).max(1) as f64;
    (0..points).map(|at| at as f64 / last).collect()
}

/// The network at `alpha` of the way from `a` to `b`, statistics included: `a` at 0, `b` at 1.
fn between(a: &Snapshot, b: &Snapshot, alpha: f64) -> Result<Snapshot, TrainError> {
    let tensor = |(name, start): &(String, Tensor)| {
        let end = b
            .get(name)
            .ok_or_else(|| TrainError::Missing { name: name.clone() })?;
        if end.size() != start.size() {
            return Err(TrainError::Shape {
                name: name.clone(),
                got: end.size(),
                expected: start.size(),
            });
        }
        Ok((name.clone(), start.lerp(end, alpha)))
    };
    let tensors = a.tensors.iter().map(tensor).collect::<Result<_, _>>()?;
    Ok(Snapshot { tensors })
}

/// Loss and accuracy along the line from `a` to `b`, one for each point.
pub(super) fn evaluate(
    trainer: &Trainer,
    a: &Snapshot,
    b: &Snapshot,
    settings: &Settings,
) -> Result<Vec<Evaluation>, StatisticsError> {
    if settings.points < 3 {
        return Err(StatisticsError::Points(settings.points));
    }
    let together = if trainer.lanes() { TOGETHER } else { 1 };
    let mut evaluations = Vec::with_capacity(settings.points);
    for alphas in positions(settings.points).chunks(together) {
        let points: Result<Vec<Snapshot>, _> =
            alphas.iter().map(|&alpha| between(a, b, alpha)).collect();
        let mut points = points?;
        if settings.batch_norm == BatchNorm::Recompute {
            trainer.recompute_statistics(&mut points)?;
        }
        evaluations.extend(trainer.evaluate(&points, settings.data)?);
    }
    Ok(evaluations)
}

/// Shares of the prunable weights that are not 0: in `a`, in `b`, and on the line between them.
pub(super) fn densities(trainer: &Trainer, a: &Snapshot, b: &Snapshot) -> [f64; 3] {
    let count = |tensor: Tensor| tensor.sum(Kind::Int64).int64_value(&[]);
    let (mut counts, mut size) = ([0; 3], 0);
    for layer in trainer.layers() {
        let (Some(a), Some(b)) = (a.get(&layer.name), b.get(&layer.name)) else {
            continue;
        };
        let [a, b] = [a, b].map(|tensor| tensor.ne(0.0));
        let either = a.logical_or(&b);
        for (total, tensor) in counts.iter_mut().zip([a, b, either]) {
            *total += count(tensor);
        }
        size += layer.len();
    }
    counts.map(|count| count as f64 / size.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trainer::testing::{conv_trainer, mlp_trainer};

    fn settings(points: usize, batch_norm: BatchNorm) -> Settings {
        Settings {
            points,
            batch_norm,
            data: On::Test,
        }
    }

    /// Without it the first convolution of a test's thread runs with another number of threads than the
    /// next, if a test beside it has set one: libtorch takes that over with its first parallel loop.
    fn pin_threads() {
        tch::set_num_threads(1);
    }

    #[test]
    fn interpolated_networks_are_those_of_a_plain_loop() {
        pin_threads();
        for trainer in [conv_trainer(json!({})), mlp_trainer(json!({}))] {
            let [a, b] = [1, 2].map(|seed| trainer.initial(seed));
            let got = evaluate(&trainer, &a, &b, &settings(37, BatchNorm::Interpolate)).unwrap();
            assert_eq!(got.len(), 37);
            for (at, got) in got.iter().enumerate().step_by(6) {
                let alpha = at as f64 / 36.0;
                let mix = |(name, x): &(String, Tensor)| {
                    (
                        name.clone(),
                        x * (1.0 - alpha) + b.get(name).unwrap() * alpha,
                    )
                };
                let point = Snapshot {
                    tensors: a.tensors.iter().map(mix).collect(),
                };
                let expected = trainer.evaluate(&[point], On::Test).unwrap()[0];
                assert!((got.loss - expected.loss).abs() < 1e-5, "{alpha}");
            }
            let ends = trainer.evaluate(&[a, b], On::Test).unwrap();
            assert_eq!([got[0], got[36]], ends[..]);
        }
    }

    #[test]
    fn recomputed_statistics_hold_at_every_point_of_the_line() {
        pin_threads();
        let trainer = conv_trainer(json!({}));
        let [a, b] = [1, 2].map(|seed| trainer.initial(seed));
        let got = evaluate(&trainer, &a, &b, &settings(5, BatchNorm::Recompute)).unwrap();
        for (alpha, got) in positions(5).into_iter().zip(got) {
            let mut point = [between(&a, &b, alpha).unwrap()];
            trainer.recompute_statistics(&mut point).unwrap();
            assert_eq!(trainer.evaluate(&point, On::Test).unwrap(), [got]);
        }
    }

    #[test]
    fn the_line_is_as_dense_as_both_ends_together() {
        let trainer = conv_trainer(json!({}));
        let [mut a, mut b] = [1, 2].map(|seed| trainer.initial(seed));
        let (mut kept, mut size) = ([0; 3], 0);
        for layer in trainer.layers() {
            let of = |step: i64| {
                let index = Tensor::arange(layer.len() as i64, (Kind::Int64, trainer.device()));
                index.remainder(step).eq(0).view(&layer.shape[..])
            };
            for (point, step) in [(&mut a, 2), (&mut b, 3)] {
                let pruned = point.get(&layer.name).unwrap() * of(step);
                point.replace(&layer.name, pruned);
            }
            for at in 0..layer.len() {
                let hits = [at % 2 == 0, at % 3 == 0, at % 2 == 0 || at % 3 == 0];
                kept.iter_mut()
                    .zip(hits)
                    .for_each(|(kept, hit)| *kept += u64::from(hit));
            }
            size += layer.len();
        }
        let expected = kept.map(|kept| kept as f64 / size as f64);
        assert_eq!(densities(&trainer, &a, &b), expected);
        let middle = between(&a, &b, 0.5).unwrap();
        assert_eq!(densities(&trainer, &middle, &middle)[0], expected[2]);
    }
}
