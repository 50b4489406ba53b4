//! `host cancel` stops what was submitted of a sweep.

use std::path::Path;

use serde_json::json;

use super::args::{CancelArgs, Output};
use super::exit::{Exit, Failure};
use super::locate;
use super::status::at_work;
use super::stdout;
use super::submission::{Record, Submission, slurm};
use crate::counted::counted;
use crate::report::Subject;

/// Stops what was submitted of a sweep.
///
/// # Errors
/// What is no sweep; what could not be stopped.
pub fn cancel(args: &CancelArgs, output: &Output) -> Result<Exit, Failure> {
    let Subject::Sweep(sweep) = locate::locate(&args.sweep, &args.runs)? else {
        return Err(Failure::bad_input(format!(
            "{} is no sweep: what was submitted of one is cancelled",
            args.sweep.display()
        )));
    };
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error);
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    let mut leaders = Vec::new();
    for submission in Submission::all(&sweep) {
        // Who came to one that was cancelled before may still be on the way out.
        leaders.extend(submission.came().into_iter().map(|it| (it.host, it.pid)));
        let Ok(record) = submission.read() else {
            continue;
        };
        if submission.is_cancelled() {
            continue;
        }
        submission.cancel().map_err(|error| failed(&error))?;
        if let (Some(job), "slurm") = (&record.job, record.engine.as_str()) {
            problems.extend(slurm::cancel(job).err());
        }
        rows.push((submission.folder, record));
    }
    let others: Vec<_> = at_work(&sweep)?
        .into_iter()
        .filter(|(_, by)| {
            let leader = by.leader.map_or(by.pid, |it| it.pid);
            !leaders.contains(&(by.host.clone(), leader))
        })
        .collect();
    if output.json {
        let cancelled: Vec<_> = rows
            .iter()
            .map(|(folder, it)| json!({ "folder": folder, "engine": it.engine, "job": it.job }))
            .collect();
        let others: Vec<_> = others
            .iter()
            .map(|(cell, by)| json!({ "cell": cell, "owner": by }))
            .collect();
        stdout::line(json!({
            "event": "cancelled", "sweep": sweep, "submissions": cancelled, "not_submitted": others,
        }))?;
    } else {
        for (folder, record) in &rows {
            stdout::line(line(folder, record))?;
        }
        if rows.is_empty() {
            stdout::line("nothing that was submitted is left to cancel")?;
        }
        for (cell, by) in &others {
            stdout::line(format!(
                "{cell}: process {} on {} was not submitted: stop it there",
                by.pid, by.host
            ))?;
        }
    }
    match problems.is_empty() {
        true => Ok(Exit::Success),
        false => Err(failed(&format!(
            "{}; its tasks stop by themselves within seconds of seeing that they are cancelled",
            problems.join("; ")
        ))),
    }
}

fn line(folder: &Path, record: &Record) -> String {
    let job = record.job.iter().map(|it| format!(" {it}"));
    format!(
        "{}: cancelled {}{}, {}",
        folder.display(),
        record.engine,
        job.collect::<String>(),
        counted(record.tasks, "task")
    )
}
