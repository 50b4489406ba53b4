//! Keys of the coins that a network draws where it is computed: on a GPU, by kernels of our own.

use kernels::shim::{self, ShimError};
use tch::Tensor;

use super::feed::{Reader, readers};
use super::lanes::Lane;
use super::{Position, Trainer};
use crate::model::{DeviceKeys, Drawn};
use crate::rng::{Moment, key_of};

/// What a session's network draws, and the keys of an epoch's remaining steps: copied to the device once.
#[derive(Default)]
pub(super) struct Coins {
    /// What a step draws; not known before the first.
    drawn: Option<Drawn>,
    table: Option<Table>,
}

struct Table {
    of: Of,
    /// The step of the level that the first row is of.
    first: u64,
    /// `[steps, names, lanes, 4]`, i64.
    rows: Tensor,
}

/// What decides an epoch's keys.
#[derive(PartialEq)]
struct Of {
    epoch: u64,
    lanes: Vec<Reader>,
    names: Vec<String>,
}

impl Coins {
    /// What a step draws, as far as it is known.
    pub fn drawn(&self) -> Option<&Drawn> {
        self.drawn.as_ref()
    }

    /// Remembers what a step drew.
    pub fn know(&mut self, drawn: Drawn) {
        self.drawn = Some(drawn);
    }

    /// The keys of the step at `position`, `[names, lanes, 4]`; none where coins are drawn on the CPU, or not known yet.
    ///
    /// # Errors
    /// If they cannot be copied to the device.
    pub fn at(
        &mut self,
        trainer: &Trainer,
        lanes: &[Lane],
        position: Position,
    ) -> Result<Option<Tensor>, ShimError> {
        let Some(drawn) = self.drawn.as_ref().filter(|it| !it.coins.is_empty()) else {
            return Ok(None);
        };
        if trainer.kernels.is_none() || !trainer.shards.is_one() {
            return Ok(None);
        }
        let of = Of {
            epoch: position.epoch,
            lanes: readers(lanes),
            names: drawn.coins.clone(),
        };
        let table = match self.table.take().filter(|table| table.of == of) {
            Some(table) => table,
            None => {
                let left = trainer.steps_per_epoch() - position.step_in_epoch;
                let rows = shim::to_device(&of.keys(position.step, left), trainer.device)?;
                Table {
                    of,
                    first: position.step,
                    rows,
                }
            }
        };
        let row = table.rows.select(0, (position.step - table.first) as i64);
        self.table = Some(table);
        Ok(Some(row))
    }
}

impl Trainer {
    /// A step's keys as a network takes them.
    ///
    /// # Shapes
    /// `keys`: `[names, lanes, 4]`.
    pub(super) fn device_keys<'a>(
        &'a self,
        coins: &'a Coins,
        keys: Option<Tensor>,
    ) -> Option<DeviceKeys<'a>> {
        let names = &coins.drawn.as_ref()?.coins;
        Some(DeviceKeys::new(self.kernels.as_ref()?, names, keys?))
    }
}

impl Of {
    /// The keys of so many steps from this one on.
    fn keys(&self, first: u64, steps: u64) -> Tensor {
        let mut numbers: Vec<i64> = Vec::new();
        for step in first..first + steps {
            for name in &self.names {
                for lane in &self.lanes {
                    let moment = Moment {
                        level: lane.order_level,
                        epoch: self.epoch,
                        step,
                    };
                    let key = key_of(lane.seed, name, moment, None);
                    let (words, _) = key.as_chunks::<8>();
                    numbers.extend(words.iter().map(|it| i64::from_le_bytes(*it)));
                }
            }
        }
        let (names, lanes) = (self.names.len() as i64, self.lanes.len() as i64);
        Tensor::from_slice(&numbers).view([steps as i64, names, lanes, 4])
    }
}
