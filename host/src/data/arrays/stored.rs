//! Samples of an array as the network takes them, read from the file or from memory whenever they are needed.

use super::super::DataError;
use super::array::Array;
use super::element::Kind;
use super::standard::Standard;
use std::fmt;
use std::sync::Arc;
use tch::{Device, Tensor};

/// Bytes of an array that are read at a time.
const PIECE: usize = 1 << 24;

/// Samples of an array.
#[derive(Clone)]
pub struct StoredSamples {
    array: Array,
    view: View,
    standard: Option<Arc<Standard>>,
    /// Numbers of the samples in the array.
    samples: Vec<u64>,
}

/// How a sample of an array becomes one of the network's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// Shape that the network sees.
    pub shape: Vec<i64>,
    /// Number of channels, which come last in the array and first in the network.
    pub channels_last: Option<usize>,
    pub becomes: Becomes,
}

/// What the elements of an array become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Becomes {
    /// Bytes, which are normalised later.
    Bytes,
    /// Numbers of 32 bits; bytes on the scale 0 to 1.
    Numbers,
    /// Whole numbers of 64 bits.
    Tokens,
}

/// What was read of samples.
enum Values {
    Bytes(Vec<u8>),
    Numbers(Vec<f32>),
    Tokens(Vec<i64>),
}

impl StoredSamples {
    pub(super) fn new(
        array: Array,
        view: View,
        standard: Option<Arc<Standard>>,
        samples: Vec<u64>,
    ) -> Self {
        Self {
            array,
            view,
            standard,
            samples,
        }
    }

    /// These samples alone, in this order.
    pub(in super::super) fn select(&self, index: &[i64]) -> Self {
        Self {
            samples: index.iter().map(|&it| self.samples[it as usize]).collect(),
            ..self.clone()
        }
    }

    /// Bytes that all of them take in memory.
    pub(super) fn bytes(&self) -> u64 {
        let size = match self.view.becomes {
            Becomes::Bytes => 1,
            Becomes::Numbers => 4,
            Becomes::Tokens => 8,
        };
        let values = (self.samples.len() as u64).saturating_mul(self.array.values() as u64);
        values.saturating_mul(size)
    }

    /// Samples at `index`.
    ///
    /// # Shapes
    /// `[index, ...input_shape]`: u8 of images of bytes, i64 of tokens, else f32.
    ///
    /// # Errors
    /// If the file cannot be read, was changed, or holds what is no number.
    pub fn read(&self, index: &[i64], device: Device) -> Result<Tensor, DataError> {
        let samples: Vec<u64> = index.iter().map(|&it| self.samples[it as usize]).collect();
        Ok(self.tensor(&samples)?.to_device(device))
    }

    /// All samples.
    ///
    /// # Shapes
    /// As [`read`](StoredSamples::read).
    pub(super) fn read_all(&self, device: Device) -> Result<Tensor, DataError> {
        let shape = [&[self.samples.len() as i64], &self.view.shape[..]].concat();
        let kind = match self.view.becomes {
            Becomes::Bytes => tch::Kind::Uint8,
            Becomes::Numbers => tch::Kind::Float,
            Becomes::Tokens => tch::Kind::Int64,
        };
        let all = Tensor::empty(&shape[..], (kind, device));
        let mut at = 0;
        for samples in self.pieces() {
            let count = samples.len() as i64;
            all.narrow(0, at, count).copy_(&self.tensor(samples)?);
            at += count;
        }
        Ok(all)
    }

    /// The samples, as many at a time as are read together.
    fn pieces(&self) -> impl Iterator<Item = &[u64]> {
        let bytes = self.array.values() * self.array.element.size().max(8);
        self.samples.chunks((PIECE / bytes.max(1)).max(1))
    }

    /// Calls `see` with the numbers of all samples, some samples at a time, before they are standardised.
    pub(super) fn each(&self, mut see: impl FnMut(&[f64])) -> Result<(), DataError> {
        for samples in self.pieces() {
            see(&self.numbers(samples)?);
        }
        Ok(())
    }

