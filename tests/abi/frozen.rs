//! A plugin that was built against plugin-api 1.0.0 and uses all of it: every operation, every
//! service, every part of a rewind plan. It fails if one of them is missing or means something else.

use plugin_api::rand_core::RngCore;
use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, BatchNorm, Batches, Cadence, Context, Counts, DType, DataOrder, Distribution, Error,
    GradientRequest, Layer, LayerKind, Loss, MaskContext, MaskUpdate, OptimizerState, Phase, Point,
    Result, Rewind, RewindContext, RewindPlan, Schedule, ScoreContext, Scorer, Source, Step,
    Tensor, Weights, export_plugin,
};
use serde::Deserialize;

/// Scores a weight w by |w| + share; asks for every operation and every service before.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Score {
    /// What is added, from 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    share: f64,
    #[serde(skip)]
    calls: u64,
}

impl Default for Score {
    fn default() -> Self {
        Self {
            share: 0.5,
            calls: 0,
        }
    }
}

impl Scorer for Score {
    fn validate(&self) -> Result<()> {
        match self.share {
            0.0..=1.0 => Ok(()),
            got => Err(Error::new(format!("share is {got}, expected 0 to 1"))),
        }
    }

    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        self.calls += 1;
        operations(ctx)?;
        services(ctx)?;
        let weights = ctx.weights()?;
        Ok(weights.iter().map(|w| w.abs() + self.share).collect())
    }

    fn save_state(&self) -> Result<Vec<u8>> {
        Ok(self.calls.to_le_bytes().to_vec())
    }

    fn load_state(&mut self, state: &[u8]) -> Result<()> {
        let bytes = state
            .try_into()
            .map_err(|_| Error::new("a state of eight bytes was expected"))?;
        self.calls = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// An operation's elements are these, up to rounding of the functions among them.
fn is(name: &str, got: &Tensor, expected: &[f64]) -> Result<()> {
    let got = got.to_vec_f64();
    let near = |(a, b): (&f64, &f64)| a == b || (a - b).abs() < 1e-6 * (1.0 + b.abs());
    if got.len() == expected.len() && got.iter().zip(expected).all(near) {
        return Ok(());
    }
    Err(Error::new(format!(
        "{name}: got {got:?}, expected {expected:?}"
    )))
}

fn operations(ctx: &mut Context<'_>) -> Result<()> {
    let x = ctx.tensor(&[1.0, -2.0, 3.0, -4.0], &[2, 2])?;
    let y = ctx.tensor(&[2.0, 2.0, 3.0, -5.0], &[2, 2])?;
    let positive = x.abs();
    is("NEG", &-&x, &[-1.0, 2.0, -3.0, 4.0])?;
    is("ABS", &positive, &[1.0, 2.0, 3.0, 4.0])?;
    is("SIGN", &x.sign(), &[1.0, -1.0, 1.0, -1.0])?;
    is(
        "SQRT",
        &positive.sqrt(),
        &[1.0, 2f64.sqrt(), 3f64.sqrt(), 2.0],
    )?;
    is("SQUARE", &x.square(), &[1.0, 4.0, 9.0, 16.0])?;
    is("EXP", &x.exp(), &[1f64, -2.0, 3.0, -4.0].map(f64::exp))?;
    is("LOG", &positive.log(), &[1f64, 2.0, 3.0, 4.0].map(f64::ln))?;
    is("TANH", &x.tanh(), &[1f64, -2.0, 3.0, -4.0].map(f64::tanh))?;
    is(
        "RECIPROCAL",
        &x.reciprocal(),
        &[1.0, -0.5, 1.0 / 3.0, -0.25],
    )?;
    is("COPY", &x.copy(), &[1.0, -2.0, 3.0, -4.0])?;
    is(
        "IS_FINITE",
        &(&x / &(&x - 1.0)).is_finite(),
        &[0.0, 1.0, 1.0, 1.0],
    )?;
    is("ADD_SCALAR", &(&x + 1.0), &[2.0, -1.0, 4.0, -3.0])?;
    is("MUL_SCALAR", &(&x * 2.0), &[2.0, -4.0, 6.0, -8.0])?;
    is("POW_SCALAR", &positive.powf(3.0), &[1.0, 8.0, 27.0, 64.0])?;
    is("CLAMP", &x.clamp(-2.5, 2.5), &[1.0, -2.0, 2.5, -2.5])?;
    is("GT_SCALAR", &x.gt_scalar(1.0), &[0.0, 0.0, 1.0, 0.0])?;
    is("GE_SCALAR", &x.ge_scalar(1.0), &[1.0, 0.0, 1.0, 0.0])?;
    is("LT_SCALAR", &x.lt_scalar(1.0), &[0.0, 1.0, 0.0, 1.0])?;
    is("LE_SCALAR", &x.le_scalar(1.0), &[1.0, 1.0, 0.0, 1.0])?;
    is("EQ_SCALAR", &x.eq_scalar(3.0), &[0.0, 0.0, 1.0, 0.0])?;
    is("FULL_LIKE", &x.full_like(7.0), &[7.0; 4])?;
    is("ADD", &(&x + &y), &[3.0, 0.0, 6.0, -9.0])?;
    is("SUB", &(&x - &y), &[-1.0, -4.0, 0.0, 1.0])?;
    is("MUL", &(&x * &y), &[2.0, -4.0, 9.0, 20.0])?;
    is("DIV", &(&x / &y), &[0.5, -1.0, 1.0, 0.8])?;
    is("MAXIMUM", &x.maximum(&y), &[2.0, 2.0, 3.0, -4.0])?;
    is("MINIMUM", &x.minimum(&y), &[1.0, -2.0, 3.0, -5.0])?;
    is("GT", &x.gt(&y), &[0.0, 0.0, 0.0, 1.0])?;
    is("GE", &x.ge(&y), &[0.0, 0.0, 1.0, 1.0])?;
    is("LT", &x.lt(&y), &[1.0, 1.0, 0.0, 0.0])?;
    is("LE", &x.le(&y), &[1.0, 1.0, 1.0, 0.0])?;
    is("EQ", &x.eq(&y), &[0.0, 0.0, 1.0, 0.0])?;
    is("MATMUL", &x.matmul(&y), &[-4.0, 12.0, -6.0, 26.0])?;
    is(
        "WHERE",
        &x.gt_scalar(0.0).choose(&x, &y),
        &[1.0, 2.0, 3.0, -5.0],
    )?;
    is("SUM", &x.sum(), &[-2.0])?;
    is("SUM over", &x.sum_over(&[0]), &[4.0, -6.0])?;
    is("MEAN", &x.mean(), &[-0.5])?;
    is("MEAN over", &x.mean_over(&[1]), &[-0.5, -0.5])?;
    is("MAX", &x.max(), &[3.0])?;
    is("MAX over", &x.max_over(&[1]), &[1.0, 3.0])?;
    is("MIN", &x.min(), &[-4.0])?;
    is("MIN over", &x.min_over(&[0]), &[1.0, -4.0])?;
    is("CUMSUM", &x.cumsum(1), &[1.0, -1.0, 3.0, -1.0])?;
    is("RESHAPE", &x.reshape(&[4, 1]), &[1.0, -2.0, 3.0, -4.0])?;
    is("PERMUTE", &x.permute(&[1, 0]), &[1.0, 3.0, -2.0, -4.0])?;
    let order = x.flatten().argsort(0, true);
    is("ARGSORT", &order, &[2.0, 0.0, 1.0, 3.0])?;
    is(
        "GATHER",
        &x.flatten().gather(0, &order),
        &[3.0, 1.0, -2.0, -4.0],
    )?;
    let second = ctx.tensor(&[1.0], &[1])?.to_dtype(DType::I64);
    is("INDEX_SELECT", &x.index_select(0, &second), &[3.0, -4.0])?;
    is(
        "TOP_K_MASK",
        &x.full_like(1.0).top_k_mask(2),
        &[1.0, 1.0, 0.0, 0.0],
    )?;
    is("CAST", &x.to_dtype(DType::F64), &[1.0, -2.0, 3.0, -4.0])?;
    match (x.shape(), x.dtype(), x.as_slice()) {
        (shape, DType::F32, Some([1.0, -2.0, 3.0, -4.0]) | None) if shape == [2, 2] => Ok(()),
        other => Err(Error::new(format!("shape, type, elements are {other:?}"))),
    }
}

fn fits(name: &str, tensors: &[Tensor], layers: &[Layer]) -> Result<()> {
    let shapes = tensors.iter().map(Tensor::shape);
    if shapes.eq(layers.iter().map(|layer| layer.shape.clone())) {
        return Ok(());
    }
    Err(Error::new(format!("{name} do not have the layers' shapes")))
}

fn services(ctx: &mut Context<'_>) -> Result<()> {
    let layers = ctx.layers().to_vec();
    for layer in &layers {
        let rank = match layer.kind {
            LayerKind::Linear => 2,
            LayerKind::Conv1d => 3,
            LayerKind::Conv2d => 4,
            _ => layer.shape.len(),
        };
        if layer.shape.len() != rank || layer.len() == 0 || layer.fan_in() == 0 {
            return Err(Error::new(format!("{layer:?} is no layer of its kind")));
        }
    }
    fits("weights", &ctx.weights()?, &layers)?;
    fits("masks", &ctx.masks()?, &layers)?;
    fits("weights at init", &ctx.weights_at(&Point::Init)?, &layers)?;
    fits("uniform numbers", &ctx.uniform()?, &layers)?;
    fits("normal numbers", &ctx.normal()?, &layers)?;
    let plain = GradientRequest::new(Loss::CrossEntropy, Batches::Random(1));
    let flow = GradientRequest::new(Loss::SumOfOutputs, Batches::Ones);
    let flow = flow.on_absolute_weights().in_eval_mode();
    for request in [&plain, &flow] {
        let slopes = ctx.gradients(request)?;
        fits("gradients", &slopes, &layers)?;
        fits("products", &ctx.hessian_vector(&slopes, request)?, &layers)?;
    }
    let again = GradientRequest::new(Loss::CrossEntropy, Batches::Same)
        .in_eval_mode()
        .at_temperature(200.0)
        .in_double_precision();
    let slopes = ctx.gradients(&again)?;
    if slopes.iter().any(|slope| slope.dtype() != DType::F64) {
        return Err(Error::new("gradients in f64 are asked for"));
    }
    let mut order = ctx.permutation(9)?.to_vec_f64();
    order.sort_by(f64::total_cmp);
    let survivors: u64 = ctx.survivors()?.iter().sum();
    let per_layer = [
        Distribution::Uniform,
        Distribution::Balanced,
        Distribution::Erk,
    ]
    .map(|distribution| {
        Ok(ctx
            .counts_of(distribution, Some(survivors / 2), false)?
            .iter()
            .sum())
    });
    let counted: Result<Vec<u64>> = per_layer.into_iter().collect();
    if order != [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
        || counted? != [survivors / 2; 3]
        || !ctx.stored_points()?.contains(&Point::Init)
        || ctx.last_level() < ctx.level()
        || !(0.0..=1.0).contains(&ctx.density())
        || ctx.phase() == Phase::Other
        || ctx.epoch() * ctx.steps_per_epoch() > ctx.step()
        || ctx.steps_per_level() == 0
    {
        return Err(Error::new("a service says what cannot be"));
    }
    if ctx.random()?.next_u64() == ctx.random()?.next_u64() {
        return Err(Error::new("two streams are the same"));
    }
    match ctx.stored_masks(None, ctx.last_level() + 1) {
        Err(error) if error.is_missing() => Ok(()),
        _ => Err(Error::new(
            "masks of a level that is not there are not missing",
        )),
    }
}

/// Prunes by score between levels; within one it exchanges a weight of the most survivors.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Mask {
    /// How the survivors are spread over layers; by score alone if not given.
    distribution: Option<Distribution>,
}

impl MaskUpdate for Mask {
    fn cadence(&self) -> Cadence {
        Cadence::between_levels().and_every(Step::Epochs(1), None)
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let scores = ctx.scores()?;
        let target = ctx.target();
        if ctx.phase() == Phase::BetweenLevels {
            let counts = match self.distribution {
                Some(distribution) => Counts::PerLayer(ctx.counts(distribution)?),
                None => Counts::Total(target),
            };
            return ctx.select(&scores, Among::Survivors, counts);
        }
        let all: u64 = ctx.layers().iter().map(Layer::len).sum();
        let exchanged = target.min(all - target).min(1);
        if ctx.epoch() % 2 == 1 {
            let (growth, most) = (ctx.uniform()?, ctx.exchanged(ctx.cosine(0.5))?);
            return ctx.drop_and_grow(&scores, &growth, &most);
        }
        let kept = ctx.select(&scores, Among::Survivors, Counts::Total(target - exchanged))?;
        let slopes = ctx.gradients(&GradientRequest::new(Loss::CrossEntropy, Batches::Next))?;
        let slopes: Vec<Tensor> = slopes.iter().map(Tensor::abs).collect();
        let grown = ctx.select(&slopes, Among::Pruned, Counts::Total(exchanged))?;
        Ok(kept.iter().zip(&grown).map(|(a, b)| a + b).collect())
    }
}

/// Goes back to a point, in every way that a plan can.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Policy {
    /// Where everything goes back to.
    to: Point,
    /// Whether magnitudes go back and signs stay.
    keep_signs: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            to: Point::Init,
            keep_signs: true,
        }
    }
}

impl Rewind for Policy {
    fn points(&self) -> Vec<Point> {
        vec![self.to.clone()]
    }

    fn rewind(&mut self, ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
        let next = ctx.next_level();
        ctx.debug(format!("rewinding before level {next}"));
        if !self.keep_signs {
            return Ok(RewindPlan::to_point(self.to.clone()));
        }
        let weights = ctx.weights()?;
        Ok(RewindPlan {
            weights: Weights::Mixed {
                magnitudes: Source::From(self.to.clone()),
                signs: Source::Keep,
            },
            batch_norm: BatchNorm {
                affine: Source::From(self.to.clone()),
                statistics: Source::Keep,
            },
            optimizer: OptimizerState::Clear,
            schedule: Schedule::Restart,
            data_order: DataOrder::OfLevel(0),
            redefine: vec![(Point::Init, weights)],
        })
    }
}

export_plugin! {
    score { "score" => Score }
    mask { "mask" => Mask }
    rewind { "rewind" => Policy }
    default { score = "frozen/score", mask = "frozen/mask", rewind = ["frozen/rewind"] }
}
