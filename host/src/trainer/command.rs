//! What rank 0 has the other ranks do, and how it is said.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{LaneStart, On, OptimizerState, Position, Progress, Snapshot, TrainError};

/// What rank 0 has the other ranks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Command {
    /// Begin a session; its lanes follow.
    Begin,
    /// End it.
    End,
    /// Make a step.
    Step,
    /// Take other masks, which follow.
    SetMask(usize),
    /// Stop training a lane.
    DropLane(usize),
    /// Begin the next epoch.
    FinishEpoch,
    /// Evaluate a split.
    Evaluate(On),
    /// Evaluate the next samples.
    Next,
    /// Evaluate no more.
    Halt,
}

/// What is said of a lane's start, beside its tensors.
#[derive(Serialize, Deserialize)]
struct Head {
    seed: u64,
    order_level: u64,
    schedule_start: u64,
    hold: Option<f64>,
    optimizer_steps: u64,
    position: Option<Position>,
    /// How many tensors there are of the point, the mask, the optimizer's state and the epoch's log.
    counts: [usize; 4],
}

/// Bytes with tensors in them.
#[derive(Default)]
pub(super) struct Letter {
    bytes: Vec<u8>,
    read: usize,
}

/// Kinds of tensors that letters hold.
const KINDS: [Kind; 5] = [
    Kind::Float,
    Kind::Double,
    Kind::Int64,
    Kind::Uint8,
    Kind::BFloat16,
];

/// A letter that cannot be read.
fn torn() -> TrainError {
    TrainError::Letter
}

impl Letter {
    /// One that says this.
    pub fn of(command: Command) -> Result<Self, TrainError> {
        let mut letter = Self::default();
        letter.write(&command)?;
        Ok(letter)
    }

    /// One that came.
    pub fn received(bytes: Vec<u8>) -> Self {
        Self { bytes, read: 0 }
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a value.
    pub fn write(&mut self, value: &impl Serialize) -> Result<(), TrainError> {
        let text = serde_json::to_vec(value).map_err(|_| torn())?;
        self.piece(&text);
        Ok(())
    }

    /// The next value.
    pub fn read<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T, TrainError> {
        serde_json::from_slice(self.next()?).map_err(|_| torn())
    }

    /// Adds a tensor with its name.
    fn write_tensor(&mut self, name: &str, tensor: &Tensor) -> Result<(), TrainError> {
        let tensor = tensor.to_device(tch::Device::Cpu).contiguous();
        let kind = KINDS.iter().position(|known| *known == tensor.kind());
        self.write(&(name, tensor.size(), kind.ok_or_else(torn)?))?;
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        self.piece(&bytes);
        Ok(())
    }

    /// The next tensor with its name.
    fn read_tensor(&mut self) -> Result<(String, Tensor), TrainError> {
        let (name, shape, kind): (String, Vec<i64>, usize) = self.read()?;
        let kind = *KINDS.get(kind).ok_or_else(torn)?;
        let bytes = self.next()?;
        let numbers = shape.iter().product::<i64>();
        if bytes.len() as i64 != numbers * kind.elt_size_in_bytes() as i64 {
            return Err(torn());
        }
        Ok((name, Tensor::from_data_size(bytes, &shape, kind)))
    }

    fn piece(&mut self, bytes: &[u8]) {
        self.bytes.extend((bytes.len() as u64).to_le_bytes());
        self.bytes.extend(bytes);
    }

    fn next(&mut self) -> Result<&[u8], TrainError> {
        let rest = self.bytes.get(self.read..).ok_or_else(torn)?;
        let (len, rest) = rest.split_first_chunk().ok_or_else(torn)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| torn())?;
        let piece = rest.get(..len).ok_or_else(torn)?;
        self.read += 8 + len;
        Ok(piece)
    }

    /// Adds tensors without names.
    pub fn write_tensors(&mut self, tensors: &[Tensor]) -> Result<(), TrainError> {
        self.write(&tensors.len())?;
        (tensors.iter()).try_for_each(|tensor| self.write_tensor("", tensor))
    }

