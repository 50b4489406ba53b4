//! Training steps of perceptrons without autograd, dense, and sparse at the surviving weights.
//!
//! Every sum is added up in an order that neither the number of lanes, nor that of threads, nor the
//! number of survivors decides, and a weight of 0 adds nothing: whether a layer is computed dense or
//! at its survivors, its results have the same bits as long as its activations are finite.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::null;
use std::sync::Mutex;

use tch::{Device, Kind, Tensor};

use crate::shim::{ShimError, Text, check};
use crate::survivors::Survivors;

/// One linear layer of a perceptron and what follows it: a batch norm if it has one, and, but after
/// the last layer, a ReLU. Places are elements of a lane's weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Number of inputs.
    pub inputs: i64,
    /// Number of outputs.
    pub outputs: i64,
    /// Place of the weights, `[outputs, inputs]`.
    pub weight: i64,
    /// Place of the biases, `[outputs]`.
    pub bias: i64,
    /// The batch norm's places.
    pub norm: Option<Norm>,
}

/// A batch norm's scale and shift in a lane's weights, and its statistics' positions in the list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norm {
    /// Place of the scales, `[outputs]`.
    pub weight: i64,
    /// Place of the shifts, `[outputs]`.
    pub bias: i64,
    /// Position of the running mean.
    pub mean: usize,
    /// Position of the running variance.
    pub variance: usize,
}

/// The lanes of a perceptron.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<'a> {
    /// `[lanes, width]`, f32, contiguous, on the CPU.
    pub weights: &'a Tensor,
    /// Each `[lanes, features]`, f32, contiguous.
    pub statistics: &'a [Tensor],
    /// For each layer, for each lane, its survivors where it is computed at those alone.
    pub survivors: &'a [Vec<Option<Survivors>>],
}

/// Samples and targets of all lanes.
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a> {
    /// `[rows, ...]`, contiguous: f32, or u8 with a table.
    pub inputs: &'a Tensor,
    /// What each byte of an input stands for, `[channels, 256]` f32; a channel is a piece of a row.
    pub table: Option<&'a Tensor>,
    /// `[rows]`, contiguous: classes in i64 for the cross-entropy, or numbers in f32.
    pub targets: &'a Tensor,
    /// Which rows a lane sees.
    pub rows: Rows<'a>,
}

/// Which rows a lane sees.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// `[lanes, count]`, i64, the columns neighbours in memory.
    Listed(&'a Tensor),
    /// These many of its own, one lane's after another's.
    Own(i64),
    /// Every lane the same: from the first, this many.
    Shared(i64, i64),
}

/// What is computed of the outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Half the squared distance from targets that are numbers, not the cross-entropy of classes.
    pub numbers: bool,
    /// Share of the target probability spread over all classes.
    pub smoothing: f64,
    /// Distance within which a number is right.
    pub tolerance: f64,
}

/// A perceptron.
#[derive(Debug)]
pub struct Perceptron {
    layers: Vec<Layer>,
    /// Reused from step to step.
    memory: Vec<f32>,
}

#[repr(C)]
struct RawSurvivors {
    row_starts: *const i32,
    row_terms: *const i32,
    column_starts: *const i32,
    column_terms: *const i32,
}

#[repr(C)]
struct RawLayer {
    inputs: i64,
    outputs: i64,
    weight: i64,
    bias: i64,
    norm_weight: i64,
    norm_bias: i64,
    running_mean: *mut f32,
    running_variance: *mut f32,
    survivors: *const RawSurvivors,
}

#[repr(C)]
struct RawSamples {
    inputs: *const c_void,
    table: *const f32,
    pixels: i64,
    rows: i64,
    targets: *const c_void,
    index: *const i64,
    index_step: i64,
    first: i64,
    lane_step: i64,
    count: i64,
}

#[repr(C)]
struct RawLoss {
    numbers: bool,
    smoothing: f64,
    tolerance: f64,
    losses: *mut f64,
    right: *mut i64,
    outputs: *mut f32,
}

