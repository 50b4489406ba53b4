//! Which part of a picture of any size becomes the network's input.

use super::resample::Axis;
use crate::rng::Stream;
use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

/// Attempts to draw a part that fits, before the middle is taken.
const ATTEMPTS: u32 = 10;

/// A random part of each training image, resized to the input's size.
///
/// # Source
/// Szegedy et al. 2015, arXiv:1409.4842, section 6; the draws follow torchvision's
/// `RandomResizedCrop`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResizedCrop {
    /// Smallest and largest share of the image's area.
    pub scale: [f64; 2],
    /// Smallest and largest ratio of width to height.
    pub ratio: [f64; 2],
    /// Whether images are mirrored with probability one half.
    pub flip: bool,
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            flip: false,
        }
    }
}

/// Columns and rows of a picture that are resized, and whether they are mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub columns: Axis,
    pub rows: Axis,
    pub mirror: bool,
}

impl ResizedCrop {
    /// What is wrong with the ranges.
    pub(super) fn check(&self) -> Result<(), String> {
        let ([low, high], [narrow, wide]) = (self.scale, self.ratio);
        if !(low > 0.0 && low <= high && high <= 1.0) {
            return Err(format!(
                "augment.scale is [{low}, {high}], expected two shares above 0 and up to 1, the smaller one first"
            ));
        }
        if !(narrow > 0.0 && narrow <= wide && wide.is_finite()) {
            return Err(format!(
                "augment.ratio is [{narrow}, {wide}], expected two ratios above 0, the smaller one first"
            ));
        }
        Ok(())
    }

    /// A random part of a picture, `size` pixels wide and high after resizing.
    ///
    /// Draws from `stream` in this order: for each attempt the area, the logarithm of the ratio,
    /// and, if the part fits, its top row and its left column; at last the mirroring, if there is.
    pub(super) fn draw(
        &self,
        width: usize,
        height: usize,
        size: usize,
        stream: &mut Stream,
    ) -> Cut {
        let (w, h) = (width as f64, height as f64);
        let part = (0..ATTEMPTS).find_map(|_| {
            let area = w * h * between(self.scale, stream);
            let ratio = between(self.ratio.map(f64::ln), stream).exp();
            let wide = (area * ratio).sqrt().round_ties_even() as usize;
            let high = (area / ratio).sqrt().round_ties_even() as usize;
            let fits = (1..=width).contains(&wide) && (1..=height).contains(&high);
            fits.then(|| {
                let top = stream.below((height - high) as u64 + 1) as usize;
                let left = stream.below((width - wide) as u64 + 1) as usize;
                ([left, wide], [top, high])
            })
        });
        let ([left, wide], [top, high]) = part.unwrap_or_else(|| self.middle(width, height));
        let axis = |start, length| Axis {
            start,
            length,
            full: size,
            from: 0,
            count: size,
        };
        Cut {
            columns: axis(left, wide),
            rows: axis(top, high),
            mirror: self.flip && stream.below(2) == 1,
        }
    }

    /// The largest part in the middle whose ratio is allowed.
    fn middle(&self, width: usize, height: usize) -> ([usize; 2], [usize; 2]) {
        let (w, h) = (width as f64, height as f64);
        let [narrow, wide] = self.ratio;
        let within = |length: f64, most: usize| (length.round_ties_even() as usize).clamp(1, most);
        let (wide, high) = if w / h < narrow {
            (width, within(w / narrow, height))
        } else if w / h > wide {
            (within(h * wide, width), height)
        } else {
            (width, height)
        };
        ([(width - wide) / 2, wide], [(height - high) / 2, high])
    }
}

/// The middle of a picture whose short side was resized to `short`: `size` pixels wide and high.
/// `size` must not be above `short`.
pub(super) fn centre(width: usize, height: usize, short: usize, size: usize) -> Cut {
    // The long side is rounded down, the offset to the nearest even number, as torchvision does.
    let (across, down) = match width <= height {
        true => (short, short * height / width),
        false => (short * width / height, short),
    };
    let axis = |length, full: usize| Axis {
        start: 0,
        length,
        full,
        from: ((full - size) as f64 / 2.0).round_ties_even() as usize,
        count: size,
    };
    Cut {
        columns: axis(width, across),
        rows: axis(height, down),
        mirror: false,
    }
}

