//! What a simulation is made of.

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use super::Update;
use crate::rng::{Moment, Purpose, Stream};

/// Settings of a simulation: the table `[neuron]` of an experiment file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Dimensions of the input, each simulated on its own.
    #[schemars(
        length(min = 1),
        extend("uniqueItems" = true, "items" = { "type": "integer", "minimum": 1, "maximum": 1_000_000 })
    )]
    pub dimensions: Vec<u64>,
    /// Initial weights that are drawn for each dimension.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub inits: u64,
    /// Time that a training lasts, in units of the gradient flow.
    #[schemars(range(max = 1_000_000.0), extend("exclusiveMinimum" = 0.0))]
    pub time: f64,
    /// Length of an Euler step, in the same units: the learning rate.
    #[schemars(range(max = 0.5), extend("exclusiveMinimum" = 0.0))]
    pub step: f64,
    /// L2 norm of the initial input weights, and magnitude of the initial output weight.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub scale: f64,
    /// Seed of the initial weights.
    pub seed: u64,
    /// How a step of training moves the weights.
    #[serde(skip_serializing_if = "Update::is_gradient")]
    pub update: Update,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dimensions: vec![1, 2, 3, 5, 10, 20, 50, 100],
            inits: 2000,
            time: 40.0,
            step: 1e-2,
            scale: 0.1,
            seed: 0,
            update: Update::Gradient,
        }
    }
}

/// Settings that cannot be simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{name}` is {got}, expected {expected}")]
pub struct SettingsError {
    /// The setting.
    pub name: &'static str,
    /// What it is.
    pub got: String,
    /// What it should be.
    pub expected: String,
}

/// More steps in a training are a typing error.
const MOST_STEPS: f64 = 1e8;

impl Settings {
    /// Checks every setting, alone and together.
    ///
    /// # Errors
    /// Names the first that is out of its range.
    pub fn check(&self) -> Result<(), SettingsError> {
        let within = |name, value: f64, most: f64| match value > 0.0 && value <= most {
            true => Ok(()),
            false => Err(SettingsError {
                name,
                got: value.to_string(),
                expected: format!("a number above 0 and at most {most}"),
            }),
        };
        if self.dimensions.is_empty() {
            return Err(SettingsError {
                name: "dimensions",
                got: "empty".to_owned(),
                expected: "at least one dimension".to_owned(),
            });
        }
        for (place, &dimension) in self.dimensions.iter().enumerate() {
            within("dimensions", dimension as f64, 1e6)?;
            if self.dimensions[..place].contains(&dimension) {
                return Err(SettingsError {
                    name: "dimensions",
                    got: format!("a list with {dimension} twice"),
                    expected: "each dimension once".to_owned(),
                });
            }
        }
        within("inits", self.inits as f64, 1e7)?;
        within("time", self.time, 1e6)?;
        within("step", self.step, 0.5)?;
        within("scale", self.scale, 1.0)?;
        self.check_steps()?;
        self.update.check(self.step)
    }

    /// Checks that time and step go together.
    ///
    /// # Errors
    /// If they do not.
    pub fn check_steps(&self) -> Result<(), SettingsError> {
        let steps = self.time / self.step;
        match (0.5..MOST_STEPS).contains(&steps) {
            true => Ok(()),
            false => Err(SettingsError {
                name: "step",
                got: self.step.to_string(),
                expected: format!(
                    "between 1 and {MOST_STEPS:.0} of them in a time of {}",
                    self.time
                ),
            }),
        }
    }

    /// Euler steps of a training.
    pub fn steps(&self) -> u64 {
        (self.time / self.step).round() as u64
    }

    /// Seed of one init, with which an experiment of the model `hidden-neuron` starts from the same
    /// weights: a TOML file holds numbers of 63 bits. Seeds and dimensions have inits of their own.
    pub fn seed_of(&self, dimension: u64, init: u64) -> u64 {
        let purpose = Purpose::NeuronInit { dimension, init };
        Stream::new(self.seed, purpose, Moment::default()).next_u64() >> 1
    }

    /// Eight hexadecimal digits that tell these settings from others: the end of the folder's name.
    pub fn short(&self) -> String {
        // Every field has a form in JSON, and in one order.
        let text = serde_json::to_string(self).expect("the settings are numbers");
        // Raise its version whenever the same settings would give other numbers than before.
        let key = "rewind 2026 hidden neuron v2";
        let mut hasher = blake3::Hasher::new_derive_key(key);
        hasher.update(text.as_bytes());
        hasher.finalize().to_hex()[..8].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_simulated_and_have_a_name_that_stays() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(Settings::default().steps(), 4000);
        // If this changes, finished simulations are computed again.
        assert_eq!(Settings::default().short(), "680a87a7");
    }

    #[test]
    fn no_init_of_one_seed_or_dimension_is_an_init_of_another() {
        let mut seen = std::collections::BTreeMap::new();
        for seed in 0..4 {
            let settings = Settings {
                seed,
                ..Settings::default()
            };
            for &dimension in &settings.dimensions {
                for init in 0..settings.inits {
                    let own = (seed, dimension, init);
                    let other = seen.insert(settings.seed_of(dimension, init), own);
                    assert_eq!(other, None, "{own:?} has the same weights");
                }
            }
        }
        assert_eq!(seen.len(), 4 * 8 * 2000);
        // What a file can hold.
        assert!(seen.keys().all(|&seed| i64::try_from(seed).is_ok()));
    }

    #[test]
    fn what_is_out_of_range_is_named_with_what_is_expected() {
        let check = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_err().to_string()
        };
        for (message, expected) in [
            (
                check(|it| it.dimensions.clear()),
                "`dimensions` is empty, expected at least one",
            ),
            (
                check(|it| it.dimensions.push(0)),
                "`dimensions` is 0, expected a number above 0",
            ),
            (check(|it| it.dimensions.push(5)), "a list with 5 twice"),
            (check(|it| it.inits = 0), "`inits` is 0"),
            (check(|it| it.time = f64::NAN), "`time` is NaN"),
            (
                check(|it| it.step = 0.6),
                "`step` is 0.6, expected a number above 0 and at most 0.5",
            ),
            (check(|it| it.scale = -1.0), "`scale` is -1"),
            (
                check(|it| it.time = 1e-3),
                "`step` is 0.01, expected between 1 and",
            ),
        ] {
            assert!(message.contains(expected), "{message}");
        }
    }
}
