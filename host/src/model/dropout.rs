//! Dropout, whose masks follow from what a step is keyed by.

use std::cell::{Cell, RefCell};
use std::fmt;

use kernels::cuda::Kernels;
use kernels::cuda::passes::coins;
use tch::{Kind, Tensor};

use super::Mode;
use super::parts::Pass;
use crate::rng::{Moment, Purpose, Stream};

/// What the random numbers of one lane's training step are keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepKey {
    /// Seed of the repetition.
    pub seed: u64,
    /// The step, and the level whose order the samples have.
    pub moment: Moment,
    /// Which shard of the batch it is, where the batch is cut into shards.
    pub shard: Option<u64>,
}

/// What the random numbers of a training step are keyed by, and where they are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    /// A key for each lane; none where nothing is dropped.
    pub lanes: &'a [StepKey],
    /// The same keys where coins are drawn on the network's device.
    pub on_device: Option<&'a DeviceKeys<'a>>,
}

impl<'a> Keys<'a> {
    /// Nothing is dropped.
    pub const NONE: Keys<'static> = Keys {
        lanes: &[],
        on_device: None,
    };

    /// Of these lanes, whose numbers are drawn on the CPU.
    pub fn of(lanes: &'a [StepKey]) -> Self {
        Self {
            lanes,
            on_device: None,
        }
    }
}

/// Keys of a step's coins in the memory of the device, by whose kernels they are drawn as the CPU draws them.
pub struct DeviceKeys<'a> {
    kernels: &'a Kernels,
    names: &'a [String],
    keys: Tensor,
    next: Cell<usize>,
}

impl<'a> DeviceKeys<'a> {
    /// For coins of these names, in the order in which a step draws them.
    ///
    /// # Shapes
    /// `keys`: `[names, lanes, 4]`, i64.
    pub fn new(kernels: &'a Kernels, names: &'a [String], keys: Tensor) -> Self {
        Self {
            kernels,
            names,
            keys,
            next: Cell::new(0),
        }
    }

    /// Whether all were drawn that there are keys for, and nothing else.
    pub fn are_used_up(&self) -> bool {
        self.next.get() == self.names.len()
    }

    /// The lanes' keys for the coins of this name; none if others come next.
    fn take(&self, name: &str) -> Option<Tensor> {
        let at = self.next.get();
        if self.names.get(at).is_none_or(|next| next != name) {
            // From here on the order is another one.
            self.next.set(usize::MAX);
            return None;
        }
        self.next.set(at + 1);
        Some(self.keys.select(0, at as i64))
    }
}

impl fmt::Debug for DeviceKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceKeys")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// What networks drew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Names of coins' streams, in their order.
    pub coins: Vec<String>,
    /// Whether there was anything else.
    pub other: bool,
}

thread_local! {
    /// While somebody wants to know.
    static DRAWN: RefCell<Option<Drawn>> = const { RefCell::new(None) };
}

/// Does this, and says what networks drew in it on this thread.
pub fn drawn_in<T>(work: impl FnOnce() -> T) -> (T, Drawn) {
    let before = DRAWN.replace(Some(Drawn::default()));
    let result = work();
    (result, DRAWN.replace(before).unwrap_or_default())
}

fn note(what: impl FnOnce(&mut Drawn)) {
    DRAWN.with_borrow_mut(|drawn| drawn.as_mut().map(what));
}

impl StepKey {
    /// The stream for `purpose`, of numbers that no device draws.
    pub(super) fn stream(&self, purpose: Purpose<'_>) -> Stream {
        note(|drawn| drawn.other = true);
        self.stream_of(purpose)
    }

    fn stream_of(&self, purpose: Purpose<'_>) -> Stream {
        match self.shard {
            Some(shard) => Stream::of_shard(self.seed, purpose, self.moment, shard),
            None => Stream::new(self.seed, purpose, self.moment),
        }
    }
}

