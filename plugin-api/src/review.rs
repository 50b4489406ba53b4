//! What a component is told of an experiment before anything trains, and what it says against it.

use serde::{Deserialize, Serialize};

use crate::{Layer, Point, Step, UnitRule, Units};

/// An experiment as far as it is known before anything trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Experiment {
    /// Prunable layers.
    pub layers: Vec<Layer>,
    /// Batch norms of the network.
    pub batch_norms: u64,
    /// Norms of the network with a scale or a shift of their own, batch norms among them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub norms: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Epochs of the dense level, and of the others unless they end earlier.
    pub epochs: u64,
    /// Density of each level, as the experiment asks; level 0 is dense.
    pub densities: Vec<f64>,
    /// Weights that each level keeps; of a mask that keeps whole units, what each keeps at most in its measure.
    pub targets: Vec<u64>,
    /// The units that can be removed whole, where the strategy's mask keeps whole units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<Units>,
    /// The strategy's updates: `plugin/component`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub updates: Vec<String>,
    /// The optimizer, where a strategy has updates, which act beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<Optimizer>,
}

/// The optimizer of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimizer {
    /// Such as `sgd`.
    pub name: String,
    /// The options that the experiment gives it.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
}

impl Optimizer {
    /// A number among its options; none if the experiment leaves it at its default.
    pub fn number(&self, option: &str) -> Option<f64> {
        self.options.get(option)?.as_f64()
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Experiment {
    /// An experiment with these layers, no norm, and levels of these densities after the dense
    /// one, which keep their share of all weights, rounded: for tests.
    pub fn new(
        layers: Vec<Layer>,
        steps_per_epoch: u64,
        epochs: u64,
        densities: impl IntoIterator<Item = f64>,
    ) -> Self {
        let size: u64 = layers.iter().map(Layer::len).sum();
        let densities: Vec<f64> = [1.0].into_iter().chain(densities).collect();
        let keep = |density: &f64| (density * size as f64).round() as u64;
        Self {
            batch_norms: 0,
            norms: 0,
            steps_per_epoch,
            epochs,
            targets: densities.iter().map(keep).collect(),
            densities,
            layers,
            units: None,
            updates: Vec::new(),
            optimizer: None,
        }
    }

    /// The same experiment on a network with these units, whose levels keep whole ones by a rule: for tests.
    #[must_use]
    pub fn with_units(mut self, units: Units, rule: &UnitRule) -> Self {
        let total = units.total(rule.measure, &self.layers);
        let keep = |density: &f64| (density * total as f64).round() as u64;
        self.targets = self.densities.iter().map(keep).collect();
        self.units = Some(units);
        self
    }

    /// Number of the last level; 0 if there is only the dense one.
    pub fn last_level(&self) -> u64 {
        (self.targets.len() as u64).saturating_sub(1)
    }

    /// Steps of the dense level, and of the others unless they end earlier.
    pub fn steps_per_level(&self) -> u64 {
        self.steps_per_epoch.saturating_mul(self.epochs)
    }

    /// A time of a level in steps.
    pub fn steps(&self, time: Step) -> u64 {
        time.steps(self.steps_per_epoch)
    }

    /// How long a level is, for messages: `640 steps (20 epochs of 32)`.
    pub fn length(&self) -> String {
        format!(
            "{} steps ({} epochs of {})",
            self.steps_per_level(),
            self.epochs,
            self.steps_per_epoch
        )
    }

    /// The finding that a rewind policy that goes to `point` before every level, as its option `option`
    /// says, fails at level 1 because the point comes later; none if it is there, or another run's.
    ///
    /// The host itself finds times that level 0 does not have, in whatever `points()` names.
    pub fn comes_too_late(&self, option: &str, point: &Point) -> Option<Finding> {
        match point {
            Point::LevelStart(level) | Point::LevelEnd(level)
                if (1..=self.last_level()).contains(level) =>
            {
                let message =
                    format!("`{point}` is not there yet when level 1 starts, which goes there too");
                Some(
                    Finding::impossible(message).at_option(option).advise(
                        "name a point of level 0, \"previous-level-end\", or another run's",
                    ),
                )
            }
            _ => None,
        }
    }
}

impl Experiment {
    /// What there is against exchanging weights every `every` of a level, up to the share `until` of it:
    /// that it never comes to one. The other two name the options.
    pub fn exchanges(
        &self,
        every_option: &str,
        every: Step,
        until_option: &str,
        until: f64,
    ) -> Vec<Finding> {
        if self.last_level() == 0 {
            return Vec::new();
        }
        let (first, total) = (self.steps(every), self.steps_per_level());
        let (option, message) = if first >= total {
            let length = self.length();
            (
                every_option,
                format!(
                    "no weight is ever exchanged: every `{every}` is not within a level, which has {length}"
                ),
            )
        } else if first as f64 >= until * total as f64 {
            let end = until * total as f64;
            (
                until_option,
                format!(
                    "no weight is ever exchanged: the first time is step {first}, and the mask stays from \
                     step {end:.0} on"
                ),
            )
        } else {
            return Vec::new();
        };
        let advice = format!("exchange sooner, or more often: a level has {total} steps");
        vec![Finding::pointless(message).at_option(option).advise(advice)]
    }
}

/// Whether an experiment can be carried out all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Severity {
    /// It cannot: a call will fail.
    Impossible,
    /// It can, but what was asked for has no effect.
    Pointless,
    /// What a later plugin means; the host says it and goes on.
    #[serde(other)]
    Other,
}

/// What a component says against an experiment: the host shows it at the line that it concerns. An
/// [`impossible`](Finding::impossible) experiment is refused, with a [`pointless`](Finding::pointless)
/// option it is run all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// Whether the experiment can be carried out all the same.
    pub severity: Severity,
    /// What is wrong, in a sentence without capital or full stop.
    pub message: String,
    /// What to do.
    #[serde(default)]
    pub advice: String,
    /// The component's own option that it concerns; with dots and numbers for what lies within it, such
    /// as `levels.0`. An empty one stands for the component.
    #[serde(default)]
    pub option: String,
    /// The experiment's key that it concerns instead of an option, such as `prune.densities.2`.
    #[serde(default)]
    pub setting: Option<String>,
}

impl Finding {
    /// Why the experiment cannot be carried out.
    pub fn impossible(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Impossible,
            message: message.into(),
            advice: String::new(),
            option: String::new(),
            setting: None,
        }
    }

    /// What has no effect.
    pub fn pointless(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Pointless,
            ..Self::impossible(message)
        }
    }

    /// The option that it concerns.
    #[must_use]
    pub fn at_option(mut self, option: impl Into<String>) -> Self {
        self.option = option.into();
        self
    }

    /// The density of a level, which it concerns instead of an option.
    #[must_use]
    pub fn at_density(self, level: u64) -> Self {
        self.at_setting(format!("prune.densities.{}", level.saturating_sub(1)))
    }

    /// The experiment's key, dotted, that it concerns instead of an option.
    #[must_use]
    pub fn at_setting(mut self, key: impl Into<String>) -> Self {
        self.setting = Some(key.into());
        self
    }

    /// What to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}

#[cfg(test)]
mod tests;
