//! Metrics of targets that are numbers.

use super::Metrics;

/// What is added up of outputs whose targets are numbers.
#[derive(Debug)]
pub struct OfNumbers {
    /// Mean of all targets of the split.
    mean: f64,
    count: u64,
    /// Squared distances of outputs from targets.
    residual: f64,
    /// Squared distances of targets from their mean.
    total: f64,
}

impl OfNumbers {
    /// Nothing yet, of a split with these targets, whose mean is known in advance.
    pub fn of(targets: &[f32]) -> Self {
        let sum: f64 = targets.iter().map(|&target| f64::from(target)).sum();
        Self {
            mean: sum / targets.len() as f64,
            count: 0,
            residual: 0.0,
            total: 0.0,
        }
    }

    /// Adds outputs, each with its target.
    pub fn add(&mut self, outputs: &[f32], targets: &[f32]) {
        for (&output, &target) in outputs.iter().zip(targets) {
            let target = f64::from(target);
            self.count += 1;
            self.residual += (f64::from(output) - target).powi(2);
            self.total += (target - self.mean).powi(2);
        }
    }

    pub fn finish(self) -> Metrics {
        let explained = 1.0 - self.residual / self.total;
        Metrics {
            rmse: Some((self.residual / self.count as f64).sqrt()),
            r2: Some(if self.total > 0.0 {
                explained
            } else {
                f64::NAN
            }),
            ..Metrics::default()
        }
    }
}
