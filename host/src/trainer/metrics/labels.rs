//! Metrics of samples with several labels.

use super::{ClassCounts, Metrics};

/// What is added up of outputs for several labels, each there or not.
#[derive(Debug)]
pub struct OfLabels {
    samples: u64,
    /// Right answers of each label.
    correct: Vec<u64>,
}

impl OfLabels {
    pub fn new(labels: i64) -> Self {
        Self {
            samples: 0,
            correct: vec![0; labels as usize],
        }
    }

    /// Adds rows of outputs, each with its labels.
    pub fn add(&mut self, outputs: &[f32], targets: &[f32]) {
        let labels = self.correct.len().max(1);
        let rows = outputs.chunks_exact(labels);
        for (outputs, targets) in rows.zip(targets.chunks_exact(labels)) {
            self.samples += 1;
            for ((output, target), correct) in outputs.iter().zip(targets).zip(&mut self.correct) {
                let is_right = (*output > 0.0) == (*target > 0.5) && output.is_finite();
                *correct += u64::from(is_right);
            }
        }
    }

    pub fn finish(self) -> Metrics {
        let of_label = |correct: &u64| ClassCounts {
            targets: self.samples,
            correct: Some(*correct),
            predicted: None,
        };
        Metrics {
            classes: self.correct.iter().map(of_label).collect(),
            ..Metrics::default()
        }
    }
}
