//! Level 0, shared by every experiment with the same data, model, training and seed.

use super::course::checkpoint;
use super::error::RunError;
use super::{Course, Levels, Seed};
use crate::store::{Done, LevelDir, Lock, step_files, step_of};

impl Course<'_> {
    /// Whether a level is done: its files are whole, and level 0 has every point that the strategy
    /// will ask for.
    pub(super) fn is_done(&self, seed: &Seed, dir: &LevelDir) -> Result<bool, RunError> {
        let Some(done) = dir.done()? else {
            return Ok(false);
        };
        Ok(done.level > 0 || self.lacks(seed, &done)?.is_empty())
    }

    /// The steps whose points a finished level 0 lacks.
    fn lacks(&self, seed: &Seed, done: &Done) -> Result<Vec<u64>, RunError> {
        let mut steps = self.stored_steps(seed)?;
        steps.retain(|&step| {
            step_files(step)
                .iter()
                .any(|file| !done.digests.contains_key(file))
        });
        Ok(steps)
    }

    /// These steps and those whose points the shared dense level holds already: when it is trained
    /// again, other experiments keep theirs. Names of files are enough: the level is trained again
    /// because something of it is damaged or missing, and the rest says what it held. What this run
    /// took from it counts too.
    pub(super) fn with_shared_steps(&self, seed: &Seed, mut steps: Vec<u64>) -> Vec<u64> {
        let levels = [&self.dense, &self.run].map(|it| it.seed(seed.seed).level(0));
        let listed = |level: &LevelDir| {
            let done = level.read_sealed().map(|read| read.value.digests);
            let listed = done.unwrap_or_default().into_keys();
            listed.chain(level.names()).collect::<Vec<_>>()
        };
        let files: Vec<String> = levels.iter().flat_map(listed).collect();
        steps.extend(files.iter().filter_map(|file| step_of(file)));
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// Takes over the dense levels that are trained already; what is left has to be trained.
    pub(super) fn adopt_dense(
        &self,
        level: u64,
        seeds: &[Seed],
        group: &[usize],
    ) -> Result<Vec<usize>, RunError> {
        if level > 0 {
            return Ok(group.to_vec());
        }
        let mut left = Vec::new();
        for &index in group {
            if !self.take_dense(&seeds[index])? {
                left.push(index);
            }
        }
        Ok(left)
    }

    /// Brings the shared dense level of a seed into the run; false if it is not trained yet.
    pub(super) fn take_dense(&self, seed: &Seed) -> Result<bool, RunError> {
        let shared = self.dense.seed(seed.seed).level(0);
        let Some(done) = shared.done()? else {
            return Ok(false);
        };
        let lacks = self.lacks(seed, &done)?;
        if !lacks.is_empty() {
            log::info!(
                "seed {}: the shared dense level lacks the points at steps {lacks:?}; it is trained again",
                seed.seed
            );
            return Ok(false);
        }
        self.run.seed(seed.seed).level(0).adopt(&shared, &done)?;
        // Whoever made the level may have been killed before it removed its checkpoint.
        checkpoint::remove(&self.dense.seed(seed.seed))?;
        Ok(true)
    }
}

impl Levels<'_> {
    /// Keeps other processes from training the same dense level at the same time. None if the user
    /// asked to stop while one of them did, or before.
    pub(super) fn wait_for_dense(
        &self,
        level: u64,
        seeds: &[Seed],
        group: &[usize],
    ) -> Result<Option<Vec<Lock>>, RunError> {
        let stop = || self.interrupt.wants_stop();
        if level > 0 || stop() {
            return Ok((!stop()).then(Vec::new));
        }
        // In ascending order, so that two processes never wait for each other.
        let mut numbers: Vec<u64> = group.iter().map(|&index| seeds[index].seed).collect();
        numbers.sort_unstable();
        let locks = numbers
            .iter()
            .map(|&seed| self.course.dense.seed(seed).wait(&stop));
        Ok(locks.collect::<Result<_, _>>()?)
    }
}
