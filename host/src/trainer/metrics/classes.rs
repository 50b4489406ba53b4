//! Metrics of targets that are classes.

use super::{ClassCounts, Metrics};
use crate::experiment::Metric;

/// Bins of the confidence, all of one width.
const BINS: usize = 15;

/// Rank below which a target is among the top.
const TOP: usize = 5;

/// What is added up of outputs whose targets are classes.
#[derive(Debug)]
pub struct OfClasses {
    classes: usize,
    rows: u64,
    top_5: u64,
    nll: f64,
    bins: [Bin; BINS],
    /// Targets and right answers of each class.
    counts: Vec<[u64; 2]>,
    /// How many targets of each class were taken for each, row-major; empty if nobody asks.
    confusion: Vec<u64>,
}

/// Answers whose confidence lies in one interval.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    correct: u64,
    /// Sum of the confidences.
    confidence: f64,
}

impl OfClasses {
    pub fn new(metrics: &[Metric], classes: i64) -> Self {
        let classes = classes as usize;
        let confused = metrics.contains(&Metric::Confusion);
        Self {
            classes,
            rows: 0,
            top_5: 0,
            nll: 0.0,
            bins: Default::default(),
            counts: vec![[0, 0]; classes],
            confusion: vec![0; if confused { classes * classes } else { 0 }],
        }
    }

    /// Adds rows of outputs, each with its class, which the loss has found to be one.
    pub fn add(&mut self, outputs: &[f32], targets: &[i64]) {
        for (scores, &target) in outputs.chunks_exact(self.classes).zip(targets) {
            self.add_one(scores, target as usize);
        }
    }

    fn add_one(&mut self, scores: &[f32], target: usize) {
        // Of equal outputs the first counts as the higher, as in accuracy.
        let mut best = 0;
        for (class, score) in scores.iter().enumerate() {
            if *score > scores[best] {
                best = class;
            }
        }
        let above = |score: f32| f64::from(score) - f64::from(scores[best]);
        let sum: f64 = scores.iter().map(|&score| above(score).exp()).sum();
        let is_right = best == target && sum.is_finite();
        self.rows += 1;
        self.nll += sum.ln() - above(scores[target]);
        let ahead = |(class, score): &(usize, &f32)| {
            **score > scores[target] || (*class < target && **score == scores[target])
        };
        let rank = scores.iter().enumerate().filter(ahead).count();
        self.top_5 += u64::from(rank < TOP && sum.is_finite());
        // The first class's exponential is 1.
        let confidence = 1.0 / sum;
        let bin = &mut self.bins[bin_of(confidence)];
        bin.correct += u64::from(is_right);
        bin.confidence += confidence;
        let [all, right] = &mut self.counts[target];
        *all += 1;
        *right += u64::from(is_right);
        if let Some(count) = self.confusion.get_mut(target * self.classes + best) {
            *count += 1;
        }
    }

    /// Numbers of the bins that hold an answer.
    #[cfg(test)]
    pub fn filled_bins(&self) -> Vec<usize> {
        let filled = |bin: &usize| self.bins[*bin].confidence > 0.0;
        (0..BINS).filter(filled).collect()
    }

    pub fn finish(self) -> Metrics {
        let rows = self.rows as f64;
        let nll = self.nll / rows;
        let gap = |bin: &Bin| (bin.correct as f64 - bin.confidence).abs();
        let mut rows_of_confusion = self.confusion.chunks(self.classes.max(1));
        Metrics {
            top_5_correct: Some(self.top_5),
            nll: Some(nll),
            perplexity: Some(nll.exp()),
            ece: Some(self.bins.iter().map(gap).sum::<f64>() / rows),
            classes: (self.counts.iter())
                .map(|&[targets, correct]| ClassCounts {
                    targets,
                    correct: Some(correct),
                    predicted: rows_of_confusion.next().map(<[u64]>::to_vec),
                })
                .collect(),
            ..Metrics::default()
        }
    }
}

/// The bin of a confidence: intervals are open below and closed above.
///
/// # Source
/// Guo et al. 2017 (arXiv:1706.04599), equation 3: the sum over bins of their share of the samples times the
/// distance between their accuracy and their mean confidence, with M = 15.
fn bin_of(confidence: f64) -> usize {
    let above = (confidence * BINS as f64).ceil() as usize;
    above.saturating_sub(1).min(BINS - 1)
}
