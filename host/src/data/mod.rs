//! Datasets, held in memory on the training device.
//!
//! To add one, write its file with a `build` function and name it in [`DATASETS`]; if it can be
//! downloaded, also in `fetch/source.rs`.

mod augment;
mod cifar;
mod cifar10;
mod cifar100;
mod declared;
mod error;
mod fashion_mnist;
pub mod fetch;
mod folder;
mod hidden_neuron;
mod idx;
mod image;
mod inventory;
mod mnist;
mod mnist1d;

use crate::registry::{Entry, Options, find};
use plugin_api::schemars::schema_for;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

use crate::rng::Stream;
pub use augment::Augment;
pub use declared::{Declared, declared};
pub use error::DataError;
pub use hidden_neuron::HiddenNeuronOptions;
pub use image::ImageOptions;
pub use inventory::{Item, Status, inventory};
pub use mnist1d::Mnist1dOptions;

/// Reads a dataset with the experiment's options.
pub type Build = fn(&Options, &DataContext) -> Result<Dataset, DataError>;

/// Where datasets lie and where they are to live.
#[derive(Clone, Debug)]
pub struct DataContext {
    /// Folder with one folder a dataset, as [`fetch`] leaves them.
    pub data_dir: PathBuf,
    /// The training device.
    pub device: Device,
}

/// Every dataset by its name in the experiment file.
pub static DATASETS: &[Entry<Build>] = &[
    Entry {
        name: mnist1d::NAME,
        summary: "4,000 + 1,000 noisy one-dimensional digits of 40 values, 10 classes; embedded",
        schema: || schema_for!(Mnist1dOptions),
        build: mnist1d::build,
    },
    Entry {
        name: mnist::FILES.name,
        summary: "60,000 + 10,000 handwritten digits, 28x28 grey, 10 classes",
        schema: || schema_for!(ImageOptions),
        build: mnist::build,
    },
    Entry {
        name: fashion_mnist::FILES.name,
        summary: "60,000 + 10,000 articles of clothing, 28x28 grey, 10 classes",
        schema: || schema_for!(ImageOptions),
        build: fashion_mnist::build,
    },
    Entry {
        name: cifar10::FILES.name,
        summary: "50,000 + 10,000 photographs, 32x32 colour, 10 classes",
        schema: || schema_for!(ImageOptions),
        build: cifar10::build,
    },
    Entry {
        name: cifar100::FILES.name,
        summary: "50,000 + 10,000 photographs, 32x32 colour, 100 classes",
        schema: || schema_for!(ImageOptions),
        build: cifar100::build,
    },
    Entry {
        name: hidden_neuron::NAME,
        summary: "normal inputs with relu(x_1) as target, for one hidden neuron; generated",
        schema: || schema_for!(HiddenNeuronOptions),
        build: hidden_neuron::build,
    },
];

/// Reads the dataset called `name`.
///
/// # Errors
/// An unknown name, options that do not fit, files that are missing or damaged.
pub fn load(name: &str, options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    let entry = find(DATASETS, name).ok_or_else(|| DataError::unknown(name))?;
    (entry.build)(options, context)
}

/// A dataset with its two splits.
#[derive(Debug)]
pub struct Dataset {
    /// Name in the experiment file.
    pub name: String,
    /// Number of classes; 1 where the targets are numbers.
    pub classes: i64,
    /// Shape of one input as the model sees it: `[features]` or `[channels, height, width]`.
    pub input_shape: Vec<i64>,
    /// Samples to train on.
    pub train: Split,
    /// Samples to evaluate on.
    pub test: Split,
    /// Random changes of the training images, where the experiment asks for them.
    pub augment: Option<Augment>,
    /// BLAKE3 of the raw bytes, part of a run's identity: training inputs, training labels, test
    /// inputs, test labels. Pixels and labels are a byte each, other inputs f32 in little endian.
    pub checksum: String,
}

/// Samples and labels of one split.
#[derive(Debug)]
pub struct Split {
    /// `[samples, ...input_shape]`, u8 (images) or f32, on the training device.
    pub inputs: Tensor,
    /// `[samples]`, on the training device: classes in i64, or targets that are numbers in f32.
    pub labels: Tensor,
    /// How u8 pixels become the model's inputs; none for data stored as f32.
    pub normalisation: Option<Normalisation>,
}