/// Uniform between the two.
fn between([low, high]: [f64; 2], stream: &mut Stream) -> f64 {
    low + f64::from(stream.uniform()) * (high - low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Moment, Purpose};

    fn stream(sample: u64) -> Stream {
        Stream::new(3, Purpose::Crop(sample), Moment::default())
    }

    #[test]
    fn parts_lie_within_the_picture_and_have_the_area_and_ratio_asked_for() {
        let crop = ResizedCrop {
            flip: true,
            ..ResizedCrop::default()
        };
        let (mut areas, mut mirrored) = (Vec::new(), 0);
        for sample in 0..4000 {
            let cut = crop.draw(300, 200, 64, &mut stream(sample));
            let (columns, rows) = (cut.columns, cut.rows);
            assert!(columns.start + columns.length <= 300 && rows.start + rows.length <= 200);
            assert_eq!((columns.full, columns.count, rows.full), (64, 64, 64));
            let ratio = columns.length as f64 / rows.length as f64;
            // Sides are whole pixels, at least 60 of them here.
            assert!((0.74..1.35).contains(&ratio), "{ratio}");
            areas.push((columns.length * rows.length) as f64 / 60_000.0);
            mirrored += u32::from(cut.mirror);
        }
        assert!(areas.iter().all(|area| (0.078..1.0).contains(area)));
        // The height does not fit, and is drawn again, if the area is above 200 * 200 * ratio pixels.
        // The mean of the ratio, whose logarithm is uniform, is 1.0138: a share of 0.648 fits, and
        // 0.22 / 0.92 / 0.648 of these are below 0.3. Five standard deviations are 153.
        let small = areas.iter().filter(|&&area| area < 0.3).count();
        assert!((1477 - 153..1477 + 153).contains(&small), "{small}");
        assert!((1842..2158).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn the_middle_is_taken_where_no_part_of_the_ratio_fits() {
        let crop = ResizedCrop {
            scale: [1.0, 1.0],
            ..ResizedCrop::default()
        };
        let cut = crop.draw(400, 30, 32, &mut stream(0));
        assert_eq!((cut.columns.start, cut.columns.length), (180, 40));
        assert_eq!((cut.rows.start, cut.rows.length), (0, 30));
        let cut = crop.draw(30, 400, 32, &mut stream(0));
        assert_eq!((cut.columns.length, cut.rows.length), (30, 40));
        let cut = crop.draw(1, 1, 32, &mut stream(0));
        assert_eq!((cut.columns.length, cut.rows.length), (1, 1));
    }

    #[test]
    fn the_centre_has_the_places_that_torchvision_computes() {
        // Resize(256) makes 256 x 341 of 375 x 500; round(85 / 2) is 42 in Python.
        let cut = centre(375, 500, 256, 256);
        assert_eq!((cut.rows.full, cut.rows.from), (341, 42));
        let cut = centre(500, 375, 256, 224);
        assert_eq!((cut.columns.full, cut.columns.from), (341, 58));
        assert_eq!(
            (cut.rows.full, cut.rows.from, cut.rows.count),
            (256, 16, 224)
        );
    }

    #[test]
    fn ranges_that_cannot_be_drawn_from_are_refused() {
        let with = |scale, ratio| ResizedCrop {
            scale,
            ratio,
            flip: false,
        };
        assert!(with([0.2, 1.0], [1.0, 1.0]).check().is_ok());
        for wrong in [
            with([0.0, 1.0], [1.0, 1.0]),
            with([0.9, 0.5], [1.0, 1.0]),
            with([0.5, 1.5], [1.0, 1.0]),
        ] {
            assert!(wrong.check().unwrap_err().contains("augment.scale"));
        }
        let message = with([0.5, 1.0], [2.0, 1.0]).check().unwrap_err();
        assert!(message.contains("augment.ratio is [2, 1]"), "{message}");
    }
}
