//! Where the weights of a sparse layer are.

/// The surviving weights of a linear layer, by outputs and by inputs.
///
/// Row i's are `row_terms[row_starts[i]..row_starts[i + 1]]`, rising; columns alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivors {
    pub(super) row_starts: Vec<i32>,
    pub(super) row_terms: Vec<i32>,
    pub(super) column_starts: Vec<i32>,
    pub(super) column_terms: Vec<i32>,
}

impl Survivors {
    /// The places of `mask`, `[outputs, inputs]` row-major, that are not 0; none if there are more
    /// than `most`.
    ///
    /// # Panics
    /// If `mask` is not whole rows of `inputs`.
    pub fn of(mask: &[f32], inputs: usize, most: usize) -> Option<Self> {
        assert!(inputs > 0 && mask.len().is_multiple_of(inputs), "not rows");
        let count = mask.iter().filter(|&&kept| kept != 0.0).count();
        if count > most || i32::try_from(mask.len()).is_err() {
            return None;
        }
        let outputs = mask.len() / inputs;
        let mut row_starts = Vec::with_capacity(outputs + 1);
        let mut row_terms = Vec::with_capacity(count);
        let mut column_starts = vec![0; inputs + 1];
        row_starts.push(0);
        for row in mask.chunks(inputs) {
            for (column, _) in row.iter().enumerate().filter(|(_, kept)| **kept != 0.0) {
                row_terms.push(column as i32);
                column_starts[column + 1] += 1;
            }
            row_starts.push(row_terms.len() as i32);
        }
        for column in 0..inputs {
            column_starts[column + 1] += column_starts[column];
        }
        let mut next = column_starts.clone();
        let mut column_terms = vec![0; count];
        for (row, ends) in row_starts.windows(2).enumerate() {
            for &column in &row_terms[ends[0] as usize..ends[1] as usize] {
                let place = &mut next[column as usize];
                column_terms[*place as usize] = row as i32;
                *place += 1;
            }
        }
        Some(Self {
            row_starts,
            row_terms,
            column_starts,
            column_terms,
        })
    }

    /// Whether it describes a layer of this shape.
    pub(super) fn fits(&self, outputs: usize, inputs: usize) -> bool {
        self.row_starts.len() == outputs + 1 && self.column_starts.len() == inputs + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_are_listed_by_rows_and_by_columns_in_order() {
        let mask = [
            0.0, 1.0, 1.0, //
            0.0, 0.0, 0.0, //
            1.0, 0.0, 1.0, //
            0.0, 0.0, 1.0,
        ];
        let got = Survivors::of(&mask, 3, 5).unwrap();
        assert_eq!(got.row_starts, [0, 2, 2, 4, 5]);
        assert_eq!(got.row_terms, [1, 2, 0, 2, 2]);
        assert_eq!(got.column_starts, [0, 1, 2, 5]);
        assert_eq!(got.column_terms, [2, 0, 0, 2, 3]);
        assert!(got.fits(4, 3) && !got.fits(3, 4));
        assert_eq!(Survivors::of(&mask, 3, 4), None);
    }
}
