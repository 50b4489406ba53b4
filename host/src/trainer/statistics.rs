//! Running statistics of networks that were not trained to where they are.

use tch::{Kind, Tensor};

use super::evaluate::CHUNK;
use super::{Snapshot, TrainError, Trainer};
use crate::model::{Keys, Mode};

impl Trainer {
    /// Gives points the running statistics of the training data: the mean over batches of up to
    /// 1,000 samples, weighted by their sizes, of each batch's mean and unbiased variance. The
    /// samples are not augmented, nothing is dropped out, and each batch norm sees inputs that those before it normalised by
    /// the batch. A network without batch norm stays as it is.
    ///
    /// # Source
    /// Izmailov et al. 2018 (arXiv:1803.05407): averaged weights need statistics of
    /// their own, from one pass over the training data.
    ///
    /// # Errors
    /// If a point is another network's.
    pub fn recompute_statistics(&self, points: &mut [Snapshot]) -> Result<(), TrainError> {
        let mut buffers = self.layout.buffers().iter();
        if buffers.all(|it| it.momentum.is_none()) {
            return Ok(());
        }
        let together = if self.lanes() { points.len().max(1) } else { 1 };
        points
            .chunks_mut(together)
            .try_for_each(|points| self.recompute_lanes(points))
    }

    fn recompute_lanes(&self, points: &mut [Snapshot]) -> Result<(), TrainError> {
        let _no_grad = tch::no_grad_guard();
        let lanes = points.len() as i64;
        let (flat, statistics) = self.lay_out(points)?;
        let parameters = self.layout.views(&flat);
        let mut sums: Vec<Tensor> = (statistics.iter())
            .map(|it| Tensor::zeros(it.size(), (Kind::Double, self.device)))
            .collect();
        let samples = self.data.train.len();
        // Even pieces: a last batch of one sample would have no variance.
        let pieces = (samples + CHUNK - 1) / CHUNK;
        for piece in 0..pieces {
            let (start, end) = (samples * piece / pieces, samples * (piece + 1) / pieces);
            let index = Tensor::arange_start(start, end, (Kind::Int64, self.device)).unsqueeze(0);
            let index = index.expand([lanes, end - start], false);
            let (input, _) = self.batch(&self.data.train, &index)?;
            // From 0, what a batch leaves is its own statistics times the momentum.
            for (running, buffer) in statistics.iter().zip(self.layout.buffers()) {
                if buffer.momentum.is_some() {
                    let _ = running.shallow_clone().zero_();
                }
            }
            let _ = self.forward(
                &parameters,
                &statistics,
                &input,
                Mode::Train(Keys::NONE),
                None,
            )?;
            let share = (end - start) as f64 / samples as f64;
            let each = sums.iter_mut().zip(&statistics).zip(self.layout.buffers());
            for ((sum, running), buffer) in each {
                let weight = share / buffer.momentum.unwrap_or(1.0);
                *sum += running.to_kind(Kind::Double) * weight;
            }
        }
        for (lane, point) in (0..).zip(points) {
            let own = self.layout.lane_statistics(&sums, lane);
            let own = self.layout.buffers().iter().zip(own);
            for (buffer, sum) in own.filter(|(it, _)| it.momentum.is_some()) {
                point.replace(&buffer.name, sum.to_kind(Kind::Float));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trainer::testing::{conv_trainer, mlp_trainer, start};

    /// The largest difference between two tensors.
    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn statistics_of_the_first_norm_are_the_means_and_variances_of_its_inputs() {
        let trainer = conv_trainer(json!({}));
        let mut point = trainer.initial(3);
        let weight = point.get("conv1.weight").map(Tensor::copy).unwrap();
        trainer
            .recompute_statistics(std::slice::from_mut(&mut point))
            .unwrap();
        let none = None::<&Tensor>;
        let inputs = trainer.data().train.inputs.tensor().unwrap();
        let before = inputs.conv2d(&weight, none, [1, 1], [1, 1], [1, 1], 1);
        // [features, samples and positions]
        let values = before.transpose(0, 1).flatten(1, -1);
        let mean = values.mean_dim([1i64].as_slice(), false, Kind::Float);
        let variance = values.var_dim([1i64].as_slice(), true, false);
        assert!(distance(point.get("bn1.running_mean").unwrap(), &mean) < 1e-5);
        assert!(distance(point.get("bn1.running_var").unwrap(), &variance) < 1e-4);
        assert!(distance(point.get("conv1.weight").unwrap(), &weight) == 0.0);
    }

    #[test]
    fn a_lane_gets_the_statistics_that_it_gets_alone() {
        let trainer = mlp_trainer(json!({}));
        let mut session = trainer
            .session(vec![start(&trainer, 1), start(&trainer, 2)])
            .unwrap();
        for _ in 0..3 {
            session.step().unwrap();
        }
        let points = [0, 1].map(|lane| session.snapshot(lane).unwrap());
        let mut together = points.clone();
        trainer.recompute_statistics(&mut together).unwrap();
        for (point, expected) in points.into_iter().zip(together) {
            assert_ne!(point, expected);
            let mut alone = [point];
            trainer.recompute_statistics(&mut alone).unwrap();
            assert_eq!(alone[0], expected);
        }
    }
}
