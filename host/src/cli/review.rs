//! Tells what is known of experiments before anything trains.

use std::collections::BTreeSet;

use serde_json::json;

use super::args::Output;
use super::exit::Failure;
use super::stdout;
use crate::experiment::{Diagnostics, SweepFile};
use crate::run::{self, Folders, HostCatalog, Read, Setting, stand_in};

/// Refuses what cannot be carried out, and tells what has no effect.
///
/// # Errors
/// What cannot be, each at its place in the file.
pub fn tell(found: Diagnostics, output: &Output) -> Result<(), Failure> {
    let (errors, warnings) = found.by_severity();
    warn(&warnings, output);
    match errors.is_empty() {
        true => Ok(()),
        false => Err(errors.into()),
    }
}

/// As [`tell`] of all cells of a sweep.
///
/// # Errors
/// What cannot be in any of them.
pub fn settle_sweep(
    sweep: &SweepFile,
    catalog: &HostCatalog,
    setting: &Setting,
    output: &Output,
) -> Result<(), Failure> {
    let mut found = Diagnostics::default();
    let mut seen = BTreeSet::new();
    for cell in sweep.parts.iter().flat_map(|part| &part.cells) {
        if !seen.insert(&cell.run.folder) {
            continue;
        }
        let read = Read::new(cell.loaded.clone(), catalog)?;
        let data = stand_in(&read, setting)?;
        match read.trainer(data, setting.device) {
            Ok(trainer) => {
                let course = Folders::unknown().course(&read.loaded.experiment, &trainer);
                found.absorb(run::review(&read, &course)?);
            }
            Err(problems) => found.absorb(problems),
        }
    }
    tell(found, output)
}

/// Tells what has no effect.
pub fn warn(warnings: &Diagnostics, output: &Output) {
    if warnings.is_empty() {
        return;
    }
    stdout::tell(match output.json {
        true => json!({ "warnings": warnings.to_json() }).to_string(),
        false => format!("{}\n", warnings.render(output.colour())),
    });
}
