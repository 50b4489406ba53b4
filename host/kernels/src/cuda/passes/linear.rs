//! Linear layers of every lane, each number added up term by term with one rounding, in the order of the terms.
//!
//! The bits depend neither on the number of lanes nor on the GPU; they are not those of a BLAS.

use tch::{Kind, Tensor};

use super::{Argument, Launch, blocks_for, extents, launch, pieces, pointer, pointer_if};
use crate::cuda::CudaError;

/// Rows and columns that a block of threads computes: `SIDE` in `linear.cu`.
const SIDE: i64 = 64;

/// Blocks that compute products of this shape.
fn tiles(lanes: i64, rows: i64, columns: i64) -> i64 {
    lanes * pieces(rows, SIDE) * pieces(columns, SIDE)
}

/// `out = bias + weight * input`, from the bias on, input by input; without a bias from 0 on.
///
/// # Shapes
/// `bias`: `[lanes, out]`, `weight`: `[lanes, out, in]`, `input`: `[lanes, in, batch]`, `out`: `[lanes, out, batch]`, all f32.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
pub fn linear_forward(
    on: &dyn Launch,
    bias: Option<&Tensor>,
    weight: &Tensor,
    input: &Tensor,
    out: &Tensor,
) -> Result<(), CudaError> {
    let [lanes, outputs, inputs] = extents("weight", weight)?;
    let [_, _, batch] = extents("input", input)?;
    let float = |name, tensor, shape: &[i64]| pointer(on, name, tensor, Kind::Float, shape);
    let arguments = [
        pointer_if(on, "bias", bias, Kind::Float, &[lanes, outputs])?,
        float("weight", weight, &[lanes, outputs, inputs])?,
        float("input", input, &[lanes, inputs, batch])?,
        float("out", out, &[lanes, outputs, batch])?,
        Argument::Int(outputs),
        Argument::Int(inputs),
        Argument::Int(batch),
    ];
    // SAFETY: they are linear_forward's, and the tensors were checked.
    unsafe {
        launch(
            on,
            "linear_forward",
            tiles(lanes, outputs, batch),
            &arguments,
        )
    }
}

/// The input's gradient, `weight^T * slopes`, output by output.
///
/// # Shapes
/// `weight`: `[lanes, out, in]`, `slopes`: `[lanes, out, batch]`, `gradient`: `[lanes, in, batch]`, all f32.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
pub fn linear_input_gradient(
    on: &dyn Launch,
    weight: &Tensor,
    slopes: &Tensor,
    gradient: &Tensor,
) -> Result<(), CudaError> {
    let [lanes, outputs, inputs] = extents("weight", weight)?;
    let [_, _, batch] = extents("slopes", slopes)?;
    let float = |name, tensor, shape: &[i64]| pointer(on, name, tensor, Kind::Float, shape);
    let arguments = [
        float("weight", weight, &[lanes, outputs, inputs])?,
        float("slopes", slopes, &[lanes, outputs, batch])?,
        float("gradient", gradient, &[lanes, inputs, batch])?,
        Argument::Int(outputs),
        Argument::Int(inputs),
        Argument::Int(batch),
    ];
    let blocks = tiles(lanes, inputs, batch);
    // SAFETY: they are linear_input_slopes', and the tensors were checked.
    unsafe { launch(on, "linear_input_slopes", blocks, &arguments) }
}

/// The weights' gradient, `slopes * input^T`, sample by sample.
///
/// # Shapes
/// `slopes`: `[lanes, out, batch]`, `input`: `[lanes, in, batch]`, `gradient`: `[lanes, out, in]`, all f32.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
pub fn linear_weight_gradient(
    on: &dyn Launch,
    slopes: &Tensor,
    input: &Tensor,
    gradient: &Tensor,
) -> Result<(), CudaError> {
    let [lanes, outputs, batch] = extents("slopes", slopes)?;
    let [_, inputs, _] = extents("input", input)?;
    let float = |name, tensor, shape: &[i64]| pointer(on, name, tensor, Kind::Float, shape);
    let arguments = [
        float("slopes", slopes, &[lanes, outputs, batch])?,
        float("input", input, &[lanes, inputs, batch])?,
        float("gradient", gradient, &[lanes, outputs, inputs])?,
        Argument::Int(outputs),
        Argument::Int(inputs),
        Argument::Int(batch),
    ];
    let blocks = tiles(lanes, outputs, inputs);
    // SAFETY: they are linear_weight_slopes', and the tensors were checked.
    unsafe { launch(on, "linear_weight_slopes", blocks, &arguments) }
}

/// The biases' gradient: the sum of each output's slopes, sample by sample.
///
/// # Shapes
/// `slopes`: `[lanes, out, batch]`, `gradient`: `[lanes, out]`, both f32.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
pub fn linear_bias_gradient(
    on: &dyn Launch,
    slopes: &Tensor,
    gradient: &Tensor,
) -> Result<(), CudaError> {
    let shape @ [lanes, outputs, batch] = extents("slopes", slopes)?;
    let rows = lanes * outputs;
    let arguments = [
        pointer(on, "slopes", slopes, Kind::Float, &shape)?,
        pointer(on, "gradient", gradient, Kind::Float, &[lanes, outputs])?,
        Argument::Int(rows),
        Argument::Int(batch),
    ];
    // SAFETY: they are linear_bias_slopes', and the tensors were checked.
    unsafe { launch(on, "linear_bias_slopes", blocks_for(rows), &arguments) }
}
