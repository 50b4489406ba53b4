//! What the image datasets have in common: their options and how bytes become a dataset.

use super::augment::{Augment, MAX_CROP};
use super::{
    DataContext, DataError, Dataset, Declared, Normalisation, PixelStatistics, Split, checksum,
    labels,
};
use crate::registry::{Options, parse};
use crate::samples::{InputType, Task};
use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tch::Tensor;

/// Options of an image dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageOptions {
    /// Folder of the dataset's files; by default the folder with the dataset's name in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-location" = true))]
    pub dir: Option<PathBuf>,
    /// Random changes of the training images; by default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<Augment>,
}

impl ImageOptions {
    /// The options of dataset `name`.
    pub(super) fn read(name: &'static str, options: &Options) -> Result<Self, DataError> {
        let wrong = |reason| DataError::Options { name, reason };
        let options: Self = parse(options).map_err(|error| wrong(error.to_string()))?;
        match options.augment {
            Some(Augment { crop, .. }) if crop > MAX_CROP => Err(wrong(format!(
                "augment.crop is {crop}, the border is at most {MAX_CROP} pixels wide"
            ))),
            _ => Ok(options),
        }
    }
}

/// What is published about an image dataset.
#[derive(Debug)]
pub(super) struct Images {
    pub name: &'static str,
    pub classes: u8,
    /// Channels, height, width.
    pub shape: [usize; 3],
    pub train: usize,
    pub test: usize,
    /// Per channel, of the training pixels on the scale 0 to 1.
    pub mean: &'static [f64],
    /// Per channel, of the training pixels on the scale 0 to 1.
    pub std: &'static [f64],
}

/// Pixels in the order (sample, channel, row, column) and as many labels.
pub(super) struct Samples {
    pub pixels: Vec<u8>,
    pub labels: Vec<u8>,
}

impl Images {
    /// What is published about the dataset, with the options' augmentation.
    pub(super) fn declared(&self, options: &Options) -> Result<Declared, DataError> {
        Ok(Declared {
            name: self.name,
            input_shape: self.shape.iter().map(|&size| size as i64).collect(),
            classes: i64::from(self.classes),
            train: self.train as i64,
            test: self.test as i64,
            augment: ImageOptions::read(self.name, options)?.augment,
            pixels: Some(PixelStatistics {
                mean: self.mean.to_vec(),
                std: self.std.to_vec(),
            }),
            ..Declared::default()
        })
    }

    /// The dataset of these samples, whose number and labels the reader has checked.
    pub(super) fn dataset(
        &self,
        train: Samples,
        test: Samples,
        augment: Option<Augment>,
        context: &DataContext,
    ) -> Dataset {
        let shape = self.shape.map(|size| size as i64);
        let split = |samples: &Samples| Split {
            inputs: Tensor::from_slice(&samples.pixels)
                .view([-1, shape[0], shape[1], shape[2]])
                .to_device(context.device)
                .into(),
            labels: labels(&samples.labels, context.device),
            normalisation: Some(Normalisation::new(self.mean, self.std, context.device)),
        };
        Dataset {
            name: self.name.to_owned(),
            task: Task::Classes,
            classes: i64::from(self.classes),
            class_names: Vec::new(),
            input_type: InputType::Numbers,
            target_shape: Vec::new(),
            input_shape: shape.to_vec(),
            train: split(&train),
            validation: None,
            test: split(&test),
            augment,
            checksum: checksum(&[&train.pixels, &train.labels, &test.pixels, &test.labels]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Result<ImageOptions, DataError> {
        ImageOptions::read("mnist", value.as_object().unwrap())
    }

    #[test]
    fn options_default_to_none_and_reject_unknown_keys_and_wide_borders() {
        assert_eq!(read(json!({})).unwrap(), ImageOptions::default());
        let options = read(json!({"dir": "d", "augment": {"crop": 4}})).unwrap();
        assert_eq!(
            options.augment,
            Some(Augment {
                crop: 4,
                flip: false
            })
        );
        let message = |value| read(value).unwrap_err().to_string();
        assert!(message(json!({"limit": 5})).contains("`limit`"));
        assert!(message(json!({"augment": {"rotate": 5}})).contains("`rotate`"));
        assert!(message(json!({"augment": {"crop": 17}})).contains("augment.crop is 17"));
    }
}
