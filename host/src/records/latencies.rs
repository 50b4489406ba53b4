//! How long forward passes of a level's model take: lines of a run's `latencies.jsonl`.

use serde::{Deserialize, Serialize};

/// How the weights are stored and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// In full, zeros too, by the network's own forward pass.
    Dense,
    /// The same without dead units.
    Compact,
    /// In compressed sparse rows where these are smaller, by libtorch's product of a CSR matrix and a
    /// dense one; convolutions after their windows have been written out.
    Csr,
    /// At the surviving weights by the runtime, `rewind-infer`, which has none of libtorch.
    Infer,
    /// In full by ONNX Runtime.
    Onnx,
    /// Without dead units by ONNX Runtime.
    OnnxCompact,
    /// The same in 8 bits.
    OnnxInt8,
}

/// What was measured of one variant with one batch size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How.
    pub variant: Variant,
    /// Samples of a forward pass.
    pub batch: i64,
    /// Bytes of all parameters and running statistics as they are stored.
    pub bytes: usize,
    /// Forward passes that were timed.
    pub passes: usize,
    /// Time of a pass in milliseconds that a quarter, half and three quarters of them stay below; none
    /// if it cannot be computed.
    pub quartiles_ms: Option<[f64; 3]>,
    /// Its time as a share of the dense one's in the same turn, in quartiles as well: what else went on in
    /// the machine fell on both.
    pub of_dense: Option<[f64; 3]>,
    /// Its time as a share of that of ONNX Runtime in full, in the same way.
    pub of_onnx: Option<[f64; 3]>,
    /// Largest difference of an output from the dense one's, as a share of the largest output.
    pub difference: Option<f64>,
    /// Share of the test samples that are right, if the data are here.
    pub accuracy: Option<f64>,
    /// Why it cannot be computed.
    pub unavailable: Option<String>,
}

/// A level's model on one batch size, computed in every way in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The seed.
    pub seed: u64,
    /// The level at whose end the model stands.
    pub level: u64,
    /// Share of the prunable weights that survive.
    pub density: f64,
    /// Samples of a forward pass.
    pub batch: i64,
    /// Threads of each way.
    pub threads: usize,
    /// Of what number layers without dead units have a multiple.
    pub multiple: u16,
    /// The processor.
    pub processor: String,
    /// Version of ONNX Runtime, if it was there.
    pub onnx_runtime: Option<String>,
    /// The ways.
    pub latencies: Vec<Latency>,
}

impl Timing {
    /// Whether one is the other measured again, on the same machine with the same ONNX Runtime.
    pub fn is_of_same(&self, other: &Self) -> bool {
        let what = |it: &Self| (it.seed, it.level, it.batch, it.threads, it.multiple);
        let beside = |it: &Self| (it.processor.clone(), it.onnx_runtime.clone());
        what(self) == what(other) && beside(self) == beside(other)
    }

    /// The same with the accuracies of an earlier measurement where it has none of its own: they are the model's, whatever
    /// the batch and the machine's mood.
    pub fn with_accuracies_of(&self, earlier: &[Self]) -> Self {
        let mut own = self.clone();
        for latency in own.latencies.iter_mut().filter(|it| it.accuracy.is_none()) {
            let of_model = earlier.iter().filter(|it| {
                let model = |it: &Self| (it.seed, it.level, it.multiple);
                model(it) == model(self) && it.processor == self.processor
            });
            let mut known = of_model.filter_map(|it| it.of(latency.variant)?.accuracy);
            if latency.unavailable.is_none() {
                latency.accuracy = known.next();
            }
        }
        own
    }

    /// What was measured of a way.
    pub fn of(&self, variant: Variant) -> Option<&Latency> {
        self.latencies.iter().find(|it| it.variant == variant)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A way that took these times of a pass, and as shares of libtorch's in full.
    pub(crate) fn latency(variant: Variant, batch: i64, [ms, of_dense]: [[f64; 3]; 2]) -> Latency {
        Latency {
            variant,
            batch,
            bytes: 400,
            passes: 9,
            quartiles_ms: Some(ms),
            of_dense: Some(of_dense),
            of_onnx: None,
            difference: Some(0.0),
            accuracy: None,
            unavailable: None,
        }
    }

    fn timing(level: u64, batch: i64, accuracies: [Option<f64>; 2]) -> Timing {
        let latency = |(variant, accuracy)| Latency {
            accuracy,
            ..latency(variant, batch, [[1.0; 3]; 2])
        };
        let ways = [Variant::Dense, Variant::Infer].into_iter();
        Timing {
            seed: 0,
            level,
            density: 0.5,
            batch,
            threads: 1,
            multiple: 1,
            processor: "EPYC".to_owned(),
            onnx_runtime: None,
            latencies: ways.zip(accuracies).map(latency).collect(),
        }
    }

    #[test]
    fn an_accuracy_that_was_computed_is_kept_when_times_are_measured_again() {
        let earlier = [
            timing(2, 1, [Some(0.25), Some(0.25)]),
            timing(1, 1, [Some(0.5), Some(0.75)]),
        ];
        let accuracies = |it: &Timing| {
            it.latencies
                .iter()
                .map(|it| it.accuracy)
                .collect::<Vec<_>>()
        };
        let again = timing(1, 32, [None, Some(0.625)]).with_accuracies_of(&earlier);
        assert_eq!(accuracies(&again), [Some(0.5), Some(0.625)]);
        let other = Timing {
            multiple: 16,
            ..timing(1, 1, [None; 2])
        };
        assert_eq!(
            accuracies(&other.with_accuracies_of(&earlier)),
            [None, None]
        );
    }
}
