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
        let (tag, detail) = match purpose {
            Purpose::Init(name) => ("init", Cow::from(name)),
            Purpose::InitDraw { parameter, draw } => {
                ("init draw", format!("{draw} {parameter}").into())
            }
            Purpose::Shuffle => ("shuffle", "".into()),
            Purpose::Augment => ("augment", "".into()),
            Purpose::Crop(sample) => ("crop", sample.to_string().into()),
            Purpose::Dropout(layer) => ("dropout", layer.into()),
            Purpose::DropPath(branch) => ("drop path", branch.into()),
            Purpose::Strategy(part) => ("strategy", part.into()),
            Purpose::Samples(name) => ("samples", name.into()),
            Purpose::HeldOut(part) => ("held out", part.into()),
            Purpose::NeuronInit { dimension, init } => {
                ("neuron init", format!("{dimension} {init}").into())
            }
        };
        let mut hasher = blake3::Hasher::new_derive_key("rewind 2026 random stream v1");
        for number in [seed, moment.level, moment.epoch, moment.step] {
            hasher.update(&number.to_le_bytes());
        }
        hasher
            .update(tag.as_bytes())
            .update(b"\0")
            .update(detail.as_bytes());
        if let Some(shard) = shard {
            hasher.update(b"\0shard").update(&shard.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// If one of these changes, every stored run stops being reproducible: runs under way would go on
    /// with other numbers, and nobody could repeat a published one. Bump the identity's schema.
    ///
    /// The numbers are those of another implementation of BLAKE3 and ChaCha8, in Python.
    #[test]
    fn streams_are_golden() {
        let moment = Moment {
            level: 1,
            epoch: 2,
            step: 30,
        };
        for (purpose, expected) in [
            (Purpose::Init("fc.weight"), 4_012_444_332_043_781_384),
            (
                Purpose::InitDraw {
                    parameter: "fc.weight",
                    draw: 1,
                },
                4_400_516_271_251_545_831,
            ),
            (Purpose::Shuffle, 13_062_659_800_244_374_347),
            (Purpose::Augment, 18_043_536_504_603_341_544),
            (Purpose::Crop(1_281_166), 348_917_993_195_174_610),
            (Purpose::Dropout("fc"), 13_352_413_160_038_460_713),
            (
                Purpose::DropPath("blocks.1.drop_path1"),
                13_742_181_186_353_499_173,
            ),
            (
                Purpose::Strategy("rewind[1]:sign-perturbation/flip"),
                5_802_553_434_174_075_308,
            ),
            (Purpose::Samples("hidden-neuron"), 5_717_132_158_027_600_108),
            (Purpose::HeldOut("validation"), 6_831_655_471_080_423_454),
            (
                Purpose::NeuronInit {
                    dimension: 5,
                    init: 1999,
                },
                1_123_826_558_526_373_755,
            ),
        ] {
            let first = Stream::new(3, purpose, moment).next_u64();
            assert_eq!(first, expected, "{purpose:?}");
        }
        let at_start = |purpose| Stream::new(0, purpose, Moment::default()).next_u64();
        let init = at_start(Purpose::Init("fc.weight"));
        assert_eq!(init, 10_867_380_060_574_773_230);
        let moment = Moment { step: 0, ..moment };
        let mut stream = Stream::new(3, Purpose::Shuffle, moment);
        assert_eq!(stream.permutation(8), [3, 1, 7, 6, 4, 2, 0, 5]);
        let mut coins = [0.0; 16];
        let moment = Moment { step: 30, ..moment };
        Stream::new(4, Purpose::Dropout("fc"), moment).coins(0.7, &mut coins);
        let expected = [0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1];
        assert_eq!(coins.map(|coin| coin as u8), expected);
    }

    #[test]
    fn purposes_levels_and_seeds_have_streams_of_their_own() {
        let at = |seed, purpose, level| {
            Stream::new(
                seed,
                purpose,
                Moment {
                    level,
                    ..Moment::default()
                },
            )
            .next_u64()
        };
        let draw = |draw| Purpose::InitDraw {
            parameter: "shuffle",
            draw,
        };
        let all = [
            at(0, Purpose::Shuffle, 0),
            at(0, Purpose::Augment, 0),
            at(0, Purpose::Dropout("fc1"), 0),
            at(0, Purpose::Dropout("fc2"), 0),
            at(0, Purpose::DropPath("fc1"), 0),
            at(0, Purpose::Crop(0), 0),
            at(0, Purpose::Crop(1), 0),
            at(1, Purpose::Shuffle, 0),
            at(0, Purpose::Shuffle, 1),
            at(0, Purpose::Init("shuffle"), 0),
            at(0, draw(1), 0),
            at(0, draw(2), 0),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn coins_compare_a_fraction_of_32_bits_with_the_probability() {
        for p in [0.0, 1e-9, 0.3, 0.5, 0.999, 1.0] {
            let stream = || Stream::new(5, Purpose::Augment, Moment::default());
            let mut numbers = stream();
            // Two whole pieces and a part of one, which ends within a word.
            let mut coins = vec![0.5; 2 * 1024 + 333];
            stream().coins(p, &mut coins);
            let mut drawn = Vec::new();
            for piece in coins.chunks(1024) {
                let words = piece.len().div_ceil(4);
                let words: Vec<u32> = (0..words).map(|_| numbers.0.next_u32()).collect();
                let bytes = words.into_iter().flat_map(u32::to_le_bytes);
                let bytes: Vec<u8> = bytes.take(piece.len()).collect();
                drawn.extend(bytes.into_iter().map(|byte| {
                    // The further bits change nothing where the byte decides.
                    let undecided = f64::from(byte) == (p * 256.0).floor();
                    let more = if undecided {
                        numbers.0.next_u32() >> 8
                    } else {
                        0
                    };
                    f64::from(byte) / 256.0 + f64::from(more) / 2f64.powi(32)
                }));
            }
            for (coin, drawn) in coins.into_iter().zip(drawn) {
                let below = (p * 2f64.powi(32)).round() / 2f64.powi(32);
                assert_eq!(coin, f32::from(u8::from(drawn < below)), "{drawn}, {p}");
            }
        }
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut stream = Stream::new(0, Purpose::Augment, Moment::default());
        let draws: Vec<f64> = (0..100_000).map(|_| f64::from(stream.normal())).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
        // Five standard errors of each.
        assert!(mean.abs() < 0.016, "{mean}");
        assert!((variance - 1.0).abs() < 0.023, "{variance}");
    }
}
