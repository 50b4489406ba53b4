//! Masks that were found from one initialisation, carried to another by the symmetry of hidden units.
//!
//! # Source
//! Adnan, Jain, Sharma, Krishnan & Ioannou 2025 (arXiv:2505.05143).

mod matching;

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{Error, MaskContext, MaskUpdate, Point, Result, RunRef, Tensor, export_plugin};
use serde::Deserialize;

use matching::matched;

/// Takes the masks of another run's same seed, level by level, with hidden units permuted so that the network that
/// they were found in is as like another one as it can be: the score is not looked at.
///
/// # Source
/// Adnan et al. 2025 (arXiv:2505.05143); the permutation is found as in Ainsworth, Hayase & Srinivasa, ICLR 2023
/// (arXiv:2209.04836), section 3.2, with an exact assignment for each set of units. Sets are the graph's: through
/// residual connections units move together.
///
/// # Departures
/// The paper matches units by their activations on training samples; this by their weights, which a strategy has.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Levels {
    /// The run whose masks are taken.
    #[schemars(example = "runs/lrr")]
    run: RunRef,
    /// The network that the masks were found in; the run's own dense one, at its end, if not given.
    from: Option<Point>,
    /// The network whose units are looked for: such as `runs/dense-1#level-1-end`, trained densely from another
    /// initialisation.
    to: Point,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            run: RunRef::default(),
            from: None,
            to: Point::LevelEnd(0),
        }
    }
}

impl Levels {
    fn from(&self) -> Point {
        self.from.clone().unwrap_or_else(|| Point::Run {
            run: self.run.0.clone(),
            point: Box::new(Point::LevelEnd(0)),
        })
    }
}

fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    tensors.iter().map(Tensor::to_vec).collect()
}

impl MaskUpdate for Levels {
    fn validate(&self) -> Result<()> {
        match self.run.0.is_empty() {
            true => Err(Error::new(
                "`run` is missing: name the run whose masks are taken",
            )),
            false => Ok(()),
        }
    }

    fn points(&self) -> Vec<Point> {
        vec![self.from(), self.to.clone()]
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let next = ctx.level() + 1;
        let masks = ctx.stored_masks(Some(&self.run.0), next)?;
        let (from, to) = (ctx.weights_at(&self.from())?, ctx.weights_at(&self.to)?);
        let (units, layers) = (ctx.units()?, ctx.layers().to_vec());
        let permuted = matched(&layers, &units, &numbers(&from), &numbers(&to));
        let (masks, before) = (numbers(&masks), numbers(&ctx.masks()?));
        let mut aligned = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            let mask = permuted.elements(at, &masks[at]);
            let mut both = mask.iter().zip(&before[at]);
            if both.any(|(kept, before)| kept > before) {
                return Err(Error::new(format!(
                    "the masks of level {next} of run `{}` keep weights of layer `{}` that the level before has pruned; \
                     expected the levels of one run, one after the other",
                    self.run, layer.name
                )));
            }
            aligned.push(ctx.tensor(&mask, &layer.shape)?);
        }
        Ok(aligned)
    }
}

export_plugin! { mask { "levels" => Levels } }
