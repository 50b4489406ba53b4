//! How long a forward pass takes with weights in full, without dead units, in sparse rows, and in the runtime.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use tch::{Kind, TchError, Tensor};

use super::forward::forward;
use super::runtime::Runtime;
use super::{Csr, ExportError, Model, Source, compact};
use crate::model::{Mode, Network};
use crate::rng::{Moment, Purpose, Stream};

/// How the weights are stored and multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// In full, zeros too, by the network's own forward pass.
    Dense,
    /// The same without dead units.
    Compact,
    /// In compressed sparse rows where these are smaller, by libtorch's product of a CSR matrix and a
    /// dense one; convolutions after their windows have been written out.
    Csr,
    /// At the surviving weights by the runtime, `rewind-infer`, which has none of libtorch.
    Infer,
}

/// What was measured of one variant with one batch size.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    /// How.
    pub variant: Variant,
    /// Samples of a forward pass.
    pub batch: i64,
    /// Bytes of all parameters and running statistics as they are stored.
    pub bytes: usize,
    /// Forward passes that were timed.
    pub passes: usize,
    /// Time of a pass in milliseconds that a quarter, half and three quarters of them stay below; none
    /// if it cannot be computed.
    pub quartiles_ms: Option<[f64; 3]>,
    /// Its time as a share of the dense one's in the same turn, in quartiles as well: what else went on in
    /// the machine fell on both.
    pub of_dense: Option<[f64; 3]>,
    /// Largest difference of an output from the dense one's, as a share of the largest output.
    pub difference: Option<f64>,
    /// Why it cannot be computed.
    pub unavailable: Option<String>,
}

/// Passes before the first that is timed.
const WARM_UP: usize = 3;
/// Passes that are timed at least, and at most.
const PASSES: [usize; 2] = [5, 2000];