/// Dropout of what a layer reads: each value is 0 with a probability p, else divided by 1 - p.
///
/// A value's fate is drawn for its place in the tensor, lane by lane, row-major: the masks of a lane
/// depend on nothing but its key, the layer and the shape.
///
/// # Source
/// Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting",
/// section 10, where the scale stands in training as in PyTorch.
#[derive(Debug)]
pub(super) struct Dropout {
    /// Its own name, or that of the layer that reads.
    name: String,
    probability: f64,
}

impl Dropout {
    /// Dropout with this probability before the layer called `layer`.
    pub(super) fn before(layer: &str, probability: f64) -> Self {
        Self::called(layer, probability)
    }

    /// Dropout with this probability and a name of its own, where no single layer reads what it leaves.
    pub(super) fn called(name: &str, probability: f64) -> Self {
        Self {
            name: name.to_owned(),
            probability,
        }
    }

    /// Whether anything is dropped in training.
    pub(super) fn is_on(&self) -> bool {
        self.probability > 0.0
    }

    /// The same shape; the input itself where nothing is dropped.
    pub(super) fn forward(&self, pass: Pass<'_>, input: Tensor) -> Tensor {
        let purpose = Purpose::Dropout(&self.name);
        drop_out(pass, purpose, self.probability, input, Tensor::size)
    }
}

/// The input times noise of this `shape`, which spreads over it; itself where nothing is dropped.
pub(super) fn drop_out(
    pass: Pass<'_>,
    purpose: Purpose<'_>,
    probability: f64,
    input: Tensor,
    shape: impl FnOnce(&Tensor) -> Vec<i64>,
) -> Tensor {
    match pass.mode {
        Mode::Train(keys) if probability > 0.0 && !keys.lanes.is_empty() => {
            let noise = noise(keys, purpose, 1.0 - probability, &shape(&input), &input);
            input * noise
        }
        _ => input,
    }
}

