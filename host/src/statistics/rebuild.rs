//! The data and the network of a stored run, from what lies in its folder. Plugins are not needed.

use std::path::Path;

use serde_json::Value;
use tch::Device;

use super::StatisticsError;
use crate::data::{self, DataContext};
use crate::experiment;
use crate::program;
use crate::store::{RunDir, RunIdentity, StoreError};
use crate::trainer::Trainer;

/// A run's network on its data, to evaluate stored points of it.
///
/// # Errors
/// If the folder is no run's, or its data are missing or have changed since.
pub fn trainer(run: &RunDir, data_dir: &Path, device: Device) -> Result<Trainer, StatisticsError> {
    let path = run.file("experiment.toml");
    if !path.exists() {
        return Err(StatisticsError::NoExperiment(run.path().to_owned()));
    }
    let experiment = experiment::read_stored(&path)?;
    let context = DataContext {
        data_dir: data_dir.to_owned(),
        device,
    };
    let data = data::load(&experiment.data.name, &experiment.data.options, &context)?;
    let trained_on = &canonical(run)?["data_checksum"];
    if trained_on.as_str() != Some(&data.checksum) {
        return Err(StatisticsError::DataChanged {
            run: run.path().to_owned(),
            name: data.name,
            got: data.checksum,
            expected: trained_on.to_string(),
        });
    }
    Ok(Trainer::of(&experiment, data, device)?)
}

/// Fails unless two runs have the same data and model, so that a network between theirs means
/// something.
///
/// # Errors
/// What differs: that of the second run, and that of the first.
pub fn check_comparable(first: &RunDir, second: &RunDir) -> Result<(), StatisticsError> {
    let [own, other] = [canonical(first)?, canonical(second)?];
    let of_both = |side: &dyn Fn(&Value) -> Value| (side(&own), side(&other));
    let dataset = |of: &Value| {
        let mut data = of["data"].clone();
        if let Some(data) = data.as_object_mut() {
            // Networks that were trained on other random changes are evaluated on the same images.
            data.remove("augment");
        }
        data
    };
    let sides = [
        ("its dataset", of_both(&dataset)),
        (
            "the checksum of its data",
            of_both(&|of| of["data_checksum"].clone()),
        ),
        ("its model", of_both(&|of| of["model"].clone())),
    ];
    for (what, (expected, got)) in sides {
        if expected != got {
            return Err(StatisticsError::Runs {
                first: first.path().to_owned(),
                second: second.path().to_owned(),
                what,
                got: got.to_string(),
                expected: expected.to_string(),
            });
        }
    }
    Ok(())
}

/// The canonical form of a run's experiment.
fn canonical(run: &RunDir) -> Result<Value, StoreError> {
    let identity = RunIdentity::read(run)?.ok_or_else(|| {
        let path = run.file("identity.json");
        damaged(
            &path,
            &format!(
                "it is missing; `{} run` on the experiment writes it anew",
                program::name()
            ),
        )
    })?;
    Ok(identity.value.canonical)
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
