//! Masks of another run: as they are, to train one method on another's masks, or permuted within each
//! layer, to keep its layer densities and nothing else (Gadhikar & Burkholz 2024, arXiv:2402.19262,
//! section 3).
//!
//! A strategy names a score as well. These masks do not look at it: `imp/magnitude` costs least.

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Context, Counts, DType, Error, Experiment, Finding, MaskContext, MaskUpdate, Result,
    RunRef, Tensor, export_plugin,
};
use serde::Deserialize;

/// Takes the masks of another run's same seed, level by level: the score is not looked at.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Levels {
    /// The run whose masks are taken.
    #[schemars(example = "runs/lrr")]
    run: RunRef,
    /// The level whose masks are taken at every level, from 1; each level's own if not given.
    #[schemars(range(min = 1))]
    level: Option<u64>,
}

/// Keeps as many weights in each layer as another run's same seed, but random ones: nested, and the
/// score is not looked at.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Permuted {
    /// The run whose counts are taken.
    #[schemars(example = "runs/lrr")]
    run: RunRef,
    /// The level whose counts are taken at every level, from 1; each level's own if not given.
    #[schemars(range(min = 1))]
    level: Option<u64>,
}

impl MaskUpdate for Levels {
    fn validate(&self) -> Result<()> {
        check(&self.run, self.level)
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        differing(self.level, experiment)
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let next = ctx.level() + 1;
        let level = self.level.unwrap_or(next);
        let masks = ctx.stored_masks(Some(&self.run.0), level)?;
        agree(ctx, &self.run, self.level, &counts(&masks))?;
        Ok(masks)
    }
}

impl MaskUpdate for Permuted {
    fn validate(&self) -> Result<()> {
        check(&self.run, self.level)
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        differing(self.level, experiment)
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let next = ctx.level() + 1;
        let level = self.level.unwrap_or(next);
        let counts = counts(&ctx.stored_masks(Some(&self.run.0), level)?);
        agree(ctx, &self.run, self.level, &counts)?;
        let scores = ctx.uniform()?;
        ctx.select(&scores, Among::Survivors, Counts::PerLayer(counts))
    }
}

/// One level's masks keep one number of weights: levels that differ cannot all have it.
fn differing(level: Option<u64>, experiment: &Experiment) -> Vec<Finding> {
    let (Some(level), Some(first)) = (level, experiment.targets.get(1)) else {
        return Vec::new();
    };
    let mut targets = (1..).zip(&experiment.targets[1..]);
    let other = targets.find(|(_, target)| *target != first);
    let finding = other.map(|(own, target)| {
        let message = format!(
            "level 1 keeps {first} weights and level {own} {target}, but all take the masks of level {level}"
        );
        Finding::impossible(message)
            .at_density(own)
            .advise("set all of prune.densities to the same number, or leave out `level`")
    });
    finding.into_iter().collect()
}

fn check(run: &RunRef, level: Option<u64>) -> Result<()> {
    if run.0.is_empty() {
        return Err(Error::new(
            "`run` is missing: name the run whose masks are taken",
        ));
    }
    match level {
        Some(0) => Err(Error::new(
            "level is 0, whose masks prune nothing; expected a level from 1 on",
        )),
        _ => Ok(()),
    }
}

/// Ones of each mask.
fn counts(masks: &[Tensor]) -> Vec<u64> {
    masks
        .iter()
        .map(|mask| mask.to_dtype(DType::F64).sum().item() as u64)
        .collect()
}

/// Fails if the other run keeps another number of weights than this experiment asks for, with the
/// densities that make both the same.
fn agree(ctx: &mut Context<'_>, run: &RunRef, level: Option<u64>, counts: &[u64]) -> Result<()> {
    let (got, expected) = (counts.iter().sum::<u64>(), ctx.target());
    if got == expected {
        return Ok(());
    }
    let next = ctx.level() + 1;
    let total: u64 = ctx.layers().iter().map(plugin_api::Layer::len).sum();
    let density = |kept: u64| kept as f64 / total as f64;
    let mut densities = Vec::new();
    match level {
        Some(_) => densities.push(density(got)),
        None => {
            for level in 1..=ctx.last_level() {
                // The run may end before this one, which is said when it comes to it.
                let Ok(masks) = ctx.stored_masks(Some(&run.0), level) else {
                    break;
                };
                densities.push(density(self::counts(&masks).iter().sum()));
            }
        }
    }
    Err(Error::new(format!(
        "level {} of run `{run}` keeps {got} of {total} weights (density {}), but level {next} of this \
         experiment keeps {expected} (density {}); set prune.densities = {densities:?}",
        level.unwrap_or(next),
        density(got),
        density(expected),
    )))
}

export_plugin! {
    mask { "levels" => Levels, "permuted" => Permuted }
}
