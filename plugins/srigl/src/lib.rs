//! SRigL: RigL in which every unit of a layer has as many weights, and units without salient ones go.
//!
//! # Source
//! Lasby et al., ICLR 2024 (arXiv:2305.02299).

mod layer;

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Batches, Cadence, Distribution, Error, Experiment, Finding, GradientRequest, Loss, MaskContext,
    MaskUpdate, Phase, Result, Step, Tensor, export_plugin,
};
use serde::Deserialize;

use layer::{Layer, constant_fan_in};

/// Starts the level with the survivors of highest score, as many in each unit of a layer (an output channel, a hidden
/// unit) as in every other. Within the level every exchange drops the smallest weights of each layer, and grows in each
/// unit, from 0, where the gradient on the next batch is largest, until all have the same fan-in again. A unit
/// with few salient weights is ablated: it has none until it has enough, and the others share its weights.
///
/// Salient are, in each layer, the largest weights, as many as the exchange leaves, and those of largest gradient, as many
/// as it exchanges. As in the published code, units of the last layer are not ablated: they are the answers.
///
/// # Source
/// Lasby et al., ICLR 2024 (arXiv:2305.02299), section 3 and its algorithm of seven steps.
///
/// # Departures
/// - A layer keeps its number of weights to the last one: where that does not divide by its units, some have one more.
///   At a level's start those have it whose next score is highest, after an exchange those with most
///   salient weights, lower index first.
/// - Units are ablated no further than the others have room for the layer's weights.
/// - When exchanges come, and how many weights they exchange, is as in the plugin `rigl`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ConstantFanIn {
    /// How the survivors are spread over layers; no exchange changes it.
    distribution: Distribution,
    /// Share of each layer's survivors that an exchange replaces at the level's start; from there it
    /// falls as half a cosine to 0 at `until`.
    #[schemars(range(min = 0.0, max = 1.0))]
    fraction: f64,
    /// Distance of two exchanges.
    every: Step,
    /// Share of the level's steps after which the mask stays.
    #[schemars(range(min = 0.0, max = 1.0))]
    until: f64,
    /// Share of its fan-in that has to be salient in a unit, one weight at least; with 0 no unit is ablated.
    #[schemars(range(min = 0.0, max = 1.0))]
    salient: f64,
}

impl Default for ConstantFanIn {
    fn default() -> Self {
        Self {
            distribution: Distribution::Erk,
            fraction: 0.3,
            every: Step::Iterations(100),
            until: 0.75,
            salient: 0.3,
        }
    }
}

impl ConstantFanIn {
    fn start(&self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let counts = ctx.counts(self.distribution)?;
        let (scores, masks) = (ctx.scores()?, ctx.masks()?);
        let of_layer = |ctx: &mut MaskContext<'_>, at: usize| {
            let shape = scores[at].shape();
            let inputs = inputs(&shape);
            let next = constant_fan_in(
                &numbers(&scores[at])?,
                &survives(&masks[at]),
                inputs,
                counts[at] as usize,
            );
            tensor(ctx, &next, &shape)
        };
        (0..scores.len()).map(|at| of_layer(ctx, at)).collect()
    }

    fn exchange(&self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let exchanged = ctx.exchanged(self.fraction * ctx.cosine(self.until))?;
        let masks = ctx.masks()?;
        if exchanged.iter().sum::<u64>() == 0 {
            return Ok(masks);
        }
        let weights = ctx.weights()?;
        let gradients = ctx.gradients(&GradientRequest::new(Loss::CrossEntropy, Batches::Next))?;
        let of_layer = |ctx: &mut MaskContext<'_>, at: usize| {
            let shape = masks[at].shape();
            let layer = Layer {
                inputs: inputs(&shape),
                mask: &survives(&masks[at]),
                magnitudes: &numbers(&weights[at].abs())?,
                slopes: &numbers(&gradients[at].abs())?,
            };
            let salient = match at + 1 < masks.len() {
                true => self.salient,
                false => 0.0,
            };
            let next = layer.exchange(exchanged[at] as usize, salient);
            tensor(ctx, &next, &shape)
        };
        (0..masks.len()).map(|at| of_layer(ctx, at)).collect()
    }
}

impl MaskUpdate for ConstantFanIn {
    fn validate(&self) -> Result<()> {
        self.every.expect_some("every")
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        experiment.exchanges("every", self.every, "until", self.until)
    }

    fn cadence(&self) -> Cadence {
        Cadence::between_levels().and_every(self.every, None)
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        match ctx.phase() {
            Phase::WithinLevel => self.exchange(ctx),
            _ => self.start(ctx),
        }
    }
}

/// Inputs of a unit; a list of numbers, such as a bias, is one unit.
fn inputs(shape: &[i64]) -> usize {
    let inputs = match shape {
        [len] => *len,
        [_, rest @ ..] => rest.iter().product(),
        [] => 1,
    };
    inputs.max(1) as usize
}

fn survives(mask: &Tensor) -> Vec<bool> {
    mask.to_vec().into_iter().map(|it| it != 0.0).collect()
}

/// The elements, which have to be in some order.
fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    let numbers = tensor.to_vec();
    match numbers.iter().any(|it| it.is_nan()) {
        true => Err(Error::new(
            "a score, a weight or a gradient is NaN: training has diverged",
        )),
        false => Ok(numbers),
    }
}

fn tensor(ctx: &mut MaskContext<'_>, mask: &[bool], shape: &[i64]) -> Result<Tensor> {
    let ones: Vec<f32> = mask.iter().map(|it| f32::from(u8::from(*it))).collect();
    ctx.tensor(&ones, shape)
}

export_plugin! {
    mask { "constant-fan-in" => ConstantFanIn }
    default { score = "random-mask/random", mask = "srigl/constant-fan-in", rewind = ["imp/weights"] }
}
