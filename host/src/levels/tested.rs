//! What an evaluation gives, as it is recorded.

use crate::records::{ClassRecord, Summary};
use crate::trainer::{ClassCounts, Tested};

/// A summary with what an evaluation of the test samples gave.
pub fn summary_of(tested: &Tested, summary: Summary) -> Summary {
    let (evaluation, metrics) = (&tested.evaluation, &tested.metrics);
    let share = |count: u64| count as f64 / evaluation.samples as f64;
    Summary {
        test_loss: evaluation.loss,
        test_correct: evaluation.correct,
        test_samples: evaluation.samples,
        test_accuracy: evaluation.accuracy,
        test_top_5_correct: metrics.top_5_correct,
        test_top_5_accuracy: metrics.top_5_correct.map(share),
        test_nll: metrics.nll,
        test_perplexity: metrics.perplexity,
        test_ece: metrics.ece,
        test_rmse: metrics.rmse,
        test_r2: metrics.r2,
        ..summary
    }
}

/// What an evaluation gave for each class; nothing where no metric is of classes.
pub fn classes_of(tested: &Tested, level: u64) -> Vec<ClassRecord> {
    let record = |(class, counts): (u64, &ClassCounts)| ClassRecord {
        level,
        class,
        test_samples: counts.targets,
        test_correct: counts.correct,
        test_accuracy: (counts.correct).map(|correct| correct as f64 / counts.targets as f64),
        predicted: counts.predicted.clone(),
    };
    (0..).zip(&tested.metrics.classes).map(record).collect()
}
