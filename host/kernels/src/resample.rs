//! Pictures of bytes of another size, in integers: the same bytes on every processor.

/// Bits after the point of a weight.
pub const BITS: u32 = 22;

/// Which old pixels make up the new ones of an axis, and their weights.
#[derive(Clone, Debug)]
pub struct Filter {
    first: Vec<i32>,
    /// Where the weights of each new pixel begin, and where the last ones end.
    starts: Vec<i32>,
    weights: Vec<i32>,
}

/// As the C++ reads it.
#[repr(C)]
struct RawFilter {
    count: i64,
    first: *const i32,
    starts: *const i32,
    weights: *const i32,
}

unsafe extern "C" {
    fn rewind_resample(
        pixels: *const u8,
        width: i64,
        across: *const RawFilter,
        down: *const RawFilter,
        mirror: bool,
        scratch: *mut u8,
        out: *mut u8,
    );
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            first: Vec::new(),
            starts: vec![0],
            weights: Vec::new(),
        }
    }
}

impl Filter {
    /// One more new pixel, of the old ones from `first` on. Weights have [`BITS`] bits after the point, and add up to
    /// one but for their rounding.
    ///
    /// # Panics
    /// If there is no weight, one is negative, or the old pixels begin or end before those of the new pixel before.
    pub fn push(&mut self, first: usize, weights: impl IntoIterator<Item = i32>) {
        let before = self.first.last().map_or(0, |&it| it as usize);
        let (end, start) = (self.end(), self.weights.len());
        self.weights.extend(weights);
        let own = &self.weights[start..];
        assert!(!own.is_empty() && own.iter().all(|it| *it >= 0));
        assert!(before <= first && end <= first + own.len());
        self.first.push(first as i32);
        self.starts.push(self.weights.len() as i32);
    }

    /// Number of new pixels.
    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Whether there is no new pixel.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The place after the last old pixel.
    fn end(&self) -> usize {
        match (self.first.last(), self.starts.as_slice()) {
            (Some(&first), [.., from, to]) => first as usize + (to - from) as usize,
            _ => 0,
        }
    }

    fn raw(&self) -> RawFilter {
        RawFilter {
            count: self.len() as i64,
            first: self.first.as_ptr(),
            starts: self.starts.as_ptr(),
            weights: self.weights.as_ptr(),
        }
    }
}

/// Writes the new pixels to `out`, mirrored if asked for: first along rows, then along columns, rounded to a byte after each.
///
/// # Shapes
/// `pixels`: `[rows, width, 3]`; `out`: `[3, down, across]`.
///
/// # Panics
/// If the filters look at pixels that there are not, or `out` has another size.
pub fn resample(
    (pixels, width): (&[u8], usize),
    across: &Filter,
    down: &Filter,
    mirror: bool,
    out: &mut [u8],
) {
    assert!(across.end() <= width && down.end() * width * 3 <= pixels.len());
    assert_eq!(out.len(), 3 * across.len() * down.len());
    if out.is_empty() {
        return;
    }
    let rows = down.end() - down.first[0] as usize;
    // As `Kernels::Filter::stride`.
    let stride = (3 * across.len() + 1).next_multiple_of(64);
    let mut scratch = vec![0u8; (rows + 2) * stride + 2 * (3 * width + 1)];
    let (across, down) = (across.raw(), down.raw());
    // SAFETY: all of it outlives the call. Old pixels that are looked at lie within `pixels`, and `out` and `scratch` have
    // the sizes that `Kernels::resample` writes.
    unsafe {
        rewind_resample(
            pixels.as_ptr(),
            width as i64,
            &across,
            &down,
            mirror,
            scratch.as_mut_ptr(),
            out.as_mut_ptr(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, a number at a time.
    fn plainly(
        pixels: &[u8],
        width: usize,
        across: &Filter,
        down: &Filter,
        mirror: bool,
    ) -> Vec<u8> {
        let taps = |filter: &Filter, i: usize| {
            let range = filter.starts[i] as usize..filter.starts[i + 1] as usize;
            (filter.first[i] as usize, filter.weights[range].to_vec())
        };
        let mixed = |(first, weights): (usize, Vec<i32>), old: &dyn Fn(usize) -> u8| {
            let sum: i64 = (weights.iter().zip(first..))
                .map(|(weight, at)| i64::from(*weight) * i64::from(old(at)))
                .sum();
            ((sum + (1 << (BITS - 1))) >> BITS).min(255) as u8
        };
        let (w, h) = (across.len(), down.len());
        let mut out = vec![0; 3 * w * h];
        for c in 0..3 {
            for x in 0..w {
                let narrow =
                    |row: usize| mixed(taps(across, x), &|at| pixels[3 * (row * width + at) + c]);
                for y in 0..h {
                    let to = if mirror { w - 1 - x } else { x };
                    out[(c * h + y) * w + to] = mixed(taps(down, y), &narrow);
                }
            }
        }
        out
    }

    /// A filter from `old` pixels to `new` ones, of weights that differ.
    fn filter(old: usize, new: usize) -> Filter {
        let mut filter = Filter::default();
        for i in 0..new {
            let (first, last) = (i * old / new, ((i + 2) * old / new).clamp(1, old));
            let first = first.min(last - 1);
            let parts: Vec<i32> = (first..last)
                .map(|at| (at * 7 + i) as i32 % 5 + 1)
                .collect();
            let all: i32 = parts.iter().sum();
            let weight = |part: &i32| {
                (0.5 + f64::from(*part) / f64::from(all) * f64::from(1 << BITS)) as i32
            };
            filter.push(first, parts.iter().map(weight));
        }
        filter
    }

    #[test]
    fn vectors_give_the_bytes_of_numbers_one_at_a_time() {
        for (width, height, w, h) in [
            (1, 1, 1, 1),
            (2, 3, 5, 4),
            (23, 17, 9, 31),
            (40, 33, 21, 10),
            (5, 64, 43, 7),
            (131, 50, 64, 3),
            (300, 2, 1, 2),
        ] {
            for shade in [0, 255u8] {
                let byte = |i: usize| ((i * 2_654_435_761) >> 7) as u8 | shade;
                let pixels: Vec<u8> = (0..3 * width * height).map(byte).collect();
                let (across, down) = (filter(width, w), filter(height, h));
                for mirror in [false, true] {
                    let mut out = vec![9; 3 * w * h];
                    resample((&pixels, width), &across, &down, mirror, &mut out);
                    let expected = plainly(&pixels, width, &across, &down, mirror);
                    assert!(out == expected, "{width} x {height} to {w} x {h}");
                }
            }
        }
    }

    #[test]
    fn a_filter_that_looks_outside_is_refused() {
        let (pixels, mut out) = ([0; 3 * 4 * 4], [0; 3 * 2 * 2]);
        let mut far = filter(4, 1);
        far.push(3, [1 << BITS, 0]);
        for (across, down) in [(&far, &filter(4, 2)), (&filter(4, 2), &far)] {
            let run = || resample((&pixels, 4), across, down, false, &mut out.clone());
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        }
        resample((&pixels, 4), &filter(4, 2), &filter(4, 2), false, &mut out);
    }
}