/// Times the forward passes of a level's model, the variants in turn, for about so long each.
///
/// # Errors
/// If a model cannot be made smaller.
pub fn measure(
    source: Source,
    batches: &[i64],
    time: Duration,
) -> Result<Vec<Latency>, ExportError> {
    let _no_grad = tch::no_grad_guard();
    let Source { network, model, .. } = source;
    let in_full = bytes(&model);
    let (rows, in_rows) = sparse(&model);
    let mut small = model.copied();
    let fewer = network.takes_fewer_units();
    if fewer {
        compact(&mut small, 1)?;
    }
    let own = |model: &Model| {
        let pass = Own::new(&*network, model);
        move |input: &Tensor| Ok(pass.forward(input))
    };
    let by_rows = |input: &Tensor| match &rows {
        Ok(rows) => forward(&model, rows, input),
        Err(reason) => Err(TchError::Torch(reason.clone())),
    };
    let (dense, in_fewer) = (own(&model), own(&small));
    let compact = |input: &Tensor| match fewer {
        true => in_fewer(input),
        false => Err(TchError::Torch(
            "an imported network's graph says how many units each layer has".to_owned(),
        )),
    };
    let runtime = Runtime::new(&model);
    let at_survivors = |input: &Tensor| match &runtime {
        Ok(runtime) => runtime.forward(input.size()[0]),
        Err(reason) => Err(TchError::Torch(reason.clone())),
    };
    let variants: [(Variant, usize, Pass<'_>); 4] = [
        (Variant::Dense, in_full, &dense),
        (Variant::Compact, bytes(&small), &compact),
        (Variant::Csr, in_rows, &by_rows),
        (Variant::Infer, in_full, &at_survivors),
    ];
    let of_batch = |&batch: &i64| {
        let input = random(&model.input_shape, batch);
        if let Ok(runtime) = &runtime {
            runtime.give(&input);
        }
        time_in_turn(&variants, &input, time)
    };
    Ok(batches.iter().flat_map(of_batch).collect())
}

/// A forward pass.
type Pass<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor, TchError>;

fn time_in_turn(
    variants: &[(Variant, usize, Pass<'_>)],
    input: &Tensor,
    time: Duration,
) -> Vec<Latency> {
    let outputs: Vec<Result<Tensor, TchError>> =
        variants.iter().map(|(.., it)| it(input)).collect();
    let works: Vec<usize> = (0..variants.len())
        .filter(|&i| outputs[i].is_ok())
        .collect();
    for _ in 0..WARM_UP {
        for &i in &works {
            let _ = variants[i].2(input);
        }
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); variants.len()];
    let (start, all) = (Instant::now(), time * works.len() as u32);
    for pass in 0..PASSES[1] {
        if pass >= PASSES[0] && start.elapsed() > all {
            break;
        }
        // In turn, so that whatever else the machine does falls on all of them.
        for &i in &works {
            let before = Instant::now();
            let output = variants[i].2(input);
            times[i].push(before.elapsed().as_secs_f64() * 1e3);
            drop(output);
        }
    }
    let dense = outputs.first().and_then(|it| it.as_ref().ok());
    let base = times.first().cloned().unwrap_or_default();
    let shares = |times: &[f64]| {
        let mut shares: Vec<f64> = times
            .iter()
            .zip(&base)
            .map(|(it, base)| it / base)
            .collect();
        quartiles(&mut shares)
    };
    (variants.iter().zip(&outputs).zip(&mut times))
        .map(|((&(variant, bytes, _), output), times)| Latency {
            variant,
            batch: input.size()[0],
            bytes,
            passes: times.len(),
            of_dense: shares(times),
            quartiles_ms: quartiles(times),
            difference: output
                .as_ref()
                .ok()
                .zip(dense)
                .map(|(it, dense)| difference(it, dense)),
            unavailable: output.as_ref().err().map(first_line),
        })
        .collect()
}

/// The network's own forward pass on a model's tensors.
struct Own<'a> {
    network: &'a dyn Network,
    parameters: Vec<Tensor>,
    buffers: Vec<Tensor>,
}

impl<'a> Own<'a> {
    fn new(network: &'a dyn Network, model: &Model) -> Self {
        let of = |name: &String| {
            let tensor = model.tensors[name].contiguous();
            match network.lanes() {
                true => tensor.unsqueeze(0),
                // Stored in memory as it is trained.
                false if network.channels_last() && tensor.dim() == 4 => {
                    let last = tensor.permute([0, 2, 3, 1]).contiguous();
                    last.permute([0, 3, 1, 2])
                }
                false => tensor,
            }
        };
        Self {
            network,
            parameters: network.parameters().iter().map(|it| of(&it.name)).collect(),
            buffers: network.buffers().iter().map(|it| of(&it.name)).collect(),
        }
    }

    fn forward(&self, input: &Tensor) -> Tensor {
        let (parameters, buffers) = (&self.parameters, &self.buffers);
        match self.network.lanes() {
            true => {
                let input = input.unsqueeze(0);
                self.network
                    .forward(parameters, buffers, &input, Mode::Eval)
                    .squeeze_dim(0)
            }
            false => self.network.forward(parameters, buffers, input, Mode::Eval),
        }
    }
}

/// Sparse rows of the weights for which they are smaller, by name.
type Rows = Result<BTreeMap<String, Tensor>, String>;

/// The rows, and bytes of everything with them.
fn sparse(model: &Model) -> (Rows, usize) {
    let (mut rows, mut total) = (Ok(BTreeMap::new()), bytes(model));
    for name in &model.prunable {
        let weight = &model.tensors[name];
        let Some(csr) = Csr::of(weight) else {
            continue;
        };
        total = total - 4 * weight.numel() + csr.bytes();
        match (csr.tensor(), &mut rows) {
            (Ok(tensor), Ok(rows)) => {
                rows.insert(name.clone(), tensor);
            }
            (Err(error), Ok(_)) => rows = Err(first_line(&error)),
            (_, Err(_)) => {}
        }
    }
    (rows, total)
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

fn difference(got: &Tensor, expected: &Tensor) -> f64 {
    let most = |it: Tensor| it.abs().max().to_kind(Kind::Double).double_value(&[]);
    most(got - expected) / most(expected.shallow_clone()).max(f64::MIN_POSITIVE)
}

/// Quartiles, between the two nearest times in proportion; none of nothing.
fn quartiles(times: &mut [f64]) -> Option<[f64; 3]> {
    times.sort_by(f64::total_cmp);
    let last = times.len().checked_sub(1)?;
    Some([0.25, 0.5, 0.75].map(|share| {
        let place = share * last as f64;
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        times[below] + (times[above] - times[below]) * (place - below as f64)
    }))
}

fn first_line(error: &TchError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_times() {
        assert_eq!(quartiles(&mut []), None);
        assert_eq!(quartiles(&mut [2.0]), Some([2.0; 3]));
        assert_eq!(
            quartiles(&mut [4.0, 1.0, 2.0, 3.0, 5.0]),
            Some([2.0, 3.0, 4.0])
        );
        assert_eq!(quartiles(&mut [1.0, 2.0]), Some([1.25, 1.5, 1.75]));
    }
}
