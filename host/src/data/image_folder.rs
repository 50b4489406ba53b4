//! Any set of pictures in a folder for each class, such as ImageNet's.

use super::crop::ResizedCrop;
use super::image_files::{ImageFiles, Shared, View};
use super::image_index::{Listing, list};
use super::{
    DataContext, DataError, Dataset, Declared, Definition, Inputs, Normalisation, PixelStatistics,
    Source, Split,
};
use crate::registry::{Entry, Options, parse};
use crate::samples::{InputType, Task};
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::Tensor;

const NAME: &str = "image-folder";

pub(super) const ENTRY: Entry<Definition> = Entry {
    name: NAME,
    summary: "pictures of your own in a folder a class (train/CLASS/*.jpg, val/CLASS/*.jpg), such as ImageNet",
    schema: || schema_for!(ImageFolderOptions),
    build: Definition {
        load,
        declared,
        source: Source::ByHand {
            is_here: |data_dir| is_here(&data_dir.join(NAME)).then(|| data_dir.join(NAME)),
            advice: "it is a folder of your own, with train/CLASS/*.jpg or *.png and val/CLASS/*.jpg or *.png; name it in data.dir",
        },
    },
};

/// Options of `image-folder`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageFolderOptions {
    /// Folder with `train` and `val` (or `test`); by default `image-folder` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-location" = true))]
    pub dir: Option<PathBuf>,
    /// Height and width of the network's inputs.
    #[schemars(range(min = 1, max = 4096))]
    pub size: u32,
    /// Short side of an image from whose middle the input is cut for evaluation; by default 8/7 of
    /// `size`, which is 256 for 224.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8192))]
    pub resize: Option<u32>,
    /// Mean of red, green and blue on the scale 0 to 1; by default ImageNet's.
    pub mean: [f64; 3],
    /// Standard deviation of red, green and blue on that scale; by default ImageNet's.
    pub std: [f64; 3],
    /// Random parts of the training images; by default none: training sees what evaluation sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<ResizedCrop>,
    /// What the folder holds, to be checked, and for plans where it is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-location" = true))]
    pub expect: Option<Expected>,
    /// Room in memory for decoded images, in MiB; the others are decoded whenever they are needed.
    #[schemars(extend("x-location" = true))]
    pub memory: u64,
}

impl Default for ImageFolderOptions {
    fn default() -> Self {
        Self {
            dir: None,
            size: 224,
            resize: None,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
            augment: None,
            expect: None,
            memory: 1024,
        }
    }
}

/// What a folder of images should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Number of classes.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub classes: u32,
    /// Images to train on.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub train: u32,
    /// Images to evaluate on.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub test: u32,
}

impl ImageFolderOptions {
    fn read(options: &Options) -> Result<Self, DataError> {
        let wrong = |reason| DataError::Options { name: NAME, reason };
        let options: Self = parse(options).map_err(|error| wrong(error.to_string()))?;
        let View { size, resize, crop } = options.view();
        if size == 0 || resize < size {
            return Err(wrong(format!(
                "resize is {resize} and size is {size}, expected a size of at least 1 that can be cut out of it: resize must not be below size"
            )));
        }
        if let Some(std) = options.std.iter().find(|std| **std <= 0.0 || std.is_nan()) {
            return Err(wrong(format!("std has {std}, expected numbers above 0")));
        }
        if let Some(crop) = crop {
            crop.check().map_err(wrong)?;
        }
        Ok(options)
    }

    fn view(&self) -> View {
        let size = self.size as usize;
        View {
            size,
            resize: self.resize.map_or((8 * size + 3) / 7, |it| it as usize),
            crop: self.augment,
        }
    }

    fn dir(&self, data_dir: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| data_dir.join(NAME))
    }
}

fn declared(options: &Options) -> Result<Declared, DataError> {
    let options = ImageFolderOptions::read(options)?;
    let expected = options.expect.ok_or(DataError::Undeclared { name: NAME })?;
    let size = i64::from(options.size);
    Ok(Declared {
        name: NAME,
        input_shape: vec![3, size, size],
        classes: expected.classes.into(),
        train: expected.train.into(),
        test: expected.test.into(),
        pixels: Some(PixelStatistics {
            mean: options.mean.to_vec(),
            std: options.std.to_vec(),
        }),
        ..Declared::default()
    })
}

fn is_here(dir: &Path) -> bool {
    dir.join("train").is_dir()
}

fn load(options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    let options = ImageFolderOptions::read(options)?;
    let dir = options.dir(&context.data_dir);
    if !is_here(&dir) {
        return Err(DataError::Absent {
            name: NAME,
            folder: dir.join("train"),
            advice: "data.dir must name a folder with train/CLASS/*.jpg or *.png and val/CLASS/*.jpg or *.png".to_owned(),
        });
    }
    let Listing {
        classes,
        train,
        test,
        checksum,
    } = list(&dir)?;
    if let Some(expected) = options.expect {
        check(
            &dir,
            expected,
            [classes, train.files.len(), test.files.len()],
        )?;
    }
    let view = options.view();
    let shared = Shared::new(options.memory.saturating_mul(1 << 20));
    let device = context.device;
    let split = |listed: super::image_index::Listed| {
        let files = ImageFiles::new(
            listed.folder,
            listed.files,
            listed.looks,
            view,
            shared.clone(),
        );
        Split {
            inputs: Inputs::Files(Arc::new(files)),
            labels: Tensor::from_slice(&listed.labels).to_device(device),
            normalisation: Some(Normalisation::new(&options.mean, &options.std, device)),
        }
    };
    let size = view.size as i64;
    Ok(Dataset {
        name: NAME.to_owned(),
        task: Task::Classes,
        classes: classes as i64,
        class_names: Vec::new(),
        input_type: InputType::Numbers,
        target_shape: Vec::new(),
        input_shape: vec![3, size, size],
        train: split(train),
        validation: None,
        test: split(test),
        augment: None,
        checksum,
    })
}

/// The folder must hold what the experiment says.
fn check(dir: &Path, expected: Expected, got: [usize; 3]) -> Result<(), DataError> {
    let Expected {
        classes,
        train,
        test,
    } = expected;
    let wanted = [
        ("classes", classes, "classes"),
        ("train", train, "training images"),
        ("test", test, "images to evaluate on"),
    ];
    for ((key, wanted, what), got) in wanted.into_iter().zip(got) {
        if got != wanted as usize {
            return Err(DataError::Layout {
                path: dir.to_owned(),
                reason: format!(
                    "it should have {wanted} {what} (data.expect.{key}) but has {got}; complete it or correct the experiment file"
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
