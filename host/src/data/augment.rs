//! Random crops and flips of a batch of images.

use crate::rng::Stream;
use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// The widest border that makes sense for images of 28 to 32 pixels.
pub(super) const MAX_CROP: u32 = 16;

/// Random changes of training images: a crop of the image with a border of zero pixels, then a
/// horizontal flip with probability one half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Width of the border in pixels; 0 does not crop.
    #[schemars(range(max = 16))]
    pub crop: u32,
    /// Whether to flip.
    pub flip: bool,
}

/// What was drawn for images, in their order: for each a number of each list. A pixel's source is `row + y * width
/// + column + step * x` in its padded plane, whose width is `width`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draws {
    rows: Vec<i64>,
    columns: Vec<i64>,
    steps: Vec<i64>,
}

impl Draws {
    /// All of them, `[3, images]` i64 on the CPU: rows, columns and steps.
    pub fn tensor(&self) -> Tensor {
        let all = [&self.rows[..], &self.columns, &self.steps].concat();
        Tensor::from_slice(&all).view([3, -1])
    }
}

impl Augment {
    /// Whether nothing is changed, and so nothing drawn.
    pub fn is_none(&self) -> bool {
        self.crop == 0 && !self.flip
    }

    /// Draws for so many more images, so many pixels wide. Each draws from `stream`, in the batch's order and in this
    /// one: its vertical offset and its horizontal offset, each below `2 crop + 1` (not drawn if `crop` is 0), then its
    /// flip, below 2 (not drawn if `flip` is false).
    pub fn draw(&self, images: usize, width: i64, stream: &mut Stream, draws: &mut Draws) {
        let crop = i64::from(self.crop);
        let padded_width = width + 2 * crop;
        for _ in 0..images {
            let mut offset = || match crop {
                0 => 0,
                crop => stream.below(2 * crop as u64 + 1) as i64,
            };
            let (down, across) = (offset(), offset());
            let flipped = self.flip && stream.below(2) == 1;
            draws.rows.push(down * padded_width);
            let (column, step) = match flipped {
                true => (across + width - 1, -1),
                false => (across, 1),
            };
            draws.columns.push(column);
            draws.steps.push(step);
        }
    }

