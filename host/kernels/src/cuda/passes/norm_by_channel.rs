//! Batch norm of channels that lie together in memory each, with what follows it, and its gradients.

use tch::{Kind, Tensor};

use super::norm::{NormGradients, added_without_relu};
use super::{Argument, Launch, extents, launch_of, pieces, pointer, pointer_if};
use crate::BatchNorm;
use crate::cuda::CudaError;

/// Threads of a channel at least and at most; the latter is `MOST` in `norm_by_channel.cu`.
const LEAST_THREADS: i64 = 32;
const MOST_THREADS: i64 = 256;
/// Numbers for which there is a thread: `AHEAD`, there.
const OF_THREAD: i64 = 4;

/// The threads that add up a channel of so many numbers.
fn threads(count: i64) -> u32 {
    let wanted = pieces(count, OF_THREAD).clamp(LEAST_THREADS, MOST_THREADS);
    (wanted as u32).next_power_of_two()
}

/// Activations `[outer, channels, inner]`, as their kernels take them.
struct Activations<'a> {
    on: &'a dyn Launch,
    suffix: &'static str,
    kind: Kind,
    shape: [i64; 3],
}

impl<'a> Activations<'a> {
    fn like(on: &'a dyn Launch, input: &Tensor) -> Result<Self, CudaError> {
        let shape = extents("input", input)?;
        if shape.iter().any(|extent| *extent < 1) {
            return Err(CudaError::Argument(format!("a batch norm of {shape:?}")));
        }
        let kind = input.kind();
        let suffix = match kind {
            Kind::Float => "f32",
            Kind::BFloat16 => "bf16",
            other => return Err(CudaError::Argument(format!("a batch norm of {other:?}"))),
        };
        Ok(Self {
            on,
            suffix,
            kind,
            shape,
        })
    }

    fn all(&self, name: &str, tensor: &Tensor) -> Result<Argument, CudaError> {
        pointer(self.on, name, tensor, self.kind, &self.shape)
    }

    fn all_if(&self, name: &str, tensor: Option<&Tensor>) -> Result<Argument, CudaError> {
        pointer_if(self.on, name, tensor, self.kind, &self.shape)
    }

    fn of_channels(&self, name: &str, tensor: &Tensor) -> Result<Argument, CudaError> {
        pointer(self.on, name, tensor, Kind::Float, &[self.shape[1]])
    }

    /// Means and inverse standard deviations.
    fn statistics(&self, tensor: &Tensor) -> Result<[Argument; 2], CudaError> {
        let shape = [2, self.shape[1]];
        pointer(self.on, "statistics", tensor, Kind::Float, &shape)?;
        Ok([0, 1].map(|which| Argument::Pointer(tensor.get(which).data_ptr())))
    }

    /// Launches a kernel with a block for each channel.
    ///
    /// # Safety
    /// As [`Launch::launch`].
    unsafe fn launch(&self, kernel: &str, arguments: &[Argument]) -> Result<(), CudaError> {
        let [outer, channels, inner] = self.shape;
        let kernel = format!("{kernel}_{}", self.suffix);
        // SAFETY: by the caller's promise.
        unsafe {
            launch_of(
                self.on,
                &kernel,
                channels,
                threads(outer * inner),
                arguments,
            )
        }
    }
}

/// The normalised input, plus `added`, and then a ReLU if `relu`, written to `out`: in training by the batch's
/// statistics, which are written to `statistics` and move the running ones, else by the running ones. A channel's bits
/// follow from its own numbers, whatever channels are beside it.
///
/// # Shapes
/// `input`: `[outer, channels, inner]`, f32 or bf16; `added` and `out`: the input's, and `out` may be either of them.
/// `statistics`: `[2, channels]` f32, means and inverse standard deviations. The norm's tensors: `[channels]` f32.
///
/// # Errors
/// If a shape, kind or device is another, or the launch fails.
pub fn norm_by_channel_forward(
    on: &dyn Launch,
    norm: &BatchNorm<'_>,
    input: &Tensor,
    added: Option<&Tensor>,
    relu: bool,
    statistics: &Tensor,
    out: &Tensor,
) -> Result<(), CudaError> {
    let like = Activations::like(on, input)?;
    let values = like.all("input", input)?;
    let added = like.all_if("added", added)?;
    let out = like.all("out", out)?;
    let scale = like.of_channels("scale", norm.scale)?;
    let shift = like.of_channels("shift", norm.shift)?;
    let known_mean = like.of_channels("running mean", norm.running[0])?;
    let known_variance = like.of_channels("running variance", norm.running[1])?;
    let [means, inverses] = like.statistics(statistics)?;
    let [outer, channels, inner] = like.shape.map(Argument::Int);
    let epsilon = Argument::Double(norm.epsilon);
    let relu = Argument::Int(relu.into());
    let read = [values, added, scale, shift, known_mean, known_variance];
    if norm.trains {
        let momentum = Argument::Double(norm.momentum);
        let written = [means, inverses, out];
        let rest = [outer, channels, inner, epsilon, momentum, relu];
        let arguments = [&read[..], &written, &rest].concat();
        // SAFETY: they are norm_by_channel's, and the tensors were checked.
        return unsafe { like.launch("norm_by_channel", &arguments) };
    }
    let rest = [out, outer, channels, inner, epsilon, relu];
    let arguments = [read, rest].concat();
    // SAFETY: they are norm_by_channel_known's, and the tensors were checked.
    unsafe { like.launch("norm_by_channel_known", &arguments) }
}

/// Gradients of a [`norm_by_channel_forward`] in training, for this gradient of its result; `statistics` are those that
/// it wrote. With `out`, its result, where a ReLU made it.
///
/// # Shapes
/// `slopes`, `input`, `out`, `statistics`: those of the pass forward; `scale`: `[channels]` f32.
///
/// # Errors
/// If a shape, kind or device is another, a gradient of what was added is asked for without `out`, or the launch fails.
pub fn norm_by_channel_backward(
    on: &dyn Launch,
    scale: &Tensor,
    slopes: &Tensor,
    input: &Tensor,
    out: Option<&Tensor>,
    statistics: &Tensor,
    gradients: NormGradients<'_>,
) -> Result<(), CudaError> {
    if out.is_none() && gradients.added.is_some() {
        return Err(added_without_relu());
    }
    let like = Activations::like(on, input)?;
    let [means, inverses] = like.statistics(statistics)?;
    let [outer, channels, inner] = like.shape.map(Argument::Int);
    let arguments = [
        like.of_channels("scale", scale)?,
        like.all("slopes", slopes)?,
        like.all_if("out", out)?,
        like.all("input", input)?,
        means,
        inverses,
        like.all("input's gradient", gradients.input)?,
        like.all_if("added's gradient", gradients.added)?,
        like.of_channels("scale's gradient", gradients.scale)?,
        like.of_channels("shift's gradient", gradients.shift)?,
        outer,
        channels,
        inner,
    ];
    // SAFETY: they are norm_by_channel_slopes', and the tensors were checked.
    unsafe { like.launch("norm_by_channel_slopes", &arguments) }
}
