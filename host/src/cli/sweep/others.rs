//! What other processes do that are at work on the same sweep, on this machine or on others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tch::Device;

use super::jobs::{BARRIER, Job, RUN};
use crate::neuron;
use crate::records::BARRIERS;
use crate::run::dense_name;
use crate::store::{
    Lock, LockError, MANIFEST, Manifest, Owner, Presence, RUN_FILES, RunDir, Standing, Watch,
};

/// A lock that another process has is looked at again after this time: all who do so ask one file server.
const PAUSE: Duration = Duration::from_secs(1);

/// So many jobs that others have are looked at again and again: a thousand processes may run out of work at once, while
/// a thousand others have the rest.
pub const NEAR: usize = 16;

/// So many jobs are looked at for the first time in a second.
const FIRST: usize = 64;

/// Who has a job.
pub enum Looked {
    /// Nobody, or one that is about to leave.
    Free,
    /// A process.
    Held(Box<Owner>),
    /// That was not looked at: too many were a moment ago.
    Later,
}

/// What was seen of other processes' locks.
#[derive(Default)]
pub struct Others {
    locks: BTreeMap<PathBuf, Seen>,
    /// When the last jobs were looked at for the first time.
    first: VecDeque<Instant>,
    /// Seeds of dense levels that are done, which they stay.
    dense: BTreeSet<PathBuf>,
}

struct Seen {
    watch: Watch,
    /// When it was looked at, and who had it then.
    last: Option<(Instant, Owner)>,
}

impl Seen {
    fn new(lock: &Path) -> Self {
        Self {
            watch: Watch::new(lock),
            last: None,
        }
    }
}

impl Others {
    /// Who has a job. One that is dead has it no longer, and finds that out if it comes back. What was seen of a job that
    /// is not near is kept.
    pub fn owner(&mut self, job: &Job, is_near: bool) -> Looked {
        let lock = lock_of(job);
        let seen = self.locks.get(&lock).and_then(|seen| seen.last.as_ref());
        if let Some((_, by)) = seen
            && !is_near
        {
            return Looked::Held(Box::new(by.clone()));
        }
        if seen.is_none() {
            let is_recent = |at: &Instant| at.elapsed() < Duration::from_secs(1);
            if self.first.len() == FIRST && self.first.front().is_some_and(is_recent) {
                return Looked::Later;
            }
            self.first.push_back(Instant::now());
            if self.first.len() > FIRST {
                self.first.pop_front();
            }
        }
        let owner = self.owner_of(&lock).map(Box::new);
        owner.map_or(Looked::Free, Looked::Held)
    }

    /// Forgets when a job was looked at last: something happened to it.
    pub fn look_again(&mut self, job: &Job) {
        if let Some(seen) = self.locks.get_mut(&lock_of(job)) {
            seen.last = None;
        }
    }

    /// Whether a job would only wait for a process that makes its dense level.
    pub fn makes_dense(
        &mut self,
        job: &Job,
        seeds: &[u64],
        runs: &Path,
        (device, threads): (Device, usize),
    ) -> bool {
        if job.noun != RUN {
            return false;
        }
        let names = [(None, false), (Some(threads), false), (None, true)]
            .map(|(threads, kernels)| dense_name(&job.dense, (device, kernels), threads));
        let homes = names.iter().flat_map(|name| {
            let folder = RunDir::new(runs.join(name));
            seeds.iter().map(move |&seed| folder.seed(seed))
        });
        for home in homes {
            let path = home.path();
            if self.dense.contains(path) {
                continue;
            }
            if home.level(0).file("done.json").exists() {
                self.dense.insert(path.to_owned());
            } else if self.owner_of(&path.join("lock")).is_some() {
                return true;
            }
        }
        false
    }

    /// Whether the process that has a job was seen to be at work a moment ago.
    pub fn is_at_work(&self, job: &Job) -> bool {
        let seen = self.locks.get(&lock_of(job));
        seen.is_some_and(|seen| seen.watch.is_at_work())
    }

    /// Takes a job for a process that is about to start, so that no other one is started for it meanwhile.
    ///
    /// # Errors
    /// If another process has it, or the file system refuses.
    pub fn take(&mut self, job: &Job) -> Result<Option<Lock>, LockError> {
        if job.noun != RUN {
            return Ok(None);
        }
        let lock = lock_of(job);
        let seen = (self.locks.entry(lock.clone())).or_insert_with(|| Seen::new(&lock));
        let taken = Lock::attempt(&lock, &mut seen.watch)?;
        taken.lend();
        Ok(Some(taken))
    }

