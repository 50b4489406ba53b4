//! `host data`.

use indicatif::{MultiProgress, ProgressBar};
use serde_json::json;

use super::args::{DataCommand, Output};
use super::bars::{DOWNLOAD, bar};
use super::exit::{Exit, Failure};
use super::stdout;
use crate::data::fetch::{FetchMode, Outcome, Progress, fetch};
use crate::data::{DataError, Status, inventory};
use crate::report::plain_table;

/// Lists or fetches datasets.
///
/// # Errors
/// An unknown dataset, or one that cannot be had.
pub fn data(command: &DataCommand, output: &Output, bars: &MultiProgress) -> Result<Exit, Failure> {
    match command {
        DataCommand::List(args) => list(&args.data_dir, output)?,
        DataCommand::Fetch { name, no_apt, data } => {
            let mut bar = output.bars().then(|| bars.add(bar(DOWNLOAD)));
            let mut progress = |progress: Progress<'_>| {
                if let Some(bar) = &mut bar {
                    show(bar, progress);
                }
            };
            let mode = FetchMode::from_env(!no_apt);
            let result = fetch(name, &data.data_dir, &mode, &mut progress);
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            let report = result.map_err(|error| match error {
                DataError::Unknown { .. } => Failure::bad_input(error),
                error => Failure::new(Exit::Failed, error),
            })?;
            if !output.json {
                return stdout::line(report).map(|()| Exit::Success);
            }
            let (outcome, folder) = match &report.outcome {
                Outcome::Embedded => ("embedded", None),
                Outcome::Here(folder) => ("here", Some(folder)),
                Outcome::Installed { folder, .. } => ("installed", Some(folder)),
                Outcome::Downloaded { folder, .. } => ("downloaded", Some(folder)),
            };
            stdout::line(json!({ "name": report.name, "outcome": outcome, "folder": folder }))?;
        }
    }
    Ok(Exit::Success)
}

fn list(data_dir: &std::path::Path, output: &Output) -> Result<(), Failure> {
    let items = inventory(data_dir);
    if output.json {
        for item in items {
            let (status, folder) = match &item.status {
                Status::Embedded => ("embedded", None),
                Status::Found(folder) => ("found", Some(folder)),
                Status::Missing { .. } | Status::ByHand { .. } => ("missing", None),
            };
            stdout::line(json!({
                "name": item.name, "summary": item.summary, "status": status, "folder": folder,
            }))?;
        }
        return Ok(());
    }
    let rows = items.iter().map(|item| {
        [
            item.name.to_owned(),
            item.summary.to_owned(),
            item.status.to_string(),
        ]
    });
    stdout::line(plain_table(&["dataset", "what", "where"], rows))
}

fn show(bar: &mut ProgressBar, progress: Progress<'_>) {
    if bar.message() != progress.file {
        bar.reset();
        bar.set_message(progress.file.to_owned());
    }
    match progress.total {
        Some(total) => bar.set_length(total),
        None => bar.unset_length(),
    }
    bar.set_position(progress.done);
}
