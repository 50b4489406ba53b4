//! The targets, one file for each kind of foreign bytes.

mod arrays;
mod data;
mod experiment;
mod inference;
mod network;
mod plugin;
mod run;
mod text;

/// A reader of foreign bytes.
pub struct Target {
    /// Name of its corpus.
    pub name: &'static str,
    /// Reads an input. Panics where the host has a mistake.
    pub read: fn(&[u8]),
    /// Words of the format.
    pub dictionary: &'static [&'static str],
    /// Mutations that `cargo test` tries: about a second's worth.
    pub mutations: u32,
    /// MiB that reading an input may allocate.
    pub memory: usize,
}

/// Every target.
pub static TARGETS: &[Target] = &[
    experiment::EXPERIMENT,
    experiment::OVERRIDES,
    text::TEXTS,
    data::IDX,
    data::CIFAR,
    data::PICTURE,
    data::ARCHIVE,
    arrays::ARRAYS,
    network::PT2,
    inference::INFERENCE,
    run::TENSORS,
    run::RECORDS,
    run::REPORT,
    plugin::LIBRARY,
    plugin::MANIFEST,
    plugin::SERVICE,
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
