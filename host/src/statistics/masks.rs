//! Stored masks, a bit a weight.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::{Overlap, StatisticsError};
use crate::store::{self, LevelDir, StoreError};

/// The masks of a finished level, packed to a bit a weight: a network of 25 million weights takes 3 MB.
#[derive(Clone, Debug)]
pub struct Masks {
    path: PathBuf,
    layers: Vec<Layer>,
}

/// The mask of one layer.
#[derive(Clone, Debug)]
struct Layer {
    name: String,
    shape: Vec<usize>,
    size: u64,
    survivors: u64,
    /// Row-major; the last word is filled up with zeros.
    bits: Vec<u64>,
}

impl Masks {
    /// Reads the masks at a level's end. The file is read once, whatever it is then compared with.
    ///
    /// # Errors
    /// If the level is not finished, or the file is not one of masks.
    pub fn read(level: &LevelDir) -> Result<Self, StatisticsError> {
        if !level.file("done.json").exists() {
            let run = level.path().ancestors().nth(2).unwrap_or(Path::new("."));
            return Err(StatisticsError::Unfinished {
                level: level.path().to_owned(),
                run: run.to_owned(),
            });
        }
        Ok(Self::read_file(&level.file("mask.safetensors"))?)
    }

    fn read_file(path: &Path) -> Result<Self, StoreError> {
        let damaged = |reason: String| StoreError::Damaged {
            path: path.to_owned(),
            reason,
        };
        let bytes = store::read(path)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let mut layers = Vec::with_capacity(file.len());
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::U8 {
                let reason = format!("`{name}` has type {:?}, expected U8", view.dtype());
                return Err(damaged(reason));
            }
            let bits = pack(view.data()).ok_or_else(|| {
                damaged(format!(
                    "`{name}` holds values other than 0 and 1, expected a mask"
                ))
            })?;
            layers.push(Layer {
                name: name.to_owned(),
                shape: view.shape().to_vec(),
                size: view.data().len() as u64,
                survivors: bits.iter().map(|word| u64::from(word.count_ones())).sum(),
                bits,
            });
        }
        // The order in a file is the writer's; whoever pairs layers needs one order.
        layers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            path: path.to_owned(),
            layers,
        })
    }

    /// Names of the layers, in alphabetical order.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.name.as_str())
    }

    /// How much of two masks is the same: one count for each layer, in the order of
    /// [`layers`](Masks::layers). Their sum is the whole network's.
    ///
    /// # Errors
    /// If the other has other layers or shapes: which, what it has, what was expected.
    pub fn overlap(&self, other: &Self) -> Result<Vec<Overlap>, StatisticsError> {
        if !self.layers().eq(other.layers()) {
            let list = |masks: &Self| masks.layers().collect::<Vec<_>>().join(", ");
            return Err(StatisticsError::Layers {
                first: self.path.clone(),
                second: other.path.clone(),
                got: list(other),
                expected: list(self),
            });
        }
        let of_layer = |(first, second): (&Layer, &Layer)| {
            if first.shape != second.shape {
                return Err(StatisticsError::Shape {
                    layer: first.name.clone(),
                    first: self.path.clone(),
                    second: other.path.clone(),
                    got: second.shape.clone(),
                    expected: first.shape.clone(),
                });
            }
            let both = first.bits.iter().zip(&second.bits);
            let intersection = both.map(|(a, b)| u64::from((a & b).count_ones())).sum();
            Ok(Overlap::new(
                first.size,
                [first.survivors, second.survivors],
                intersection,
            ))
        };
        self.layers
            .iter()
            .zip(&other.layers)
            .map(of_layer)
            .collect()
    }
}

