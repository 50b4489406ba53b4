//! What is measured of a split beside loss and accuracy.
//!
//! Outputs are looked at one after the other, in the order of the samples and in f64: a number depends
//! neither on how many are evaluated together nor on lanes or threads.

mod classes;
mod labels;
mod numbers;
#[cfg(test)]
mod tests;

use tch::{Device, Kind, Tensor};

use super::targets::Targets;
use super::{Evaluation, TrainError};
use crate::data::{Dataset, Split};
use crate::experiment::Metric;

use classes::OfClasses;
use labels::OfLabels;
use numbers::OfNumbers;

/// Classes up to which it is counted which are taken for which.
const MOST_CONFUSED: i64 = 1000;

/// What was measured of a split; nothing that was not asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Number of targets whose class is among the five with the highest outputs.
    pub top_5_correct: Option<u64>,
    /// Mean negative log-likelihood of the targets' classes, natural.
    pub nll: Option<f64>,
    /// Exponential of it.
    pub perplexity: Option<f64>,
    /// Expected calibration error, from 0 to 1.
    pub ece: Option<f64>,
    /// Root of the mean squared distance.
    pub rmse: Option<f64>,
    /// Share of the targets' variance that the outputs explain, at most 1; no number where all targets are
    /// the same.
    pub r2: Option<f64>,
    /// Counts of each class or label, in their order; empty if none was asked for.
    pub classes: Vec<ClassCounts>,
}

/// What was counted of a class, or of one of several labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassCounts {
    /// Targets of this class; of a label all samples.
    pub targets: u64,
    /// Of these, those that are right.
    pub correct: Option<u64>,
    /// For each class, how many of these were taken for it.
    pub predicted: Option<Vec<u64>>,
}

/// Loss and accuracy of a split, and what else was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tested {
    /// Loss and accuracy.
    pub evaluation: Evaluation,
    /// The rest.
    pub metrics: Metrics,
}

/// Fails if one of the metrics is not for these data.
pub(super) fn check(
    metrics: &[Metric],
    targets: Targets,
    data: &Dataset,
) -> Result<(), TrainError> {
    for (at, &metric) in metrics.iter().enumerate() {
        if let Err(reason) = suits(metric, targets, data.classes) {
            return Err(TrainError::Metric {
                at,
                metric: metric.name(),
                dataset: data.name.clone(),
                reason,
            });
        }
    }
    Ok(())
}

fn suits(metric: Metric, targets: Targets, classes: i64) -> Result<(), String> {
    let words = targets.words();
    let refuse = |expected: &str| Err(format!("its targets are {words}: expected {expected}"));
    match (metric, targets) {
        (Metric::Rmse | Metric::R2, Targets::Numbers) => Ok(()),
        (Metric::Rmse | Metric::R2, _) => refuse("targets that are numbers"),
        (_, Targets::Numbers) => refuse("\"rmse\" or \"r2\""),
        (Metric::PerClass, Targets::Labels) => Ok(()),
        (_, Targets::Labels) => refuse("\"per-class\", which is of each label"),
        (Metric::Perplexity, Targets::Classes) => {
            refuse("classes at positions, or \"nll\", of which perplexity is the exponential")
        }
        (Metric::Top5, _) if classes < 6 => Err(format!(
            "it has {classes} classes, so that five of them hold nearly every target: expected 6 or more"
        )),
        (Metric::Confusion, _) if classes > MOST_CONFUSED => Err(format!(
            "it has {classes} classes, so that there are {} counts: expected at most {MOST_CONFUSED} classes",
            classes * classes
        )),
        _ => Ok(()),
    }
}

/// What is added up of one lane while its outputs pass by.
pub(super) enum Tally {
    Classes(Box<OfClasses>),
    Labels(OfLabels),
    Numbers(OfNumbers),
}

impl Tally {
    /// Nothing yet, of a split with these targets.
    pub fn new(metrics: &[Metric], targets: Targets, classes: i64, split: &Split) -> Self {
        match targets {
            Targets::Classes | Targets::Positions => {
                Self::Classes(Box::new(OfClasses::new(metrics, classes)))
            }
            Targets::Labels => Self::Labels(OfLabels::new(classes)),
            Targets::Numbers => Self::Numbers(OfNumbers::of(&floats(&split.labels))),
        }
    }

    /// Adds outputs with their targets.
    ///
    /// # Shapes
    /// `outputs`: `[rows, classes]`, `targets`: `[rows]`, of labels `[rows, labels]`.
    pub fn add(&mut self, outputs: &Tensor, targets: &Tensor) {
        let outputs = floats(outputs);
        match self {
            Self::Classes(tally) => tally.add(&outputs, &integers(targets)),
            Self::Labels(tally) => tally.add(&outputs, &floats(targets)),
            Self::Numbers(tally) => tally.add(&outputs, &floats(targets)),
        }
    }

    /// What they come to.
    pub fn finish(self, metrics: &[Metric]) -> Metrics {
        let all = match self {
            Self::Classes(tally) => tally.finish(),
            Self::Labels(tally) => tally.finish(),
            Self::Numbers(tally) => tally.finish(),
        };
        let asked = |metric| metrics.contains(&metric);
        let keep = |metric, value: Option<f64>| value.filter(|_| asked(metric));
        Metrics {
            top_5_correct: all.top_5_correct.filter(|_| asked(Metric::Top5)),
            nll: keep(Metric::Nll, all.nll),
            perplexity: keep(Metric::Perplexity, all.perplexity),
            ece: keep(Metric::Ece, all.ece),
            rmse: keep(Metric::Rmse, all.rmse),
            r2: keep(Metric::R2, all.r2),
            classes: match asked(Metric::PerClass) || asked(Metric::Confusion) {
                true => (all.classes.into_iter())
                    .map(|it| ClassCounts {
                        targets: it.targets,
                        correct: it.correct.filter(|_| asked(Metric::PerClass)),
                        predicted: it.predicted.filter(|_| asked(Metric::Confusion)),
                    })
                    .collect(),
                false => Vec::new(),
            },
        }
    }
}

/// The elements as f32, row-major.
fn floats(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.to_device(Device::Cpu).to_kind(Kind::Float);
    let flat = flat.contiguous();
    let mut values = vec![0f32; flat.numel()];
    let count = values.len();
    flat.copy_data(&mut values, count);
    values
}

/// The elements as i64, row-major.
fn integers(tensor: &Tensor) -> Vec<i64> {
    let flat = tensor.to_device(Device::Cpu).to_kind(Kind::Int64);
    let flat = flat.contiguous();
    let mut values = vec![0i64; flat.numel()];
    let count = values.len();
    flat.copy_data(&mut values, count);
    values
}
