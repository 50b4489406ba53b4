//! Reads the batches of image files ahead of the step that needs them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use super::batches::order;
use super::lanes::Lane;
use super::shards::Share;
use super::{Position, TrainError};
use crate::data::{DataError, Draw, ImageFiles, Pick};

/// Batches that wait for their step; a further one is being decoded.
const AHEAD: usize = 3;

/// The batches of an epoch's remaining steps, decoded by threads in the background.
///
/// What a batch holds follows from the lanes and the step alone: reading ahead changes no result.
pub(super) struct Feed {
    batches: Receiver<Result<Vec<u8>, DataError>>,
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
    /// This share of each step's `step_samples` of the samples for these lanes, from `position` to its epoch's end.
    pub(super) fn start(
        files: &Arc<ImageFiles>,
        lanes: &[Lane],
        position: Position,
        (samples, step_samples): (i64, u64),
        share: Share,
    ) -> Result<Self, TrainError> {
        let (sender, batches) = sync_channel(AHEAD);
        let (files, lanes, epoch) = (files.clone(), readers(lanes), position.epoch);
        let feed = Self {
            batches,
            next: (position.epoch, position.step),
            lanes: lanes.clone(),
        };
        let read = move || {
            let orders: Vec<Vec<i64>> = (lanes.iter())
                .map(|lane| order(lane.seed, lane.order_level, epoch, samples))
                .collect();
            let size = step_samples as usize;
            for start in (position.step_in_epoch as usize * size..samples as usize).step_by(size) {
                let picks = lanes.iter().zip(&orders).flat_map(|(lane, order)| {
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
                let batch = files.read(&picks.collect::<Vec<_>>());
                // Nobody waits any more: the session ended or is elsewhere.
                if sender.send(batch).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("images".to_owned())
            .spawn(read)
            .map_err(|error| TrainError::Feed(error.to_string()))?;
        Ok(feed)
    }

    /// Whether the next batch is that of these lanes at `position`.
    pub(super) fn is_at(&self, lanes: &[Lane], position: Position) -> bool {
        self.next == (position.epoch, position.step) && self.lanes == readers(lanes)
    }

    /// The next batch, `[lanes * batch, ...]`.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, TrainError> {
        let batch = self.batches.recv().map_err(|_| {
            TrainError::Feed("it ended early, which is a bug of the host".to_owned())
        })?;
        self.next.1 += 1;
        Ok(batch?)
    }
}