    /// The changed images.
    ///
    /// # Shapes
    /// `batch`: `[n, channels, height, width]`, u8; `draws`: [`[3, n]`](Draws::tensor), on the same device; result:
    /// the batch's.
    ///
    /// # Panics
    /// If `batch` has not four dimensions.
    pub fn apply(&self, batch: &Tensor, draws: &Tensor) -> Tensor {
        if self.is_none() {
            return batch.shallow_clone();
        }
        let &[n, channels, height, width] = batch.size().as_slice() else {
            panic!(
                "augmentation takes [n, channels, height, width], not {:?}",
                batch.size()
            );
        };
        let device = batch.device();
        let crop = i64::from(self.crop);
        let padded_width = width + 2 * crop;
        let draws = draws.view([3, n, 1]);
        let along = |length| Tensor::arange(length, (Kind::Int64, device));
        let rows = draws.select(0, 0) + along(height) * padded_width;
        let columns = draws.select(0, 1) + draws.select(0, 2) * along(width);
        let source = rows.unsqueeze(2) + columns.unsqueeze(1);

        let padded = match crop {
            0 => batch.shallow_clone(),
            _ => batch.constant_pad_nd([crop, crop, crop, crop]),
        };
        padded
            .reshape([n, channels, -1])
            .gather(
                2,
                &source
                    .view([n, 1, height * width])
                    .expand([n, channels, height * width], false),
                false,
            )
            .view([n, channels, height, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Moment, Purpose};

    const SIZE: [usize; 4] = [64, 3, 5, 7];

    fn stream(step: u64) -> Stream {
        Stream::new(
            7,
            Purpose::Augment,
            Moment {
                step,
                ..Moment::default()
            },
        )
    }

    /// Distinct neighbours, so that a misplaced pixel shows.
    fn pixels() -> Vec<u8> {
        (0..SIZE.iter().product::<usize>())
            .map(|i| (i * 37 % 251) as u8)
            .collect()
    }

    fn drawn(augment: Augment, images: usize, width: i64, stream: &mut Stream) -> Tensor {
        let mut draws = Draws::default();
        augment.draw(images, width, stream, &mut draws);
        draws.tensor()
    }

    fn apply(augment: Augment, stream: &mut Stream) -> Vec<u8> {
        let batch = Tensor::from_slice(&pixels()).view(SIZE.map(|size| size as i64));
        let result = augment.apply(&batch, &drawn(augment, SIZE[0], SIZE[3] as i64, stream));
        assert_eq!(result.size(), batch.size());
        assert_eq!(result.kind(), Kind::Uint8);
        Vec::try_from(result.flatten(0, -1)).unwrap()
    }

    /// Pads with zeros, crops, then flips, one pixel at a time.
    fn reference(augment: Augment, stream: &mut Stream) -> Vec<u8> {
        let [n, channels, height, width] = SIZE;
        let crop = augment.crop as usize;
        let input = pixels();
        let mut output = Vec::new();
        for i in 0..n {
            let (mut dy, mut dx, mut flip) = (0, 0, false);
            if crop > 0 {
                dy = stream.below(2 * crop as u64 + 1) as usize;
                dx = stream.below(2 * crop as u64 + 1) as usize;
            }
            if augment.flip {
                flip = stream.below(2) == 1;
            }
            for c in 0..channels {
                for y in 0..height {
                    for x in 0..width {
                        let x = if flip { width - 1 - x } else { x };
                        // Place in the padded image, then in the image.
                        let (py, px) = (y + dy, x + dx);
                        let inside = (crop..crop + height).contains(&py)
                            && (crop..crop + width).contains(&px);
                        output.push(if inside {
                            input[((i * channels + c) * height + py - crop) * width + px - crop]
                        } else {
                            0
                        });
                    }
                }
            }
        }
        output
    }

    #[test]
    fn every_pixel_is_that_of_a_plain_pad_crop_flip() {
        for (step, (crop, flip)) in [(4, true), (2, false), (0, true), (9, true), (1, true)]
            .into_iter()
            .enumerate()
        {
            let augment = Augment { crop, flip };
            let step = step as u64;
            assert_eq!(
                apply(augment, &mut stream(step)),
                reference(augment, &mut stream(step)),
                "{augment:?}"
            );
        }
    }

    #[test]
    fn draws_exactly_what_the_reference_draws() {
        let augment = Augment {
            crop: 4,
            flip: true,
        };
        let (mut ours, mut plain) = (stream(0), stream(0));
        apply(augment, &mut ours);
        reference(augment, &mut plain);
        assert_eq!(ours.next_u64(), plain.next_u64());
    }

    #[test]
    fn without_crop_and_flip_nothing_is_drawn_or_changed() {
        let mut ours = stream(0);
        assert_eq!(apply(Augment::default(), &mut ours), pixels());
        assert_eq!(ours.next_u64(), stream(0).next_u64());
    }

    #[test]
    fn offsets_are_uniform_and_half_of_the_images_are_flipped() {
        // One pixel in the middle of a 3x3 image tells where the crop began and, off the centre
        // column, whether the image was flipped.
        let n = 9000;
        let mut image = [0u8; 9];
        image[4] = 1;
        let batch = Tensor::from_slice(&image.repeat(n)).view([n as i64, 1, 3, 3]);
        let augment = Augment {
            crop: 1,
            flip: false,
        };
        let result: Vec<u8> = Vec::try_from(
            augment
                .apply(&batch, &drawn(augment, n, 3, &mut stream(0)))
                .flatten(0, -1),
        )
        .unwrap();
        let mut counts = [0; 9];
        for image in result.chunks(9) {
            counts[image.iter().position(|&p| p == 1).unwrap()] += 1;
        }
        // 1000 expected in each place; five standard deviations are 149.
        assert!(counts.iter().all(|c| (851..1149).contains(c)), "{counts:?}");

        let batch = Tensor::from_slice(&[1u8, 0].repeat(n)).view([n as i64, 1, 1, 2]);
        let augment = Augment {
            crop: 0,
            flip: true,
        };
        let flipped = n as i64
            - augment
                .apply(&batch, &drawn(augment, n, 2, &mut stream(1)))
                .select(3, 0)
                .sum(Kind::Int64)
                .int64_value(&[]);
        // 4500 expected; five standard deviations are 237.
        assert!((4263..4737).contains(&flipped), "{flipped}");
    }

    #[test]
    fn a_part_of_the_draws_changes_a_part_of_the_images() {
        for (crop, flip) in [(2, true), (0, true), (3, false), (0, false)] {
            let augment = Augment { crop, flip };
            let whole = apply(augment, &mut stream(1));
            let draws = drawn(augment, SIZE[0], SIZE[3] as i64, &mut stream(1));
            let batch = Tensor::from_slice(&pixels()).view(SIZE.map(|size| size as i64));
            let draws = draws.narrow(1, 24, 40).contiguous();
            let part = augment.apply(&batch.narrow(0, 24, 40), &draws);
            let part: Vec<u8> = Vec::try_from(part.flatten(0, -1)).unwrap();
            assert_eq!(part, whole[24 * 105..]);
        }
    }
}
