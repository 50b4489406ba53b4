//! Batch norm with what follows it, and its gradients.

use tch::{Device, Kind, Tensor};

use super::{
    Argument, Launch, blocks_for, extents, launch, launch_slow, pieces, pointer, pointer_if,
};
use crate::BatchNorm;
use crate::cuda::CudaError;

/// Numbers of a block, and its rows at least: those of the kernels for CPUs.
const NUMBERS: i64 = 2048;
const LEAST_ROWS: i64 = 16;

/// What a batch norm keeps from its pass forward to the one back, and writes in between.
#[derive(Debug)]
pub struct NormMemory {
    rows: i64,
    channels: i64,
    /// Two sums of every block of rows and channel: `[2, blocks, channels]`.
    sums: Tensor,
    /// `[5, channels]`: the batch's means and inverse standard deviations, and what values or their gradients are
    /// made of.
    of_channels: Tensor,
}

impl NormMemory {
    /// Memory for inputs of so many rows and channels.
    ///
    /// # Errors
    /// If there is none of one.
    pub fn new(rows: i64, channels: i64, device: Device) -> Result<Self, CudaError> {
        let of_channels = Tensor::zeros([5, channels.max(0)], (Kind::Float, device));
        Self::over(of_channels, rows)
    }

    /// The same with memory that is there for what is kept from one pass to the other: `[5, channels]` f32.
    ///
    /// # Errors
    /// If there is no row, or no channel.
    pub fn over(of_channels: Tensor, rows: i64) -> Result<Self, CudaError> {
        let [_, channels] = extents("memory", &of_channels)?;
        if rows < 1 || channels < 1 {
            return Err(CudaError::Argument(format!(
                "a batch norm of {rows} rows and {channels} channels"
            )));
        }
        let blocks = pieces(rows, block_rows(channels));
        let options = (Kind::Float, of_channels.device());
        Ok(Self {
            rows,
            channels,
            sums: Tensor::empty([2, blocks, channels], options),
            of_channels,
        })
    }

    /// The mean of each channel in the last batch, `[channels]`.
    pub fn means(&self) -> Tensor {
        self.of_channels.get(0)
    }

    /// The inverse standard deviation of each channel in the last batch, `[channels]`.
    pub fn inverses(&self) -> Tensor {
        self.of_channels.get(1)
    }

    fn sums(&self, which: i64) -> Argument {
        Argument::Pointer(self.sums.get(which).data_ptr())
    }

    fn of_channels(&self, which: i64) -> Argument {
        Argument::Pointer(self.of_channels.get(which).data_ptr())
    }

    /// Blocks of threads with one for each sum.
    fn blocks_for_sums(&self) -> i64 {
        blocks_for(self.sums.numel() as i64 / 2)
    }

    /// What every kernel of the sums takes last.
    fn extents(&self) -> [Argument; 3] {
        [self.rows, self.channels, block_rows(self.channels)].map(Argument::Int)
    }

    fn numbers(&self) -> i64 {
        self.rows * self.channels
    }

    /// The pointer to a tensor of the channels.
    fn channel(&self, on: &dyn Launch, name: &str, it: &Tensor) -> Result<Argument, CudaError> {
        pointer(on, name, it, Kind::Float, &[self.channels])
    }

    /// The kernels' suffix for activations of this kind, if they are of this memory's extents and device.
    fn suffix(&self, on: &dyn Launch, input: &Tensor) -> Result<&'static str, CudaError> {
        let size = input.size();
        let rows: i64 = size[..size.len().saturating_sub(1)].iter().product();
        if size.last() != Some(&self.channels) || rows != self.rows {
            return Err(CudaError::Argument(format!(
                "a batch norm's input must be [{} rows in all, {} channels], not {size:?}",
                self.rows, self.channels
            )));
        }
        pointer(
            on,
            "memory",
            &self.of_channels,
            Kind::Float,
            &[5, self.channels],
        )?;
        match input.kind() {
            Kind::Float => Ok("f32"),
            Kind::BFloat16 => Ok("bf16"),
            other => Err(CudaError::Argument(format!("a batch norm of {other:?}"))),
        }
    }
}

/// Rows of a block.
fn block_rows(channels: i64) -> i64 {
    (NUMBERS / channels).max(LEAST_ROWS)
}

