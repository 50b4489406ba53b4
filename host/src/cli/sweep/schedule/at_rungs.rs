//! Runs that come to a rung, wait there, and go on or end.

use std::time::{Duration, Instant};

use super::Schedule;
use crate::cli::sweep::others::{Looked, NEAR};
use crate::cli::sweep::state::State;

/// Time between two looks at what others brought to a rung.
const PAUSE: Duration = Duration::from_secs(1);

/// When it is decided again who goes on.
#[derive(Default)]
pub struct Rounds {
    /// When what others do was looked at last.
    last: Option<Instant>,
    /// Whether a job came to a rung, or will not come.
    has_news: bool,
    /// Whether it was told that what was decided cannot be written down.
    is_told: bool,
}

impl Rounds {
    /// Something happened to a job.
    pub(super) fn hear(&mut self) {
        self.has_news = true;
    }

    /// Whether something happened to a job since it was decided last who goes on.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }
}

impl Schedule<'_> {
    /// Takes in how a job's process ended that was to bring it to this level.
    pub(super) fn end(&mut self, index: usize, state: State, goal: Option<u64>) {
        let level = goal.unwrap_or(self.rungs.last(index));
        self.rungs.look(index);
        let is_left = level < self.rungs.last(index);
        // Seeds that were given up stop no others: the run goes on, and fails at its end.
        let is_there = is_left && self.rungs.is_there_in_part(index, level);
        let has_come = state == State::Done || matches!(state, State::Failed { .. }) && is_there;
        match has_come {
            true => self.arrive(index, level),
            false => self.states[index] = state,
        }
        self.note(index);
        self.others.look_again(&self.jobs[index]);
        match (&self.states[index], self.rungs.stopped(index)) {
            (State::Waiting, _) => self.progress.arrived(index, level),
            (State::Behind { .. }, Some(stopped)) => {
                self.progress.arrived(index, level);
                self.progress.stopped(index, &stopped);
            }
            (state, _) => self.progress.ended(index, state),
        }
        self.rounds.hear();
    }

    /// A job is at a level, or past it.
    pub(super) fn arrive(&mut self, index: usize, level: u64) {
        self.rounds.hear();
        self.reached[index] = Some(level);
        self.rungs.look(index);
        self.states[index] = match self.rungs.stopped(index) {
            Some(stopped) if stopped.level <= level => State::Behind {
                reason: stopped.to_string(),
            },
            _ if level >= self.rungs.last(index) => State::Done,
            _ => State::Waiting,
        };
    }

    /// Whether a job is where it has to wait for others.
    pub(super) fn is_at_rung(&self, index: usize) -> bool {
        self.reached[index].is_some_and(|level| level >= self.rungs.goal(index))
    }

    /// Decides at the rungs that all have come to, and says who ends there.
    pub(super) fn decide(&mut self) {
        self.rounds.has_news = false;
        if !self.rungs.are_there() {
            return;
        }
        let lost = self.lost();
        let is_lost = |job: usize| lost.contains(&job);
        self.rungs.decide(&is_lost);
        if let Err(error) = self.rungs.publish(&is_lost)
            && !std::mem::replace(&mut self.rounds.is_told, true)
        {
            log::warn!("which cells were stopped is not written down: {error}");
        }
        for index in 0..self.jobs.len() {
            let Some(level) = self.reached[index] else {
                continue;
            };
            match (&self.states[index], self.rungs.stopped(index)) {
                (State::Waiting, Some(stopped)) if stopped.level <= level => {
                    self.states[index] = State::Behind {
                        reason: stopped.to_string(),
                    };
                    self.progress.stopped(index, &stopped);
                }
                // What it was behind of is another one now, that was lost before.
                (State::Behind { .. }, None) => self.states[index] = State::Waiting,
                _ => {}
            }
        }
    }

    /// The jobs that are awaited at a rung and are not going to come: they failed, and nobody tries them again.
    fn lost(&mut self) -> Vec<usize> {
        let mut lost: Vec<usize> = Vec::new();
        loop {
            self.rungs.decide(&|job| lost.contains(&job));
            let awaited: Vec<usize> = self.rungs.awaited().into_iter().map(|it| it.0).collect();
            // One that is still to come is as good as all.
            let more: Vec<usize> = (awaited.into_iter())
                .take_while(|&it| self.has_failed(it) && self.is_free(it))
                .collect();
            // Without them all may have come there, and to the next rung.
            match more.is_empty() {
                true => return lost,
                false => lost.extend(more),
            }
        }
    }

    fn has_failed(&self, index: usize) -> bool {
        match &self.states[index] {
            State::Left => self.failures.get(&self.jobs[index]).is_some(),
            state => state.is_lost(),
        }
    }

    fn is_free(&mut self, index: usize) -> bool {
        let looked = self.others.owner(&self.jobs[index], true);
        matches!(looked, Looked::Free)
    }

    /// Decides anew where something happened; now and then, looks at what other processes brought to a rung.
    pub(super) fn look_around(&mut self) {
        if self.rounds.has_news {
            self.decide();
        }
        let is_due = self.rounds.last.is_none_or(|it| it.elapsed() > PAUSE);
        if !self.rungs.are_there() || !is_due {
            return;
        }
        self.rounds.last = Some(Instant::now());
        let awaited = self.rungs.awaited().into_iter().map(|it| it.0);
        let others: Vec<usize> = awaited
            .filter(|&it| self.states[it] != State::Running)
            .take(NEAR)
            .collect();
        for &index in &others {
            self.rungs.look(index);
        }
        if !others.is_empty() {
            self.decide();
        }
    }

    /// Whether somebody is about to bring to a rung what jobs of this process wait for there.
    pub(super) fn is_brought_by_others(&mut self) -> bool {
        let awaited: Vec<usize> = self.rungs.awaited().into_iter().map(|it| it.0).collect();
        awaited.into_iter().take(NEAR).any(|index| {
            if let State::Elsewhere { .. } = self.states[index] {
                return true;
            }
            let looked = self.others.owner(&self.jobs[index], true);
            matches!(looked, Looked::Held(_))
        })
    }

    /// Says of jobs that still wait at a rung for whom they do.
    pub(super) fn leave_rungs(&mut self) {
        let awaited = self.rungs.awaited();
        let mut names: Vec<&str> = awaited.iter().map(|it| it.1).take(3).collect();
        if awaited.len() > names.len() {
            names.push("others");
        }
        let names = names.join(", ");
        for index in 0..self.jobs.len() {
            if let (State::Waiting, Some(level)) = (&self.states[index], self.reached[index])
                && self.is_at_rung(index)
            {
                self.states[index] = State::AtRung {
                    reason: format!(
                        "at level {level}, where it goes on or ends once {names} came there"
                    ),
                };
            }
        }
    }
}
