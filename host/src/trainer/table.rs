//! What an epoch's remaining steps read beside samples, where the network is computed: copied there once.

use kernels::shim::{self, ShimError};
use tch::Tensor;

use super::{Position, Trainer};

/// A row for each remaining step of the epoch under way, as long as what decides them stays.
pub(super) struct Table<Of>(Option<Rows<Of>>);

struct Rows<Of> {
    epoch: u64,
    of: Of,
    /// The step of the level that the first row is of.
    first: u64,
    /// `[steps, ...]`.
    rows: Tensor,
}

impl<Of> Default for Table<Of> {
    fn default() -> Self {
        Self(None)
    }
}

impl<Of: PartialEq> Table<Of> {
    /// The row of the step at `position`, where `of` decides the rows; `rows` makes those of so many steps from there on.
    ///
    /// # Errors
    /// If they cannot be copied to the trainer's device.
    pub fn row(
        &mut self,
        trainer: &Trainer,
        position: Position,
        of: Of,
        rows: impl FnOnce(&Of, u64) -> Tensor,
    ) -> Result<Tensor, ShimError> {
        let known = self.0.take();
        let is_known = |it: &Rows<Of>| it.epoch == position.epoch && it.of == of;
        let table = match known.filter(is_known) {
            Some(table) => table,
            None => {
                let left = trainer.steps_per_epoch() - position.step_in_epoch;
                let rows = shim::to_device(&rows(&of, left), trainer.device)?;
                Rows {
                    epoch: position.epoch,
                    of,
                    first: position.step,
                    rows,
                }
            }
        };
        let row = table.rows.select(0, (position.step - table.first) as i64);
        self.0 = Some(table);
        Ok(row)
    }
}
