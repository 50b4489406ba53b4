//! Level 0, shared by every experiment with the same data, model, training and seed.
//!
//! Its folder is a function of its identity alone, whoever trains it. Nothing of a strategy is in
//! it: components begin at level 1, as they are made. Points that a strategy rewinds to lie beside
//! the level, each a function of the identity and its step.

use super::course::{checkpoint, encode};
use super::error::RunError;
use super::shared::whole_level;
use super::{Course, Levels, Seed};
use crate::store::{
    Done, LevelDir, Lock, PointDir, PointDone, SeedDir, refresh, step_files, step_of,
};

/// What of level 0 is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The level to its end, as any other level.
    Level,
    /// Points of a level that is whole otherwise: no further than the last of them.
    Points,
}

/// Seeds of a group that train together.
pub(super) struct Part {
    pub goal: Goal,
    /// Their indices.
    pub seeds: Vec<usize>,
}

/// What the shared dense level of a seed lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lacks {
    Nothing,
    Points,
    All,
}

impl Course<'_> {
    /// Whether a level is done: its files are whole, and level 0 has every point that the strategy
    /// will ask for. For points that others may ask for no finished level is touched.
    pub(super) fn is_done(&self, seed: &Seed, dir: &LevelDir) -> Result<bool, RunError> {
        let Some(done) = dir.done()? else {
            return Ok(false);
        };
        if done.level > 0 {
            return Ok(true);
        }
        let mut wanted = self.stored_steps(seed)?.into_iter();
        Ok(wanted.all(|step| has_files(step, |file| done.digests.contains_key(file))))
    }

    /// The steps of the points that a run takes from its dense level: those that it wants, and those
    /// that it took before, which others may name.
    fn own_steps(&self, seed: &Seed) -> Result<Vec<u64>, RunError> {
        let own = self.run.seed(seed.seed).level(0);
        let listed = own.read_sealed().map(|read| read.value.digests);
        let listed = listed.unwrap_or_default().into_keys().chain(own.names());
        let last = self.trainer.steps_per_level();
        let mut steps = self.wanted_steps(seed)?;
        steps.extend(
            listed
                .filter_map(|file| step_of(&file))
                .filter(|step| (1..last).contains(step)),
        );
        steps.sort_unstable();
        steps.dedup();
        Ok(steps)
    }

    /// The steps whose points this run takes and the shared dense level lacks, as `has` finds.
    fn steps_without(
        &self,
        seed: &Seed,
        has: impl Fn(&PointDir) -> Result<bool, RunError>,
    ) -> Result<Vec<u64>, RunError> {
        let home = self.dense.seed(seed.seed);
        let mut lacking = Vec::new();
        for step in self.own_steps(seed)? {
            if !has(&home.point(step))? {
                lacking.push(step);
            }
        }
        Ok(lacking)
    }

    /// The steps whose points this run takes and the shared dense level lacks, to the last bit.
    pub(super) fn lacking_steps(&self, seed: &Seed) -> Result<Vec<u64>, RunError> {
        let home = self.dense.seed(seed.seed);
        self.steps_without(seed, |point| {
            let step = point.step();
            Ok(whole_point(&home, step)?.is_some())
        })
    }

    /// The step of level 0 from which its checkpoint lets this seed go on: a checkpoint that lies
    /// behind a point that is missing is of no use.
    pub(super) fn dense_step(&self, seed: &Seed, checkpoint: u64) -> u64 {
        // Asked for often; a point that is damaged costs its seed the checkpoint later.
        let lacking = self.steps_without(seed, |point| Ok(point.is_declared()));
        match lacking.unwrap_or_default().first() {
            Some(&first) if first <= checkpoint => 0,
            _ => checkpoint,
        }
    }

    /// Takes over the dense levels that are trained already; what is left has to be trained.
    pub(super) fn adopt_dense(
        &self,
        level: u64,
        seeds: &[Seed],
        group: &[usize],
    ) -> Result<Vec<Part>, RunError> {
        let (mut points, mut whole) = (Vec::new(), Vec::new());
        for &index in group {
            match level {
                0 => match self.take_dense(&seeds[index])? {
                    Lacks::Nothing => {}
                    Lacks::Points => points.push(index),
                    Lacks::All => whole.push(index),
                },
                _ => whole.push(index),
            }
        }
        let part = |goal, seeds: Vec<usize>| (!seeds.is_empty()).then_some(Part { goal, seeds });
        let parts = [part(Goal::Points, points), part(Goal::Level, whole)];
        Ok(parts.into_iter().flatten().collect())
    }

    /// Brings the shared dense level of a seed into the run, with the points that the run takes, or
    /// says what it lacks.
    pub(super) fn take_dense(&self, seed: &Seed) -> Result<Lacks, RunError> {
        let home = self.dense.seed(seed.seed);
        let Some(done) = whole_level(&home)? else {
            return Ok(Lacks::All);
        };
        let lacking = self.lacking_steps(seed)?;
        if !lacking.is_empty() {
            log::info!(
                "seed {}: the shared dense level lacks the points at steps {lacking:?}; it is trained \
                 once more up to the last of them",
                seed.seed
            );
            return Ok(Lacks::Points);
        }
        let mut points = Vec::new();
        for step in self.own_steps(seed)? {
            points.extend(whole_point(&home, step)?);
        }
        let own = self.run.seed(seed.seed).level(0);
        own.adopt(&home.level(0), &done, &points)?;
        // Whoever made the level may have been killed before it removed its checkpoint.
        checkpoint::remove(&home)?;
        Ok(Lacks::Nothing)
    }

    /// Takes over dense levels of which every point is there now.
    pub(super) fn take_points(&self, seeds: &[Seed], part: &Part) -> Result<(), RunError> {
        for &index in &part.seeds {
            self.take_dense(&seeds[index])?;
        }
        Ok(())
    }

    /// Places of the components whose states a run's level 0 carries although they are not those of
    /// this run's components as they are made. An earlier version left the states of whoever trained
    /// the dense level there, and level 1 went on from them.
    ///
    /// # Errors
    /// If a component fails.
    pub fn foreign_states(&self, seed: &mut Seed, done: &Done) -> Result<Vec<String>, RunError> {
        let failed = |number: u64| {
            move |source| RunError::Strategy {
                seed: number,
                level: 0,
                source,
            }
        };
        let number = seed.seed;
        seed.strategy.renew().map_err(failed(number))?;
        let own = seed.strategy.save_state().map_err(failed(number))?;
        let own = encode(&own);
        let states = super::shared::states(done).into_iter();
        Ok(states
            .filter(|(place, state)| own.get(place) != Some(state))
            .map(|(place, _)| place)
            .collect())
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
        let locks = numbers.iter().map(|&seed| {
            let home = self.course.dense.seed(seed);
            let lock = home.wait(&stop)?;
            // Whoever had it may have trained it just now.
            if lock.as_ref().is_some_and(|lock| !lock.is_first()) {
                refresh(home.path());
            }
            Ok(lock)
        });
        locks.collect()
    }
}

/// Whether both files of a point are there.
fn has_files(step: u64, has: impl Fn(&str) -> bool) -> bool {
    step_files(step).iter().all(|file| has(file))
}

/// A point of a seed's dense level, if it is whole.
pub(super) fn whole_point(
    home: &SeedDir,
    step: u64,
) -> Result<Option<(PointDir, PointDone)>, RunError> {
    let dir = home.point(step);
    let done = dir.done()?;
    let done = done.filter(|done| has_files(step, |file| done.digests.contains_key(file)));
    Ok(done.map(|done| (dir, done)))
}