unsafe extern "C" {
    fn rewind_perceptron_room(layers: *const RawLayer, depth: i64, samples: i64) -> i64;
    fn rewind_perceptron_step(
        layers: *const RawLayer,
        depth: i64,
        lanes: i64,
        width: i64,
        weights: *const f32,
        slopes: *mut f32,
        samples: *const RawSamples,
        loss: *const RawLoss,
        memory: *mut f32,
    ) -> Text;
    fn rewind_perceptron_evaluate(
        layers: *const RawLayer,
        depth: i64,
        lanes: i64,
        width: i64,
        weights: *const f32,
        samples: *const RawSamples,
        loss: *const RawLoss,
    ) -> Text;
    fn rewind_perceptron_break_even(outputs: i64, inputs: i64) -> f64;
}

/// Density below which a layer of this shape trains faster at its survivors, on this machine: measured
/// when it is first asked for.
pub fn break_even(outputs: i64, inputs: i64) -> f64 {
    static MEASURED: Mutex<Option<HashMap<(i64, i64), f64>>> = Mutex::new(None);
    let mut measured = MEASURED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    *measured
        .get_or_insert_default()
        .entry((outputs, inputs))
        // SAFETY: it allocates what it reads.
        .or_insert_with(|| unsafe { rewind_perceptron_break_even(outputs, inputs) })
}

impl Perceptron {
    /// The perceptron of these layers, from input to output.
    pub fn new(layers: Vec<Layer>) -> Self {
        Self {
            layers,
            memory: Vec::new(),
        }
    }

    /// One training step up to the gradients: writes those of the sum of the lanes' mean losses to
    /// `slopes` (of layers computed at their survivors, those of the survivors), updates the running
    /// statistics, and writes the sums of the samples' losses and the number of right answers.
    ///
    /// # Shapes
    /// `slopes`: like the weights; `losses`: `[lanes]` f64, `right`: `[lanes]` i64, both contiguous.
    ///
    /// # Errors
    /// If a shape, kind or device is another, or a row or class does not exist.
    pub fn step(
        &mut self,
        lanes: Lanes<'_>,
        slopes: &mut Tensor,
        samples: Samples<'_>,
        loss: Loss,
        [losses, right]: [&Tensor; 2],
    ) -> Result<(), ShimError> {
        flat(slopes, "slopes", Kind::Float, &lanes.weights.size())?;
        let raw = Raw::new(&self.layers, lanes, samples, loss, [losses, right])?;
        let depth = raw.layers.len() as i64;
        // SAFETY: the layers are as `Raw::new` checked.
        let room = unsafe { rewind_perceptron_room(raw.layers.as_ptr(), depth, raw.samples.count) };
        let room = room as usize * raw.lanes as usize;
        if let Some(more) = room.checked_sub(self.memory.len()) {
            if self.memory.try_reserve_exact(more).is_err() {
                let bytes = more * size_of::<f32>();
                let text = format!("out of memory: you tried to allocate {bytes} bytes");
                return Err(ShimError::new(text));
            }
            self.memory.resize(room, 0.0);
        }
        // SAFETY: all that the pointers lead to has the checked size and outlives the call, and the
        // memory holds the asked-for numbers for every lane.
        check(unsafe {
            rewind_perceptron_step(
                raw.layers.as_ptr(),
                depth,
                raw.lanes,
                raw.width,
                lanes.weights.data_ptr() as *const f32,
                slopes.data_ptr() as *mut f32,
                &raw.samples,
                &raw.loss,
                self.memory.as_mut_ptr(),
            )
        })
    }

