//! Steps of optimizers, by which pruned weights and their state stay exactly 0, and what clips their gradients.

use tch::{Kind, Tensor};

use super::{
    Argument, Launch, blocks_for, extents, launch, launch_slow, pieces, pointer, pointer_if,
};
use crate::cuda::CudaError;
use crate::shim::{AdamwStep, SgdStep};

/// Elements whose squares are added up before those of others: `PIECE` in `clip.cu`.
const PIECE: i64 = 4096;

/// One step of SGD in one pass; where the mask is 0, weights and momentum become exactly +0. Gives the bits of
/// [`shim::masked_sgd_step`](crate::shim::masked_sgd_step).
///
/// # Shapes
/// `weights`, `gradients`, `momentum`, `mask`: `[lanes, elements]` f32. `lr`: `[lanes]` f32, on the device as all of
/// them, since it changes from step to step. `factors`: `[lanes]` f32, by which gradients are multiplied first, such
/// as those of [`clip_factors`]. `momentum` may be absent where the step has none.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
#[allow(clippy::too_many_arguments)]
pub fn masked_sgd_step(
    on: &dyn Launch,
    weights: &mut Tensor,
    gradients: &Tensor,
    momentum: Option<&mut Tensor>,
    mask: &Tensor,
    lr: &Tensor,
    factors: Option<&Tensor>,
    step: SgdStep,
) -> Result<(), CudaError> {
    let shape @ [lanes, width] = extents("weights", weights)?;
    let flat = |name, tensor: &Tensor| pointer(on, name, tensor, Kind::Float, &shape);
    let [to, from, kept] = [
        flat("weights", weights)?,
        flat("gradients", gradients)?,
        flat("mask", mask)?,
    ];
    let lr = pointer(on, "lr", lr, Kind::Float, &[lanes])?;
    let factors = pointer_if(on, "factors", factors, Kind::Float, &[lanes])?;
    let lane_blocks = blocks_for(width);
    let [width, of_lane] = [width, lane_blocks].map(Argument::Int);
    let [mu, decay] = [step.momentum, step.weight_decay].map(|it| Argument::Float(it as f32));
    let Some(momentum) = momentum else {
        if step.momentum != 0.0 {
            return Err(CudaError::Argument(
                "a step with momentum needs its tensor".to_owned(),
            ));
        }
        let arguments = [to, from, kept, lr, factors, width, of_lane, decay];
        // SAFETY: they are sgd_plain's, and the tensors were checked.
        return unsafe { launch(on, "sgd_plain", lanes * lane_blocks, &arguments) };
    };
    let momentum = flat("momentum", momentum)?;
    let nesterov = Argument::Int(step.nesterov.into());
    let arguments = [
        to, from, momentum, kept, lr, factors, width, of_lane, mu, decay, nesterov,
    ];
    // SAFETY: they are sgd_momentum's, and the tensors were checked.
    unsafe { launch(on, "sgd_momentum", lanes * lane_blocks, &arguments) }
}

/// One step of AdamW in one pass; where the mask is 0, weights and averages become exactly +0. Gives the bits of
/// [`shim::masked_adamw_step`](crate::shim::masked_adamw_step).
///
/// # Shapes
/// Everything `[lanes, elements]` f32, but `rates`: `[3, lanes]` f32, the numbers of
/// [`adamw_rates`](crate::shim::adamw_rates) on the device, and `factors`: `[lanes]` f32, as in [`masked_sgd_step`].
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
#[allow(clippy::too_many_arguments)]
pub fn masked_adamw_step(
    on: &dyn Launch,
    weights: &mut Tensor,
    gradients: &Tensor,
    [exp_avg, exp_avg_sq]: [&mut Tensor; 2],
    mask: &Tensor,
    rates: &Tensor,
    factors: Option<&Tensor>,
    step: AdamwStep,
) -> Result<(), CudaError> {
    let shape @ [lanes, width] = extents("weights", weights)?;
    let flat = |name, tensor: &Tensor| pointer(on, name, tensor, Kind::Float, &shape);
    pointer(on, "rates", rates, Kind::Float, &[3, lanes])?;
    let of_lanes = |row| Argument::Pointer(rates.get(row).data_ptr());
    let (beta1, beta2) = step.betas;
    let number = |it: f64| Argument::Float(it as f32);
    let lane_blocks = blocks_for(width);
    let arguments = [
        flat("weights", weights)?,
        flat("gradients", gradients)?,
        flat("exp_avg", exp_avg)?,
        flat("exp_avg_sq", exp_avg_sq)?,
        flat("mask", mask)?,
        of_lanes(0),
        of_lanes(1),
        of_lanes(2),
        pointer_if(on, "factors", factors, Kind::Float, &[lanes])?,
        Argument::Int(width),
        Argument::Int(lane_blocks),
        number(1.0 - beta1),
        number(beta2),
        number(1.0 - beta2),
        number(step.eps),
    ];
    // SAFETY: they are adamw's, and the tensors were checked.
    unsafe { launch(on, "adamw", lanes * lane_blocks, &arguments) }
}

/// Sums that [`clip_factors`] makes of a lane of so many elements.
pub fn clip_pieces(width: i64) -> i64 {
    pieces(width, PIECE)
}

/// By how much each lane's gradient is scaled so that its norm, pruned elements left out, is no larger than allowed:
/// `min(1, largest / (norm + 1e-6))`, NaN if the norm is. A lane's factor does not depend on the others.
///
/// Squares are added up in f64, in an order that `clip.cu` tells: libtorch's norm may differ in the last bits.
///
/// # Shapes
/// `gradients`, `mask`: `[lanes, elements]` f32; `sums`, written in between: `[lanes, clip_pieces(elements)]` f64;
/// `factors`, the result: `[lanes]` f32.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
pub fn clip_factors(
    on: &dyn Launch,
    gradients: &Tensor,
    mask: &Tensor,
    largest: f64,
    sums: &Tensor,
    factors: &Tensor,
) -> Result<(), CudaError> {
    let shape @ [lanes, width] = extents("gradients", gradients)?;
    let of_lane = clip_pieces(width);
    let count = Argument::Int(of_lane);
    let gradients = pointer(on, "gradients", gradients, Kind::Float, &shape)?;
    let mask = pointer(on, "mask", mask, Kind::Float, &shape)?;
    let sums = pointer(on, "sums", sums, Kind::Double, &[lanes, of_lane])?;
    let factors = pointer(on, "factors", factors, Kind::Float, &[lanes])?;
    let squares = [gradients, mask, sums, Argument::Int(width), count];
    // SAFETY: they are clip_squares', and the tensors were checked.
    unsafe { launch(on, "clip_squares", lanes * of_lane, &squares)? };
    let largest = Argument::Double(largest);
    let arguments = [sums, factors, Argument::Int(lanes), count, largest];
    // SAFETY: they are clip_factors', and the tensors were checked.
    unsafe { launch_slow(on, "clip_factors", lanes, &arguments) }
}
