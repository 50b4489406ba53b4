//! How values lie in memory.
//!
//! A value is a row for each feature or channel. A position of a row is a feature of each sample, a token, or a pixel
//! of each sample: samples that are computed together lie side by side, in lanes. Between the rows of an image, and
//! above and below it, stand zeros, so that a convolution reads beyond the edge as it reads within: a surviving weight
//! is a product with the whole plane.

use crate::kernels::LONGEST;
use crate::shape::Shape;

/// Where the numbers of a value lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Features or channels.
    pub rows: usize,
    /// Height and width of an image; 1 and the number of tokens, or of positions.
    pub size: [usize; 2],
    /// From a line of an image to the next, in positions.
    pub pitch: usize,
    /// Samples side by side.
    pub lanes: usize,
    /// Numbers before the first row.
    pub before: usize,
    /// From a row to the next, in numbers.
    pub stride: usize,
}

/// The next multiple of the longest vector.
pub fn whole(numbers: usize) -> usize {
    numbers.next_multiple_of(LONGEST)
}

impl Layout {
    /// One number a sample in each row; of a single sample these lie side by side.
    pub fn features(rows: usize, lanes: usize) -> Self {
        Self {
            rows,
            size: [1, 1],
            pitch: 1,
            lanes,
            before: 0,
            stride: if lanes == 1 { 1 } else { whole(lanes) },
        }
    }

    /// A row of each feature, of all tokens of one sample.
    pub fn tokens(tokens: usize, features: usize) -> Self {
        Self {
            rows: features,
            size: [1, tokens],
            pitch: tokens,
            lanes: 1,
            before: 0,
            stride: whole(tokens),
        }
    }

    /// A plane of each channel, with a column of zeros at least to the right of each line, a line of them below, and
    /// as much before the first.
    pub fn image([channels, height, width]: [usize; 3], pitch: usize, lanes: usize) -> Self {
        let pitch = pitch.max(width + 1);
        Self {
            rows: channels,
            size: [height, width],
            pitch,
            lanes,
            before: whole((pitch + 1) * lanes),
            stride: whole((height + 1) * pitch * lanes),
        }
    }

    /// Planes without anything around them, which are read from their first position on.
    pub fn planes(planes: usize, height: usize, pitch: usize, lanes: usize) -> Self {
        Self {
            rows: planes,
            size: [height, pitch],
            pitch,
            lanes,
            before: 0,
            stride: whole(height * pitch * lanes),
        }
    }

    /// How a value of this shape lies if nothing else is asked for.
    pub fn of(shape: Shape, lanes: usize) -> Self {
        match shape {
            Shape::Features(features) => Self::features(features, lanes),
            Shape::Tokens([tokens, features]) => Self::tokens(tokens, features),
            Shape::Sequence([channels, length]) => Self::image([channels, 1, length], 0, lanes),
            Shape::Image(sizes) => Self::image(sizes, 0, lanes),
        }
    }

    /// Whether it has one number a row, side by side.
    pub fn is_single(&self) -> bool {
        self.stride == 1
    }

    /// Numbers of a row from its first position to its last.
    pub fn span(&self) -> usize {
        self.size[0] * self.pitch * self.lanes
    }

    /// Numbers of all rows, with what lies before and behind; nothing if they are too many to count.
    ///
    /// A vector at the last position reaches beyond it, also when a convolution reads it.
    pub fn numbers(&self) -> Option<usize> {
        let rows = self.rows.checked_mul(self.stride)?;
        rows.checked_add(2 * self.before + 2 * LONGEST + whole(self.pitch * self.lanes))
    }

    /// Where a position of a row lies, from position 0 of the first row on.
    pub fn place(&self, row: usize, line: usize, column: usize) -> usize {
        row * self.stride + (line * self.pitch + column) * self.lanes
    }

    /// Places of a row that have to stay 0 and that a product of all positions writes: where they start, and how
    /// many, none of them over a multiple of eight, at which vectors end.
    pub fn pads(&self) -> Vec<(u32, u32)> {
        let [height, width] = self.size;
        if self.before == 0 {
            return Vec::new();
        }
        let mut pads = Vec::new();
        let mut add = |start: usize, end: usize| {
            let mut at = start;
            while at < end {
                let next = (at / 8 * 8 + 8).min(end);
                pads.push((at as u32, (next - at) as u32));
                at = next;
            }
        };
        for line in 0..height {
            add(
                (line * self.pitch + width) * self.lanes,
                (line + 1) * self.pitch * self.lanes,
            );
        }
        add(self.span(), whole(self.span()));
        pads
    }

    /// Where each number of a value of this shape lies, in row-major order.
    pub fn places(&self, shape: Shape) -> Vec<usize> {
        let mut places = Vec::with_capacity(shape.numbers());
        match shape {
            Shape::Tokens([tokens, features]) => {
                for token in 0..tokens {
                    places.extend((0..features).map(|feature| self.place(feature, 0, token)));
                }
            }
            shape => {
                let [channels, height, width] = match shape {
                    Shape::Features(features) => [features, 1, 1],
                    shape => shape.image().unwrap_or_default(),
                };
                for channel in 0..channels {
                    for line in 0..height {
                        places.extend((0..width).map(|column| self.place(channel, line, column)));
                    }
                }
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_an_image_is_padded_and_its_pixels_are_not() {
        for (lanes, pitch) in [(1, 0), (3, 7), (16, 0)] {
            let layout = Layout::image([2, 3, 5], pitch, lanes);
            let places = layout.places(Shape::Image([2, 3, 5]));
            let pixels: std::collections::BTreeSet<usize> = (places.iter())
                .flat_map(|place| *place..place + lanes)
                .collect();
            assert_eq!(pixels.len(), 30 * lanes);
            let pads: Vec<usize> = (layout.pads().iter())
                .flat_map(|&(start, count)| start as usize..(start + count) as usize)
                .collect();
            assert!(
                layout
                    .pads()
                    .iter()
                    .all(|&(start, count)| start / 8 == (start + count - 1) / 8)
            );
            for at in 0..whole(layout.span()) {
                assert_ne!(pixels.contains(&at), pads.contains(&at), "{at}");
            }
            // What lies around the second plane, beyond an edge, is no pixel of the first.
            let around = (layout.pitch + 1) * lanes;
            assert!(
                pixels
                    .range(layout.stride - around..layout.stride)
                    .next()
                    .is_none()
            );
            assert!(layout.before >= around);
        }
    }
}