    /// Sums of the samples' losses and number of right answers, by the running statistics; the outputs,
    /// too, if there is room for them.
    ///
    /// # Shapes
    /// As [`step`](Perceptron::step); `outputs`: `[lanes, samples, outputs]` f32, contiguous.
    ///
    /// # Errors
    /// As [`step`](Perceptron::step).
    pub fn evaluate(
        &self,
        lanes: Lanes<'_>,
        samples: Samples<'_>,
        loss: Loss,
        results: [&Tensor; 2],
        outputs: Option<&Tensor>,
    ) -> Result<(), ShimError> {
        let mut raw = Raw::new(&self.layers, lanes, samples, loss, results)?;
        if let (Some(outputs), Some(last)) = (outputs, self.layers.last()) {
            let shape = [raw.lanes, raw.samples.count, last.outputs];
            flat(outputs, "outputs", Kind::Float, &shape)?;
            raw.loss.outputs = outputs.data_ptr() as *mut f32;
        }
        // SAFETY: as in `step`; nothing but the results is written.
        check(unsafe {
            rewind_perceptron_evaluate(
                raw.layers.as_ptr(),
                raw.layers.len() as i64,
                raw.lanes,
                raw.width,
                lanes.weights.data_ptr() as *const f32,
                &raw.samples,
                &raw.loss,
            )
        })
    }
}

/// Checked arguments of a call.
struct Raw {
    layers: Vec<RawLayer>,
    /// What the layers point to.
    _survivors: Vec<Vec<RawSurvivors>>,
    samples: RawSamples,
    loss: RawLoss,
    lanes: i64,
    width: i64,
}

impl Raw {
    fn new(
        layers: &[Layer],
        all: Lanes<'_>,
        samples: Samples<'_>,
        loss: Loss,
        [losses, right]: [&Tensor; 2],
    ) -> Result<Self, ShimError> {
        let [lanes, width] = all.weights.size()[..] else {
            return refuse("weights must be [lanes, elements]");
        };
        flat(all.weights, "weights", Kind::Float, &[lanes, width])?;
        flat(losses, "losses", Kind::Double, &[lanes])?;
        flat(right, "right", Kind::Int64, &[lanes])?;
        if layers.is_empty() || all.survivors.len() != layers.len() {
            return refuse("there must be a layer, and survivors or none for each");
        }
        let survivors: Vec<Vec<RawSurvivors>> = (all.survivors.iter())
            .map(|lanes| lanes.iter().map(raw_survivors).collect())
            .collect();
        let mut raw_layers = Vec::with_capacity(layers.len());
        for ((layer, of_lanes), raw) in layers.iter().zip(all.survivors).zip(&survivors) {
            let (inputs, outputs) = (layer.inputs, layer.outputs);
            let inside = |place: i64, size: i64| place >= 0 && place + size <= width;
            let fits = |it: &Survivors| it.fits(outputs as usize, inputs as usize);
            let norm = layer.norm;
            if inputs < 1
                || outputs < 1
                || !inside(layer.weight, inputs * outputs)
                || !inside(layer.bias, outputs)
                || norm.is_some_and(|n| !inside(n.weight, outputs) || !inside(n.bias, outputs))
                || of_lanes.len() as i64 != lanes
                || !of_lanes.iter().flatten().all(fits)
            {
                return refuse("a layer or its survivors do not fit the weights");
            }
            let statistic = |at: usize| match all.statistics.get(at) {
                Some(tensor) => {
                    flat(tensor, "statistics", Kind::Float, &[lanes, outputs])?;
                    Ok(tensor.data_ptr() as *mut f32)
                }
                None => refuse("a batch norm has no statistics"),
            };
            let [running_mean, running_variance] = match norm {
                Some(norm) => [statistic(norm.mean)?, statistic(norm.variance)?],
                None => [std::ptr::null_mut(); 2],
            };
            raw_layers.push(RawLayer {
                inputs,
                outputs,
                weight: layer.weight,
                bias: layer.bias,
                norm_weight: norm.map_or(-1, |norm| norm.weight),
                norm_bias: norm.map_or(-1, |norm| norm.bias),
                running_mean,
                running_variance,
                survivors: raw.as_ptr(),
            });
        }
        let chained = layers
            .windows(2)
            .all(|pair| pair[0].outputs == pair[1].inputs);
        if !chained {
            return refuse("a layer does not take what the one before it gives");
        }
        let classes = layers[layers.len() - 1].outputs;
        if loss.numbers && classes != 1 {
            return refuse("targets that are numbers need one output");
        }
        Ok(Self {
            samples: raw_samples(samples, layers[0].inputs, lanes, loss.numbers)?,
            layers: raw_layers,
            _survivors: survivors,
            loss: RawLoss {
                numbers: loss.numbers,
                smoothing: loss.smoothing,
                tolerance: loss.tolerance,
                losses: losses.data_ptr() as *mut f64,
                right: right.data_ptr() as *mut i64,
                outputs: std::ptr::null_mut(),
            },
            lanes,
            width,
        })
    }
}