    fn owner_of(&mut self, lock: &Path) -> Option<Owner> {
        let seen = (self.locks.entry(lock.to_owned())).or_insert_with(|| Seen::new(lock));
        if let Some((at, by)) = &seen.last
            && at.elapsed() < PAUSE
        {
            return Some(by.clone());
        }
        let owner = match seen.watch.look() {
            Ok(Standing::Held(by)) if !by.is_orphan() => Some(by),
            Ok(Standing::Dead(by)) if by.presence() != Presence::Gone => {
                // Whoever takes it next has not watched it so long: it is taken here, and given back.
                log::warn!(
                    "process {} on {}, which has {}, does not work any more: it is taken over",
                    by.pid,
                    by.host,
                    lock.parent().unwrap_or(lock).display()
                );
                // If another one was faster, the next look shows it; what else is wrong, the job's process says.
                let _ = Lock::attempt(lock, &mut seen.watch);
                None
            }
            _ => None,
        };
        seen.last = owner.clone().map(|by| (Instant::now(), by));
        owner
    }
}

/// The lock that a job's process takes.
fn lock_of(job: &Job) -> PathBuf {
    match job.noun {
        BARRIER => BARRIERS.lock_of(&RunDir::new(&job.run)),
        _ => job.run.join("lock"),
    }
}

/// Whether a job's files say that these seeds of it have finished this level, or all there is to do of what has no levels.
/// Whether they are whole is not looked at.
pub fn is_done(job: &Job, seeds: &[u64], last: u64) -> bool {
    match job.noun {
        RUN => Manifest::read(&job.run, MANIFEST).is_ok_and(|manifest| {
            let last = seeds
                .iter()
                .map(|seed| format!("seed-{seed}/level-{last:02}/done.json"));
            let mut files = RUN_FILES.map(str::to_owned).into_iter().chain(last);
            manifest.is_some_and(|it| files.all(|file| it.files.contains_key(&file)))
        }),
        BARRIER => false,
        _ => job.run.join(neuron::FILE).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    fn job(run: &Path) -> Job {
        Job {
            name: "a".to_owned(),
            cells: Vec::new(),
            noun: RUN,
            log: String::new(),
            task: super::super::jobs::Task::Barrier(None),
            run: run.to_owned(),
            sources: Vec::new(),
            dense: "0123456789".to_owned(),
            points: Vec::new(),
            levels: 3,
            plugins: Vec::new(),
        }
    }

    #[test]
    fn a_job_is_done_once_its_manifest_lists_the_last_level_of_every_seed() {
        let folder = tempfile::tempdir().unwrap();
        let job = job(folder.path());
        let mut files = RUN_FILES.map(str::to_owned).to_vec();
        for seed in [0, 1] {
            assert!(!is_done(&job, &[0, 1], 2));
            files.push(format!("seed-{seed}/level-02/done.json"));
            for file in &files {
                store::write(&folder.path().join(file), b"").unwrap();
            }
            let manifest = Manifest::of(folder.path(), files.clone()).unwrap();
            manifest.write(folder.path(), MANIFEST).unwrap();
        }
        assert!(is_done(&job, &[0, 1], 2) && is_done(&job, &[1], 2));
        assert!(!is_done(&job, &[0, 1, 2], 2) && !is_done(&job, &[1], 3));
    }

    #[test]
    fn a_dense_level_is_in_the_making_until_it_is_done_or_its_maker_has_left() {
        let runs = tempfile::tempdir().unwrap();
        let job = job(&runs.path().join("run"));
        let home = RunDir::new(runs.path().join("dense-01234567-2t")).seed(4);
        let makes = |threads| {
            let mut others = Others::default();
            others.makes_dense(&job, &[3, 4], runs.path(), (Device::Cpu, threads))
        };
        assert!(!makes(2));
        let lock = home.wait(&|| false).unwrap();
        assert!(makes(2) && !makes(1));
        store::write(&home.level(0).file("done.json"), b"").unwrap();
        assert!(!makes(2));
        store::remove(home.level(0).path()).unwrap();
        assert!(makes(2));
        drop(lock);
        assert!(!makes(2));
    }
}
