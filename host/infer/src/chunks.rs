//! How a batch is cut into samples that lie side by side.

use crate::shape::Shape;

/// Samples side by side, at most, of networks without images: enough for the sums of a row to fill the registers.
const MOST_FEATURES: usize = 128;
/// The same of networks with images.
const MOST_IMAGES: usize = 16;
/// Numbers of an image of all lanes at most: what a layer reads, adds and writes stays in the second cache. The pixels
/// of one large image fill vectors as well as those of sixteen.
const NEAR: usize = 1 << 17;
/// Numbers of a value of all lanes at most, from where on fewer samples lie side by side.
const LARGE: usize = 1 << 24;

/// Samples that are computed side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chunk {
    /// The first of them in the batch.
    pub first: usize,
    /// How many.
    pub samples: usize,
    /// Lanes, of which the last ones may have no sample.
    pub lanes: usize,
}

/// The chunks of a batch of a network whose values have these shapes.
pub fn chunks(shapes: &[Shape], batch: usize) -> Vec<Chunk> {
    let largest = shapes.iter().map(Shape::numbers).max().unwrap_or(1);
    let has_images = shapes.iter().any(|it| it.image().is_some());
    let room = if has_images { NEAR } else { LARGE };
    let room = (room / largest.max(1)).max(1);
    // Tokens lie side by side by themselves.
    let sizes: &[usize] = if shapes.iter().any(|it| matches!(it, Shape::Tokens(_))) {
        &[1]
    } else if has_images {
        &[MOST_IMAGES, 4, 1]
    } else {
        &[MOST_FEATURES, 64, 32, 16, 1]
    };
    let sizes: Vec<usize> = sizes.iter().copied().filter(|it| *it <= room).collect();
    let mut chunks = Vec::new();
    let mut first = 0;
    while first < batch {
        let left = batch - first;
        let full = sizes.iter().copied().find(|it| *it <= left).unwrap_or(1);
        // Few samples of features are filled up to a vector, as they cost no less.
        let lanes = match sizes.iter().rev().copied().find(|it| *it >= left) {
            Some(enough) if !has_images && full < left => enough,
            _ => full,
        };
        let samples = lanes.min(left);
        chunks.push(Chunk {
            first,
            samples,
            lanes,
        });
        first += samples;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_in_one_chunk() {
        let features = [Shape::Features(20)];
        let images = [Shape::Image([3, 8, 8]), Shape::Features(10)];
        let tokens = [Shape::Tokens([5, 4])];
        let large = [Shape::Image([64, 512, 512])];
        for shapes in [&features[..], &images, &tokens, &large] {
            for batch in 0..300 {
                let mut next = 0;
                for chunk in chunks(shapes, batch) {
                    assert_eq!(chunk.first, next);
                    assert!((1..=chunk.lanes).contains(&chunk.samples));
                    next += chunk.samples;
                }
                assert_eq!(next, batch);
            }
        }
        let lanes = |shapes: &[Shape], batch| -> Vec<usize> {
            chunks(shapes, batch).iter().map(|it| it.lanes).collect()
        };
        assert_eq!(lanes(&features, 133), [128, 16]);
        assert_eq!(lanes(&features, 1), [1]);
        assert_eq!(lanes(&images, 21), [16, 4, 1]);
        assert_eq!(lanes(&large, 2), [1, 1]);
    }
}
