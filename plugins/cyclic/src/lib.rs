//! Cyclic training: one training schedule after another with one mask, which may be pruned once in between.
//!
//! # Source
//! Gadhikar et al. 2024, *Cyclic Sparse Training: Is it Enough?* (arXiv:2406.02773).

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Counts, Distribution, Error, Experiment, Finding, MaskContext, MaskUpdate,
    OptimizerState, Point, Result, Rewind, RewindContext, RewindPlan, Schedule, Tensor,
    export_plugin,
};
use serde::Deserialize;

/// Chooses one mask after level 0, the survivors of highest score, and keeps it: every level must
/// have the same density.
///
/// # Source
/// Gadhikar et al. 2024 (arXiv:2406.02773), section 4.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Fixed {
    /// How the survivors are spread over layers; if not given, as the scores are.
    distribution: Option<Distribution>,
}

impl MaskUpdate for Fixed {
    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let mut levels = (1..).zip(experiment.targets.iter().skip(1));
        let Some((_, first)) = levels.next() else {
            return Vec::new();
        };
        let other = levels.find(|(_, target)| *target != first);
        let finding = other.map(|(level, target)| {
            let message =
                format!("level 1 keeps {first} weights, level {level} {target}: there is one mask");
            Finding::impossible(message)
                .at_density(level)
                .advise("set all of prune.densities to the same number")
        });
        finding.into_iter().collect()
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let target = ctx.target();
        let survivors: u64 = ctx.survivors()?.iter().sum();
        if survivors == target {
            return ctx.masks();
        }
        if ctx.level() > 0 {
            return Err(Error::new(format!(
                "the mask of level {} keeps {survivors} weights, level {} is to keep {target}: cyclic \
                 training has one mask, set all of prune.densities to the same number",
                ctx.level(),
                ctx.level() + 1
            )));
        }
        chosen(ctx, self.distribution)
    }
}

/// The mask of the highest scores.
fn chosen(ctx: &mut MaskContext<'_>, distribution: Option<Distribution>) -> Result<Vec<Tensor>> {
    let counts = match distribution {
        Some(distribution) => Counts::PerLayer(ctx.counts(distribution)?),
        None => Counts::Total(ctx.target()),
    };
    let scores = ctx.scores()?;
    ctx.select(&scores, Among::Survivors, counts)
}

/// SCULPT-ing: chooses a mask after level 0, the survivors of highest score, denser than what is wanted in the end, and
/// keeps it through cycles of training. Then it prunes once: the survivors of largest magnitude stay, in all layers together,
/// so that the mask fits the weights that were found. Levels of one density are cycles with one mask; after the first, the
/// density falls once.
///
/// # Source
/// Gadhikar et al. 2024 (arXiv:2406.02773), SCULPT-ing.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Sculpt {
    /// How the survivors of the first mask are spread over layers; if not given, as the scores are.
    distribution: Option<Distribution>,
}

impl MaskUpdate for Sculpt {
    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        let levels = (1..).zip(experiment.targets.iter().skip(1));
        let targets: Vec<(u64, u64)> = levels.map(|(level, target)| (level, *target)).collect();
        let changes: Vec<_> = (targets.windows(2))
            .filter(|pair| pair[0].1 != pair[1].1)
            .map(|pair| (pair[0], pair[1]))
            .collect();
        let finding = match changes[..] {
            [] if targets.is_empty() => return Vec::new(),
            [] => Finding::pointless("all levels have one density: the mask is never pruned").advise(
                "give the last of prune.densities a lower number, or take cyclic/fixed",
            ),
            [((before, had), (level, target)), ..] if target > had => Finding::impossible(format!(
                "level {before} keeps {had} weights, level {level} {target}: a mask that is pruned does not grow"
            ))
            .at_density(level),
            [_] => return Vec::new(),
            [_, ((before, had), (level, target)), ..] => Finding::impossible(format!(
                "level {before} keeps {had} weights, level {level} {target}, and the mask was pruned before: it is \
                 pruned once"
            ))
            .at_density(level)
            .advise("let prune.densities fall once"),
        };
        vec![finding]
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let target = ctx.target();
        if ctx.level() == 0 {
            return chosen(ctx, self.distribution);
        }
        if ctx.survivors()?.iter().sum::<u64>() == target {
            return ctx.masks();
        }
        let magnitudes: Vec<Tensor> = ctx.weights()?.iter().map(Tensor::abs).collect();
        ctx.select(&magnitudes, Among::Survivors, Counts::Total(target))
    }
}

/// Starts the first cycle at a point, with the mask applied; each later cycle trains on. Every time
/// the optimizer is cleared and the schedule restarts.
///
/// # Source
/// Gadhikar et al. 2024 (arXiv:2406.02773), section 4.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Cycle {
    /// Where the first cycle starts: "init", or a time of level 0 such as "4ep".
    from: Point,
}

impl Default for Cycle {
    fn default() -> Self {
        Self { from: Point::Init }
    }
}

impl Rewind for Cycle {
    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        experiment
            .comes_too_late("from", &self.from)
            .into_iter()
            .collect()
    }

    fn points(&self) -> Vec<Point> {
        vec![self.from.clone()]
    }

    fn rewind(&mut self, ctx: &mut RewindContext<'_>) -> Result<RewindPlan> {
        if ctx.next_level() == 1 {
            return Ok(RewindPlan::to_point(self.from.clone()));
        }
        Ok(RewindPlan {
            optimizer: OptimizerState::Clear,
            schedule: Schedule::Restart,
            ..RewindPlan::default()
        })
    }
}

export_plugin! {
    mask { "fixed" => Fixed, "sculpt" => Sculpt }
    rewind { "cycle" => Cycle }
    default { score = "random-mask/random", mask = "cyclic/fixed", rewind = ["cyclic/cycle"] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::{Layer, LayerKind, Severity};

    /// What is found in levels of these densities, of a network of one layer.
    fn found(mask: &impl MaskUpdate, densities: &[f64]) -> Vec<Finding> {
        let layer = Layer::new("fc.weight", LayerKind::Linear, [10, 10]);
        let densities = densities.iter().copied();
        mask.review(&Experiment::new(vec![layer], 10, 2, densities))
    }

    #[test]
    fn a_second_density_is_found_before_training() {
        let review = |densities: &[f64]| {
            let found = found(&Fixed::default(), densities).into_iter();
            found.map(|it| it.setting.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(review(&[]), [""; 0]);
        assert_eq!(review(&[0.2, 0.2, 0.2]), [""; 0]);
        assert_eq!(review(&[0.2, 0.2, 0.1, 0.05]), ["prune.densities.2"]);
    }

    #[test]
    fn a_sculpted_mask_is_pruned_once() {
        let review = |densities: &[f64]| {
            let found = found(&Sculpt::default(), densities).into_iter();
            found
                .map(|it| (it.severity, it.setting.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        let impossible = |setting: &str| vec![(Severity::Impossible, setting.to_owned())];
        assert_eq!(review(&[]), []);
        assert_eq!(review(&[0.2, 0.2, 0.05, 0.05]), []);
        assert_eq!(review(&[0.2, 0.2]), [(Severity::Pointless, String::new())]);
        assert_eq!(
            review(&[0.2, 0.1, 0.1, 0.05]),
            impossible("prune.densities.3")
        );
        assert_eq!(review(&[0.2, 0.2, 0.4]), impossible("prune.densities.2"));
    }
}
