//! Shrinks and enlarges pictures with the triangle filter, as Pillow's `BILINEAR` does to the bit.
//!
//! A shrunk pixel is the weighted mean of all pixels below the triangle, which is as wide as two of
//! the new pixels (antialiasing); an enlarged one is interpolated between two. First along rows,
//! then along columns, rounded to a byte after each, in integers: the result does not depend on the
//! processor.

use kernels::resample::{self, BITS, Filter};

use super::picture::Picture;

/// What happens along one axis: the `length` pixels from `start` on become `full`, and of these the
/// `count` from `from` on are computed. Pixels outside `start..start + length` are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub start: usize,
    pub length: usize,
    pub full: usize,
    pub from: usize,
    pub count: usize,
}

impl Axis {
    /// Which pixels make up each one that is computed.
    fn filter(&self) -> Filter {
        let scale = self.length as f64 / self.full as f64;
        let support = scale.max(1.0);
        let mut filter = Filter::default();
        for pixel in self.from..self.from + self.count {
            let centre = (pixel as f64 + 0.5) * scale;
            let low = (centre - support + 0.5).max(0.0) as usize;
            let high = ((centre + support + 0.5) as usize).min(self.length);
            let triangle = |x| {
                let distance = (x as f64 - centre + 0.5) / support;
                (1.0 - distance.abs()).max(0.0)
            };
            let heights: Vec<f64> = (low..high).map(triangle).collect();
            let sum: f64 = heights.iter().sum();
            let weight = |height: &f64| (0.5 + height / sum * f64::from(1 << BITS)) as i32;
            filter.push(self.start + low, heights.iter().map(weight));
        }
        filter
    }
}

/// Writes the part of the resized picture that the axes ask for to `pixels`, mirrored if asked for.
///
/// # Shapes
/// `pixels`: `[3, rows.count, columns.count]`.
pub(super) fn resample(
    picture: &Picture,
    columns: Axis,
    rows: Axis,
    mirror: bool,
    pixels: &mut [u8],
) {
    let (across, down) = (columns.filter(), rows.filter());
    let old = (&picture.pixels[..], picture.width);
    resample::resample(old, &across, &down, mirror, pixels);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Picture {
        let pixels = (0..width * height * 3).map(|i| (i * 89 % 256) as u8);
        Picture {
            width,
            height,
            pixels: pixels.collect(),
        }
    }

    fn whole(length: usize, full: usize) -> Axis {
        Axis {
            start: 0,
            length,
            full,
            from: 0,
            count: full,
        }
    }

    fn run(picture: &Picture, columns: Axis, rows: Axis, mirror: bool) -> Vec<u8> {
        let mut pixels = vec![0; 3 * columns.count * rows.count];
        resample(picture, columns, rows, mirror, &mut pixels);
        pixels
    }

    #[test]
    fn the_same_size_gives_the_same_pixels_in_planes() {
        let picture = picture(5, 4);
        let planes = run(&picture, whole(5, 5), whole(4, 4), false);
        for (i, pixel) in picture.pixels.iter().enumerate() {
            assert_eq!(planes[i % 3 * 20 + i / 3], *pixel);
        }
        let mirrored = run(&picture, whole(5, 5), whole(4, 4), true);
        assert_eq!(mirrored[0], planes[4]);
        assert_eq!(mirrored[4], planes[0]);
    }

    #[test]
    fn half_the_size_weighs_four_pixels_by_one_three_three_one() {
        let grey: Vec<u8> = vec![10, 20, 60, 200, 90, 30, 0, 255];
        let picture = Picture {
            width: 8,
            height: 1,
            pixels: grey.iter().flat_map(|&value| [value; 3]).collect(),
        };
        let got = run(&picture, whole(8, 4), whole(1, 1), false);
        // The triangle is four pixels wide, its heights in their middles are 1/4, 3/4, 3/4, 1/4.
        let expected = (20.0 + 3.0 * 60.0 + 3.0 * 200.0 + 90.0) / 8.0;
        assert_eq!(f64::from(got[1]), f64::round(expected));
        // At the edge what lies outside has no weight.
        let edge: f64 = (3.0 * 10.0 + 3.0 * 20.0 + 60.0) / 7.0;
        assert_eq!(f64::from(got[0]), edge.round());
    }

    #[test]
    fn a_window_of_the_result_is_that_part_of_the_whole_result() {
        let picture = picture(23, 17);
        let (full, window) = (
            whole(23, 9),
            Axis {
                from: 2,
                count: 5,
                ..whole(23, 9)
            },
        );
        let (tall, part) = (
            whole(17, 31),
            Axis {
                from: 7,
                count: 11,
                ..whole(17, 31)
            },
        );
        let all = run(&picture, full, tall, false);
        let some = run(&picture, window, part, false);
        for c in 0..3 {
            for y in 0..11 {
                for x in 0..5 {
                    assert_eq!(
                        some[(c * 11 + y) * 5 + x],
                        all[(c * 31 + y + 7) * 9 + x + 2]
                    );
                }
            }
        }
    }

    #[test]
    fn a_crop_sees_nothing_outside_of_itself() {
        let picture = picture(12, 10);
        let mut cut = Vec::new();
        for row in 3..8 {
            cut.extend(&picture.pixels[3 * (12 * row + 4)..3 * (12 * row + 10)]);
        }
        let cut = Picture {
            width: 6,
            height: 5,
            pixels: cut,
        };
        let columns = Axis {
            start: 4,
            ..whole(6, 4)
        };
        let rows = Axis {
            start: 3,
            ..whole(5, 7)
        };
        assert_eq!(
            run(&picture, columns, rows, true),
            run(&cut, whole(6, 4), whole(5, 7), true)
        );
    }
}
