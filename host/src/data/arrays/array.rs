//! An array of a file: its samples, one after the other, in the file or in memory.

use super::super::DataError;
use super::element::Element;
use super::source::Source;
use std::sync::Arc;

/// An array whose first dimension counts samples.
#[derive(Clone, Debug)]
pub(super) struct Array {
    /// What it is called in messages, with its file's path.
    pub source: Arc<Source>,
    /// Its name in the file.
    pub name: String,
    pub element: Element,
    /// Samples first.
    pub shape: Vec<usize>,
    pub bytes: Bytes,
}

/// Where an array's elements are, row-major.
#[derive(Clone, Debug)]
pub(super) enum Bytes {
    /// In the file, from this place on.
    File(u64),
    /// Decoded.
    Memory(Arc<Vec<u8>>),
}

impl Array {
    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Shape of one sample.
    pub fn sample(&self) -> &[usize] {
        self.shape.get(1..).unwrap_or(&[])
    }

    /// Elements of one sample.
    pub fn values(&self) -> usize {
        self.sample().iter().product()
    }

    /// Bytes of one sample.
    fn stride(&self) -> usize {
        self.values() * self.element.size()
    }

    /// The bytes of these samples, one after the other.
    pub fn read(&self, samples: &[u64]) -> Result<Vec<u8>, DataError> {
        let stride = self.stride();
        let mut read = vec![0; samples.len() * stride];
        match &self.bytes {
            Bytes::Memory(bytes) => {
                for (place, &sample) in read.chunks_exact_mut(stride.max(1)).zip(samples) {
                    let start = sample as usize * stride;
                    place.copy_from_slice(&bytes[start..start + stride]);
                }
            }
            Bytes::File(offset) => {
                self.source.expect_unchanged()?;
                let mut at = 0;
                // Neighbours are read together.
                while at < samples.len() {
                    let mut end = at + 1;
                    while end < samples.len() && samples[end] == samples[end - 1] + 1 {
                        end += 1;
                    }
                    let place = offset + samples[at] * stride as u64;
                    let piece = &mut read[at * stride..end * stride];
                    self.source.read_at(piece, place)?;
                    at = end;
                }
            }
        }
        Ok(read)
    }

    /// What is wrong with it.
    pub fn refuse(&self, reason: impl std::fmt::Display) -> DataError {
        match self.name.as_str() {
            "" => self.source.refuse(reason),
            name => self.source.refuse(format!("array `{name}`: {reason}")),
        }
    }
}

/// Elements of an array of this shape, if they can be counted.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
}

/// The elements of an array, row-major, that lie with the first dimension fastest.
pub(super) fn from_fortran(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut ordered = Vec::with_capacity(bytes.len());
    // Elements that one step along a dimension passes over.
    let mut steps = Vec::with_capacity(shape.len());
    let mut step = 1;
    for &length in shape {
        steps.push(step);
        step *= length;
    }
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..bytes.len() / size.max(1) {
        ordered.extend_from_slice(&bytes[at * size..(at + 1) * size]);
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            at += steps[dimension];
            if index[dimension] < shape[dimension] {
                break;
            }
            at -= steps[dimension] * shape[dimension];
            index[dimension] = 0;
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::super::element::Kind;
    use super::*;

    #[test]
    fn samples_in_the_file_and_in_memory_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let bytes: Vec<u8> = (0..250).collect();
        std::fs::write(&path, &bytes).unwrap();
        let source = Arc::new(Source::open("train", &path).unwrap());
        let array = |bytes| Array {
            source: source.clone(),
            name: "x".to_owned(),
            element: Element::new(Kind::U16),
            shape: vec![40, 3],
            bytes,
        };
        let (stored, held) = (
            array(Bytes::File(10)),
            array(Bytes::Memory(Arc::new(bytes[10..].to_vec()))),
        );
        for samples in [&[0u64, 1, 2, 39][..], &[5], &[39, 38, 38, 0], &[]] {
            let read = stored.read(samples).unwrap();
            assert_eq!(read, held.read(samples).unwrap());
            let expected = samples.iter().flat_map(|&it| (10 + 6 * it as u8..).take(6));
            assert_eq!(read, expected.collect::<Vec<u8>>());
        }
    }

    #[test]
    fn columns_first_become_rows_first() {
        // What NumPy has in memory of arange(12).reshape(2, 3, 2) in Fortran's order.
        let fortran = [0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11];
        let expected: Vec<u8> = (0..12).collect();
        assert_eq!(from_fortran(&fortran, &[2, 3, 2], 1), expected);
        let pairs = [1, 1, 3, 3, 2, 2, 4, 4];
        assert_eq!(from_fortran(&pairs, &[2, 2], 2), [1, 1, 2, 2, 3, 3, 4, 4]);
        assert_eq!(count(&[usize::MAX, 2]), None);
    }
}
