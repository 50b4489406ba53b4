//! What is known of a dataset before its files are read.

use tch::{Device, Kind, Tensor};

use super::{Augment, DATASETS, DataError, Dataset, Split, validation};
use crate::registry::{Options, find};
use crate::samples::{InputSpec, InputType, Task};

/// What is known about a dataset: it was published, or the experiment file says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// Name in the experiment file.
    pub name: &'static str,
    /// Shape of one input as the model sees it: `[features]` or `[channels, height, width]`.
    pub input_shape: Vec<i64>,
    /// What an input is made of.
    pub input_type: InputType,
    /// What is to be learnt of a sample.
    pub task: Task,
    /// Number of classes, or of labels; 1 where the targets are numbers.
    pub classes: i64,
    /// Shape of the targets of one sample.
    pub target_shape: Vec<i64>,
    /// Samples to train on.
    pub train: i64,
    /// Samples that are held out from training, by which is chosen; 0 unless the experiment asks for them.
    pub validation: i64,
    /// Samples to evaluate on.
    pub test: i64,
    /// Random changes of the training images that the options ask for.
    pub augment: Option<Augment>,
    /// How bytes become the model's inputs; none for data that are no images.
    pub pixels: Option<PixelStatistics>,
}

/// Mean and standard deviation of each channel on the scale 0 to 1; pixels are normalised by them.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelStatistics {
    /// Subtracted.
    pub mean: Vec<f64>,
    /// Divided by.
    pub std: Vec<f64>,
}

/// What is known about the dataset called `name` with these options.
///
/// # Errors
/// An unknown name, options that do not fit, a dataset of which nothing is known.
pub fn declared(name: &str, options: &Options) -> Result<Declared, DataError> {
    let entry = find(DATASETS, name).ok_or_else(|| DataError::unknown(name))?;
    let (own, amount) = validation::take(entry, options)?;
    let mut declared = (entry.build.declared)(&own)?;
    if let Some(amount) = amount {
        declared.validation = validation::count(amount, declared.train)?;
        declared.train -= declared.validation;
    }
    Ok(declared)
}

impl Default for Declared {
    /// No dataset: what is common to most.
    fn default() -> Self {
        Self {
            name: "",
            input_shape: Vec::new(),
            input_type: InputType::default(),
            task: Task::default(),
            classes: 0,
            target_shape: Vec::new(),
            train: 0,
            validation: 0,
            test: 0,
            augment: None,
            pixels: None,
        }
    }
}

impl Declared {
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

    /// A dataset of this shape that holds zeros and takes no memory, for plans and timings. It has
    /// no checksum.
    pub fn stand_in(&self, device: Device) -> Dataset {
        let kind = match (self.input_type, self.input_shape.len()) {
            (InputType::Tokens, _) => Kind::Int64,
            (InputType::Numbers, 3) => Kind::Uint8,
            (InputType::Numbers, _) => Kind::Float,
        };
        let targets = match self.task {
            Task::Classes => Kind::Int64,
            Task::Numbers | Task::Labels => Kind::Float,
        };
        let split = |samples: i64| {
            let shape = [&[samples], &self.input_shape[..]].concat();
            let one = vec![1; shape.len()];
            let labels = [&[samples], &self.target_shape[..]].concat();
            let of_one = vec![1; labels.len()];
            Split {
                inputs: Tensor::zeros(&one[..], (kind, device))
                    .expand(&shape[..], false)
                    .into(),
                labels: Tensor::zeros(&of_one[..], (targets, device)).expand(&labels[..], false),
                normalisation: None,
            }
        };
        Dataset {
            name: self.name.to_owned(),
            task: self.task,
            classes: self.classes,
            class_names: Vec::new(),
            input_shape: self.input_shape.clone(),
            input_type: self.input_type,
            target_shape: self.target_shape.clone(),
            train: split(self.train),
            validation: (self.validation > 0).then(|| split(self.validation)),
            test: split(self.test),
            augment: self.augment,
            checksum: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataContext, load};
    use serde_json::json;

    #[test]
    fn every_dataset_is_declared() {
        // What is known of arrays is in their files.
        for entry in DATASETS.iter().filter(|it| it.name != "arrays") {
            let options = match entry.name {
                "image-folder" => json!({"expect": {"classes": 2, "train": 1, "test": 1}}),
                _ => json!({}),
            };
            let declared = declared(entry.name, options.as_object().unwrap());
            let declared = declared.unwrap();
            assert_eq!(declared.name, entry.name);
            let channels = declared.pixels.map(|it| [it.mean.len(), it.std.len()]);
            let images =
                (declared.input_shape.len() == 3).then(|| declared.input_shape[0] as usize);
            assert_eq!(channels, images.map(|it| [it; 2]), "{}", entry.name);
        }
        let unknown = declared("cifar", &Options::new());
        assert!(matches!(unknown, Err(DataError::Unknown { .. })));
    }

    #[test]
    fn the_stand_in_has_the_shape_of_the_data() {
        let context = DataContext {
            data_dir: "no-such-folder".into(),
            device: Device::Cpu,
        };
        let real = load("mnist1d", &Options::new(), &context).unwrap();
        let declared = declared("mnist1d", &Options::new()).unwrap();
        let stand_in = declared.stand_in(Device::Cpu);
        assert_eq!(stand_in.input_shape, real.input_shape);
        assert_eq!(stand_in.classes, real.classes);
        for (got, expected) in [(stand_in.train, real.train), (stand_in.test, real.test)] {
            let (zeros, real) = (
                got.inputs.tensor().unwrap(),
                expected.inputs.tensor().unwrap(),
            );
            assert_eq!((zeros.size(), zeros.kind()), (real.size(), real.kind()));
            assert_eq!(got.labels.size(), expected.labels.size());
            let index = Tensor::from_slice(&[7i64, 3]);
            let ((x, y), (p, q)) = (
                got.gather(&index).unwrap(),
                expected.gather(&index).unwrap(),
            );
            assert_eq!((x.size(), y.kind()), (p.size(), q.kind()));
        }
    }
}
