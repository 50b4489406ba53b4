//! Coins for dropout.

use tch::{Kind, Tensor};

use super::{Argument, BLOCK, Launch, extents, launch_of, pointer};
use crate::cuda::CudaError;

/// Fills each lane of `out` with 1 at this probability, to within 2^-33, and else 0, from ChaCha8's stream under the
/// lane's key: a byte decides, unless it is the probability's own first one; then the upper 24 bits of a word do, which
/// follows the bytes of its piece of 1024. As the host draws them, whatever lanes there are.
///
/// # Shapes
/// `keys`: `[lanes, 4]` i64, 32 bytes each; `out`: `[lanes, values]` f32.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
pub fn coins(
    on: &dyn Launch,
    keys: &Tensor,
    probability: f64,
    out: &Tensor,
) -> Result<(), CudaError> {
    let shape @ [lanes, values] = extents("out", out)?;
    if !(0.0..=1.0).contains(&probability) {
        return Err(CudaError::Argument(format!(
            "coins fall with a probability of 0 to 1, not {probability}"
        )));
    }
    let below = (probability * 2f64.powi(32)).round() as i64;
    let arguments = [
        pointer(on, "keys", keys, Kind::Int64, &[lanes, 4])?,
        pointer(on, "out", out, Kind::Float, &shape)?,
        Argument::Int(values),
        Argument::Int(below >> 24),
        Argument::Int(below & 0xff_ffff),
    ];
    // SAFETY: they are the kernel's, and the tensors were checked. It has a block of this size for each lane.
    unsafe { launch_of(on, "coins", lanes, BLOCK, &arguments) }
}
