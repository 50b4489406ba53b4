//! N:M sparsity: of every M weights in a row at most N survive, which hardware can use.

mod groups;

use plugin_api::schemars::{self, JsonSchema};
use plugin_api::{
    Among, Counts, Error, Experiment, Finding, Layer, MaskContext, MaskUpdate, Result, Tensor,
    export_plugin,
};
use serde::Deserialize;

use groups::{best_of_groups, whole_groups};

/// Keeps the N survivors of highest score of every M weights that lie side by side along a layer's
/// inputs (input channels, at the same output and place of the kernel).
///
/// Where M does not divide the number of inputs, each row's last group is shorter and keeps at most
/// N, the highest of all such groups together, so that the level's count comes out exactly.
///
/// # Source
/// Mishra et al. 2021 (arXiv:2104.08378), section 3, for any N and M.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Groups {
    /// Weights of a group that survive; if not given, the level's density times `m`.
    #[schemars(range(min = 1))]
    n: Option<u64>,
    /// Weights of a group.
    #[schemars(range(min = 1, max = 1024))]
    m: u64,
}

impl Default for Groups {
    fn default() -> Self {
        Self { n: None, m: 4 }
    }
}

impl Groups {
    fn n(&self, density: f64) -> Result<u64> {
        let m = self.m;
        let n = self
            .n
            .unwrap_or_else(|| (density * m as f64).round() as u64);
        let meant = (density * m as f64 - n as f64).abs() < 1e-6;
        if n == 0 || (self.n.is_none() && !meant) {
            return Err(Error::new(format!(
                "a density of {density} is no whole number of every {m} weights: set prune.densities to \
                 multiples of 1/{m}, or another m"
            )));
        }
        Ok(n)
    }
}

impl MaskUpdate for Groups {
    fn validate(&self) -> Result<()> {
        match self.n {
            Some(n) if n > self.m => Err(Error::new(format!(
                "n is {n}, expected at most m, which is {}",
                self.m
            ))),
            _ => Ok(()),
        }
    }

    fn review(&self, experiment: &Experiment) -> Vec<Finding> {
        if let Some(message) = without_inputs(&experiment.layers) {
            return vec![Finding::impossible(message)];
        }
        let levels = (1..).zip(experiment.densities.iter().zip(&experiment.targets).skip(1));
        let of_level = |(level, (&density, &target)): (u64, (&f64, &u64))| {
            let n = match self.n(density) {
                Ok(n) => n,
                Err(error) => {
                    return Some(Finding::impossible(error.to_string()).at_density(level));
                }
            };
            let (least, most) = kept(&experiment.layers, n, self.m);
            if (least..=most).contains(&target) {
                return None;
            }
            let m = self.m;
            let keep = match least == most {
                true => format!("{least}"),
                false => format!("{least} to {most}"),
            };
            let message = format!(
                "{n}:{m} keeps {keep} weights of these layers, but level {level} is to keep {target}"
            );
            let advice = format!("expected a density of {}", n as f64 / m as f64);
            Some(
                Finding::impossible(message)
                    .at_density(level)
                    .advise(advice),
            )
        };
        levels.filter_map(of_level).collect()
    }

    fn update(&mut self, ctx: &mut MaskContext<'_>) -> Result<Vec<Tensor>> {
        let n = self.n(ctx.density())?;
        if let Some(message) = without_inputs(ctx.layers()) {
            return Err(Error::new(message));
        }
        let (scores, masks, target) = (ctx.scores()?, ctx.masks()?, ctx.target());
        let mut best = Vec::with_capacity(scores.len());
        let mut whole = Vec::with_capacity(scores.len());
        for (score, mask) in scores.iter().zip(&masks) {
            best.push(best_of_groups(ctx, score, mask, n, self.m)?);
            whole.push(whole_groups(ctx, score, self.m)?);
        }
        // Whole groups keep their best; what is missing comes from the best of the shorter ones.
        let sure: Vec<Tensor> = best.iter().zip(&whole).map(|(a, b)| a * b).collect();
        let count =
            |masks: &[Tensor]| -> u64 { masks.iter().map(|mask| mask.sum().item() as u64).sum() };
        let (least, most) = (count(&sure), count(&best));
        if !(least..=most).contains(&target) {
            let (m, density) = (self.m, n as f64 / self.m as f64);
            let keep = match least == most {
                true => format!("{least}"),
                false => format!("{least} to {most}"),
            };
            return Err(Error::new(format!(
                "{n}:{m} keeps {keep} weights of these layers, but the level's count is {target}: set \
                 the density of level {} in prune.densities to {density}",
                ctx.level() + 1
            )));
        }
        // Scores among the shorter groups' best, and above them all that is sure. Ranks instead of
        // scores would do as well; infinity needs no care for their range.
        let ranks: Vec<Tensor> = (sure.iter().zip(&best).zip(&scores))
            .map(|((sure, best), score)| {
                let rest = best.choose(score, &score.full_like(f64::NEG_INFINITY));
                sure.choose(&score.full_like(f64::INFINITY), &rest)
            })
            .collect();
        ctx.select(&ranks, Among::Survivors, Counts::Total(target))
    }
}

