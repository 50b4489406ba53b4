//! Stored masks as bits, and how much two of them share.

use safetensors::{Dtype, SafeTensors};

use crate::store::{self, LevelDir};

/// The masks of a finished level, a bit a weight.
pub struct Masks {
    /// Names and shapes, in the order of the bits.
    layers: Vec<(String, Vec<usize>)>,
    bits: Vec<u64>,
}

impl Masks {
    /// Reads a level's masks; none if the level has no readable ones.
    pub fn read(level: &LevelDir) -> Option<Self> {
        let bytes = store::read(&level.file("mask.safetensors")).ok()?;
        let file = SafeTensors::deserialize(&bytes).ok()?;
        let mut tensors: Vec<_> = file.iter().collect();
        tensors.sort_by_key(|(name, _)| *name);
        let (mut layers, mut bits) = (Vec::new(), Vec::new());
        for (name, tensor) in tensors {
            if tensor.dtype() != Dtype::U8 {
                return None;
            }
            layers.push((name.to_owned(), tensor.shape().to_vec()));
            bits.extend(tensor.data().chunks(64).map(|chunk| {
                let bit = |(at, kept): (usize, &u8)| u64::from(*kept != 0) << at;
                chunk
                    .iter()
                    .enumerate()
                    .map(bit)
                    .fold(0, |word, bit| word | bit)
            }));
        }
        Some(Self { layers, bits })
    }

    /// Weights that both keep over weights that at least one keeps; none for other shapes, or if
    /// nothing is kept.
    pub fn iou(&self, other: &Self) -> Option<f64> {
        if self.layers != other.layers {
            return None;
        }
        let (mut both, mut any) = (0u64, 0u64);
        for (a, b) in self.bits.iter().zip(&other.bits) {
            both += u64::from((a & b).count_ones());
            any += u64::from((a | b).count_ones());
        }
        (any > 0).then(|| both as f64 / any as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Desk;
    use super::*;
    use crate::store::RunDir;

    #[test]
    fn overlap_is_what_both_keep_over_what_either_keeps() {
        let desk = Desk::new();
        let run = RunDir::new(desk.path("lrr"));
        let read = |seed, level| Masks::read(&run.seed(seed).level(level)).unwrap();
        // At level 2 seed 0 keeps 0 to 63 and seed 1 keeps 90 to 99 and 0 to 53.
        assert_eq!(read(0, 2).iou(&read(1, 2)), Some(54.0 / 74.0));
        assert_eq!(read(0, 0).iou(&read(0, 2)), Some(0.64));
        assert_eq!(read(0, 2).iou(&read(0, 2)), Some(1.0));
        assert!(Masks::read(&run.seed(0).level(7)).is_none());
    }
}
