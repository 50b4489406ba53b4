//! Weights as the kernels take them.

use crate::kernels::{GROUP, Groups, LOOKED_UP, Rows, SEGMENT, Segments, TOGETHER};

/// Rows of a block that are tried, from sparse to dense.
pub const BLOCKS: [usize; 4] = [1, 2, 4, 8];

/// A weight and what it reads: `[rows, offsets.len()]`, row-major.
pub struct Weight<'a> {
    /// Its numbers.
    pub numbers: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// One a row; none for none.
    pub biases: Option<&'a [f32]>,
    /// What each column reads, by how far it lies from a position.
    pub offsets: Vec<i32>,
}

impl Weight<'_> {
    fn bias(&self, row: usize) -> f32 {
        self.biases
            .and_then(|it| it.get(row))
            .copied()
            .unwrap_or(0.0)
    }

    fn row(&self, row: usize) -> &[f32] {
        let columns = self.offsets.len();
        self.numbers
            .get(row * columns..(row + 1) * columns)
            .unwrap_or(&[])
    }

    /// The rows in blocks of so many.
    pub fn in_blocks(&self, block: usize) -> Rows {
        let mut packed = Rows {
            block,
            rows: self.rows,
            starts: vec![0],
            ..Rows::default()
        };
        for first in (0..self.rows).step_by(block) {
            let rows: Vec<&[f32]> = (first..first + block).map(|row| self.row(row)).collect();
            for (column, &offset) in self.offsets.iter().enumerate() {
                let of = |row: &&[f32]| row.get(column).copied().unwrap_or(0.0);
                if rows.iter().any(|row| of(row) != 0.0) {
                    packed.offsets.push(offset);
                    packed.weights.extend(rows.iter().map(of));
                }
            }
            packed.starts.push(packed.offsets.len() as u32);
            packed
                .biases
                .extend((first..first + block).map(|row| self.bias(row)));
        }
        packed
    }

    /// The rows in groups, for one column.
    pub fn in_groups(&self) -> Groups {
        let alive = |row: usize| {
            let row = self.row(row).iter().zip(&self.offsets);
            row.filter(|it| *it.0 != 0.0)
                .map(|(&weight, &offset)| (offset as u32, weight))
        };
        let mut order: Vec<usize> = (0..self.rows).collect();
        order.sort_by_cached_key(|&row| std::cmp::Reverse(alive(row).count()));
        let mut packed = Groups {
            starts: vec![0],
            ..Groups::default()
        };
        for rows in order.chunks(GROUP) {
            let lists: Vec<Vec<(u32, f32)>> =
                rows.iter().map(|&row| alive(row).collect()).collect();
            let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
            let mut biases = [0.0; GROUP];
            for (place, bias) in biases.iter_mut().enumerate() {
                let row = rows.get(place).copied();
                packed.order.push(row.map_or(u32::MAX, |it| it as u32));
                *bias = row.map_or(0.0, |it| self.bias(it));
            }
            packed.biases.push(biases);
            for at in 0..longest {
                let (mut offsets, mut weights) = ([0; GROUP], [0.0; GROUP]);
                for (place, list) in lists.iter().enumerate() {
                    // What is filled up reads what the row read before, so that it is near.
                    let last = list.last().map_or(0, |it| it.0);
                    (offsets[place], weights[place]) = list.get(at).copied().unwrap_or((last, 0.0));
                }
                packed.offsets.push(offsets);
                packed.weights.push(weights);
            }
            packed.starts.push(packed.offsets.len() as u32);
        }
        packed
    }

    /// The rows in segments, for one column whose numbers lie side by side in the order of the columns.
    pub fn in_segments(&self) -> Segments {
        let alive = |row: usize| self.row(row).iter().filter(|&&it| it != 0.0).count();
        let mut order: Vec<usize> = (0..self.rows).collect();
        order.sort_by_cached_key(|&row| std::cmp::Reverse(alive(row)));
        let mut packed = Segments {
            starts: vec![0],
            ..Segments::default()
        };
        for rows in order.chunks(LOOKED_UP) {
            packed.entries.push(packed.places.len() as u32);
            let mut biases = [0.0; LOOKED_UP];
            for (place, bias) in biases.iter_mut().enumerate() {
                let row = rows.get(place).copied();
                packed.order.push(row.map_or(u32::MAX, |it| it as u32));
                *bias = row.map_or(0.0, |it| self.bias(it));
            }
            packed.biases.push(biases);
            for first in (0..self.offsets.len()).step_by(SEGMENT) {
                let own = |row: &usize| -> Vec<(u8, f32)> {
                    let numbers = self.row(*row).iter().skip(first).take(SEGMENT);
                    let places = (0u8..).zip(numbers).filter(|it| *it.1 != 0.0);
                    places.map(|(place, &weight)| (place, weight)).collect()
                };
                let lists: Vec<Vec<(u8, f32)>> = rows.iter().map(own).collect();
                let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
                for at in 0..longest {
                    let (mut places, mut weights) = ([0; LOOKED_UP], [0.0; LOOKED_UP]);
                    for (row, list) in lists.iter().enumerate() {
                        (places[row], weights[row]) = list.get(at).copied().unwrap_or_default();
                    }
                    packed.places.push(places);
                    packed.weights.push(weights);
                }
                if longest > 0 {
                    packed.parts.push((first as u32, longest as u32));
                }
            }
            packed.starts.push(packed.parts.len() as u32);
        }
        packed
    }

    /// The rows in full: numbers, length of a row, biases.
    pub fn in_full(&self) -> (Vec<f32>, usize, Vec<f32>) {
        let length = super::layout::whole(self.offsets.len());
        let rows = self.rows.next_multiple_of(TOGETHER);
        let mut numbers = vec![0.0; rows * length];
        for (row, to) in (0..self.rows).zip(numbers.chunks_mut(length.max(1))) {
            let from = self.row(row);
            to[..from.len()].copy_from_slice(from);
        }
        let biases = (0..rows).map(|row| self.bias(row)).collect();
        (numbers, length, biases)
    }
}

