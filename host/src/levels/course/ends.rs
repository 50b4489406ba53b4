//! Ends of levels on their way to the disk while the next ones train.
//!
//! A level is written in the order in which it always was, `done.json` last, and its checkpoint goes after that: what
//! kills the process meanwhile costs what it would have cost a moment before the level's end. The next level starts from
//! the same numbers as it would read.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Tensor};

use crate::levels::RunError;
use crate::levels::running::Carry;
use crate::records::Summary;
use crate::store::{Behind, LevelDir, StoreError, at_hand, write, write_tensors};
use crate::trainer::{OptimizerState, Snapshot};

/// Levels of a run that ended and are not all on disk.
#[derive(Default)]
pub struct Ends {
    writing: Behind<Option<Written>>,
    held: Mutex<Vec<Held>>,
}

/// A level that is on disk now.
pub(in crate::levels) struct Written {
    /// Its seed's place among the run's.
    pub seed: usize,
    pub summary: Summary,
}

/// What a level ended with, for the one that follows.
pub(in crate::levels) struct Held {
    pub seed: u64,
    pub level: u64,
    pub carry: Carry,
    pub point: Snapshot,
    pub optimizer: OptimizerState,
    pub masks: Vec<Tensor>,
}

/// Files of a level, in the order in which they are written.
pub(in crate::levels) struct Files {
    dir: LevelDir,
    tensors: Vec<(String, Vec<(String, Tensor)>)>,
    texts: Vec<(String, Vec<u8>)>,
}

impl Ends {
    /// Writes this after all that was given before.
    pub(in crate::levels) fn write(
        &self,
        dir: &LevelDir,
        job: impl FnOnce() -> Result<Option<Written>, StoreError> + Send + 'static,
    ) {
        self.writing.give(dir.path(), job);
    }

    /// Levels that came to lie on disk since this was asked last.
    ///
    /// # Errors
    /// What could not be written: nothing that came after it was.
    pub(in crate::levels) fn written(&self) -> Result<Vec<Written>, RunError> {
        Ok(self.writing.done()?.into_iter().flatten().collect())
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// As [`written`](Ends::written).
    pub(in crate::levels) fn settle(&self) -> Result<(), RunError> {
        Ok(self.writing.settle()?)
    }

    /// Waits until what was given of this level is written.
    ///
    /// # Errors
    /// If anything could not be: [`settle`](Ends::settle) says what.
    pub(in crate::levels) fn settle_in(&self, dir: &LevelDir) -> Result<(), RunError> {
        match self.writing.settle_in(dir.path()) {
            true => Ok(()),
            false => Err(RunError::Unwritten),
        }
    }

    /// Makes room: waits until all is written, and keeps nothing of what levels ended with.
    ///
    /// # Errors
    /// As [`written`](Ends::written).
    pub(in crate::levels) fn make_room(&self) -> Result<(), RunError> {
        self.held().clear();
        self.settle()
    }

    /// Keeps what a level ended with.
    pub(in crate::levels) fn hold(&self, held: Held) {
        self.held().push(held);
    }

    /// What is kept of a level's end; it is kept no longer.
    pub(in crate::levels) fn take(&self, seed: u64, level: u64) -> Option<Held> {
        let mut all = self.held();
        let place = all
            .iter()
            .position(|it| (it.seed, it.level) == (seed, level))?;
        Some(all.swap_remove(place))
    }

    /// Whether what a level ended with is kept.
    pub(in crate::levels) fn holds(&self, seed: u64, level: u64) -> bool {
        (self.held().iter()).any(|it| (it.seed, it.level) == (seed, level))
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// In memory of its own: strategies are lent what the level after starts from, and what they do to it must not
    /// reach the files.
    pub fn apart(mut self) -> Self {
        let apart = |tensor: &mut Tensor| {
            // Of what lies on a GPU the files have a copy.
            if tensor.device() == Device::Cpu {
                *tensor = tensor.copy();
            }
        };
        let named = |tensors: &mut Vec<(String, Tensor)>| {
            tensors.iter_mut().for_each(|(_, tensor)| apart(tensor));
        };
        named(&mut self.point.tensors);
        named(&mut self.optimizer.tensors);
        self.masks.iter_mut().for_each(apart);
        self
    }
}

impl Files {
    /// None yet.
    pub fn of(dir: &LevelDir) -> Self {
        Self {
            dir: dir.clone(),
            tensors: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// With a file of these tensors, which nobody may change before it is written.
    pub fn add_tensors(&mut self, name: &str, tensors: &[(String, Tensor)]) {
        self.tensors.push((name.to_owned(), at_hand(tensors)));
    }

    /// With a file of this text.
    pub fn add_text(&mut self, name: &str, text: Vec<u8>) {
        self.texts.push((name.to_owned(), text));
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let tensors = self.tensors.iter().map(|(name, _)| name.clone());
        tensors.chain(self.texts.iter().map(|(name, _)| name.clone()))
    }

    /// Writes them.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub(in crate::levels) fn write(&self) -> Result<(), StoreError> {
        for (name, tensors) in &self.tensors {
            write_tensors(&self.dir.file(name), tensors)?;
        }
        for (name, text) in &self.texts {
            write(&self.dir.file(name), text)?;
        }
        Ok(())
    }
}
