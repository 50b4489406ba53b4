//! Counter-based randomness: every random choice is a pure function of what it is for.
//!
//! A stream is keyed by (seed, purpose, level, epoch, step), so that nothing depends on how often a
//! generator was used before. Resuming therefore needs no generator state, and a lane's numbers do
//! not depend on its neighbours. The key is hashed with BLAKE3 into the 256-bit key of ChaCha8.

use std::borrow::Cow;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// What a stream of random numbers is for. The text is part of the key: never change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// Initial values of the parameter with this name.
    Init(&'a str),
    /// Initial values of a parameter, drawn again.
    InitDraw {
        /// Name of the parameter.
        parameter: &'a str,
        /// Number of the draw, from 1.
        draw: u64,
    },
    /// The order of the training samples of an epoch.
    Shuffle,
    /// Random crops and flips of a batch.
    Augment,
    /// The random part of the training image with this number.
    Crop(u64),
    /// Dropout of a batch, before the layer with this name or by a name of its own.
    Dropout(&'a str),
    /// Stochastic depth of a batch, of the branch with this name.
    DropPath(&'a str),
    /// The private stream of the strategy part at this place, such as `rewind[1]:sign-perturbation/flip`.
    Strategy(&'a str),
    /// Samples of the generated dataset with this name.
    Samples(&'a str),
    /// Which samples are held out from training: for `test` or for `validation`.
    HeldOut(&'a str),
    /// The seed of an init of the hidden neuron's simulation.
    NeuronInit {
        /// Dimension of the input.
        dimension: u64,
        /// Number of the init.
        init: u64,
    },
}

/// The place of a stream in a run. Fields that do not apply are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Level, 0 is dense.
    pub level: u64,
    /// Epoch within the level.
    pub epoch: u64,
    /// Step within the level.
    pub step: u64,
}

impl Purpose<'_> {
    /// What tells its streams from those for all else. It is part of the key: never change it.
    pub fn name(self) -> String {
        let (tag, detail) = match self {
            Self::Init(name) => ("init", Cow::from(name)),
            Self::InitDraw { parameter, draw } => {
                ("init draw", format!("{draw} {parameter}").into())
            }
            Self::Shuffle => ("shuffle", "".into()),
            Self::Augment => ("augment", "".into()),
            Self::Crop(sample) => ("crop", sample.to_string().into()),
            Self::Dropout(layer) => ("dropout", layer.into()),
            Self::DropPath(branch) => ("drop path", branch.into()),
            Self::Strategy(part) => ("strategy", part.into()),
            Self::Samples(name) => ("samples", name.into()),
            Self::HeldOut(part) => ("held out", part.into()),
            Self::NeuronInit { dimension, init } => {
                ("neuron init", format!("{dimension} {init}").into())
            }
        };
        format!("{tag}\0{detail}")
    }
}

/// A stream of random numbers.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream for `purpose` at `moment` of the run with this seed.
    pub fn new(seed: u64, purpose: Purpose<'_>, moment: Moment) -> Self {
        Self::keyed(seed, purpose, moment, None)
    }

    /// The stream for `purpose` of one shard of a batch, where it is cut into shards.
    pub fn of_shard(seed: u64, purpose: Purpose<'_>, moment: Moment, shard: u64) -> Self {
        Self::keyed(seed, purpose, moment, Some(shard))
    }

    fn keyed(seed: u64, purpose: Purpose<'_>, moment: Moment, shard: Option<u64>) -> Self {
        Self(ChaCha8Rng::from_seed(key_of(
            seed,
            &purpose.name(),
            moment,
            shard,
        )))
    }

    /// The 256-bit key of a stream for a plugin, which makes its own generator of it.
    pub fn next_key(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        self.0.fill_bytes(&mut key);
        key
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform on [0, 1), a multiple of 2^-24, so that every value is an exact f32.
    pub fn uniform(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Fills `heads` with 1 at this probability, to within 2^-33, and else 0.
    ///
    /// A byte decides, unless it is the probability's own first one: then 24 more bits do, drawn after
    /// the bytes of the piece. That makes the same of a quarter of the numbers.
    pub fn coins(&mut self, probability: f64, heads: &mut [f32]) {
        const PIECE: usize = 1024;
        let below = (probability * 2f64.powi(32)).round() as u64;
        let (first, rest) = ((below >> 24) as u32, (below & 0xff_ffff) as u32);
        let mut bytes = [0; PIECE];
        for part in heads.chunks_mut(PIECE) {
            // Whole words of the generator.
            self.0
                .fill_bytes(&mut bytes[..part.len().next_multiple_of(4)]);
            for (head, byte) in part.iter_mut().zip(&bytes) {
                *head = if u32::from(*byte) < first { 1.0 } else { 0.0 };
            }
            for (head, byte) in part.iter_mut().zip(&bytes) {
                if u32::from(*byte) == first {
                    *head = f32::from(u8::from((self.0.next_u32() >> 8) < rest));
                }
            }
        }
    }

    /// Standard normal, by the Box-Muller transform in f64 (the sine half is not used).
    pub fn normal(&mut self) -> f32 {
        // 1 - u lies in (0, 1]: the logarithm is finite.
        let u = 1.0 - (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
        let v = (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// Uniform on 0..n, without bias (Lemire's multiplication with rejection).
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "an empty range has no member to draw");
        let threshold = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if wide as u64 >= threshold {
                return (wide >> 64) as u64;
            }
        }
    }

    /// A uniformly random permutation of 0..n (Fisher-Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..n as i64).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        order
    }
}

/// The 256-bit key of ChaCha8 for a stream that is for the purpose with this [name](Purpose::name).
pub fn key_of(seed: u64, name: &str, moment: Moment, shard: Option<u64>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("rewind 2026 random stream v1");
    for number in [seed, moment.level, moment.epoch, moment.step] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(name.as_bytes());
    if let Some(shard) = shard {
        hasher.update(b"\0shard").update(&shard.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests;
