//! By which update the neuron is trained: gradient descent, Sign-In or HAM.

mod ham;
mod sign_in;
mod weight;

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use super::SettingsError;
pub(super) use weight::Weight;

/// How a step of training moves the weights. Options that end in `_a` are the output weight's, those
/// in `_w` the input weights'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Update {
    /// Gradient descent on the weights.
    #[default]
    Gradient,
    /// Sign-In: gradient descent on two factors of each weight.
    #[serde(rename_all = "snake_case")]
    SignIn {
        /// Inner scale of the output weight.
        #[serde(default = "defaults::inner_scale_a")]
        #[schemars(range(min = 1e-6, max = 1e3))]
        inner_scale_a: f64,
        /// Inner scale of the input weights.
        #[serde(default = "defaults::inner_scale_w")]
        #[schemars(range(min = 1e-6, max = 1e3))]
        inner_scale_w: f64,
        /// Time after which the inner scales are set anew, in units of the gradient flow.
        #[serde(default = "defaults::every")]
        #[schemars(range(max = 1_000_000.0), extend("exclusiveMinimum" = 0.0))]
        every: f64,
    },
    /// HAM: gradient descent, and after each step another that multiplies the weights.
    #[serde(rename_all = "snake_case")]
    Ham {
        /// Strength of the multiplying step on the output weight.
        #[serde(default = "defaults::alpha_a")]
        #[schemars(range(min = 0.0, max = 1e6))]
        alpha_a: f64,
        /// Strength of the multiplying step on the input weights.
        #[serde(default = "defaults::alpha_w")]
        #[schemars(range(min = 0.0, max = 1e6))]
        alpha_w: f64,
        /// Rate at which all weights decay.
        #[serde(default = "defaults::beta")]
        #[schemars(range(min = 0.0, max = 1e3))]
        beta: f64,
    },
}

/// What an update's options are if they are not said.
pub mod defaults {
    /// The theory wants it above the input weights'.
    pub const fn inner_scale_a() -> f64 {
        4.0
    }

    /// See [`inner_scale_a`].
    pub const fn inner_scale_w() -> f64 {
        0.5
    }

    /// Some two hundred times in the default time.
    pub const fn every() -> f64 {
        0.2
    }

    /// The theory wants it above the input weights'.
    pub const fn alpha_a() -> f64 {
        40.0
    }

    /// See [`alpha_a`].
    pub const fn alpha_w() -> f64 {
        1.0
    }

    /// The theory has no decay.
    pub const fn beta() -> f64 {
        0.0
    }
}

/// More than this, a step times the curvature at the target, is not followed by Euler's method.
const MOST_STEP: f64 = 0.5;

impl Update {
    /// Whether it is gradient descent, which is not written where it is the default.
    pub fn is_gradient(&self) -> bool {
        *self == Self::Gradient
    }

