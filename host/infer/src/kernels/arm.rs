//! Vectors of ARM processors: two registers together, as they compute two at a time.

use std::arch::aarch64::*;

use super::simd::Simd;

impl Simd for float32x4x2_t {
    const WIDTH: usize = 8;
    // Of the thirty-two registers each vector takes two.
    const REGISTERS: usize = 16;

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        unsafe { Self(vdupq_n_f32(number), vdupq_n_f32(number)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { Self(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe {
            vst1q_f32(to, self.0);
            vst1q_f32(to.add(4), self.1);
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { Self(vaddq_f32(self.0, other.0), vaddq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { Self(vsubq_f32(self.0, other.0), vsubq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { Self(vmulq_f32(self.0, other.0), vmulq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { Self(vdivq_f32(self.0, other.0), vdivq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn times(self, other: Self, sum: Self) -> Self {
        unsafe {
            Self(
                vfmaq_f32(sum.0, self.0, other.0),
                vfmaq_f32(sum.1, self.1, other.1),
            )
        }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { Self(vmaxq_f32(self.0, other.0), vmaxq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { Self(vminq_f32(self.0, other.0), vminq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { Self(vsqrtq_f32(self.0), vsqrtq_f32(self.1)) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { Self(vrndnq_f32(self.0), vrndnq_f32(self.1)) }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        unsafe {
            let power = |x| {
                let exponent = vaddq_s32(vcvtnq_s32_f32(x), vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
            };
            Self(power(self.0), power(self.1))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { vaddvq_f32(vaddq_f32(self.0, self.1)) }
    }
    #[inline(always)]
    unsafe fn look_up(both: [Self; 2], _places: *const u8) -> Self {
        both[0] // Never asked for.
    }
    #[inline(always)]
    unsafe fn times_one(a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}