/// The normalised input, plus `added`, and then a ReLU if `relu`, written to `out`: in training by the batch's
/// statistics, which stay in `memory` and move the running ones, else by the running ones. Gives the bits of
/// [`BatchNorm::apply`] on processors with AVX2, of an input whose channels lie last in memory.
///
/// # Shapes
/// `input`: `[..., channels]`, f32 or bf16, of as many rows as the memory; `added` and `out`: the input's, and `out` may
/// be either of them. The norm's tensors: `[channels]` f32.
///
/// # Errors
/// If a shape, kind or device is another, or a launch fails.
pub fn norm_forward(
    on: &dyn Launch,
    norm: &BatchNorm<'_>,
    input: &Tensor,
    added: Option<&Tensor>,
    relu: bool,
    memory: &NormMemory,
    out: &Tensor,
) -> Result<(), CudaError> {
    let suffix = memory.suffix(on, input)?;
    let (kind, shape) = (input.kind(), input.size());
    let values = pointer(on, "input", input, kind, &shape)?;
    let added = pointer_if(on, "added", added, kind, &shape)?;
    let out = pointer(on, "out", out, kind, &shape)?;
    let scale = memory.channel(on, "scale", norm.scale)?;
    let shift = memory.channel(on, "shift", norm.shift)?;
    let known_mean = memory.channel(on, "running mean", norm.running[0])?;
    let known_variance = memory.channel(on, "running variance", norm.running[1])?;
    let [block_means, block_squares] = [0, 1].map(|it| memory.sums(it));
    let [means, inverses, factors] = [0, 1, 2].map(|it| memory.of_channels(it));
    let [rows, channels, block_rows] = memory.extents();
    let epsilon = Argument::Double(norm.epsilon);
    if norm.trains {
        let arguments = [
            values,
            block_means,
            block_squares,
            rows,
            channels,
            block_rows,
        ];
        let kernel = format!("norm_moments_{suffix}");
        // SAFETY: they are norm_moments', and the tensors were checked.
        unsafe { launch(on, &kernel, memory.blocks_for_sums(), &arguments)? };
        let arguments = [
            block_means,
            block_squares,
            scale,
            known_mean,
            known_variance,
            means,
            inverses,
            factors,
            rows,
            channels,
            block_rows,
            epsilon,
            Argument::Double(norm.momentum),
        ];
        // SAFETY: they are norm_settle's, and the tensors were checked.
        unsafe { launch_slow(on, "norm_settle", memory.channels, &arguments)? };
    } else {
        let arguments = [scale, known_variance, factors, channels, epsilon];
        // SAFETY: they are norm_known's, and the tensors were checked.
        unsafe { launch(on, "norm_known", blocks_for(memory.channels), &arguments)? };
    }
    let arguments = [
        values,
        added,
        if norm.trains { means } else { known_mean },
        factors,
        shift,
        out,
        Argument::Int(memory.numbers()),
        channels,
        Argument::Int(relu.into()),
    ];
    let kernel = format!("norm_activate_{suffix}");
    // SAFETY: they are norm_activate's, and the tensors were checked.
    unsafe { launch(on, &kernel, blocks_for(memory.numbers()), &arguments) }
}

/// Where [`norm_backward`] writes gradients.
#[derive(Clone, Copy, Debug)]
pub struct NormGradients<'a> {
    /// Of the input, in its shape and kind.
    pub input: &'a Tensor,
    /// Of what was added, in the same shape and kind, where a ReLU follows. Without one that is the sum's
    /// gradient itself.
    pub added: Option<&'a Tensor>,
    /// Of the scale, `[channels]` f32.
    pub scale: &'a Tensor,
    /// Of the shift, `[channels]` f32.
    pub shift: &'a Tensor,
}

/// What a pass back says that is asked for the gradient of what was added where no ReLU follows.
pub(super) fn added_without_relu() -> CudaError {
    CudaError::Argument(
        "without a ReLU the gradient of what was added is that of the sum".to_owned(),
    )
}

/// Gradients of a [`norm_forward`] in training, for this gradient of its result; `memory` is what that left. With
/// `out`, its result, where a ReLU made it. Gives the bits of the gradients of [`BatchNorm::apply`].
///
/// # Shapes
/// `slopes`, `input`, `out`: those of the pass forward; `scale`: `[channels]` f32.
///
/// # Errors
/// If a shape, kind or device is another, a gradient of what was added is asked for without `out`, or a launch fails.
pub fn norm_backward(
    on: &dyn Launch,
    scale: &Tensor,
    slopes: &Tensor,
    input: &Tensor,
    out: Option<&Tensor>,
    memory: &NormMemory,
    gradients: NormGradients<'_>,
) -> Result<(), CudaError> {
    if out.is_none() && gradients.added.is_some() {
        return Err(added_without_relu());
    }
    let suffix = memory.suffix(on, input)?;
    let (kind, shape) = (input.kind(), input.size());
    let values = pointer(on, "input", input, kind, &shape)?;
    let slopes = pointer(on, "slopes", slopes, kind, &shape)?;
    let out = pointer_if(on, "out", out, kind, &shape)?;
    let of_input = pointer(on, "input's gradient", gradients.input, kind, &shape)?;
    let passed = pointer_if(on, "added's gradient", gradients.added, kind, &shape)?;
    let scale = memory.channel(on, "scale", scale)?;
    let of_scale = memory.channel(on, "scale's gradient", gradients.scale)?;
    let of_shift = memory.channel(on, "shift's gradient", gradients.shift)?;
    let [sums, products] = [0, 1].map(|it| memory.sums(it));
    let [means, inverses, factors, tilts, shifts] =
        [0, 1, 2, 3, 4].map(|it| memory.of_channels(it));
    let [rows, channels, block_rows] = memory.extents();
    let arguments = [
        slopes, out, values, means, passed, sums, products, rows, channels, block_rows,
    ];
    let kernel = format!("norm_slope_sums_{suffix}");
    // SAFETY: they are norm_slope_sums', and the tensors were checked.
    unsafe { launch(on, &kernel, memory.blocks_for_sums(), &arguments)? };
    let arguments = [
        sums, products, scale, inverses, of_scale, of_shift, factors, tilts, shifts, rows,
        channels, block_rows,
    ];
    // SAFETY: they are norm_settle_slopes', and the tensors were checked.
    unsafe { launch_slow(on, "norm_settle_slopes", memory.channels, &arguments)? };
    // What passed the ReLU is known already, where it was asked for.
    let (slopes, out) = match gradients.added {
        Some(_) => (passed, Argument::NULL),
        None => (slopes, out),
    };
    let arguments = [
        slopes,
        out,
        values,
        means,
        factors,
        tilts,
        shifts,
        of_input,
        Argument::Int(memory.numbers()),
        channels,
    ];
    let kernel = format!("norm_value_slopes_{suffix}");
    // SAFETY: they are norm_value_slopes', and the tensors were checked.
    unsafe { launch(on, &kernel, blocks_for(memory.numbers()), &arguments) }
}