    fn tensor(&self, samples: &[u64]) -> Result<Tensor, DataError> {
        let shape = [&[samples.len() as i64], &self.view.shape[..]].concat();
        let tensor = match self.values(samples)? {
            Values::Bytes(values) => Tensor::from_slice(&values),
            Values::Numbers(values) => Tensor::from_slice(&values),
            Values::Tokens(values) => Tensor::from_slice(&values),
        };
        Ok(tensor.view(&shape[..]))
    }

    fn values(&self, samples: &[u64]) -> Result<Values, DataError> {
        Ok(match self.view.becomes {
            Becomes::Bytes => Values::Bytes(self.ordered(samples)?),
            Becomes::Tokens => {
                let tokens = self.array.element.integers(&self.ordered(samples)?);
                if self.array.element.kind == Kind::U64
                    && let Some(at) = tokens.iter().position(|it| *it < 0)
                {
                    return Err(self.refuse(samples, at, "it does not fit into 63 bits"));
                }
                Values::Tokens(tokens)
            }
            Becomes::Numbers if self.standard.is_none() && self.array.element.kind == Kind::F32 => {
                let singles = self.array.element.singles(&self.ordered(samples)?);
                let singles = singles.unwrap_or_default();
                match singles.iter().position(|it| !it.is_finite()) {
                    None => Values::Numbers(singles),
                    Some(at) => return Err(self.infinite(samples, at, singles[at].into())),
                }
            }
            Becomes::Numbers => {
                let mut numbers = self.numbers(samples)?;
                if let Some(standard) = &self.standard {
                    standard.apply(&mut numbers);
                }
                let singles: Vec<f32> = numbers.iter().map(|&it| it as f32).collect();
                if let Some(at) = singles.iter().position(|it| !it.is_finite()) {
                    let reason = format!("{} is beyond the numbers of 32 bits", numbers[at]);
                    return Err(self.refuse(samples, at, reason));
                }
                Values::Numbers(singles)
            }
        })
    }

    /// The samples' numbers in the network's order; bytes on the scale 0 to 1.
    fn numbers(&self, samples: &[u64]) -> Result<Vec<f64>, DataError> {
        let element = self.array.element;
        let mut numbers = element.numbers(&self.ordered(samples)?);
        if element.kind == Kind::U8 {
            numbers.iter_mut().for_each(|it| *it /= 255.0);
        }
        match numbers.iter().position(|it| !it.is_finite()) {
            None => Ok(numbers),
            Some(at) => Err(self.infinite(samples, at, numbers[at])),
        }
    }

    /// The samples' bytes in the network's order.
    fn ordered(&self, samples: &[u64]) -> Result<Vec<u8>, DataError> {
        let bytes = self.array.read(samples)?;
        let Some(channels) = self.view.channels_last else {
            return Ok(bytes);
        };
        let size = self.array.element.size();
        let sample = self.array.values() * size;
        let positions = self.array.values() / channels.max(1);
        let mut ordered = Vec::with_capacity(bytes.len());
        for sample in bytes.chunks_exact(sample.max(1)) {
            for channel in 0..channels {
                for position in 0..positions {
                    let at = (position * channels + channel) * size;
                    ordered.extend_from_slice(&sample[at..at + size]);
                }
            }
        }
        Ok(ordered)
    }

    /// The number at this place of these samples is none.
    fn infinite(&self, samples: &[u64], at: usize, number: f64) -> DataError {
        self.refuse(samples, at, format!("{number} is no finite number"))
    }

    /// What is wrong with the value at this place of these samples.
    fn refuse(&self, samples: &[u64], at: usize, reason: impl fmt::Display) -> DataError {
        let values = self.array.values().max(1);
        let (sample, mut place) = (samples[at / values], at % values);
        let mut index = Vec::new();
        for &size in self.view.shape.iter().rev() {
            index.push(place % size as usize);
            place /= size as usize;
        }
        index.reverse();
        self.array
            .refuse(format!("sample {sample}, value {index:?}: {reason}"))
    }
}

impl fmt::Debug for StoredSamples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSamples")
            .field("path", &self.array.source.path)
            .field("array", &self.array.name)
            .field("samples", &self.samples.len())
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