    /// Its name in files and arguments.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gradient => "gradient",
            Self::SignIn { .. } => "sign-in",
            Self::Ham { .. } => "ham",
        }
    }

    /// Its options, each by its name in files.
    pub fn options(&self) -> Vec<(&'static str, f64)> {
        match *self {
            Self::Gradient => Vec::new(),
            Self::SignIn {
                inner_scale_a,
                inner_scale_w,
                every,
            } => vec![
                ("inner_scale_a", inner_scale_a),
                ("inner_scale_w", inner_scale_w),
                ("every", every),
            ],
            Self::Ham {
                alpha_a,
                alpha_w,
                beta,
            } => vec![("alpha_a", alpha_a), ("alpha_w", alpha_w), ("beta", beta)],
        }
    }

    /// Checks its options, and that the step is short enough for them.
    ///
    /// # Errors
    /// Names the first that is out of its range.
    pub fn check(&self, step: f64) -> Result<(), SettingsError> {
        for (name, value) in self.options() {
            let (least, most) = match name {
                "inner_scale_a" | "inner_scale_w" => (1e-6, 1e3),
                "every" => (f64::MIN_POSITIVE, 1e6),
                "alpha_a" | "alpha_w" => (0.0, 1e6),
                _ => (0.0, 1e3),
            };
            if !(least..=most).contains(&value) {
                return Err(SettingsError {
                    name,
                    got: value.to_string(),
                    expected: match name {
                        "every" => format!("a number above 0 and at most {most}"),
                        _ => format!("a number from {least} to {most}"),
                    },
                });
            }
        }
        let speed = self.a(1.0).speed().max(self.w(1.0).speed());
        match step * speed <= MOST_STEP {
            true => Ok(()),
            false => Err(SettingsError {
                name: "step",
                got: step.to_string(),
                expected: format!(
                    "at most {:.3e}, as {} moves weights of 1 at {speed:.1} times the gradient",
                    MOST_STEP / speed,
                    self.name()
                ),
            }),
        }
    }

    /// Time after which [`Weight::renew`] is due; none if it never is.
    pub(super) fn every(&self) -> Option<f64> {
        match *self {
            Self::SignIn { every, .. } => Some(every),
            _ => None,
        }
    }

    /// The output weight, of this value.
    pub(super) fn a(&self, value: f64) -> Weight {
        match *self {
            Self::Gradient => Weight::plain(value),
            Self::SignIn { inner_scale_a, .. } => Weight::sign_in(value, inner_scale_a),
            Self::Ham { alpha_a, beta, .. } => Weight::ham(value, alpha_a, beta),
        }
    }

    /// An input weight, of this value.
    pub(super) fn w(&self, value: f64) -> Weight {
        match *self {
            Self::Gradient => Weight::plain(value),
            Self::SignIn { inner_scale_w, .. } => Weight::sign_in(value, inner_scale_w),
            Self::Ham { alpha_w, beta, .. } => Weight::ham(value, alpha_w, beta),
        }
    }

    /// What the flow keeps of a neuron: the potential of its output weight less those of its input
    /// weights, half of `a^2 - |w|^2` for gradient descent.
    ///
    /// A weight moves by `d theta / dt = -p(theta) g`, and its potential has the derivative
    /// `theta / p(theta)`, so that it changes by `-theta g`. The output is linear in `a` and in `w`,
    /// whence `a g_a = w . g_w`. A potential is 0 at 0 and positive elsewhere: `a` passes through 0
    /// only if this is negative. HAM's decay does not keep it.
    pub fn balance(&self, a: f64, w: &[f64]) -> f64 {
        let inputs = w.iter().map(|&w| self.w(w).potential());
        self.a(a).potential() - inputs.sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_a_table_that_holds_the_name_alone() {
        let read = |text: &str| serde_json::from_str::<Update>(text);
        let sign_in = read(r#"{"name":"sign-in"}"#).unwrap();
        let (name, options) = (sign_in.name(), sign_in.options());
        assert_eq!(name, "sign-in");
        assert_eq!(
            options,
            [
                ("inner_scale_a", 4.0),
                ("inner_scale_w", 0.5),
                ("every", 0.2)
            ]
        );
        assert_eq!(sign_in.check(0.01), Ok(()));
        let ham = read(r#"{"name":"ham"}"#).unwrap();
        assert_eq!(ham.name(), "ham");
        assert_eq!(
            ham.options(),
            [("alpha_a", 40.0), ("alpha_w", 1.0), ("beta", 0.0)]
        );
        assert_eq!(ham.check(0.01), Ok(()));
        assert!(read(r#"{"name":"gradient"}"#).unwrap().is_gradient());
        assert!(read(r#"{"name":"ham","inner_scale_a":1.0}"#).is_err());
    }

    #[test]
    fn options_out_of_range_and_steps_too_long_for_them_are_named() {
        let ham = |alpha_a, beta| Update::Ham {
            alpha_a,
            alpha_w: 1.0,
            beta,
        };
        let message = |update: Update| update.check(0.01).unwrap_err().to_string();
        assert!(message(ham(-1.0, 0.0)).contains("`alpha_a` is -1, expected a number from 0"));
        assert!(message(ham(1.0, f64::NAN)).contains("`beta` is NaN"));
        // At the paper's strength weights of 1 move at 201 times the gradient.
        let long = message(ham(200.0, 0.0));
        assert!(
            long.contains("`step` is 0.01, expected at most 2.488e-3"),
            "{long}"
        );
        assert_eq!(ham(200.0, 0.0).check(2e-3), Ok(()));
        let sign_in = Update::SignIn {
            inner_scale_a: 1.0,
            inner_scale_w: 0.0,
            every: 1.0,
        };
        assert!(message(sign_in).contains("`inner_scale_w` is 0"));
    }
}
