//! What the steps of an epoch read beside weights and samples: for a GPU drawn while the epoch before trains.

use std::thread::{self, JoinHandle};

use kernels::shim::{self, ShimError};
use tch::{Device, Tensor};

use super::Trainer;
use super::batches::order;
use super::feed::{Reader, readers};
use super::lanes::Lane;
use crate::data::{Augment, Draws, Inputs};
use crate::rng::{Moment, Purpose, Stream};

/// An epoch's random choices, where the samples are.
pub(super) struct Epoch {
    of: Of,
    /// `[lanes, samples]`, i64: the order in which each lane sees the samples.
    pub order: Tensor,
    /// `[3, lanes, samples]`, i64: how each of them is changed, where the experiment asks for that.
    pub draws: Option<Tensor>,
}

/// What decides an epoch's random choices.
#[derive(Clone, PartialEq)]
struct Of {
    epoch: u64,
    lanes: Vec<Reader>,
}

/// What is drawn for an epoch, lane after lane.
struct Drawn {
    order: Vec<i64>,
    draws: Option<Draws>,
}

/// How epochs are drawn.
#[derive(Clone, Copy)]
struct Plan {
    samples: i64,
    step_samples: u64,
    /// With the width of the images.
    augment: Option<(Augment, i64)>,
}

/// The epoch under way, and the one that is drawn meanwhile.
#[derive(Default)]
pub(super) struct Epochs {
    now: Option<Epoch>,
    next: Option<(Of, JoinHandle<Drawn>)>,
}

impl Epochs {
    /// The epoch of this number. When it begins, the one after it is drawn in the background for a GPU, if there will be `more`.
    ///
    /// # Errors
    /// If it cannot be copied to the samples' device.
    pub fn at(
        &mut self,
        trainer: &Trainer,
        lanes: &[Lane],
        epoch: u64,
        more: bool,
    ) -> Result<&Epoch, ShimError> {
        let of = Of {
            epoch,
            lanes: readers(lanes),
        };
        let made = match self.now.take().filter(|now| now.of == of) {
            Some(now) => now,
            None => {
                let plan = Plan::of(trainer);
                let waiting = self.next.take().filter(|(next, _)| *next == of);
                let drawn = waiting.and_then(|(_, thread)| thread.join().ok());
                let drawn = drawn.unwrap_or_else(|| plan.draw(&of));
                if more && draws_ahead(trainer.device) {
                    self.next = plan.begin(Of {
                        epoch: epoch + 1,
                        ..of.clone()
                    });
                }
                Epoch::new(of, drawn, trainer.device)?
            }
        };
        Ok(self.now.insert(made))
    }
}

/// Whether the next epoch is drawn while one trains. On the CPU all cores train: what one of them draws meanwhile, the
/// others wait for.
fn draws_ahead(device: Device) -> bool {
    device.is_cuda() || cfg!(test)
}

impl Plan {
    fn of(trainer: &Trainer) -> Self {
        let data = &trainer.data;
        // Image files are changed while they are read.
        let augment = (data.augment).filter(|_| !matches!(data.train.inputs, Inputs::Files(_)));
        Self {
            samples: data.train.len(),
            step_samples: trainer.step_samples,
            augment: augment.zip(data.input_shape.last().copied()),
        }
    }

    /// Draws on another thread; nothing where none can be had, so that the epoch is drawn when it begins.
    fn begin(self, of: Of) -> Option<(Of, JoinHandle<Drawn>)> {
        let own = of.clone();
        let thread = thread::Builder::new().name("epoch".to_owned());
        let started = thread.spawn(move || self.draw(&own));
        Some((of, started.ok()?))
    }

    fn draw(&self, of: &Of) -> Drawn {
        let Of { epoch, lanes } = of;
        let orders = (lanes.iter()).flat_map(|it| it.order(*epoch, self.samples));
        let order = orders.collect();
        let draws = self.augment.map(|(augment, width)| {
            let mut draws = Draws::default();
            let size = self.step_samples.min(self.samples as u64) as usize;
            let steps = (self.samples as u64).div_ceil(self.step_samples);
            for lane in lanes {
                for step in 0..steps {
                    let mut stream = lane.augmentation(*epoch, epoch * steps + step);
                    let left = self.samples as usize - step as usize * size;
                    augment.draw(left.min(size), width, &mut stream, &mut draws);
                }
            }
            draws
        });
        Drawn { order, draws }
    }
}

impl Reader {
    fn order(&self, epoch: u64, samples: i64) -> Vec<i64> {
        order(self.seed, self.order_level, epoch, samples)
    }

    /// The stream for the images of one step of the level.
    fn augmentation(&self, epoch: u64, step: u64) -> Stream {
        let moment = Moment {
            level: self.order_level,
            epoch,
            step,
        };
        Stream::new(self.seed, Purpose::Augment, moment)
    }
}

impl Epoch {
    fn new(of: Of, drawn: Drawn, device: Device) -> Result<Self, ShimError> {
        let lanes = of.lanes.len() as i64;
        let order = Tensor::from_slice(&drawn.order).view([lanes, -1]);
        let draws = drawn.draws.map(|it| it.tensor().view([3, lanes, -1]));
        Ok(Self {
            of,
            order: shim::to_device(&order, device)?,
            draws: draws.map(|it| shim::to_device(&it, device)).transpose()?,
        })
    }
}