/// What a product of such blocks may take, in vectors of additions or loads: what it is chosen by before anything is
/// measured.
pub fn estimate(rows: &Rows, vectors: usize) -> f64 {
    let entries = rows.offsets.len() as f64;
    let (block, vectors) = (rows.block as f64, vectors as f64);
    // A sum and a load of a vector take as long, and two lists are read of each entry.
    let tiles = (vectors / 8.0).ceil();
    let of_entry = (block * vectors).max(vectors + (block + 1.0) * tiles);
    let blocks = (rows.starts.len() - 1) as f64;
    entries * of_entry + blocks * block * vectors * 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [f32; 12] = [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 3.0, 0.0, 0.0, 0.0];

    fn weight() -> Weight<'static> {
        Weight {
            numbers: &NUMBERS,
            rows: 3,
            biases: Some(&[5.0, 6.0, 7.0]),
            offsets: vec![10, 20, 30, 40],
        }
    }

    #[test]
    fn blocks_hold_the_columns_of_any_of_their_rows() {
        let one = weight().in_blocks(1);
        assert_eq!(one.starts, [0, 1, 2, 3]);
        assert_eq!(one.offsets, [20, 30, 10]);
        assert_eq!(one.weights, [2.0, 1.0, 3.0]);
        let two = weight().in_blocks(2);
        assert_eq!(two.starts, [0, 2, 3]);
        assert_eq!(two.offsets, [20, 30, 10]);
        assert_eq!(two.weights, [2.0, 0.0, 0.0, 1.0, 3.0, 0.0]);
        assert_eq!(two.biases, [5.0, 6.0, 7.0, 0.0]);
    }

    #[test]
    fn groups_fill_short_rows_up() {
        let numbers = [0.0, 2.0, 4.0, 1.0];
        let weight = Weight {
            numbers: &numbers,
            rows: 2,
            biases: None,
            offsets: vec![3, 9],
        };
        let groups = weight.in_groups();
        assert_eq!(groups.order[..2], [1, 0]);
        assert_eq!(groups.starts, [0, 2]);
        assert_eq!(groups.offsets[0][..2], [3, 9]);
        assert_eq!(groups.offsets[1][..2], [9, 9]);
        assert_eq!(groups.weights[1][..2], [1.0, 0.0]);
    }
}
