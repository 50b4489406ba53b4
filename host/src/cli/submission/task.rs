//! What a task of a submission does beside its runs: it says that it came, stops when it is told to, and looks
//! whether the others came where it did.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::{Submission, slurm};
use crate::cli::exit::{Exit, Failure};
use crate::cli::plan::duration;
use crate::interrupt::Interrupt;
use crate::store::{Owner, claim_limit};

/// How often a task looks whether it was cancelled.
const PAUSE: Duration = Duration::from_secs(5);

/// A task that has run so long has started the program, even from a container that had to be fetched.
const STARTED: Duration = Duration::from_secs(600);

/// Clocks that differ by more than this are told of.
const SLOW: Duration = Duration::from_secs(300);

/// This process as a task of a submission, until it is dropped.
pub struct Attendance {
    submission: Submission,
    _end: mpsc::Sender<()>,
}

impl Attendance {
    /// Fails if the submission was cancelled: whoever starts tasks again where they were stopped must not do so.
    ///
    /// # Errors
    /// Says that it was.
    pub fn expect_wanted(&self) -> Result<(), Failure> {
        expect_wanted(&self.submission)
    }
}

fn expect_wanted(submission: &Submission) -> Result<(), Failure> {
    match submission.is_cancelled() {
        true => Err(Failure::new(
            Exit::Failed,
            format!(
                "{} was cancelled; submit the sweep again to go on with it",
                submission.folder.display()
            ),
        )),
        false => Ok(()),
    }
}

/// Takes part in a submission.
///
/// # Errors
/// If it was cancelled, or its folder is not what whoever submitted it sees.
pub fn attend(folder: &Path, interrupt: &Interrupt) -> Result<Attendance, Failure> {
    let submission = Submission::at(folder);
    let own = Owner::here();
    if let Err(error) = submission.read() {
        return Err(Failure::bad_input(format!(
            "{error}: {} does not see what was submitted, so its folder of runs is not that of the machine that \
             submitted it: choose with --runs a folder that all machines share, and submit again",
            own.host
        )));
    }
    expect_wanted(&submission)?;
    let failed = |error| Failure::new(Exit::Failed, error);
    tell_of_clock(&submission.come().map_err(failed)?);
    let (end, ended) = mpsc::channel();
    let (watched, interrupt) = (submission.clone(), interrupt.clone());
    thread::spawn(move || watch(&watched, &own, &interrupt, &ended));
    Ok(Attendance {
        submission,
        _end: end,
    })
}

fn watch(submission: &Submission, own: &Owner, interrupt: &Interrupt, ended: &mpsc::Receiver<()>) {
    // As soon as what others wrote is seen for certain, and seldom from then on: all ask one controller.
    let mut due = Instant::now() + claim_limit() / 4;
    while ended.recv_timeout(PAUSE.min(claim_limit() / 4)) == Err(RecvTimeoutError::Timeout) {
        if submission.is_cancelled() {
            return interrupt.stop();
        }
        if Instant::now() > due {
            due = Instant::now() + STARTED;
            tell_of_strangers(submission, own);
        }
    }
}

/// Warns of tasks that run and were not seen here.
fn tell_of_strangers(submission: &Submission, own: &Owner) {
    let job = own.job.as_ref().and_then(|job| job.split_once('_'));
    let Some(running) = job.and_then(|(array, _)| slurm::running(array)) else {
        return;
    };
    let came = submission.came();
    let is_here = |task: &slurm::Task| came.iter().any(|it| it.job.as_ref() == Some(&task.job));
    let strangers = running
        .iter()
        .filter(|task| task.runs > STARTED && !is_here(task));
    for task in strangers {
        log::warn!(
            "task {} runs on {} for {}, and {} sees nothing of it in {}: either its program has not started, or \
             these machines do not share that folder and do the same work",
            task.job,
            task.node,
            duration(task.runs.as_secs_f64()),
            own.host,
            submission.folder.display()
        );
    }
}

/// Warns if this machine's clock is not that of the file server.
fn tell_of_clock(written: &Path) {
    let server = written.metadata().and_then(|it| it.modified());
    let Ok(server) = server else { return };
    let now = SystemTime::now();
    let apart = now.duration_since(server);
    let apart = apart.unwrap_or_else(|error| error.duration());
    if apart > SLOW {
        log::warn!(
            "the clock of this machine and that of its file system are {} apart; runs do not depend on it, but times \
             in logs do",
            duration(apart.as_secs_f64())
        );
    }
}
