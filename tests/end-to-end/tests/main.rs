//! Everything that is tried with the whole program. One crate, since linking libtorch's bindings into each
//! of these files takes longer than most of their tests, and 175 MB.

#![allow(clippy::unwrap_used)]

mod abi;
mod absurd;
mod aligned;
mod arrays;
mod axes;
mod bad_files;
mod called;
mod changes;
mod conformance;
mod cuda;
mod damage;
mod data_files;
mod dense;
mod determinism;
mod documentation;
mod drop_and_grow;
mod dynamic_masks;
mod embedding;
mod exactness;
mod exports;
mod failures;
mod finished;
mod guide;
mod hostile;
mod identities;
mod images;
mod imported;
mod inventory;
mod metrics;
mod misbehaving;
mod neuron;
mod plan;
mod plugins;
mod profiles;
mod pruning_at_init;
mod python;
mod python_strategies;
mod ranks;
mod recipes;
mod records;
mod report;
mod rewinds;
mod statistics;
mod stops;
mod stored;
mod structured;
mod submit;
mod sweeps;
mod trackers;
mod transfer;
mod transformers;
mod transplant;
mod trust;
mod updates;
mod verify;
mod watch;

#[path = "../../misbehaving/src/rules.rs"]
mod rules;

#[test]
fn every_file_of_tests_is_a_part_of_this_one() {
    let own = include_str!("main.rs");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_module = path.is_dir() || path.extension().is_some_and(|it| it == "rs");
        let named = own.contains(&format!("\nmod {name};\n"));
        assert!(
            named || !is_module || name == "main",
            "main.rs lacks `mod {name};`"
        );
    }
}
