//! Slurm's own commands.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli::args::parse_time;
use crate::cli::exit::Failure;

/// Fails with the other engines if this machine has no Slurm.
///
/// # Errors
/// If `sbatch` is not there.
pub fn find() -> Result<(), Failure> {
    let folders = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&folders).any(|folder| folder.join("sbatch").is_file()) {
        true => Ok(()),
        false => Err(no_sbatch()),
    }
}

fn no_sbatch() -> Failure {
    Failure::bad_input(
        "sbatch was not found, by which jobs are submitted to Slurm: call this on a machine of the cluster that \
         has it, or choose another engine: `--engine local` starts processes on this machine, `--engine script` \
         writes a list of commands for PBS, LSF, SGE, AWS Batch or Kubernetes",
    )
}

/// Submits a job script; the job's number.
///
/// # Errors
/// What `sbatch` says, with what to do.
pub fn submit(script: &Path) -> Result<String, Failure> {
    let mut command = Command::new("sbatch");
    let output = command.arg("--parsable").arg(script).output();
    let output = output.map_err(|_| no_sbatch())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let job = answer.split(';').next().unwrap_or_default();
    if output.status.success() && !job.is_empty() && job.bytes().all(|it| it.is_ascii_digit()) {
        if !said.is_empty() {
            log::warn!("sbatch: {said}");
        }
        return Ok(job.to_owned());
    }
    let said = match said.is_empty() {
        true => format!("it answered {answer:?} and ended with {}", output.status),
        false => said,
    };
    Err(Failure::bad_input(format!(
        "sbatch refused the job: {said}\n{}; the script is {}",
        advice(&said),
        script.display()
    )))
}

/// What to do about a refusal.
fn advice(said: &str) -> String {
    let said = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|it| said.contains(it));
    if has(&["partition specified", "partition name"]) {
        let known = ask("sinfo", ["--noheader", "--format=%R"]).unwrap_or_default();
        let known: Vec<&str> = known.lines().map(str::trim).collect();
        return format!("choose with --partition one of {}", known.join(", "));
    }
    let advice = if has(&["account", "association"]) {
        "choose another --account: `sacctmgr show associations user=$USER` lists yours"
    } else if has(&["time limit"]) {
        "give a shorter --time: `sinfo --format='%R %l'` lists what partitions grant"
    } else if has(&["array"]) {
        "give fewer --tasks: `scontrol show config | grep MaxArraySize` says how many there may be"
    } else if has(&["node configuration", "cpu count", "memory", "gres", "tres"]) {
        "ask for less with --cpus, --mem and --gpus, or for another --partition: `sinfo --format='%R %c %m %G'` \
         lists what nodes have"
    } else if has(&["qos", "policy", "limit"]) {
        "give fewer --tasks or a shorter --time, or ask who runs the cluster"
    } else if has(&["unable to contact", "connection", "socket timed out"]) {
        "Slurm's controller does not answer: submit again when `scontrol ping` says that it is up"
    } else {
        "mend it by the options under \"Slurm\" in --help, or by a --template"
    };
    advice.to_owned()
}

/// Cancels a job with all its tasks.
///
/// # Errors
/// Why that was not possible.
pub fn cancel(job: &str) -> Result<(), String> {
    let output = Command::new("scancel").arg(job).output();
    let output = output.map_err(|error| format!("scancel: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // A job that ended long ago is not known any more.
    match output.status.success() || said.contains("Invalid job id") {
        true => Ok(()),
        false => Err(format!("scancel: {said}")),
    }
}

/// A task that Slurm runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its job, as an owner names it.
    pub job: String,
    /// Its machine.
    pub node: String,
    /// For how long it has run.
    pub runs: Duration,
}

/// The tasks of a job that run; none if Slurm does not say.
pub fn running(job: &str) -> Option<Vec<Task>> {
    let jobs = format!("--jobs={job}");
    let words = [
        "--noheader",
        "--array",
        "--states=RUNNING",
        "--format=%K %M %N",
        &jobs,
    ];
    let tasks = ask("squeue", words)?;
    let task = |line: &str| {
        let mut words = line.split_whitespace();
        let (number, time, node) = (words.next()?, words.next()?, words.next()?);
        Some(Task {
            job: format!("{job}_{number}"),
            node: node.to_owned(),
            runs: parse_time(time).ok()?,
        })
    };
    Some(tasks.lines().filter_map(task).collect())
}

fn ask<S: AsRef<OsStr>>(program: &str, words: impl IntoIterator<Item = S>) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(words).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}
