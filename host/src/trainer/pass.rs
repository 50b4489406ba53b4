//! An evaluation, chunk by chunk.

use std::sync::Arc;

use kernels::{Survivors, Taps};
use tch::{Kind, Tensor};

use super::ahead::Ahead;
use super::command::Letter;
use super::evaluate::CHUNK;
use super::metrics::Tally;
use super::targets::Targets;
use super::{Evaluation, On, TrainError, Trainer};
use crate::data::{Inputs, Pick};
use crate::model::Mode;

/// Values of an input up to which a chunk is full; of larger ones fewer are evaluated together.
const VALUES: i64 = 3 * 64 * 64;

/// An evaluation under way.
pub(super) struct Pass<'a> {
    trainer: &'a Trainer,
    flat: &'a Tensor,
    statistics: &'a [Tensor],
    parameters: Vec<Tensor>,
    /// The running statistics of a network that lost units.
    left: Option<Vec<Tensor>>,
    survivors: Vec<Vec<Option<Survivors>>>,
    taps: Option<Vec<Option<Taps>>>,
    /// The chunks that this process evaluates, where the samples are image files.
    ahead: Option<Ahead>,
    on: On,
    lanes: i64,
    samples: i64,
    /// Samples that are evaluated together.
    most: i64,
    /// How often that is done.
    pub chunks: i64,
}

/// What each chunk came to, `[chunks, lanes]`.
pub(super) struct Log {
    losses: Tensor,
    correct: Tensor,
}

impl<'a> Pass<'a> {
    /// An evaluation of which this process evaluates every `step`th chunk from `first` on, in their order.
    pub fn new(
        trainer: &'a Trainer,
        (flat, statistics): (&'a Tensor, &'a [Tensor]),
        on: On,
        (first, step): (i64, i64),
    ) -> Result<Self, TrainError> {
        let lanes = flat.size()[0];
        let (taps, compact) = match lanes {
            1 => (
                trainer.taps(&flat.select(0, 0))?,
                trainer.compact(&flat.select(0, 0)),
            ),
            _ => (None, None),
        };
        let parameters = trainer.layout.views(flat);
        let (parameters, left) = match &compact {
            Some(compact) => (
                compact.parameters(&parameters)?,
                Some(compact.statistics(statistics)),
            ),
            None => (parameters, None),
        };
        let values: i64 = trainer.data.input_shape.iter().product();
        // Outputs at positions outgrow inputs that are one number each.
        let values = values.max(match trainer.targets {
            Targets::Positions => trainer.data.classes * trainer.targets_a_sample() as i64,
            _ => 0,
        });
        let split = trainer.split(on)?;
        let samples = split.len();
        let most = (CHUNK * VALUES / values.max(1)).clamp(1, CHUNK);
        let ahead = match &split.inputs {
            Inputs::Files(files) => {
                let middle = |sample: i64| Pick {
                    sample: sample as usize,
                    drawn: None,
                };
                let starts = (first * most..samples).step_by((step * most) as usize);
                let chunks = starts.map(move |start| {
                    let of_lane = |_| (start..samples.min(start + most)).map(middle);
                    (0..lanes).flat_map(of_lane).collect()
                });
                let device = trainer.device;
                Some(Ahead::start(files, device, chunks, &Arc::default())?)
            }
            _ => None,
        };
        Ok(Self {
            ahead,
            parameters,
            left,
            survivors: trainer.survivors_of(flat),
            chunks: (samples + most - 1) / most,
            trainer,
            flat,
            statistics,
            taps,
            on,
            lanes,
            samples,
            most,
        })
    }

    /// Evaluates the next chunk of this process's.
    pub fn chunk(
        &mut self,
        chunk: i64,
        log: &Log,
        tallies: &mut [Tally],
    ) -> Result<(), TrainError> {
        let (trainer, lanes) = (self.trainer, self.lanes);
        let split = trainer.split(self.on)?;
        let start = chunk * self.most;
        let len = self.most.min(self.samples - start);
        let results = [log.losses.select(0, chunk), log.correct.select(0, chunk)];
        let [loss, right] = &results;
        let outputs = (!tallies.is_empty() && trainer.perceptron.is_some()).then(|| {
            let shape = [lanes, len, trainer.data.classes];
            Tensor::zeros(shape, (Kind::Float, trainer.device))
        });
        let (part, room) = ((start, len), ([loss, right], outputs.as_ref()));
        let (flat, statistics) = (self.flat, self.statistics);
        if trainer.evaluate_by_hand(&self.survivors, flat, statistics, self.on, part, room)? {
            if let Some(outputs) = outputs {
                let labels = split.labels.narrow(0, start, len).unsqueeze(0);
                trainer.count(tallies, &outputs, &labels.expand([lanes, len], false))?;
            }
            return Ok(());
        }
        let index = Tensor::arange_start(start, start + len, (Kind::Int64, trainer.device));
        let index = index.unsqueeze(0).expand([lanes, len], false);
        let (input, labels) = match &mut self.ahead {
            Some(ahead) => trainer.batch_of(split, &ahead.next()?, &index)?,
            None => trainer.batch(split, &index)?,
        };
        let taps = self.taps.as_deref();
        let statistics = self.left.as_deref().unwrap_or(statistics);
        let logits = trainer.forward(&self.parameters, statistics, &input, Mode::Eval, taps)?;
        let logits = match trainer.lanes() {
            true => logits,
            false => logits.unsqueeze(0),
        };
        trainer.objective().compare(&logits, &labels, loss, right)?;
        trainer.count(tallies, &logits, &labels)
    }

    /// What all chunks come to, in their order.
    pub fn sum(&self, log: &Log) -> Vec<Evaluation> {
        let (losses, correct) = (
            log.losses.to_device(tch::Device::Cpu),
            log.correct.to_device(tch::Device::Cpu),
        );
        let targets = self.samples as u64 * self.trainer.targets_a_sample();
        let evaluate = |lane| {
            let chunks = || 0..self.chunks;
            let loss: f64 = chunks().map(|c| losses.double_value(&[c, lane])).sum();
            let correct: i64 = chunks().map(|c| correct.int64_value(&[c, lane])).sum();
            Evaluation {
                loss: loss / targets as f64,
                accuracy: correct as f64 / targets as f64,
                correct: correct as u64,
                samples: targets,
            }
        };
        (0..self.lanes).map(evaluate).collect()
    }
}

impl Log {
    pub fn new(pass: &Pass<'_>) -> Self {
        let zeros = |kind| Tensor::zeros([pass.chunks, pass.lanes], (kind, pass.trainer.device));
        Self {
            losses: zeros(Kind::Double),
            correct: zeros(Kind::Int64),
        }
    }

    /// What a chunk came to.
    pub fn of(&self, chunk: i64) -> Result<Letter, TrainError> {
        let mut letter = Letter::default();
        letter.write_tensors(&[self.losses.select(0, chunk), self.correct.select(0, chunk)])?;
        Ok(letter)
    }

    /// Takes in what a chunk came to elsewhere.
    pub fn take(&self, chunk: i64, mut letter: Letter) -> Result<(), TrainError> {
        let [losses, correct] = &letter.read_tensors()?[..] else {
            return Err(TrainError::Letter);
        };
        self.losses.select(0, chunk).copy_(losses);
        self.correct.select(0, chunk).copy_(correct);
        Ok(())
    }
}
