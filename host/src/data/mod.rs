//! Datasets: in memory on the training device, or in files that are read when they are needed.
//!
//! To add one, write its file with an `ENTRY` and name it in [`DATASETS`].

mod arrays;
mod augment;
mod cifar;
mod cifar10;
mod cifar100;
mod crop;
mod declared;
mod error;
mod extent;
mod fashion_mnist;
pub mod fetch;
mod folder;
pub(crate) mod fuzzing;
#[cfg(test)]
mod golden;
mod held_out;
mod hidden_neuron;
mod hints;
mod idx;
mod image;
mod image_files;
mod image_folder;
mod image_index;
mod inventory;
mod mnist;
mod mnist1d;
mod picture;
mod published;
mod resample;
mod split;
mod tiny_imagenet;
mod validation;

use crate::registry::{Entry, Options, find};
use crate::samples::{InputSpec, InputType, Task};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

pub use arrays::{ArraysOptions, StoredSamples};
pub use augment::{Augment, Draws};
pub use crop::ResizedCrop;
pub use declared::{Declared, PixelStatistics, declared};
pub use error::DataError;
use fetch::Origin;
use folder::Files;
pub use hidden_neuron::HiddenNeuronOptions;
pub use image::ImageOptions;
pub use image_files::{Draw, ImageFiles, Pick};
pub use image_folder::{Expected, ImageFolderOptions};
pub use inventory::{Item, Status, inventory};
pub use mnist1d::Mnist1dOptions;
pub use split::{Inputs, Normalisation, Split};
pub use validation::schema;

/// What the host knows of a dataset.
pub struct Definition {
    /// Reads it with the experiment's options.
    load: fn(&Options, &DataContext) -> Result<Dataset, DataError>,
    /// What is known before it is read.
    declared: fn(&Options) -> Result<Declared, DataError>,
    /// Where its files come from.
    source: Source,
}

/// Where a dataset's files come from.
enum Source {
    /// They are part of the program.
    Embedded,
    /// They can be fetched.
    Published(&'static Files, &'static Origin),
    /// A person puts them in their place.
    ByHand {
        /// Their folder, given the data folder, if they are there.
        is_here: fn(&Path) -> Option<PathBuf>,
        /// What to do if they are not.
        advice: &'static str,
    },
}

/// Where datasets lie and where they are to live.
#[derive(Clone, Debug)]
pub struct DataContext {
    /// Folder with one folder a dataset, as [`fetch`] leaves them.
    pub data_dir: PathBuf,
    /// The training device.
    pub device: Device,
}

/// The folder of datasets if none is named: `rewind` among the user's data.
pub fn default_dir() -> PathBuf {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"));
    let share = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(home);
    share.unwrap_or_else(|| PathBuf::from(".")).join("rewind")
}

/// Every dataset by its name in the experiment file.
pub static DATASETS: &[Entry<Definition>] = &[
    mnist1d::ENTRY,
    mnist::ENTRY,
    fashion_mnist::ENTRY,
    cifar10::ENTRY,
    cifar100::ENTRY,
    tiny_imagenet::ENTRY,
    image_folder::ENTRY,
    arrays::ENTRY,
    hidden_neuron::ENTRY,
];

/// Reads the dataset called `name`.
///
/// # Errors
/// An unknown name, options that do not fit, files that are missing or damaged.
pub fn load(name: &str, options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    let entry = find(DATASETS, name).ok_or_else(|| DataError::unknown(name))?;
    let (own, amount) = validation::take(entry, options)?;
    let data = (entry.build.load)(&own, context)?;
    match amount {
        Some(amount) => validation::hold_out(data, amount),
        None => Ok(data),
    }
}

/// A dataset with its splits.
#[derive(Debug)]
pub struct Dataset {
    /// Name in the experiment file.
    pub name: String,
    /// What is to be learnt of a sample.
    pub task: Task,
    /// Number of classes, or of labels; 1 where the targets are numbers.
    pub classes: i64,
    /// What the classes are called, by their number; empty where they are numbers themselves.
    pub class_names: Vec<String>,
    /// Shape of one input as the model sees it: `[features]`, `[channels, height, width]` and the like.
    pub input_shape: Vec<i64>,
    /// What an input is made of.
    pub input_type: InputType,
    /// Shape of the targets of one sample: `[]`, `[length]` for a class at each position, `[labels]`.
    pub target_shape: Vec<i64>,
    /// Samples to train on.
    pub train: Split,
    /// Samples that are never trained on, by which is chosen; none unless the experiment asks for them.
    pub validation: Option<Split>,
    /// Samples to evaluate on.
    pub test: Split,
    /// Random changes of the training images, where the experiment asks for them.
    pub augment: Option<Augment>,
    /// Part of a run's identity. Of data in memory BLAKE3 of the raw bytes: training inputs, training
    /// labels, test inputs, test labels; pixels and labels are a byte each, other inputs f32 in
    /// little endian. Of image files BLAKE3 of their names, lengths and ends; of files of arrays BLAKE3
    /// of their digests.
    pub checksum: String,
}

impl Dataset {
    /// What the data feed a network and ask of it.
    pub fn spec(&self) -> InputSpec {
        InputSpec {
            shape: self.input_shape.clone(),
            classes: self.classes,
            input_type: self.input_type,
            task: self.task,
            target_shape: self.target_shape.clone(),
        }
    }

    /// Whether these are zeros in place of the data.
    pub fn is_stand_in(&self) -> bool {
        self.checksum.is_empty()
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

    #[test]
    fn schemas_admit_what_the_options_structs_admit() {
        for entry in DATASETS {
            let schema = serde_json::to_value((entry.schema)()).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{}", entry.name);
            // There are no arrays without a file.
            let required = (entry.name == "arrays").then(|| serde_json::json!(["train"]));
            let required = required.unwrap_or(serde_json::Value::Null);
            assert_eq!(schema["required"], required, "{}", entry.name);
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