/// What is to be said if one of the layers is a list of numbers, such as a bias.
fn without_inputs(layers: &[Layer]) -> Option<String> {
    let layer = layers.iter().find(|it| it.shape.len() < 2)?;
    Some(format!(
        "`{}` has no inputs to make groups of: take it out of prune.include",
        layer.name
    ))
}

/// The fewest and the most weights that N of every M leave of a dense network: whole groups keep N,
/// shorter ones at most N.
fn kept(layers: &[Layer], n: u64, m: u64) -> (u64, u64) {
    let of_layer = |layer: &Layer| {
        let inputs = layer.shape.get(1).copied().unwrap_or(1) as u64;
        let rows = layer.len() / inputs.max(1);
        let sure = rows * (inputs / m) * n;
        (sure, sure + rows * (inputs % m).min(n))
    };
    let counts = layers.iter().map(of_layer);
    counts.fold((0, 0), |(least, most), (a, b)| (least + a, most + b))
}

export_plugin! {
    mask { "groups" => Groups }
    default { score = "imp/magnitude", mask = "nm/groups", rewind = ["lrr/learning-rate"] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::LayerKind;

    #[test]
    fn n_follows_the_density_where_it_is_not_given() {
        let groups = Groups::default();
        assert_eq!(groups.n(0.5).unwrap(), 2);
        assert_eq!(groups.n(0.75).unwrap(), 3);
        let message = groups.n(0.3).unwrap_err().to_string();
        assert!(message.starts_with("a density of 0.3 is no whole number of every 4 weights"));
        assert!(groups.n(0.0).is_err());
        let given = Groups { n: Some(1), m: 16 };
        assert_eq!(given.n(0.3).unwrap(), 1);
    }

    #[test]
    fn densities_that_n_and_m_cannot_have_are_found_before_training() {
        let layers = vec![
            Layer::new("fc1.weight", LayerKind::Linear, [3, 8]),
            Layer::new("fc2.weight", LayerKind::Linear, [2, 6]),
        ];
        // 3 rows of 2 groups, 2 rows of a group and a half.
        assert_eq!(kept(&layers, 2, 4), (12 + 4, 12 + 8));
        assert_eq!(kept(&layers, 1, 4), (6 + 2, 6 + 4));
        let review = |groups: &Groups, densities: &[f64]| {
            let experiment = Experiment::new(layers.clone(), 10, 2, densities.iter().copied());
            let found = groups.review(&experiment);
            found
                .into_iter()
                .map(|it| it.setting.unwrap())
                .collect::<Vec<_>>()
        };
        let free = Groups::default();
        assert_eq!(review(&free, &[0.75, 0.5, 0.25]), [""; 0]);
        assert_eq!(review(&free, &[0.5, 0.3]), ["prune.densities.1"]);
        let two = Groups { n: Some(2), m: 4 };
        // 18 of 36; 13 of 36.
        assert_eq!(review(&two, &[0.5, 0.36]), ["prune.densities.1"]);
    }

    #[test]
    fn more_of_a_group_than_it_has_are_refused() {
        let message = Groups { n: Some(5), m: 4 }.validate().unwrap_err();
        assert_eq!(
            message.to_string(),
            "n is 5, expected at most m, which is 4"
        );
        assert!(Groups { n: Some(4), m: 4 }.validate().is_ok());
    }
}
