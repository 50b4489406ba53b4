//! The other ranks of a training: they do what rank 0 says.

use std::sync::Arc;

use super::command::{Command, Letter};
use super::{Session, TrainError, Trainer};
use crate::ranks::{Ranks, Told};

/// Ends the session of the other ranks with that of rank 0.
pub(super) struct Led(Arc<Ranks>);

impl Led {
    /// Has the other ranks begin a session; none where this is not rank 0, or alone.
    pub fn begin(
        trainer: &Trainer,
        starts: &[super::LaneStart],
    ) -> Result<Option<Self>, TrainError> {
        let Some(ranks) = trainer.leads() else {
            return Ok(None);
        };
        let mut letter = Letter::of(Command::Begin)?;
        letter.write_starts(starts)?;
        ranks.say(letter.bytes())?;
        Ok(Some(Self(ranks.clone())))
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        if let Ok(letter) = Letter::of(Command::End) {
            // Who is lost is noticed by whoever needs it next.
            let _ = self.0.say(letter.bytes());
        }
    }
}

impl Trainer {
    /// The same trainer as one of these ranks, each of which computes its share of a batch's shards.
    pub fn among(mut self, ranks: Arc<Ranks>) -> Self {
        self.join(ranks);
        self
    }

    /// Has it compute as one of these ranks.
    pub fn join(&mut self, ranks: Arc<Ranks>) {
        self.shards.ranks = Some(ranks);
    }

    /// The ranks that it trains with, if it does.
    pub fn ranks(&self) -> Option<&Arc<Ranks>> {
        self.shards.ranks.as_ref()
    }

    /// The ranks that it leads, if it does.
    pub(super) fn leads(&self) -> Option<&Arc<Ranks>> {
        self.ranks().filter(|ranks| ranks.leads())
    }

    /// Has the other ranks do the same, where there are any and this is rank 0.
    pub(super) fn tell(&self, command: Command) -> Result<(), TrainError> {
        match self.leads() {
            Some(ranks) => Ok(ranks.say(Letter::of(command)?.bytes())?),
            None => Ok(()),
        }
    }

    /// Does what rank 0 says, until it says to leave: with which exit code.
    ///
    /// # Errors
    /// If a rank is lost, or something fails here.
    pub fn follow(&self) -> Result<u8, TrainError> {
        let Some(ranks) = self.ranks() else {
            return Ok(0);
        };
        loop {
            let mut letter = match ranks.hear()? {
                Told::Leave(exit) => return Ok(exit),
                Told::Words(words) => Letter::received(words),
            };
            match letter.read()? {
                Command::Begin => {
                    let session = self.session(letter.read_starts()?)?;
                    if let Some(exit) = self.follow_session(session, ranks)? {
                        return Ok(exit);
                    }
                }
                _ => return Err(TrainError::Letter),
            }
        }
    }

    /// A session of rank 0's; the exit code if it says to leave.
    fn follow_session(
        &self,
        mut session: Session<'_>,
        ranks: &Ranks,
    ) -> Result<Option<u8>, TrainError> {
        loop {
            let mut letter = match ranks.hear()? {
                Told::Leave(exit) => return Ok(Some(exit)),
                Told::Words(words) => Letter::received(words),
            };
            match letter.read()? {
                Command::End => return Ok(None),
                Command::Step => session.step()?,
                Command::SetMask(lane) => session.set_mask(lane, &letter.read_tensors()?)?,
                Command::DropLane(lane) => session.drop_lane(lane)?,
                Command::FinishEpoch => session.finish_epoch().map(|_| ())?,
                Command::Evaluate(on) => session.evaluate_unless(on, &|| false).map(|_| ())?,
                Command::Begin | Command::Next | Command::Halt => return Err(TrainError::Letter),
            }
        }
    }
}

impl Session<'_> {
    /// Has the other ranks take other masks, once the session has begun.
    pub(super) fn lead_mask(&self, lane: usize, masks: &[tch::Tensor]) -> Result<(), TrainError> {
        let Some(ranks) = self.trainer.leads().filter(|_| self.has_begun()) else {
            return Ok(());
        };
        let mut letter = Letter::of(Command::SetMask(lane))?;
        letter.write_tensors(masks)?;
        Ok(ranks.say(letter.bytes())?)
    }
}
