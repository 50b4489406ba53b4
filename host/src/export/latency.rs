//! How long a forward pass takes with weights in full, without dead units, in sparse rows, in the runtime, and in ONNX
//! Runtime; and how many of the test samples each gets right.

use std::ffi::OsStr;
use std::time::Duration;

use tch::Tensor;

use super::accuracy::accuracy;
use super::onnx_runtime::OnnxRuntime;
use super::quantise::{Calibration, Quantised, calibrate};
use super::runtime::Runtime;
use super::{Csr, ExportError, Model, Source, compact, fold, onnx};
use crate::model::Parameter;
use crate::records::{Latency, Variant};
use crate::rng::{Moment, Purpose, Stream};
use crate::trainer::Trainer;
use turns::time_in_turn;
use ways::{AtSurvivors, InOnnx, InRows, Own, Way};

mod turns;
mod ways;

/// What a way may take to compute all test samples.
const LONG: Duration = Duration::from_secs(300);

/// What is timed, and where.
#[derive(Clone, Copy)]
pub struct Bench<'a> {
    /// Samples of a pass.
    pub batches: &'a [i64],
    /// How long about.
    pub time: Duration,
    /// Threads of each way.
    pub threads: usize,
    /// Of what number layers without dead units have a multiple.
    pub multiple: u16,
    /// The Python that has ONNX Runtime.
    pub python: &'a OsStr,
    /// The test samples, if they are here.
    pub tests: Option<&'a Trainer>,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// Of each batch the variants.
    pub rows: Vec<Latency>,
    /// Version of ONNX Runtime.
    pub onnx_runtime: Option<String>,
}

/// A variant with the bytes of its weights and the way in which it is computed, or why it is not.
struct Timed<'a> {
    variant: Variant,
    bytes: usize,
    way: Result<Box<dyn Way + 'a>, String>,
}

/// Times the forward passes of a level's model, the variants in turn.
///
/// # Errors
/// If the test samples cannot be read, or no layer has as many units as the multiple.
pub fn measure(source: Source, bench: &Bench<'_>) -> Result<Measured, ExportError> {
    let _no_grad = tch::no_grad_guard();
    let Source { network, model, .. } = source;
    let mut small = model.copied();
    compact(&mut small, bench.multiple)?;
    let sizes = |it: &Parameter| small.tensors[&it.name].size();
    let sizes: Vec<Vec<i64>> = network.parameters().iter().map(sizes).collect();
    let in_fewer = match network.takes(&sizes) {
        Ok(()) => Ok(boxed(Own::new(&*network, &small))),
        Err(reason) => Err(reason),
    };
    let at_survivors = Runtime::new(&model, bench.threads);
    let mut onnx_runtime = None;
    let mut in_onnx = |model: &Model, quantised: Option<&Quantised>| {
        let bytes = onnx(model, None, quantised).map_err(in_short)?;
        let runtime = OnnxRuntime::new(bench.python, &bytes, bench.threads)?;
        onnx_runtime = Some(runtime.version().to_owned());
        Ok(boxed(InOnnx { runtime, batch: 0 }))
    };
    let (full, fewer) = (bytes(&model), bytes(&small));
    let in_8_bits = match bench.tests {
        Some(trainer) => in_8_bits(&small, trainer),
        None => Err("ranges of 8 bits come from the run's data".to_owned()),
    };
    let in_8_bits = in_8_bits.and_then(|(folded, quantised)| {
        let way = in_onnx(&folded, Some(&quantised))?;
        Ok((way, quantised.bytes()))
    });
    let (in_8_bits, of_8_bits) = match in_8_bits {
        Ok((way, bytes)) => (Ok(way), bytes),
        Err(reason) => (Err(reason), 0),
    };
    let timed = |variant, bytes, way| Timed {
        variant,
        bytes,
        way,
    };
    let mut all = [
        timed(Variant::Dense, full, Ok(boxed(Own::new(&*network, &model)))),
        timed(Variant::Compact, fewer, in_fewer),
        timed(
            Variant::Csr,
            bytes_in_rows(&model),
            InRows::new(&model).map(boxed),
        ),
        timed(
            Variant::Infer,
            full,
            at_survivors.map(|runtime| boxed(AtSurvivors { runtime, batch: 0 })),
        ),
        timed(Variant::Onnx, full, in_onnx(&model, None)),
        timed(Variant::OnnxCompact, fewer, in_onnx(&small, None)),
        timed(Variant::OnnxInt8, of_8_bits, in_8_bits),
    ];
    let mut rows = Vec::new();
    for &batch in bench.batches {
        let input = random(&model.input_shape, batch);
        rows.extend(time_in_turn(&mut all, &input, bench.time));
    }
    if let Some(tests) = bench.tests {
        for Timed { variant, way, .. } in &mut all {
            let Ok(way) = way else { continue };
            if takes_too_long(&rows, *variant, tests.data().test.len()) {
                continue;
            }
            let right = accuracy(tests, |input| {
                way.give(input)?;
                way.outputs()
            })?;
            for row in rows.iter_mut().filter(|it| it.variant == *variant) {
                row.accuracy = right;
            }
        }
    }
    Ok(Measured { rows, onnx_runtime })
}

/// Whether a way would take too long for so many samples, by the quickest of its batches.
fn takes_too_long(rows: &[Latency], variant: Variant, samples: i64) -> bool {
    let own = rows.iter().filter(|it| it.variant == variant);
    let of_sample = own.filter_map(|it| Some(it.quartiles_ms?[1] / it.batch as f64));
    let least = of_sample.fold(f64::INFINITY, f64::min);
    let all = least * samples as f64 / 1e3;
    all.is_finite() && all > LONG.as_secs_f64()
}

fn boxed<'a>(way: impl Way + 'a) -> Box<dyn Way + 'a> {
    Box::new(way)
}

/// A model with its batch norms folded, and the same in 8 bits.
fn in_8_bits(model: &Model, trainer: &Trainer) -> Result<(Model, Quantised), String> {
    let mut folded = model.copied();
    fold(&mut folded);
    let quantised = calibrate(&folded, trainer, Calibration::default()).map_err(in_short)?;
    Ok((folded, quantised))
}

/// Why a model is not written as ONNX.
fn in_short(error: ExportError) -> String {
    match error {
        ExportError::Opaque(names) => format!("ONNX of {} is not written here", names.join(", ")),
        other => other.to_string(),
    }
}

/// Bytes of everything with the weights in sparse rows for which these are smaller.
fn bytes_in_rows(model: &Model) -> usize {
    let saved = |name: &String| {
        let weight = &model.tensors[name];
        Some(4 * weight.numel() - Csr::of(weight)?.bytes())
    };
    bytes(model) - model.prunable.iter().filter_map(saved).sum::<usize>()
}

/// Bytes of all tensors in full.
fn bytes(model: &Model) -> usize {
    model
        .tensors
        .values()
        .map(|tensor| 4 * tensor.numel())
        .sum()
}

fn random(shape: &[i64], batch: i64) -> Tensor {
    let shape = [&[batch], shape].concat();
    let mut stream = Stream::new(0, Purpose::Init("input"), Moment::default());
    let values: Vec<f32> = (0..shape.iter().product::<i64>())
        .map(|_| stream.normal())
        .collect();
    Tensor::from_slice(&values).view(&shape[..])
}
