//! CIFAR-100 (Krizhevsky 2009), binary version: 50,000 + 10,000 photographs of 100 classes (the fine labels).

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
    summary: "50,000 + 10,000 photographs, 32x32 colour, 100 classes",
    schema: || schema_for!(ImageOptions),
    build: Definition {
        load: |options, context| LAYOUT.build(options, context),
        declared: |options| LAYOUT.images.declared(options),
        source: Source::Published(&FILES, &ORIGIN),
    },
};

pub(super) const FILES: Files = Files {
    name: "cifar100",
    files: &["train.bin", "test.bin"],
    gz: false,
    // As of CIFAR-10.
    contents: &[],
    inside: Some("cifar-100-binary"),
    package: None,
    elsewhere: Elsewhere {
        folders: &[],
        python: Some(("cifar-100-python", "train")),
    },
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

static ORIGIN: Origin = Origin {
    base: "https://www.cs.toronto.edu/~kriz",
    files: &[Pinned {
        name: "cifar-100-binary.tar.gz",
        sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    }],
};
