//! What the optimizer's steps take of the schedule, where the buffers are.

use kernels::shim::{self, ShimError};
use tch::{Device, Tensor};

use super::lanes::Lane;
use super::{Position, Trainer};
use crate::optimizer::rates_of_lanes;

/// The rates of an epoch's remaining steps, on a GPU: copied there once.
#[derive(Default)]
pub(super) struct Rates(Option<Table>);

struct Table {
    of: Of,
    /// The step of the level that the first row is of.
    first: u64,
    /// `[steps, numbers, lanes]`.
    rows: Tensor,
}

/// What decides the rates of an epoch.
#[derive(PartialEq)]
struct Of {
    epoch: u64,
    /// Each lane with the number that its state's steps are ahead of the level's.
    lanes: Vec<(usize, i64)>,
}

impl Rates {
    /// Those of the step at `position`, which the lanes count already: `[numbers, lanes]`.
    ///
    /// # Errors
    /// If they cannot be copied to the buffers' device.
    pub fn at(
        &mut self,
        trainer: &Trainer,
        lanes: &[Lane],
        position: Position,
    ) -> Result<Tensor, ShimError> {
        if trainer.device == Device::Cpu {
            return Ok(rates(trainer, lanes, position.step, 0));
        }
        let ahead = |lane: &Lane| {
            let ahead = lane.optimizer_steps as i64 - position.step as i64;
            (lane.id, ahead)
        };
        let of = Of {
            epoch: position.epoch,
            lanes: lanes.iter().map(ahead).collect(),
        };
        let table = match self.0.take().filter(|table| table.of == of) {
            Some(table) => table,
            None => {
                let left = trainer.steps_per_epoch() - position.step_in_epoch;
                let rows: Vec<Tensor> = (0..left)
                    .map(|later| rates(trainer, lanes, position.step, later))
                    .collect();
                Table {
                    of,
                    first: position.step,
                    rows: shim::to_device(&Tensor::stack(&rows, 0), trainer.device)?,
                }
            }
        };
        let row = table.rows.select(0, (position.step - table.first) as i64);
        self.0 = Some(table);
        Ok(row)
    }
}

/// The rates of the step that comes so much `later` than this one, which the lanes count already.
fn rates(trainer: &Trainer, lanes: &[Lane], step: u64, later: u64) -> Tensor {
    let lr: Vec<f64> = (lanes.iter())
        .map(|lane| lane.lr(trainer, step + later))
        .collect();
    let steps: Vec<i64> = (lanes.iter())
        .map(|lane| (lane.optimizer_steps + later) as i64)
        .collect();
    rates_of_lanes(&*trainer.optimizer, &lr, &steps)
}