/// Zeros, and 1 / `keep` with the probability `keep`, in `like`'s precision and where it lies. Each key draws its
/// part of the values, which are as many for all.
///
/// # Shapes
/// The result: `shape`.
fn noise(keys: Keys<'_>, purpose: Purpose<'_>, keep: f64, shape: &[i64], like: &Tensor) -> Tensor {
    let name = purpose.name();
    let on_device = keys.on_device.and_then(|it| Some((it, it.take(&name)?)));
    let noise = match on_device {
        Some((device, keys)) => {
            let kept = Tensor::empty(shape, (Kind::Float, like.device()));
            coins(
                &**device.kernels,
                &keys,
                keep,
                &kept.view([keys.size()[0], -1]),
            )
            .unwrap_or_else(|error| panic!("{error}"));
            kept
        }
        None => {
            let mut kept = vec![0.0; shape.iter().product::<i64>() as usize];
            let count = (kept.len() / keys.lanes.len().max(1)).max(1);
            for (key, lane) in keys.lanes.iter().zip(kept.chunks_mut(count)) {
                key.stream_of(purpose).coins(keep, lane);
            }
            Tensor::from_slice(&kept)
                .view(shape)
                .to_device(like.device())
        }
    };
    note(|drawn| drawn.coins.push(name));
    // PyTorch's operations in its order, so that the scale rounds as there in every precision.
    let mut noise = noise.to_kind(like.kind());
    let _ = noise.g_div_scalar_(keep);
    noise
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::model::forms::kernels_on_cpu;
    use crate::rng::key_of;

    fn key(seed: u64, level: u64, epoch: u64, step: u64) -> StepKey {
        let moment = Moment { level, epoch, step };
        StepKey {
            seed,
            moment,
            shard: None,
        }
    }

    fn drop(dropout: &Dropout, keys: &[StepKey], input: &Tensor) -> Tensor {
        let pass = Pass {
            parameters: &[],
            buffers: &[],
            mode: Mode::Train(Keys::of(keys)),
            taps: &[],
        };
        dropout.forward(pass, input.shallow_clone())
    }

    /// Which of so many values are kept.
    fn kept(dropout: &Dropout, key: StepKey, count: i64) -> Vec<f64> {
        let ones = Tensor::ones([count], (Kind::Float, Device::Cpu));
        let kept = drop(dropout, &[key], &ones).ne(0.0);
        Vec::try_from(kept.to_kind(Kind::Double)).unwrap()
    }

    /// Of two series of zeros and ones; about normal with deviation 1/√n where they are independent.
    fn correlation(a: &[f64], b: &[f64]) -> f64 {
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let (of_a, of_b) = (mean(a), mean(b));
        let products: Vec<f64> = (a.iter().zip(b)).map(|(a, b)| a * b).collect();
        let spread = (of_a * (1.0 - of_a) * of_b * (1.0 - of_b)).sqrt();
        (mean(&products) - of_a * of_b) / spread
    }

    #[test]
    fn kept_values_have_the_bits_that_pytorch_gives_them() {
        for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
            for p in [0.1, 0.2, 0.3, 0.5, 0.9] {
                let input = (Tensor::arange(40_000, (kind, Device::Cpu)) * 0.37).sin() + 1.5;
                let theirs = input.dropout(p, true);
                let ours = drop(&Dropout::before("fc", p), &[key(1, 0, 0, 0)], &input);
                assert_eq!(ours.kind(), kind);
                let both = theirs.ne(0.0).logical_and(&ours.ne(0.0));
                // 40,000 times 0.1^2 at least.
                assert!(both.sum(Kind::Int64).int64_value(&[]) > 300);
                assert!(
                    ours.masked_select(&both)
                        .equal(&theirs.masked_select(&both))
                );
            }
        }
    }

    #[test]
    fn each_value_is_dropped_with_its_probability_on_its_own() {
        let count = 1 << 18;
        let near = 5.0 / f64::from(count).sqrt();
        for p in [0.01, 0.1, 0.5, 0.8] {
            let dropout = Dropout::before("fc", p);
            let first = kept(&dropout, key(3, 1, 4, 1), count.into());
            let share = first.iter().sum::<f64>() / f64::from(count);
            let error = share - (1.0 - p);
            assert!(
                error.abs() < near * (p * (1.0 - p)).sqrt(),
                "{p}: {share} kept"
            );
            // Neighbours in a row, in a column of a batch of 128, and over a piece of the generator's.
            for lag in [1, 2, 128, 256] {
                let r = correlation(&first[lag..], &first[..first.len() - lag]);
                assert!(r.abs() < near, "{p}, {lag} apart: {r}");
            }
            for (what, other) in [
                ("seed", key(4, 1, 4, 1)),
                ("level", key(3, 2, 4, 1)),
                ("epoch", key(3, 1, 5, 1)),
                ("step", key(3, 1, 4, 2)),
            ] {
                let r = correlation(&first, &kept(&dropout, other, count.into()));
                assert!(r.abs() < near, "{p}, another {what}: {r}");
            }
            let elsewhere = Dropout::before("fc2", p);
            let r = correlation(&first, &kept(&elsewhere, key(3, 1, 4, 1), count.into()));
            assert!(r.abs() < near, "{p}, another layer: {r}");
        }
    }

    #[test]
    fn a_lane_has_the_masks_that_it_has_alone() {
        let dropout = Dropout::before("fc2", 0.3);
        let input = (Tensor::arange(3 * 5 * 7, (Kind::Float, Device::Cpu)) + 1.0).view([3, 5, 7]);
        let keys = [5, 6, 7].map(|seed| key(seed, 2, 1, 40));
        let together = drop(&dropout, &keys, &input);
        for (lane, own) in (0..).zip(keys) {
            let alone = drop(&dropout, &[own], &input.get(lane));
            assert_eq!(together.get(lane), alone);
        }
        assert_ne!(together.get(0).ne(0.0), together.get(1).ne(0.0));
    }

    #[test]
    fn what_is_drawn_is_known_to_who_asks() {
        let (dropout, key) = (Dropout::before("fc", 0.5), key(1, 0, 0, 0));
        let input = Tensor::ones([4], (Kind::Float, Device::Cpu));
        let once = || drop(&dropout, &[key], &input);
        let _ = once();
        let (_, drawn) = drawn_in(|| (once(), once()));
        assert_eq!(drawn.coins, ["dropout\0fc"; 2]);
        assert!(!drawn.other);
        let (_, drawn) = drawn_in(|| key.stream(Purpose::Dropout("")).next_u64());
        assert!(drawn.other && drawn.coins.is_empty());
    }

    #[test]
    fn the_device_draws_what_the_cpu_draws() {
        let kernels = kernels_on_cpu();
        let names = [
            Purpose::Dropout("fc1").name(),
            Purpose::Dropout("fc2").name(),
        ];
        let lanes = [5, 6, 7].map(|seed| key(seed, 2, 1, 40));
        let words = |name: &String, key: &StepKey| {
            let key = key_of(key.seed, name, key.moment, key.shard);
            key.as_chunks::<8>().0.to_vec()
        };
        let keys = names
            .iter()
            .flat_map(|name| lanes.iter().flat_map(|lane| words(name, lane)));
        let keys: Vec<i64> = keys.map(i64::from_le_bytes).collect();
        let keys = Tensor::from_slice(&keys).view([2, 3, 4]);
        // Parts of a word, of a piece, and some windows of the stream.
        for count in [1, 2, 3, 5, 255, 1023, 1024, 1025, 4099, 70_000] {
            for p in [0.0001, 0.1, 0.5, 0.8, 0.999] {
                let input = Tensor::ones([3, count], (Kind::Float, Device::Cpu));
                let on_device = DeviceKeys::new(&kernels, &names, keys.shallow_clone());
                for layer in ["fc1", "fc2"] {
                    let dropout = Dropout::before(layer, p);
                    let forward = |on_device| {
                        let pass = Pass {
                            parameters: &[],
                            buffers: &[],
                            mode: Mode::Train(Keys {
                                lanes: &lanes,
                                on_device,
                            }),
                            taps: &[],
                        };
                        dropout.forward(pass, input.shallow_clone())
                    };
                    assert!(!on_device.are_used_up());
                    assert_eq!(forward(Some(&on_device)), forward(None), "{count}, {p}");
                }
                assert!(on_device.are_used_up());
                // What there is no key for is drawn on the CPU, and known of.
                let other = Dropout::before("fc3", p);
                let pass = Pass {
                    parameters: &[],
                    buffers: &[],
                    mode: Mode::Train(Keys {
                        lanes: &lanes,
                        on_device: Some(&on_device),
                    }),
                    taps: &[],
                };
                assert_eq!(
                    other.forward(pass, input.shallow_clone()),
                    drop(&other, &lanes, &input)
                );
                assert!(!on_device.are_used_up());
            }
        }
    }

    #[test]
    fn the_gradient_passes_where_the_value_did_with_the_same_scale() {
        let input = Tensor::ones([64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let output = drop(&Dropout::before("fc", 0.4), &[key(0, 0, 0, 0)], &input);
        let slopes = Tensor::run_backward(&[output.sum(Kind::Float)], &[&input], false, false);
        assert_eq!(slopes[0], output.detach());
    }

    #[test]
    fn nothing_is_dropped_out_of_training_or_at_probability_0() {
        let input = Tensor::ones([64], (Kind::Float, Device::Cpu));
        let pass = |mode| Pass {
            parameters: &[],
            buffers: &[],
            mode,
            taps: &[],
        };
        let keys = [key(0, 0, 0, 0)];
        for (p, mode) in [
            (0.5, Mode::Eval),
            (0.5, Mode::Train(Keys::NONE)),
            (0.0, Mode::Train(Keys::of(&keys))),
        ] {
            let output = Dropout::before("fc", p).forward(pass(mode), input.shallow_clone());
            assert_eq!(output.data_ptr(), input.data_ptr(), "{p}, {mode:?}");
        }
    }
}
