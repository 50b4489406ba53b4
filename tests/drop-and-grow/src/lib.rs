//! A fixture that uses what the shipped plugins do not: calls within a level, gradients, state, a
//! random generator of its own, elements in place and DLPack.

mod counted;
mod state;

use plugin_api::rand_core::RngCore;
use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Batches, Cadence, Counts, Error, GradientRequest, Loss, MaskContext, MaskUpdate, Phase,
    Result, Rewind, RewindContext, RewindPlan, ScoreContext, Scorer, Step, Tensor, Weights,
    export_plugin,
};
use serde::Deserialize;

use state::State;

/// Prunes globally by score between levels. Within a level it drops the smallest survivors and
/// grows as many pruned weights of largest gradient on the next batch.
///
/// # Source
/// Evci et al. 2020 (arXiv:1911.11134), section 3, with a constant fraction.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Update {
    /// Share of the survivors that a call within a level exchanges.
    #[schemars(range(min = 0.0, max = 1.0))]
    fraction: f64,
    /// Distance of two calls within a level.
    every: Step,
    /// Time of the level after which nothing is exchanged; its end if not given.
    until: Option<Step>,
    #[serde(skip)]
    state: State,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            fraction: 0.3,
            every: Step::Iterations(50),
            until: None,
            state: State::default(),
        }
    }
}

impl MaskUpdate for Update {
    fn validate(&self) -> Result<()> {
        match self.every {
            Step::Epochs(0) | Step::Iterations(0) => Err(Error::new(format!(
                "every is \"{}\", expected at least one step",
                self.every
            ))),
            _ => Ok(()),
        }
    }

    fn cadence(&self) -> Cadence {
        Cadence::between_levels().and_every(self.every, self.until)
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        if ctx.phase() == Phase::WithinLevel {
            return self.exchange(ctx);
        }
        self.state.grown.clear();
        let scores = ctx.scores()?;
        let target = ctx.target();
        ctx.select(&scores, Among::Survivors, Counts::Total(target))
    }

    fn save_state(&self) -> Result<Vec<u8>> {
        Ok(self.state.encode())
    }

    fn load_state(&mut self, state: &[u8]) -> Result<()> {
        self.state = State::decode(state)?;
        Ok(())
    }
}

impl Update {
    fn exchange(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let all: u64 = ctx.layers().iter().map(plugin_api::Layer::len).sum();
        let target = ctx.target();
        let exchanged = exchanged(self.fraction, target, all - target);
        let magnitudes: Vec<Tensor> = ctx.weights()?.iter().map(Tensor::abs).collect();
        let kept = ctx.select(
            &magnitudes,
            Among::Survivors,
            Counts::Total(target - exchanged),
        )?;
        let request = GradientRequest::new(Loss::CrossEntropy, Batches::Next);
        let slopes: Vec<Tensor> = ctx.gradients(&request)?.iter().map(Tensor::abs).collect();
        // Chosen among what was pruned before this call, so what it drops stays dropped.
        let grown = ctx.select(&slopes, Among::Pruned, Counts::Total(exchanged))?;
        self.state.calls += 1;
        self.state.grown = grown.iter().map(|mask| ones(&mask.to_vec())).collect();
        ctx.debug(format!(
            "call {} exchanges {exchanged} of {target} weights",
            self.state.calls
        ));
        Ok(kept.iter().zip(&grown).map(|(a, b)| a + b).collect())
    }
}

/// round(fraction * survivors), but no more than there are pruned weights to grow.
fn exchanged(fraction: f64, survivors: u64, pruned: u64) -> u64 {
    let wanted = (fraction * survivors as f64).round() as u64;
    wanted.min(survivors).min(pruned)
}

/// Indices of the elements that are not 0.
fn ones(mask: &[f32]) -> Vec<u64> {
    (0u64..)
        .zip(mask)
        .filter(|&(_, &element)| element != 0.0)
        .map(|(index, _)| index)
        .collect()
}

/// Scores a weight w by |w| + noise * u, with u uniform on [0, 1) and new for each call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct MagnitudePlusNoise {
    /// Largest number that is added.
    noise: f64,
}

impl Default for MagnitudePlusNoise {
    fn default() -> Self {
        Self { noise: 0.01 }
    }
}

