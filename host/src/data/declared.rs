//! What is known of a dataset before its files are read.

use tch::{Device, Kind, Tensor};

use super::image::{ImageOptions, Images};
use super::{
    DataError, Dataset, Split, cifar10, cifar100, fashion_mnist, hidden_neuron, mnist, mnist1d,
};
use crate::registry::Options;

/// The image datasets.
static IMAGES: &[&Images] = &[
    &mnist::IMAGES,
    &fashion_mnist::IMAGES,
    &cifar10::LAYOUT.images,
    &cifar100::LAYOUT.images,
];

/// What is published about a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Name in the experiment file.
    pub name: &'static str,
    /// Shape of one input as the model sees it: `[features]` or `[channels, height, width]`.
    pub input_shape: Vec<i64>,
    /// Number of classes; 1 where the targets are numbers.
    pub classes: i64,
    /// Samples to train on.
    pub train: i64,
    /// Samples to evaluate on.
    pub test: i64,
}

/// What is published about the dataset called `name`.
pub fn declared(name: &str) -> Option<Declared> {
    if name == mnist1d::NAME {
        return Some(mnist1d::declared());
    }
    if name == hidden_neuron::NAME {
        return Some(hidden_neuron::declared());
    }
    let images = IMAGES.iter().find(|images| images.name == name)?;
    Some(Declared {
        name: images.name,
        input_shape: images.shape.iter().map(|&size| size as i64).collect(),
        classes: i64::from(images.classes),
        train: images.train as i64,
        test: images.test as i64,
    })
}

impl Declared {
    /// A dataset of this shape that holds zeros and takes no memory, for plans and timings. It has
    /// no checksum.
    ///
    /// # Errors
    /// Options that do not fit.
    pub fn stand_in(&self, options: &Options, device: Device) -> Result<Dataset, DataError> {
        let images = self.input_shape.len() == 3;
        let augment = match images {
            true => ImageOptions::read(self.name, options)?.augment,
            false => None,
        };
        let kind = if images { Kind::Uint8 } else { Kind::Float };
        let targets = if self.classes == 1 {
            Kind::Float
        } else {
            Kind::Int64
        };
        let split = |samples: i64| {
            let shape = [&[samples], &self.input_shape[..]].concat();
            let one = vec![1; shape.len()];
            Split {
                inputs: Tensor::zeros(&one[..], (kind, device)).expand(&shape[..], false),
                labels: Tensor::zeros([1], (targets, device)).expand([samples], false),
                normalisation: None,
            }
        };
        Ok(Dataset {
            name: self.name.to_owned(),
            classes: self.classes,
            input_shape: self.input_shape.clone(),
            train: split(self.train),
            test: split(self.test),
            augment,
            checksum: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DATASETS, DataContext, load};

    #[test]
    fn every_dataset_is_declared() {
        for entry in DATASETS {
            assert_eq!(declared(entry.name).unwrap().name, entry.name);
        }
        assert_eq!(declared("cifar"), None);
    }

    #[test]
    fn the_stand_in_has_the_shape_of_the_data() {
        let context = DataContext {
            data_dir: "no-such-folder".into(),
            device: Device::Cpu,
        };
        let real = load("mnist1d", &Options::new(), &context).unwrap();
        let declared = declared("mnist1d").unwrap();
        let stand_in = declared.stand_in(&Options::new(), Device::Cpu).unwrap();
        assert_eq!(stand_in.input_shape, real.input_shape);
        assert_eq!(stand_in.classes, real.classes);
        for (got, expected) in [(stand_in.train, real.train), (stand_in.test, real.test)] {
            assert_eq!(got.inputs.size(), expected.inputs.size());
            assert_eq!(got.inputs.kind(), expected.inputs.kind());
            assert_eq!(got.labels.size(), expected.labels.size());
            let index = Tensor::from_slice(&[7i64, 3]);
            let ((x, y), (p, q)) = (got.gather(&index), expected.gather(&index));
            assert_eq!((x.size(), y.kind()), (p.size(), q.kind()));
        }
    }
}
