//! MNIST (LeCun, Cortes, Burges 1998): 60,000 + 10,000 handwritten digits.

use super::folder::Files;
use super::image::Images;
use super::{DataContext, DataError, Dataset, idx};
use crate::registry::Options;

pub(super) const FILES: Files = Files {
    name: "mnist",
    files: idx::FILES,
    gz: true,
    inside: None,
    package: None,
};

pub(super) const IMAGES: Images = Images {
    name: FILES.name,
    classes: 10,
    shape: [1, 28, 28],
    train: 60_000,
    test: 10_000,
    mean: &[0.1307],
    std: &[0.3081],
};

pub(super) fn build(options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    idx::build(&IMAGES, &FILES, options, context)
}
