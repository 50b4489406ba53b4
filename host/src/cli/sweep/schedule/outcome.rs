//! What becomes of jobs.

use std::error::Error;

use crate::cli::exit::Exit;
use crate::cli::sweep::child::Running;
use crate::cli::sweep::jobs::{Job, Task};
use crate::cli::sweep::state::State;
use crate::store::{self, LockError, Owner};

/// How a job stands whose process ended. One that was killed may have done it all before.
pub fn ended(child: &mut Running, stopping: bool, is_done: impl FnOnce() -> bool) -> State {
    match child.wait() {
        Some(code) if code == Exit::Success as i32 => State::Done,
        Some(code) if code == Exit::Interrupted as i32 && stopping => State::Stopped,
        Some(_) => match child.owner() {
            Some(by) => elsewhere(by),
            None => State::Failed {
                reason: child.reason(),
            },
        },
        None if is_done() => State::Done,
        None if stopping => State::Stopped,
        None => State::Failed {
            reason: format!("its process was killed; {}", child.reason()),
        },
    }
}

/// What becomes of a job whose lock could not be taken.
pub fn refused(error: &LockError) -> State {
    match error {
        LockError::Held { by, .. } => elsewhere(by),
        LockError::Io { .. } => State::Failed {
            reason: error.to_string(),
        },
    }
}

/// A job that another process has.
pub fn elsewhere(by: &Owner) -> State {
    let job = by.job.iter().map(|job| format!(", job {job}"));
    State::Elsewhere {
        reason: format!(
            "process {} on {} has it{}",
            by.pid,
            by.host,
            job.collect::<String>()
        ),
    }
}

/// Fails unless a job's experiment file is what this process wrote or found: an edited sweep of the same name may
/// have been started meanwhile.
pub fn as_written(job: &Job) -> Result<(), Box<dyn Error>> {
    let Task::Run { file, text } = &job.task else {
        return Ok(());
    };
    match store::read(file)? == text.as_bytes() {
        true => Ok(()),
        false => Err(format!(
            "another command on a sweep of this name wrote another {}; run the same command again",
            file.display()
        )
        .into()),
    }
}

/// Gives up jobs whose sources will not be finished; whether there were some.
pub fn skip_orphans(jobs: &[Job], states: &mut [State]) -> bool {
    let mut some = false;
    for index in 0..jobs.len() {
        if states[index] != State::Waiting {
            continue;
        }
        let lost = (jobs[index].sources.iter()).find(|&&source| states[source].is_lost());
        if let Some(&source) = lost {
            let reason = format!("it takes from {}, which is not finished", jobs[source].name);
            states[index] = State::Skipped { reason };
            some = true;
        }
    }
    some
}
