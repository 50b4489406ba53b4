//! What the optimizer's steps take of the schedule, where the buffers are.

use kernels::shim::ShimError;
use tch::{Device, Tensor};

use super::lanes::Lane;
use super::table::Table;
use super::{Position, Trainer};
use crate::optimizer::rates_of_lanes;

/// The rates of an epoch's remaining steps, on a GPU: decided by each lane with the number that its state's steps are
/// ahead of the level's.
#[derive(Default)]
pub(super) struct Rates(Table<Vec<(usize, i64)>>);

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
        let of = lanes.iter().map(ahead).collect();
        self.0.row(trainer, position, of, |_, left| {
            let rows: Vec<Tensor> = (0..left)
                .map(|later| rates(trainer, lanes, position.step, later))
                .collect();
            Tensor::stack(&rows, 0)
        })
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
