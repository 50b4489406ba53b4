//! Which level of which seeds is next.

use super::course::ends::Written;
use super::{Course, Event, Levels, Observer, RunError, Seed};
use crate::records::read_summary;
use crate::tensorboard;

/// Where the seeds of a run stand.
pub(super) struct Queue {
    /// The first level of each seed that is not done.
    next: Vec<u64>,
    /// Seeds that were given up, with the reason.
    pub failed: Vec<(u64, String)>,
    /// What TensorBoard shows of each seed.
    shown: Vec<tensorboard::Shown>,
}

impl Queue {
    /// The queue of a run as it lies on disk; the observer is told what is done already. None if the
    /// user asked to stop meanwhile.
    pub fn new(
        levels: &Levels<'_>,
        seeds: &[Seed],
        observer: &mut dyn Observer,
    ) -> Result<Option<Self>, RunError> {
        let course = &levels.course;
        // Read once: checking what is done reads every file of it.
        let mut next = Vec::new();
        for seed in seeds {
            if levels.interrupt.wants_stop() {
                return Ok(None);
            }
            next.push(course.next_level(seed, 0)?);
        }
        for (seed, &next) in seeds.iter().zip(&next) {
            course.tidy(seed, next)?;
        }
        for (seed, &next) in seeds.iter().zip(&next) {
            for level in 0..next {
                let summary = read_summary(&course.run.seed(seed.seed).level(level))?;
                observer.observe(&Event::LevelFound { summary: &summary });
            }
        }
        let mut queue = Self {
            next,
            failed: Vec::new(),
            shown: seeds.iter().map(|_| Default::default()).collect(),
        };
        for (index, seed) in seeds.iter().enumerate() {
            queue.show_events(course, seed, index);
        }
        Ok(Some(queue))
    }

    /// The seeds that stand furthest behind and at the same place up to the last level, as indices, with their level.
    pub fn next(
        &self,
        course: &Course<'_>,
        seeds: &[Seed],
        last: u64,
    ) -> Option<(u64, Vec<usize>)> {
        let mut places = Vec::new();
        for (index, (seed, &level)) in seeds.iter().zip(&self.next).enumerate() {
            if !self.is_given_up(seed) && level <= last {
                places.push((course.place_within(seed, level), index));
            }
        }
        let &(place, _) = places.iter().min()?;
        let same = places
            .iter()
            .filter(|(other, _)| *other == place)
            .map(|(_, index)| *index);
        let group = same.take(course.trainer.seeds_together()).collect();
        Some((place.0, group))
    }

    /// Moves the seeds of a group past a level that is done.
    pub fn pass(
        &mut self,
        course: &Course<'_>,
        level: u64,
        seeds: &[Seed],
        group: &[usize],
    ) -> Result<(), RunError> {
        for &index in group {
            if !self.is_given_up(&seeds[index]) {
                self.next[index] = course.next_level(&seeds[index], level + 1)?;
            }
            self.show_events(course, &seeds[index], index);
        }
        Ok(())
    }

    /// Tells of the levels that came to lie on disk since this was called last.
    pub fn tell_written(
        &mut self,
        course: &Course<'_>,
        seeds: &[Seed],
        observer: &mut dyn Observer,
    ) -> Result<(), RunError> {
        for Written { seed, summary } in course.ends.written()? {
            observer.observe(&Event::LevelDone { summary: &summary });
            self.show_events(course, &seeds[seed], seed);
        }
        Ok(())
    }

    fn is_given_up(&self, seed: &Seed) -> bool {
        self.failed.iter().any(|(number, _)| *number == seed.seed)
    }

    /// Brings a seed's TensorBoard file up to date. The records that it shows are on disk: a run does not
    /// stop for it.
    fn show_events(&mut self, course: &Course<'_>, seed: &Seed, index: usize) {
        if let Err(error) = self.shown[index].export(&course.run, seed.seed) {
            log::warn!("seed {} is not shown in TensorBoard: {error}", seed.seed);
        }
    }
}