fn raw_survivors(survivors: &Option<Survivors>) -> RawSurvivors {
    let start = |list: fn(&Survivors) -> &Vec<i32>| {
        survivors.as_ref().map_or(null(), |it| list(it).as_ptr())
    };
    RawSurvivors {
        row_starts: start(|it| &it.row_starts),
        row_terms: start(|it| &it.row_terms),
        column_starts: start(|it| &it.column_starts),
        column_terms: start(|it| &it.column_terms),
    }
}

fn raw_samples(
    samples: Samples<'_>,
    features: i64,
    lanes: i64,
    numbers: bool,
) -> Result<RawSamples, ShimError> {
    let rows = samples.targets.size().first().copied().unwrap_or(0);
    let kind = if numbers { Kind::Float } else { Kind::Int64 };
    flat(samples.targets, "targets", kind, &[rows])?;
    let shape = samples.inputs.size();
    let of_bytes = samples.table.is_some();
    let kind = if of_bytes { Kind::Uint8 } else { Kind::Float };
    flat(samples.inputs, "inputs", kind, &shape)?;
    if shape.first() != Some(&rows) || samples.inputs.numel() as i64 != rows * features {
        return refuse("inputs and targets are of other rows or features");
    }
    let channels = match samples.table {
        Some(table) => {
            let channels = table.size()[0];
            flat(table, "table", Kind::Float, &[channels, 256])?;
            channels
        }
        None => 1,
    };
    if channels < 1 || features % channels != 0 {
        return refuse("the channels of the table do not divide the features");
    }
    let (index, index_step, first, lane_step, count) = match samples.rows {
        Rows::Listed(index) => {
            let size = index.size();
            let neighbours = index.stride().last() == Some(&1);
            if size.len() != 2
                || size[0] != lanes
                || !neighbours
                || index.kind() != Kind::Int64
                || index.device() != Device::Cpu
            {
                return refuse("the list of rows must be i64 [lanes, count]");
            }
            let start = index.data_ptr() as *const i64;
            (start, index.stride()[0], 0, 0, size[1])
        }
        Rows::Own(count) => (null(), 0, 0, count, count),
        Rows::Shared(first, count) => (null(), 0, first, 0, count),
    };
    if count < 1 {
        return refuse("there is no sample");
    }
    Ok(RawSamples {
        inputs: samples.inputs.data_ptr(),
        table: (samples.table).map_or(null(), |table| table.data_ptr() as *const f32),
        pixels: features / channels,
        rows,
        targets: samples.targets.data_ptr(),
        index,
        index_step,
        first,
        lane_step,
        count,
    })
}

/// Fails unless the tensor is what is read by its pointer.
fn flat(tensor: &Tensor, name: &str, kind: Kind, shape: &[i64]) -> Result<(), ShimError> {
    if tensor.kind() == kind
        && tensor.device() == Device::Cpu
        && tensor.is_contiguous()
        && tensor.size() == shape
    {
        return Ok(());
    }
    Err(ShimError::new(format!(
        "{name} must be contiguous {kind:?} {shape:?} on the CPU, not {:?} {:?} on {:?}",
        tensor.kind(),
        tensor.size(),
        tensor.device()
    )))
}

fn refuse<T>(reason: &str) -> Result<T, ShimError> {
    Err(ShimError::new(format!("perceptron: {reason}")))
}

#[cfg(test)]
mod tests;
