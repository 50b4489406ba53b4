//! What the shards of a step are computed of.

use tch::Tensor;

use super::slot::Work;
use crate::data::Inputs;
use crate::model::StepKey;
use crate::trainer::{Session, TrainError};

impl Session<'_> {
    /// The samples of this process's shards, in their order.
    pub(super) fn works(
        &mut self,
        (index, draws): (&Tensor, Option<&Tensor>),
    ) -> Result<Vec<Work>, TrainError> {
        let trainer = self.trainer;
        let (share, batch) = (trainer.shards.share(), index.size()[1]);
        let own = share.samples(batch);
        let data = &trainer.data;
        let shards = share.shards.clone();
        // A shard's place among the samples that this process has of the batch.
        let place = |shard: u64| {
            let samples = share.samples_of(shard, batch);
            (samples.start - own.start, samples.end - samples.start)
        };
        if self.hand.is_some()
            && data.augment.is_none()
            && let Inputs::Memory(inputs) = &data.train.inputs
        {
            let table = trainer.perceptron.as_ref().and_then(|plan| plan.table());
            let rows = |shard: u64| Work::Rows {
                inputs: inputs.shallow_clone(),
                table: table.map(Tensor::shallow_clone),
                targets: data.train.labels.shallow_clone(),
                index: {
                    let (start, len) = place(shard);
                    index.narrow(1, own.start + start, len)
                },
            };
            return Ok(shards.map(rows).collect());
        }
        let (inputs, targets) =
            trainer.training_batch((index, draws), &self.lanes, self.position, &mut self.feed)?;
        let along = i64::from(trainer.lanes());
        let mut works = Vec::new();
        for shard in shards {
            let (start, len) = place(shard);
            // Copies, which are aligned alike wherever a shard lies in the batch.
            let input = inputs.narrow(along, start, len).copy();
            let targets = targets.narrow(1, start, len).contiguous();
            works.push(match self.hand.is_some() {
                true => Work::Made {
                    inputs: match trainer.lanes() {
                        true => input.flatten(0, 1).contiguous(),
                        false => input.contiguous(),
                    },
                    targets: targets.reshape([-1]),
                    count: len,
                },
                false => Work::Graph {
                    taught: trainer.taught(&input, &self.lanes)?,
                    input,
                    targets,
                },
            });
        }
        Ok(works)
    }

    /// What the random numbers of a shard are keyed by.
    pub(super) fn keys_of(&self, shard: u64) -> Vec<StepKey> {
        let of_shard = |key: StepKey| StepKey {
            shard: Some(shard),
            ..key
        };
        self.step_keys().into_iter().map(of_shard).collect()
    }
}