impl Scorer for MagnitudePlusNoise {
    fn score(&mut self, ctx: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> {
        let mut random = ctx.random()?;
        let weights = ctx.weights()?;
        let mut scores = Vec::new();
        for weight in &weights {
            let copied = weight.to_vec();
            if weight.as_slice().is_some_and(|viewed| viewed != copied) {
                return Err(Error::new("as_slice and to_vec differ"));
            }
            let noise: Vec<f32> = copied
                .iter()
                .map(|_| uniform(random.next_u32()) * self.noise as f32)
                .collect();
            scores.push(weight.abs() + ctx.tensor(&noise, &weight.shape())?);
        }
        Ok(scores)
    }
}

/// A number on [0, 1) from the upper 24 of 32 random bits, exact in f32.
fn uniform(bits: u32) -> f32 {
    (bits >> 8) as f32 / (1u32 << 24) as f32
}

/// Takes every weight out of the host by DLPack and gives it back unchanged.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Dlpack {}

impl Rewind for Dlpack {
    fn rewind(&mut self, ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
        let mut adopted = Vec::new();
        for weight in ctx.weights()? {
            let shared = weight.to_dlpack()?;
            // SAFETY: the host just made it for this call, and nobody else takes it over.
            #[allow(unsafe_code)]
            let tensor = unsafe { ctx.from_dlpack(shared) }?;
            if let (Some(own), Some(other)) = (weight.as_slice(), tensor.as_slice())
                && own.as_ptr() != other.as_ptr()
            {
                return Err(Error::new("DLPack copied a weight instead of sharing it"));
            }
            adopted.push(tensor);
        }
        Ok(RewindPlan {
            weights: Weights::Tensors(adopted),
            ..RewindPlan::default()
        })
    }
}

export_plugin! {
    score {
        "magnitude-plus-noise" => MagnitudePlusNoise,
        "counted" => counted::Counted,
    }
    mask { "update" => Update }
    rewind { "dlpack" => Dlpack }
    default { score = "imp/magnitude", mask = "drop-and-grow/update", rewind = ["lrr/learning-rate"] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounded_fraction_of_the_survivors_is_exchanged() {
        assert_eq!(exchanged(0.3, 100, 900), 30);
        assert_eq!(exchanged(0.3, 11, 900), 3);
        assert_eq!(exchanged(0.5, 5, 900), 3);
        assert_eq!(exchanged(0.0, 100, 900), 0);
        assert_eq!(exchanged(1.0, 100, 900), 100);
    }

    #[test]
    fn no_more_is_exchanged_than_there_is_to_grow() {
        assert_eq!(exchanged(0.3, 900, 100), 100);
        assert_eq!(exchanged(0.3, 900, 0), 0);
    }

    #[test]
    fn ones_are_found_by_their_index() {
        assert_eq!(ones(&[0.0, 1.0, 1.0, 0.0, 1.0]), [1, 2, 4]);
        assert_eq!(ones(&[0.0]), [0; 0]);
    }

    #[test]
    fn uniform_numbers_span_0_to_1_without_1() {
        assert_eq!(uniform(0), 0.0);
        assert_eq!(uniform(1 << 31), 0.5);
        assert!(uniform(u32::MAX) < 1.0);
    }

    #[test]
    fn it_is_called_between_levels_and_within_them() {
        let update = Update {
            until: Some(Step::Epochs(3)),
            ..Update::default()
        };
        let cadence = update.cadence();
        assert!(cadence.between_levels);
        let within = cadence.within_level.unwrap();
        assert_eq!(within.every, Step::Iterations(50));
        assert_eq!(within.until, Some(Step::Epochs(3)));
    }

    #[test]
    fn an_interval_of_no_steps_is_refused() {
        let update = Update {
            every: Step::Epochs(0),
            ..Update::default()
        };
        let message = update.validate().unwrap_err().to_string();
        assert_eq!(message, "every is \"0ep\", expected at least one step");
    }

    #[test]
    fn state_goes_on_where_it_was_saved() {
        let mut update = Update::default();
        update.state.calls = 4;
        update.state.grown = vec![vec![1], vec![]];
        let mut resumed = Update::default();
        resumed.load_state(&update.save_state().unwrap()).unwrap();
        assert_eq!(resumed.state, update.state);
    }
}
