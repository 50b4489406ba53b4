//! Vectors of x86 processors.

use std::arch::x86_64::*;

use super::simd::Simd;

impl Simd for __m512 {
    const WIDTH: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        unsafe { _mm512_set1_ps(number) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm512_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { _mm512_sub_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { _mm512_mul_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { _mm512_div_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn times(self, other: Self, sum: Self) -> Self {
        unsafe { _mm512_fmadd_ps(self, other, sum) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { _mm512_max_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { _mm512_min_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { _mm512_sqrt_ps(self) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self) }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), self) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self) }
    }
    #[inline(always)]
    unsafe fn look_up(both: [Self; 2], places: *const u8) -> Self {
        unsafe {
            let places = _mm512_cvtepu8_epi32(_mm_loadu_si128(places.cast()));
            _mm512_permutex2var_ps(both[0], places, both[1])
        }
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, to: *mut f32, [rows, columns]: [usize; 2]) {
        unsafe {
            let (mut a, mut b) = ([Self::splat(0.0); 16], [Self::splat(0.0); 16]);
            let mut at = 0;
            while at < 16 {
                a[at] = Self::load(from.add(at * rows));
                at += 1;
            }
            at = 0;
            while at < 16 {
                b[at] = _mm512_unpacklo_ps(a[at], a[at + 1]);
                b[at + 1] = _mm512_unpackhi_ps(a[at], a[at + 1]);
                at += 2;
            }
            // Of four rows each: a quarter of a vector has one column of them.
            at = 0;
            while at < 16 {
                a[at] = pairs512::<false>(b[at], b[at + 2]);
                a[at + 1] = pairs512::<true>(b[at], b[at + 2]);
                a[at + 2] = pairs512::<false>(b[at + 1], b[at + 3]);
                a[at + 3] = pairs512::<true>(b[at + 1], b[at + 3]);
                at += 4;
            }
            at = 0;
            while at < 4 {
                b[at] = _mm512_shuffle_f32x4::<0x88>(a[at], a[at + 4]);
                b[at + 4] = _mm512_shuffle_f32x4::<0xdd>(a[at], a[at + 4]);
                b[at + 8] = _mm512_shuffle_f32x4::<0x88>(a[at + 8], a[at + 12]);
                b[at + 12] = _mm512_shuffle_f32x4::<0xdd>(a[at + 8], a[at + 12]);
                at += 1;
            }
            at = 0;
            while at < 8 {
                let (even, odd) = (
                    _mm512_shuffle_f32x4::<0x88>(b[at], b[at + 8]),
                    _mm512_shuffle_f32x4::<0xdd>(b[at], b[at + 8]),
                );
                even.store(to.add(at * columns));
                odd.store(to.add((at + 8) * columns));
                at += 1;
            }
        }
    }
    #[inline(always)]
    unsafe fn times_one(a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}

impl Simd for __m256 {
    const WIDTH: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    unsafe fn splat(number: f32) -> Self {
        unsafe { _mm256_set1_ps(number) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm256_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        unsafe { _mm256_sub_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        unsafe { _mm256_mul_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        unsafe { _mm256_div_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn times(self, other: Self, sum: Self) -> Self {
        unsafe { _mm256_fmadd_ps(self, other, sum) }
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { _mm256_max_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { _mm256_min_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        unsafe { _mm256_sqrt_ps(self) }
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self) }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(self), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut all = [0.0; 8];
        unsafe { self.store(all.as_mut_ptr()) };
        ((all[0] + all[4]) + (all[1] + all[5])) + ((all[2] + all[6]) + (all[3] + all[7]))
    }
    #[inline(always)]
    unsafe fn look_up(both: [Self; 2], _places: *const u8) -> Self {
        both[0] // Never asked for.
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, to: *mut f32, [rows, columns]: [usize; 2]) {
        unsafe {
            let (mut a, mut b) = ([Self::splat(0.0); 8], [Self::splat(0.0); 8]);
            let mut at = 0;
            while at < 8 {
                a[at] = Self::load(from.add(at * rows));
                at += 1;
            }
            at = 0;
            while at < 8 {
                b[at] = _mm256_unpacklo_ps(a[at], a[at + 1]);
                b[at + 1] = _mm256_unpackhi_ps(a[at], a[at + 1]);
                at += 2;
            }
            at = 0;
            while at < 8 {
                a[at] = pairs256::<false>(b[at], b[at + 2]);
                a[at + 1] = pairs256::<true>(b[at], b[at + 2]);
                a[at + 2] = pairs256::<false>(b[at + 1], b[at + 3]);
                a[at + 3] = pairs256::<true>(b[at + 1], b[at + 3]);
                at += 4;
            }
            at = 0;
            while at < 4 {
                _mm256_permute2f128_ps::<0x20>(a[at], a[at + 4]).store(to.add(at * columns));
                _mm256_permute2f128_ps::<0x31>(a[at], a[at + 4]).store(to.add((at + 4) * columns));
                at += 1;
            }
        }
    }
    #[inline(always)]
    unsafe fn times_one(a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}

/// Of each quarter of two vectors the first, or the second, two numbers.
#[inline(always)]
unsafe fn pairs512<const SECOND: bool>(a: __m512, b: __m512) -> __m512 {
    unsafe {
        let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
        _mm512_castpd_ps(match SECOND {
            true => _mm512_unpackhi_pd(a, b),
            false => _mm512_unpacklo_pd(a, b),
        })
    }
}

/// The same of each half.
#[inline(always)]
unsafe fn pairs256<const SECOND: bool>(a: __m256, b: __m256) -> __m256 {
    unsafe {
        let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
        _mm256_castpd_ps(match SECOND {
            true => _mm256_unpackhi_pd(a, b),
            false => _mm256_unpacklo_pd(a, b),
        })
    }
}