/// One bit a byte; none if a byte is neither 0 nor 1.
fn pack(bytes: &[u8]) -> Option<Vec<u64>> {
    let mut seen = 0;
    let word = |bytes: &[u8]| {
        let mut word = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            seen |= byte;
            word |= u64::from(byte & 1) << at;
        }
        word
    };
    let words = bytes.chunks(64).map(word).collect();
    (seen <= 1).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::write_tensors;
    use serde_json::Value;
    use tch::{Kind, Tensor};

    fn level(folder: &Path, level: u64, masks: &[(&str, Tensor)]) -> LevelDir {
        let dir = LevelDir::new(&folder.join("run/seed-0"), level);
        let tensors: Vec<_> = (masks.iter())
            .map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone()))
            .collect();
        write_tensors(&dir.file("mask.safetensors"), &tensors).unwrap();
        dir.finish(&["mask.safetensors".to_owned()], Value::Null)
            .unwrap();
        dir
    }

    /// A mask of this shape; `hash` decides each weight.
    fn mask(shape: &[i64], hash: impl Fn(u64) -> bool) -> (Tensor, Vec<bool>) {
        let size = shape.iter().product::<i64>() as u64;
        let kept: Vec<bool> = (0..size).map(hash).collect();
        let bytes: Vec<u8> = kept.iter().map(|&kept| u8::from(kept)).collect();
        (Tensor::from_slice(&bytes).view(shape), kept)
    }

    #[test]
    fn counts_are_those_of_a_plain_loop_whatever_the_length_of_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        for (case, size) in [1i64, 63, 64, 65, 127, 128, 1000].into_iter().enumerate() {
            let (first, kept_first) = mask(&[size], |i| (i * 2_654_435_761) % 7 < 3);
            let (second, kept_second) = mask(&[size], |i| (i * 40_503) % 5 < 2);
            let (other, _) = mask(&[2, 3], |_| true);
            let [a, b] = [(0, first), (1, second)].map(|(at, tensor)| {
                let dir = level(
                    folder.path(),
                    2 * case as u64 + at,
                    &[("b.weight", tensor), ("a.weight", other.shallow_clone())],
                );
                Masks::read(&dir).unwrap()
            });
            assert_eq!(a.layers().collect::<Vec<_>>(), ["a.weight", "b.weight"]);
            let both = kept_first.iter().zip(&kept_second);
            let count = |rule: fn(bool, bool) -> bool| {
                both.clone().filter(|(a, b)| rule(**a, **b)).count() as u64
            };
            let overlaps = a.overlap(&b).unwrap();
            assert_eq!(overlaps[1].intersection, count(|a, b| a && b), "{size}");
            assert_eq!(overlaps[1].union(), count(|a, b| a || b), "{size}");
            assert_eq!(overlaps[1].survivors, [count(|a, _| a), count(|_, b| b)]);
            assert_eq!((overlaps[0].intersection, overlaps[0].union()), (6, 6));
        }
    }

    #[test]
    fn other_layers_and_shapes_are_named_with_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let ones = |shape: &[i64]| mask(shape, |_| true).0;
        let read = |at, masks: &[(&str, Tensor)]| Masks::read(&level(folder.path(), at, masks));
        let first = read(0, &[("fc.weight", ones(&[2, 3]))]).unwrap();
        let turned = read(1, &[("fc.weight", ones(&[3, 2]))]).unwrap();
        let renamed = read(2, &[("fc1.weight", ones(&[2, 3]))]).unwrap();
        let error = first.overlap(&turned).unwrap_err().to_string();
        for part in [
            "`fc.weight` has shape [3, 2] in ",
            "level-01/mask",
            "[2, 3] as in ",
            "level-00",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let error = first.overlap(&renamed).unwrap_err().to_string();
        assert!(
            error.contains("has the layers fc1.weight, expected fc.weight"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_level_and_what_is_no_mask_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let missing = LevelDir::new(&folder.path().join("run/seed-0"), 4);
        let error = Masks::read(&missing).unwrap_err().to_string();
        assert!(
            error.contains("level-04 is not a finished level: `called run "),
            "{error}"
        );
        assert!(error.contains("run/experiment.toml` goes on"), "{error}");
        let twos = Tensor::full([70], 2, (Kind::Uint8, tch::Device::Cpu));
        let error = Masks::read(&level(folder.path(), 0, &[("fc.weight", twos)])).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`fc.weight` holds values other than 0 and 1")
        );
        let floats = Tensor::ones([4], tch::kind::FLOAT_CPU);
        let error = Masks::read(&level(folder.path(), 1, &[("fc.weight", floats)])).unwrap_err();
        assert!(error.to_string().contains("type F32, expected U8"));
    }
}
