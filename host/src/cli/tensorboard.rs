//! `host tensorboard`.

use serde_json::json;

use super::args::{Output, TensorboardArgs};
use super::exit::{Exit, Failure};
use super::{locate, stdout};
use crate::store::RunDir;
use crate::tensorboard;

/// Brings the event files of runs up to date with their records.
///
/// # Errors
/// What is no run, a record that cannot be read, a file that cannot be written.
pub fn tensorboard(args: &TensorboardArgs, output: &Output) -> Result<Exit, Failure> {
    let runs: Result<Vec<_>, Failure> = (args.run.iter())
        .map(|run| locate::find(run, &args.runs))
        .collect();
    for path in runs? {
        let run = RunDir::new(path);
        for seed in run.seeds() {
            let file = tensorboard::export(&run, seed)
                .map_err(|error| Failure::new(Exit::Failed, error))?;
            match file {
                Some(file) if output.json => {
                    stdout::line(json!({ "run": run.path(), "seed": seed, "file": file }))?;
                }
                Some(file) => stdout::line(file.display())?,
                None => log::warn!(
                    "seed {seed} of {} has no finished level",
                    run.path().display()
                ),
            }
        }
    }
    Ok(Exit::Success)
}
