//! Batches of images.

use tch::{Kind, Tensor};

use super::{Argument, Launch, blocks_for, extents, launch, pointer, pointer_if};
use crate::cuda::CudaError;

/// How bytes become numbers: `pixel * scale + shift`, rounded twice.
#[derive(Clone, Copy, Debug)]
pub struct Normalise<'a> {
    /// `1 / (255 std)`: `[channels]`, f32.
    pub scale: &'a Tensor,
    /// `-mean / std`: `[channels]`, f32.
    pub shift: &'a Tensor,
}

/// Random changes of a batch: a crop of each image with a border of zero pixels, then its flip.
#[derive(Clone, Copy, Debug)]
pub struct Draws<'a> {
    /// `[3, n]`, i64: where an image's first row begins in its plane with the border, its first column, and the
    /// step from one column to the next, -1 if it is flipped.
    pub places: &'a Tensor,
    /// Width of the border in pixels.
    pub crop: i64,
}

/// The images at `index`, changed and normalised in one pass. An index beyond the images makes NaN of its image.
///
/// # Shapes
/// `images`: `[samples, channels, height, width]` u8; `index`: `[n]` i64; `out`: `[n, channels, height, width]` f32,
/// contiguous, or with `channels_last` `[n, height, width, channels]`.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
pub fn gather(
    on: &dyn Launch,
    images: &Tensor,
    index: &Tensor,
    draws: Option<Draws<'_>>,
    normalise: Normalise<'_>,
    channels_last: bool,
    out: &Tensor,
) -> Result<(), CudaError> {
    let shape @ [samples, channels, height, width] = extents("images", images)?;
    let [count] = extents("index", index)?;
    let batch = match channels_last {
        true => [count, height, width, channels],
        false => [count, channels, height, width],
    };
    let places = draws.map(|it| it.places);
    let crop = draws.map_or(0, |it| it.crop);
    if crop < 0 {
        return Err(CudaError::Argument(format!("a border of {crop} pixels")));
    }
    let arguments = [
        pointer(on, "images", images, Kind::Uint8, &shape)?,
        pointer(on, "index", index, Kind::Int64, &[count])?,
        pointer_if(on, "draws", places, Kind::Int64, &[3, count])?,
        pointer(on, "scale", normalise.scale, Kind::Float, &[channels])?,
        pointer(on, "shift", normalise.shift, Kind::Float, &[channels])?,
        pointer(on, "out", out, Kind::Float, &batch)?,
        Argument::Int(samples),
        Argument::Int(count),
        Argument::Int(channels),
        Argument::Int(height),
        Argument::Int(width),
        Argument::Int(crop),
        Argument::Int(channels_last.into()),
    ];
    let blocks = blocks_for(count * channels * height * width);
    // SAFETY: they are gather_images', and the tensors were checked.
    unsafe { launch(on, "gather_images", blocks, &arguments) }
}
