//! CIFAR-10 (Krizhevsky 2009), binary version: 50,000 + 10,000 photographs of 10 classes.

use super::cifar::Layout;
use super::fetch::{Origin, Pinned};
use super::folder::Files;
use super::hints::Elsewhere;
use super::image::{ImageOptions, Images};
use super::{Definition, Source};
use crate::registry::Entry;
use plugin_api::schemars::schema_for;

pub(super) const ENTRY: Entry<Definition> = Entry {
    name: FILES.name,
    summary: "50,000 + 10,000 photographs, 32x32 colour, 10 classes",
    schema: || schema_for!(ImageOptions),
    build: Definition {
        load: |options, context| LAYOUT.build(options, context),
        declared: |options| LAYOUT.images.declared(options),
        source: Source::Published(&FILES, &ORIGIN),
    },
};

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
    // Published is the archive's digest alone; the samples' numbers are compared.
    contents: &[],
    inside: Some("cifar-10-batches-bin"),
    package: None,
    elsewhere: Elsewhere {
        folders: &[],
        python: Some(("cifar-10-batches-py", "data_batch_1")),
    },
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

static ORIGIN: Origin = Origin {
    base: "https://www.cs.toronto.edu/~kriz",
    files: &[Pinned {
        name: "cifar-10-binary.tar.gz",
        sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    }],
};
