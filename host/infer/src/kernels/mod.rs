//! What a model spends its time in, compiled for each kind of processor; which one it is shows at run time.
#![allow(unsafe_code)]
// Vectors are values of the processor: each method of them is unsafe for the one reason that the trait says.
#![allow(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc)]

#[cfg(target_arch = "aarch64")]
mod arm;
mod attention;
mod grouped;
mod plain;
mod product;
mod rows;
mod segments;
mod simd;
mod single;
#[cfg(test)]
mod tests;
mod turn;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

pub use attention::{Attention, STRIP};
pub use grouped::Grouped;
pub use product::{Product, Rows, clear};
pub use rows::{LayerNorm, Mean};
pub use segments::{InSegments, LOOKED_UP, SEGMENT, Segments};
pub use single::{Full, GROUP, Groups, Single, TOGETHER};
pub use turn::Turn;

/// Numbers that rows are rounded up to: the longest vector of any processor.
pub const LONGEST: usize = 16;

/// The functions of one kind of processor.
///
/// # Safety
/// Of all of them: what they are told to read and write lies in memory, whole vectors of it, and nobody else writes
/// there meanwhile. The processor has their instructions if they come from [`all`].
pub struct Kernels {
    /// Its name.
    pub name: &'static str,
    /// Some blocks of a product.
    pub product: unsafe fn(&Product<'_>, Range<usize>),
    /// Some groups of a product with samples side by side.
    pub grouped: unsafe fn(&Grouped<'_>, Range<usize>),
    /// Some groups of a product with one column.
    pub single: unsafe fn(&Single<'_>, Range<usize>),
    /// The same in segments, where sixteen numbers are looked up at once.
    pub segments: Option<unsafe fn(&InSegments<'_>, Range<usize>)>,
    /// The same of a weight in full.
    pub full: unsafe fn(&Full<'_>, Range<usize>),
    /// Samples side by side.
    pub turn: unsafe fn(&Turn),
    /// The sum of two, and its ReLU.
    pub add: unsafe fn(*const f32, *const f32, *mut f32, usize, bool),
    /// ReLU.
    pub relu: unsafe fn(*const f32, *mut f32, usize),
    /// GELU.
    pub gelu: unsafe fn(*const f32, *mut f32, usize),
    /// One scale and shift for a row, and its ReLU.
    pub scale: unsafe fn(*const f32, *mut f32, usize, [f32; 2], bool),
    /// A layer norm.
    pub layer_norm: unsafe fn(&LayerNorm<'_>),
    /// Means of rows.
    pub mean: unsafe fn(&Mean),
    /// The greatest numbers that are seen.
    pub greatest: unsafe fn(*const f32, &[i32], *mut f32, usize),
    /// Attention of a head.
    pub attention: unsafe fn(&Attention<'_>),
}

macro_rules! compiled {
    ($module:ident, $name:literal, $vector:ty $(, $feature:literal)?) => {
        mod $module {
            use super::simd::Simd;
            use super::{Attention, Full, Grouped, InSegments, Kernels, LOOKED_UP, LayerNorm, Mean, Product, Single, Turn};
            use std::ops::Range;

            compiled!(@one product(it: &Product<'_>, some: Range<usize>) product, $vector $(, $feature)?);
            compiled!(@one grouped(it: &Grouped<'_>, some: Range<usize>) grouped, $vector $(, $feature)?);
            compiled!(@one single(it: &Single<'_>, some: Range<usize>) single, $vector $(, $feature)?);
            compiled!(@one segments(it: &InSegments<'_>, some: Range<usize>) segments, $vector $(, $feature)?);
            compiled!(@one full(it: &Full<'_>, some: Range<usize>) single, $vector $(, $feature)?);
            compiled!(@one turn(it: &Turn) turn, $vector $(, $feature)?);
            compiled!(@one add(a: *const f32, b: *const f32, out: *mut f32, count: usize, relu: bool) rows, $vector $(, $feature)?);
            compiled!(@one relu(from: *const f32, out: *mut f32, count: usize) rows, $vector $(, $feature)?);
            compiled!(@one gelu(from: *const f32, out: *mut f32, count: usize) rows, $vector $(, $feature)?);
            compiled!(@one scale(from: *const f32, out: *mut f32, count: usize, by: [f32; 2], relu: bool) rows, $vector $(, $feature)?);
            compiled!(@one layer_norm(it: &LayerNorm<'_>) rows, $vector $(, $feature)?);
            compiled!(@one mean(it: &Mean) rows, $vector $(, $feature)?);
            compiled!(@one greatest(from: *const f32, offsets: &[i32], out: *mut f32, span: usize) rows, $vector $(, $feature)?);
            compiled!(@one attention(it: &Attention<'_>) attention, $vector $(, $feature)?);

            pub static KERNELS: Kernels = Kernels {
                name: $name,
                product, grouped, single, full,
                segments: if <$vector>::WIDTH == LOOKED_UP { Some(segments) } else { None },
                turn, add, relu, gelu, scale, layer_norm, mean, greatest, attention,
            };
        }
    };
    (@one $function:ident($($argument:ident: $type:ty),*) $from:ident, $vector:ty $(, $feature:literal)?) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $function($($argument: $type),*) {
            // SAFETY: the caller keeps the rules.
            unsafe { super::$from::$function::<$vector>($($argument),*) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
compiled!(avx512, "avx512", std::arch::x86_64::__m512, "avx512f");
#[cfg(target_arch = "x86_64")]
compiled!(avx2, "avx2", std::arch::x86_64::__m256, "avx2,fma");
#[cfg(target_arch = "aarch64")]
compiled!(neon, "neon", std::arch::aarch64::float32x4x2_t, "neon");
compiled!(any, "plain", super::plain::Plain);

/// The kernels that this processor can run, the fastest first.
pub fn all() -> Vec<&'static Kernels> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            all.push(&avx512::KERNELS);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            all.push(&avx2::KERNELS);
        }
    }
    // Every processor of this architecture has them.
    #[cfg(target_arch = "aarch64")]
    all.push(&neon::KERNELS);
    all.push(&any::KERNELS);
    all
}
