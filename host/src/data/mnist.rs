//! MNIST (LeCun, Cortes, Burges 1998): 60,000 + 10,000 handwritten digits.

use super::fetch::{Origin, Pinned};
use super::folder::Files;
use super::hints::Elsewhere;
use super::image::{ImageOptions, Images};
use super::{Definition, Source, idx};
use crate::registry::Entry;
use plugin_api::schemars::schema_for;

pub(super) const ENTRY: Entry<Definition> = Entry {
    name: FILES.name,
    summary: "60,000 + 10,000 handwritten digits, 28x28 grey, 10 classes",
    schema: || schema_for!(ImageOptions),
    build: Definition {
        load: |options, context| idx::build(&IMAGES, &FILES, options, context),
        declared: |options| IMAGES.declared(options),
        source: Source::Published(&FILES, &ORIGIN),
    },
};

pub(super) const FILES: Files = Files {
    name: "mnist",
    files: idx::FILES,
    gz: true,
    contents: &[
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ],
    inside: None,
    package: None,
    elsewhere: Elsewhere {
        folders: &["MNIST/raw", "raw"],
        python: None,
    },
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

static ORIGIN: Origin = Origin {
    base: "https://ossci-datasets.s3.amazonaws.com/mnist",
    files: &[
        Pinned {
            name: "train-images-idx3-ubyte.gz",
            sha256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        },
        Pinned {
            name: "train-labels-idx1-ubyte.gz",
            sha256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        },
        Pinned {
            name: "t10k-images-idx3-ubyte.gz",
            sha256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        },
        Pinned {
            name: "t10k-labels-idx1-ubyte.gz",
            sha256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ],
};
