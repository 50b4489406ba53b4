//! Times of training, written `10ep` or `500it`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time of training, counted in epochs (`"10ep"`) or in optimizer steps (`"500it"`).
///
/// Epochs and steps cannot be compared without the length of an epoch, so `Step` has no order:
/// [`steps`](Step::steps) makes a number of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Whole epochs.
    Epochs(u64),
    /// Optimizer steps (iterations).
    Iterations(u64),
}

impl Step {
    /// No time at all.
    pub const ZERO: Self = Self::Iterations(0);

    /// This time in optimizer steps, for epochs of `steps_per_epoch` steps.
    pub fn steps(self, steps_per_epoch: u64) -> u64 {
        match self {
            Self::Epochs(epochs) => epochs.saturating_mul(steps_per_epoch),
            Self::Iterations(steps) => steps,
        }
    }

    /// Fails if this is no time at all, as the distance of two calls of an option of this name cannot be.
    ///
    /// # Errors
    /// Names the option, and what was expected.
    pub fn expect_some(self, option: &str) -> crate::Result<()> {
        match self {
            Self::Epochs(0) | Self::Iterations(0) => Err(crate::Error::new(format!(
                "{option} is \"{self}\", expected at least one step"
            ))),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs(n) => write!(f, "{n}ep"),
            Self::Iterations(n) => write!(f, "{n}it"),
        }
    }
}

/// A text that is not a time of training.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time of training: expected whole epochs such as \"10ep\" or steps such as \"500it\""
)]
pub struct ParseStepError(String);

impl FromStr for Step {
    type Err = ParseStepError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseStepError(text.to_owned());
        let number = |digits: &str| {
            if digits.bytes().all(|b| b.is_ascii_digit()) {
                digits.parse().ok()
            } else {
                None
            }
        };
        if let Some(digits) = text.strip_suffix("ep") {
            number(digits).map(Self::Epochs).ok_or_else(error)
        } else if let Some(digits) = text.strip_suffix("it") {
            number(digits).map(Self::Iterations).ok_or_else(error)
        } else {
            Err(error())
        }
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Step {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ep|it)$",
            "x-type": "time",
            "description": "a time of training: whole epochs such as \"10ep\" or steps such as \"500it\"",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for step in [
            Step::Epochs(0),
            Step::Epochs(10),
            Step::Iterations(500),
            Step::Iterations(u64::MAX),
        ] {
            assert_eq!(step.to_string().parse(), Ok(step));
        }
    }

    #[test]
    fn refuses_what_is_not_a_whole_number_of_epochs_or_steps() {
        for text in [
            "",
            "ep",
            "10",
            "-1ep",
            "+1ep",
            "1.5ep",
            "10 ep",
            "10epochs",
            "99999999999999999999it",
        ] {
            assert_eq!(text.parse::<Step>(), Err(ParseStepError(text.to_owned())));
        }
    }

    #[test]
    fn epochs_become_steps_by_the_length_of_an_epoch() {
        assert_eq!(Step::Epochs(4).steps(32), 128);
        assert_eq!(Step::Iterations(4).steps(32), 4);
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u64>().prop_map(Step::Epochs),
            any::<u64>().prop_map(Step::Iterations)
        ]
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_it_was_written(step in any_step()) {
            prop_assert_eq!(step.to_string().parse(), Ok(step));
            let json = serde_json::to_string(&step).unwrap();
            prop_assert_eq!(serde_json::from_str::<Step>(&json).unwrap(), step);
        }

        #[test]
        fn steps_never_overflow_and_grow_with_the_epoch(step in any_step(), short: u64, long: u64) {
            let (short, long) = (short.min(long), short.max(long));
            prop_assert!(step.steps(short) <= step.steps(long));
            let exact = match step {
                Step::Epochs(epochs) => u128::from(epochs) * u128::from(long),
                Step::Iterations(steps) => u128::from(steps),
            };
            prop_assert_eq!(u128::from(step.steps(long)), exact.min(u128::from(u64::MAX)));
        }

        #[test]
        fn a_text_is_a_time_only_if_it_is_digits_and_a_unit(text in "[0-9+\\-. ]{0,22}(ep|it|e|)") {
            let digits = text.strip_suffix("ep").or(text.strip_suffix("it"));
            let number = digits.filter(|it| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()));
            let fits = number.is_some_and(|it| it.parse::<u64>().is_ok());
            prop_assert_eq!(text.parse::<Step>().is_ok(), fits);
        }
    }
}