    /// The next tensors without names.
    pub fn read_tensors(&mut self) -> Result<Vec<Tensor>, TrainError> {
        let count: usize = self.read()?;
        (0..count).map(|_| Ok(self.read_tensor()?.1)).collect()
    }

    /// Adds where lanes start.
    pub fn write_starts(&mut self, starts: &[LaneStart]) -> Result<(), TrainError> {
        self.write(&starts.len())?;
        for start in starts {
            let log = start.resume.as_ref();
            let log = log.map_or(&[][..], |progress| &progress.tensors);
            self.write(&Head {
                seed: start.seed,
                order_level: start.order_level,
                schedule_start: start.schedule_start,
                hold: start.hold,
                optimizer_steps: start.optimizer.steps,
                position: start.resume.as_ref().map(|progress| progress.position),
                counts: [
                    start.point.tensors.len(),
                    start.mask.len(),
                    start.optimizer.tensors.len(),
                    log.len(),
                ],
            })?;
            let named = start.point.tensors.iter();
            for (name, tensor) in named {
                self.write_tensor(name, tensor)?;
            }
            for mask in &start.mask {
                self.write_tensor("", mask)?;
            }
            for (name, tensor) in start.optimizer.tensors.iter().chain(log) {
                self.write_tensor(name, tensor)?;
            }
        }
        Ok(())
    }

    /// Where the next lanes start.
    pub fn read_starts(&mut self) -> Result<Vec<LaneStart>, TrainError> {
        let count: usize = self.read()?;
        let mut starts = Vec::new();
        for _ in 0..count {
            let head: Head = self.read()?;
            let mut tensors = |count: usize| -> Result<Vec<_>, TrainError> {
                (0..count).map(|_| self.read_tensor()).collect()
            };
            let [point, mask, state, log] = head.counts;
            let (point, mask) = (tensors(point)?, tensors(mask)?);
            let (state, log) = (tensors(state)?, tensors(log)?);
            starts.push(LaneStart {
                seed: head.seed,
                order_level: head.order_level,
                point: Snapshot { tensors: point },
                mask: mask.into_iter().map(|(_, mask)| mask).collect(),
                optimizer: OptimizerState {
                    tensors: state,
                    steps: head.optimizer_steps,
                },
                schedule_start: head.schedule_start,
                hold: head.hold,
                resume: head.position.map(|position| Progress {
                    position,
                    tensors: log,
                }),
            });
        }
        Ok(starts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trainer::testing::{mlp_trainer, start};

    #[test]
    fn a_letter_gives_back_what_was_written_to_the_last_bit() {
        let trainer = mlp_trainer(json!({}));
        let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
        for _ in 0..3 {
            session.step().unwrap();
        }
        let resumed = LaneStart {
            point: session.snapshot(0).unwrap(),
            optimizer: session.optimizer_state(0).unwrap(),
            resume: Some(session.progress(0).unwrap()),
            hold: Some(0.3),
            ..start(&trainer, 7)
        };
        let starts = [start(&trainer, 1), resumed];
        let mut letter = Letter::of(Command::Evaluate(On::Validation)).unwrap();
        letter.write_starts(&starts).unwrap();
        letter.write_tensors(&starts[0].mask).unwrap();
        let whole = letter.bytes().to_vec();
        let mut read = Letter::received(whole.clone());
        let command: Command = read.read().unwrap();
        assert_eq!(command, Command::Evaluate(On::Validation));
        let got = read.read_starts().unwrap();
        assert_eq!(format!("{got:?}"), format!("{starts:?}"));
        for (got, start) in got.iter().zip(&starts) {
            assert_eq!(got.point, start.point);
            assert_eq!(got.optimizer, start.optimizer);
            assert_eq!(got.mask, start.mask);
            let log = |start: &LaneStart| start.resume.clone().map(|it| (it.position, it.tensors));
            assert_eq!(log(got), log(start));
        }
        assert_eq!(read.read_tensors().unwrap(), starts[0].mask);
        assert!(read.read::<usize>().is_err());
        let mut short = Letter::received(whole[..whole.len() - 1].to_vec());
        let _: Command = short.read().unwrap();
        assert!(short.read_starts().is_ok() && short.read_tensors().is_err());
    }
}