impl Split {
    /// Number of samples.
    pub fn len(&self) -> i64 {
        self.labels.size()[0]
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The device the samples live on.
    pub fn device(&self) -> Device {
        self.labels.device()
    }

    /// The batch of the samples at `index`, ready for the model. The host does not wait for the device.
    ///
    /// # Shapes
    /// `index`: `[n]`, i64, on the split's device; result: inputs `[n, ...input_shape]` f32, labels `[n]`.
    pub fn gather(&self, index: &Tensor) -> (Tensor, Tensor) {
        let inputs = self.inputs.index_select(0, index);
        (self.normalise(&inputs), self.labels.index_select(0, index))
    }

    /// As [`gather`](Split::gather), with the images changed at random before they are normalised.
    ///
    /// # Panics
    /// If the samples are not images.
    pub fn gather_augmented(
        &self,
        index: &Tensor,
        augment: &Augment,
        stream: &mut Stream,
    ) -> (Tensor, Tensor) {
        let inputs = augment.apply(&self.inputs.index_select(0, index), stream);
        (self.normalise(&inputs), self.labels.index_select(0, index))
    }

    fn normalise(&self, inputs: &Tensor) -> Tensor {
        match &self.normalisation {
            Some(normalisation) => normalisation.apply(inputs),
            None => inputs.to_kind(Kind::Float),
        }
    }
}

/// `(pixel / 255 - mean) / std`, per channel, as one product and one sum.
#[derive(Debug)]
pub struct Normalisation {
    /// `1 / (255 std)`: `[1, channels, 1, 1]`, f32, on the training device.
    scale: Tensor,
    /// `-mean / std`: `[1, channels, 1, 1]`, f32, on the training device.
    shift: Tensor,
}

impl Normalisation {
    /// The normalisation with these means and standard deviations of the channels, on the scale 0 to 1.
    pub fn new(mean: &[f64], std: &[f64], device: Device) -> Self {
        let channels = |values: Vec<f32>| {
            Tensor::from_slice(&values)
                .view([1, -1, 1, 1])
                .to_device(device)
        };
        let pairs = || mean.iter().zip(std);
        Self {
            scale: channels(pairs().map(|(_, s)| (1.0 / (255.0 * s)) as f32).collect()),
            shift: channels(pairs().map(|(m, s)| (-m / s) as f32).collect()),
        }
    }

    /// The model's inputs.
    ///
    /// # Shapes
    /// `pixels`: `[n, channels, height, width]`, u8; result: the same, f32.
    pub fn apply(&self, pixels: &Tensor) -> Tensor {
        (pixels * &self.scale).g_add_(&self.shift)
    }
}

/// BLAKE3 of `parts` one after the other, in hexadecimal.
fn checksum(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}

/// `[samples]`, i64.
fn labels(bytes: &[u8], device: Device) -> Tensor {
    Tensor::from_slice(bytes)
        .to_kind(Kind::Int64)
        .to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split() -> Split {
        let pixels: Vec<u8> = (0..4 * 3 * 2 * 2).map(|i| (i * 5) as u8).collect();
        Split {
            inputs: Tensor::from_slice(&pixels).view([4, 3, 2, 2]),
            labels: labels(&[3, 1, 0, 2], Device::Cpu),
            normalisation: Some(Normalisation::new(
                &[0.5, 0.25, 0.125],
                &[0.2, 0.3, 0.4],
                Device::Cpu,
            )),
        }
    }

    #[test]
    fn gathers_the_samples_in_the_order_of_the_index_and_normalises_each_pixel() {
        let split = split();
        let (inputs, labels) = split.gather(&Tensor::from_slice(&[2i64, 0, 2]));
        assert_eq!(inputs.size(), [3, 3, 2, 2]);
        assert_eq!(inputs.kind(), Kind::Float);
        assert_eq!(Vec::<i64>::try_from(&labels).unwrap(), [0, 3, 0]);
        let got = Vec::<f32>::try_from(inputs.flatten(0, -1)).unwrap();
        let mut at = 0;
        for sample in [2usize, 0, 2] {
            for channel in 0..3 {
                for place in 0..4 {
                    let pixel = ((sample * 12 + channel * 4 + place) * 5) as f64;
                    let mean = [0.5, 0.25, 0.125][channel];
                    let std = [0.2, 0.3, 0.4][channel];
                    let expected = (pixel / 255.0 - mean) / std;
                    assert!((f64::from(got[at]) - expected).abs() < 1e-6);
                    at += 1;
                }
            }
        }
    }

    #[test]
    fn leaves_data_stored_as_numbers_as_they_are() {
        let split = Split {
            inputs: Tensor::from_slice(&[1.5f32, -2.0, 0.25, 8.0]).view([2, 2]),
            labels: labels(&[0, 1], Device::Cpu),
            normalisation: None,
        };
        let (inputs, _) = split.gather(&Tensor::from_slice(&[1i64, 0]));
        let got = Vec::<f32>::try_from(inputs.flatten(0, -1)).unwrap();
        assert_eq!(got, [0.25, 8.0, 1.5, -2.0]);
    }

    #[test]
    fn schemas_admit_what_the_options_structs_admit() {
        for entry in DATASETS {
            let schema = serde_json::to_value((entry.schema)()).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{}", entry.name);
            assert!(schema["required"].is_null(), "{}", entry.name);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let context = DataContext {
            data_dir: PathBuf::new(),
            device: Device::Cpu,
        };
        let message = load("cifar", &Options::new(), &context)
            .unwrap_err()
            .to_string();
        assert!(message.contains("'cifar'") && message.contains("cifar10, cifar100"));
    }
}
