//! CIFAR-100 (Krizhevsky 2009), binary version: 50,000 + 10,000 photographs of 100 classes (the fine labels).

use super::cifar::Layout;
use super::folder::Files;
use super::image::Images;
use super::{DataContext, DataError, Dataset};
use crate::registry::Options;

pub(super) const FILES: Files = Files {
    name: "cifar100",
    files: &["train.bin", "test.bin"],
    gz: false,
    inside: Some("cifar-100-binary"),
    package: None,
};

pub(super) const LAYOUT: Layout = Layout {
    images: Images {
        name: FILES.name,
        classes: 100,
        shape: [3, 32, 32],
        train: 50_000,
        test: 10_000,
        mean: &[0.5071, 0.4865, 0.4409],
        std: &[0.2673, 0.2564, 0.2762],
    },
    files: FILES,
    label_bytes: 2,
};

pub(super) fn build(options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    LAYOUT.build(options, context)
}
