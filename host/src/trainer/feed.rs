//! The images of a session's steps, where they stay in their files.

use std::sync::Arc;
use std::time::Instant;

use tch::Tensor;

use super::ahead::Ahead;
use super::batches::order;
use super::lanes::Lane;
use super::pace::{Pace, Speeds, Steps};
use super::{Position, TrainError, Trainer};
use crate::data::{Draw, ImageFiles, Pick};

/// The batches of an epoch's remaining steps, which are read ahead.
///
/// What a batch holds follows from the lanes and the step alone.
#[derive(Default)]
pub(super) struct Feed {
    under_way: Option<UnderWay>,
    pace: Arc<Pace>,
    steps: Steps,
}

/// An epoch that is read.
struct UnderWay {
    batches: Ahead,
    /// The epoch, and the step of the level whose batch comes next.
    next: (u64, u64),
    lanes: Vec<Reader>,
}

/// What decides the samples of a lane and their random parts.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Reader {
    pub seed: u64,
    pub order_level: u64,
}

pub(super) fn readers(lanes: &[Lane]) -> Vec<Reader> {
    let reader = |lane: &Lane| Reader {
        seed: lane.seed,
        order_level: lane.order_level,
    };
    lanes.iter().map(reader).collect()
}

impl Feed {
    /// The batch of these lanes at `position`: this process's share of it, on the trainer's device.
    ///
    /// # Shapes
    /// `[lanes * batch, 3, size, size]`, u8.
    ///
    /// # Errors
    /// A file that cannot be read or decoded.
    pub fn batch(
        &mut self,
        trainer: &Trainer,
        files: &Arc<ImageFiles>,
        lanes: &[Lane],
        position: Position,
    ) -> Result<Tensor, TrainError> {
        let asked = Instant::now();
        let mut at_hand = match self.under_way.take().filter(|it| it.is_at(lanes, position)) {
            Some(at_hand) => at_hand,
            None => {
                self.steps.leave();
                let lanes = readers(lanes);
                let picks = picks(trainer, &lanes, position);
                UnderWay {
                    batches: Ahead::start(files, trainer.device, picks, &self.pace)?,
                    next: (position.epoch, position.step),
                    lanes,
                }
            }
        };
        let pixels = at_hand.batches.next()?;
        at_hand.next.1 += 1;
        self.under_way = Some(at_hand);
        self.steps
            .add(asked, Instant::now(), pixels.size()[0] as u64);
        Ok(pixels)
    }

    /// How fast images were decoded and trained on, once that is known.
    pub fn speeds(&self) -> Option<Speeds> {
        self.steps.speeds(&self.pace)
    }
}

impl UnderWay {
    /// Whether the next batch is that of these lanes at `position`.
    fn is_at(&self, lanes: &[Lane], position: Position) -> bool {
        self.next == (position.epoch, position.step) && self.lanes == readers(lanes)
    }
}

/// The samples of each step from `position` to its epoch's end, of which this process has a share, lane after lane.
fn picks(
    trainer: &Trainer,
    lanes: &[Reader],
    position: Position,
) -> impl Iterator<Item = Vec<Pick>> + Send + use<> {
    let (samples, size) = (trainer.data.train.len(), trainer.step_samples as usize);
    let (lanes, share) = (lanes.to_vec(), trainer.shards.share());
    let starts = (position.step_in_epoch as usize * size..samples as usize).step_by(size);
    let epoch = position.epoch;
    let mut orders: Option<Vec<Vec<i64>>> = None;
    starts.map(move |start| {
        // Drawn by the thread that reads.
        let orders = orders.get_or_insert_with(|| {
            (lanes.iter())
                .map(|lane| order(lane.seed, lane.order_level, epoch, samples))
                .collect()
        });
        let picks = lanes.iter().zip(orders).flat_map(|(lane, order)| {
            let batch = &order[start..order.len().min(start + size)];
            let own = share.samples(batch.len() as i64);
            batch[own.start as usize..own.end as usize]
                .iter()
                .map(|&sample| Pick {
                    sample: sample as usize,
                    drawn: Some(Draw {
                        seed: lane.seed,
                        level: lane.order_level,
                        epoch,
                    }),
                })
        });
        picks.collect()
    })
}
