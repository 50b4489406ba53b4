//! Vectors for any processor: arrays, which the compiler splits as it can.

use super::simd::Simd;

/// Eight numbers.
#[derive(Clone, Copy)]
pub struct Plain([f32; 8]);

impl Plain {
    #[inline(always)]
    fn map(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|at| of(self.0[at], other.0[at])))
    }
}

impl Simd for Plain {
    const WIDTH: usize = 8;
    const REGISTERS: usize = 8;

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        Self([number; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.map(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.map(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.map(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.map(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn times(self, other: Self, sum: Self) -> Self {
        self.map(other, |a, b| a * b).map(sum, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.map(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.map(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // Added to a number of so many bits, what lies behind the point is rounded away.
        const ALL_BITS: f32 = 12_582_912.0;
        Self(self.0.map(|x| (x + ALL_BITS) - ALL_BITS))
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        Self(
            self.0
                .map(|x| f32::from_bits(((x as i32 + 127) as u32) << 23)),
        )
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (b + f)) + ((c + g) + (d + h))
    }
    #[inline(always)]
    unsafe fn look_up(both: [Self; 2], _places: *const u8) -> Self {
        both[0] // Never asked for.
    }
    #[inline(always)]
    unsafe fn times_one(a: f32, b: f32, sum: f32) -> f32 {
        a * b + sum
    }
}
