//! Cross-entropy with its gradient.

use tch::{Device, Kind, Tensor};

use super::{Argument, Launch, extents, launch_slow, pointer, pointer_if};
use crate::cuda::CudaError;

/// What a loss writes for each sample before it is added up.
#[derive(Debug)]
pub struct SampleLosses {
    /// `[lanes, batch]`, f64.
    losses: Tensor,
    /// `[lanes, batch]`, i64: 1 where the answer is right.
    right: Tensor,
}

impl SampleLosses {
    /// Memory for so many lanes and samples.
    pub fn new(lanes: i64, batch: i64, device: Device) -> Self {
        let empty = |kind| Tensor::empty([lanes, batch], (kind, device));
        Self {
            losses: empty(Kind::Double),
            right: empty(Kind::Int64),
        }
    }
}

/// Cross-entropy of every lane: the sum over a lane's samples, in their order, goes to `losses`, the number of right
/// answers to `correct`, and the gradient of the sum of the lanes' means to `gradient`. On the CPU it gives the bits of
/// [`shim::cross_entropy`](crate::shim::cross_entropy); a GPU's exponentials and logarithms may differ from those in
/// the last bit. A label that is no class makes NaN of its sample, so that the host learns of it from the loss.
///
/// # Shapes
/// `logits`: `[lanes, batch, classes]` f32, `labels`: `[lanes, batch]` i64, `losses`: `[lanes]` f64, `correct`: `[lanes]`
/// i64, `gradient`: like `logits`.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
#[allow(clippy::too_many_arguments)]
pub fn cross_entropy(
    on: &dyn Launch,
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
    samples: &SampleLosses,
    losses: &Tensor,
    correct: &Tensor,
    gradient: Option<&Tensor>,
) -> Result<(), CudaError> {
    let shape @ [lanes, batch, classes] = extents("logits", logits)?;
    if classes < 1 {
        return Err(CudaError::Argument("logits of no class".to_owned()));
    }
    let rows = [lanes, batch];
    let row_losses = pointer(on, "samples", &samples.losses, Kind::Double, &rows)?;
    let row_right = pointer(on, "samples", &samples.right, Kind::Int64, &rows)?;
    let losses = pointer(on, "losses", losses, Kind::Double, &[lanes])?;
    let correct = pointer(on, "correct", correct, Kind::Int64, &[lanes])?;
    let [lanes_count, batch_size] = rows.map(Argument::Int);
    let arguments = [
        pointer(on, "logits", logits, Kind::Float, &shape)?,
        pointer(on, "labels", labels, Kind::Int64, &rows)?,
        pointer_if(on, "gradient", gradient, Kind::Float, &shape)?,
        row_losses,
        row_right,
        Argument::Int(lanes * batch),
        Argument::Int(classes),
        batch_size,
        Argument::Double(smoothing),
    ];
    // SAFETY: they are cross_entropy_rows', and the tensors were checked.
    unsafe { launch_slow(on, "cross_entropy_rows", lanes * batch, &arguments)? };
    let arguments = [
        row_losses,
        row_right,
        losses,
        correct,
        lanes_count,
        batch_size,
    ];
    // SAFETY: they are cross_entropy_sums', and the tensors were checked.
    unsafe { launch_slow(on, "cross_entropy_sums", lanes, &arguments) }
}
