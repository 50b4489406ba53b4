//! Keys of the coins that a network draws where it is computed: on a GPU, by kernels of our own.

use kernels::shim::ShimError;
use tch::Tensor;

use super::feed::{Reader, readers};
use super::lanes::Lane;
use super::table::Table;
use super::{Position, Trainer};
use crate::model::{DeviceKeys, Drawn};
use crate::rng::{Moment, key_of};

/// What a session's network draws, and the keys of an epoch's remaining steps.
#[derive(Default)]
pub(super) struct Coins {
    /// What a step draws; not known before the first.
    drawn: Option<Drawn>,
    table: Table<Vec<Reader>>,
}

impl Coins {
    /// What a step draws, as far as it is known.
    pub fn drawn(&self) -> Option<&Drawn> {
        self.drawn.as_ref()
    }

    /// Remembers what a step drew.
    pub fn know(&mut self, drawn: Drawn) {
        if self.drawn.as_ref() != Some(&drawn) {
            self.drawn = Some(drawn);
            self.table = Table::default();
        }
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
        let row = (self.table).row(trainer, position, readers(lanes), |lanes, left| {
            keys(&drawn.coins, lanes, position, left)
        })?;
        Ok(Some(row))
    }
}

impl Trainer {
    /// A step's keys as a network takes them that draws this.
    ///
    /// # Shapes
    /// `keys`: `[names, lanes, 4]`.
    pub(super) fn device_keys<'a>(
        &'a self,
        drawn: Option<&'a Drawn>,
        keys: Option<Tensor>,
    ) -> Option<DeviceKeys<'a>> {
        let kernels = self.kernels.as_ref()?;
        Some(DeviceKeys::new(kernels, &drawn?.coins, keys?))
    }
}

/// The keys of so many steps from this one on, `[steps, names, lanes, 4]` i64.
fn keys(names: &[String], lanes: &[Reader], from: Position, steps: u64) -> Tensor {
    let mut numbers: Vec<i64> = Vec::new();
    for step in from.step..from.step + steps {
        for name in names {
            for lane in lanes {
                let moment = Moment {
                    level: lane.order_level,
                    epoch: from.epoch,
                    step,
                };
                let key = key_of(lane.seed, name, moment, None);
                let (words, _) = key.as_chunks::<8>();
                numbers.extend(words.iter().map(|it| i64::from_le_bytes(*it)));
            }
        }
    }
    let (names, lanes) = (names.len() as i64, lanes.len() as i64);
    Tensor::from_slice(&numbers).view([steps as i64, names, lanes, 4])
}
