//! CIFAR-10 (Krizhevsky 2009), binary version: 50,000 + 10,000 photographs of 10 classes.

use super::cifar::Layout;
use super::folder::Files;
use super::image::Images;
use super::{DataContext, DataError, Dataset};
use crate::registry::Options;

pub(super) const FILES: Files = Files {
    name: "cifar10",
    files: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
        "test_batch.bin",
    ],
    gz: false,
    inside: Some("cifar-10-batches-bin"),
    package: None,
};

pub(super) const LAYOUT: Layout = Layout {
    images: Images {
        name: FILES.name,
        classes: 10,
        shape: [3, 32, 32],
        train: 50_000,
        test: 10_000,
        mean: &[0.4914, 0.4822, 0.4465],
        std: &[0.2470, 0.2435, 0.2616],
    },
    files: FILES,
    label_bytes: 1,
};

pub(super) fn build(options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    LAYOUT.build(options, context)
}
