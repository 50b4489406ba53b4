//! Compressed sparse rows: of each row the columns and values that are not 0.

use serde_json::{Value, json};
use tch::Tensor;

use super::safetensors::{Entry, values};

/// A weight in compressed sparse rows, as `torch.sparse_csr_tensor` takes it.
///
/// # Shapes
/// A linear layer's weight is `[out, in]`, a convolution's `[out, in * kernel]`: its dimensions but the
/// first in row-major order are the columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    /// Rows and columns.
    pub shape: [i64; 2],
    /// Where each row's values start, and where the last one's end: `rows + 1` numbers.
    pub crow: Vec<i32>,
    /// The column of each value, ascending within a row.
    pub col: Vec<i32>,
    /// The values, row by row; none is 0.
    pub values: Vec<f32>,
}

/// Bytes of an f32 or an i32.
const WORD: usize = 4;

impl Csr {
    /// The rows of a weight; none if that takes no fewer bytes than the weight in full.
    pub fn of(weight: &Tensor) -> Option<Self> {
        let csr = Self::of_any(weight)?;
        (csr.bytes() < WORD * weight.numel()).then_some(csr)
    }

    /// The rows of a weight; none if it is too large for indices of 32 bits.
    fn of_any(weight: &Tensor) -> Option<Self> {
        let rows = weight.size()[0];
        let columns = weight.numel() as i64 / rows.max(1);
        i32::try_from(weight.numel()).ok()?;
        let numbers = values(weight);
        let (mut crow, mut col, mut kept) = (vec![0], Vec::new(), Vec::new());
        for row in numbers.chunks(columns.max(1) as usize) {
            for (column, &value) in (0..).zip(row) {
                if value != 0.0 {
                    col.push(column);
                    kept.push(value);
                }
            }
            crow.push(kept.len() as i32);
        }
        Some(Self {
            shape: [rows, columns],
            crow,
            col,
            values: kept,
        })
    }

    /// Bytes of its three tensors: 4 (rows + 1) + 8 values.
    pub fn bytes(&self) -> usize {
        WORD * (self.crow.len() + self.col.len() + self.values.len())
    }

    /// The same as libtorch's sparse tensor.
    ///
    /// # Errors
    /// If this libtorch has none.
    pub fn tensor(&self) -> Result<Tensor, tch::TchError> {
        let options = (tch::Kind::Float, tch::Device::Cpu);
        Tensor::f_internal_sparse_csr_tensor_unsafe(
            &Tensor::from_slice(&self.crow),
            &Tensor::from_slice(&self.col),
            &Tensor::from_slice(&self.values),
            self.shape,
            options,
        )
    }

    /// What a file's metadata says of it, for a weight of this shape.
    pub(super) fn describe(&self, dense_shape: &[i64]) -> Value {
        json!({ "shape": self.shape, "dense_shape": dense_shape, "nonzeros": self.values.len() })
    }

    /// Its three tensors in a file.
    pub(super) fn entries(&self, name: &str) -> [Entry; 3] {
        let count = self.values.len() as i64;
        [
            Entry::i32(format!("{name}.crow_indices"), &self.crow),
            Entry::i32(format!("{name}.col_indices"), &self.col),
            Entry::f32(format!("{name}.values"), vec![count], &self.values),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_convolution_is_a_matrix_of_its_output_channels() {
        let weight = [
            0.0f32, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0,
        ];
        let csr = Csr::of(&Tensor::from_slice(&weight).view([2, 3, 2])).unwrap();
        let expected = Csr {
            shape: [2, 6],
            crow: vec![0, 1, 2],
            col: vec![1, 5],
            values: vec![2.0, 3.0],
        };
        assert_eq!(csr, expected);
        assert_eq!(csr.bytes(), 28);
        let dense = csr.tensor().unwrap().to_dense(None, false);
        assert!(dense.equal(&Tensor::from_slice(&weight).view([2, 6])));
    }

    #[test]
    fn a_weight_stays_in_full_from_the_break_even_on() {
        // One row of 10 is 40 bytes; its rows are 8 bytes and 8 a value.
        let row = |nonzeros: usize| {
            let values: Vec<f32> = (0..10).map(|i| f32::from(u8::from(i < nonzeros))).collect();
            Tensor::from_slice(&values).view([1, 10])
        };
        assert_eq!(Csr::of(&row(3)).unwrap().bytes(), 32);
        assert_eq!(Csr::of(&row(4)), None);
        assert_eq!(Csr::of(&row(0)).unwrap().crow, [0, 0]);
    }
}
