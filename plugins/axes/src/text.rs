//! Axes of a rewind plan as texts of the experiment file.

use std::borrow::Cow;
use std::fmt;

use plugin_api::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use plugin_api::{DataOrder, OptimizerState, Point, Schedule};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A newtype that is read and written as text, with a schema that says which texts there are.
macro_rules! as_text {
    ($(#[$doc:meta])* $name:ident($axis:ty), $word:literal, $pattern:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name(pub $axis);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                let error = || serde::de::Error::custom(format!("`{text}` is not {}", $word));
                Self::read(&text).ok_or_else(error)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "x-type": $word })
            }
        }
    };
}

as_text!(
    /// What becomes of the optimizer's state: `keep`, `clear` or a point.
    StateText(OptimizerState),
    "\"keep\", \"clear\" or point",
    format!("^(keep|clear|{})$", Point::PATTERN)
);

as_text!(
    /// What becomes of the schedule: `keep`, `restart`, `hold` or a time of it.
    ScheduleText(Schedule),
    "\"keep\", \"restart\", \"hold\" or time",
    "^(keep|restart|hold|[0-9]+(ep|it))$"
);

as_text!(
    /// Order of the samples: `keep`, `level-3` or `draw-1`.
    OrderText(DataOrder),
    "\"keep\", \"level-N\" or \"draw-N\"",
    "^(keep|level-[0-9]+|draw-[0-9]+)$"
);

impl StateText {
    fn read(text: &str) -> Option<Self> {
        Some(Self(match text {
            "keep" => OptimizerState::Keep,
            "clear" => OptimizerState::Clear,
            point => OptimizerState::From(point.parse().ok()?),
        }))
    }
}

impl ScheduleText {
    fn read(text: &str) -> Option<Self> {
        Some(Self(match text {
            "keep" => Schedule::Keep,
            "restart" => Schedule::Restart,
            "hold" => Schedule::Hold,
            time => Schedule::From(time.parse().ok()?),
        }))
    }
}

impl OrderText {
    fn read(text: &str) -> Option<Self> {
        if text == "keep" {
            return Some(Self(DataOrder::Keep));
        }
        let (word, number) = text.split_once('-')?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match word {
            "level" => number.parse().ok().map(DataOrder::OfLevel),
            "draw" => number.parse().ok().map(DataOrder::Draw),
            _ => None,
        }
        .map(Self)
    }
}

impl fmt::Display for StateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            OptimizerState::Clear => f.write_str("clear"),
            OptimizerState::From(point) => write!(f, "{point}"),
            _ => f.write_str("keep"),
        }
    }
}

impl fmt::Display for ScheduleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Schedule::Restart => f.write_str("restart"),
            Schedule::Hold => f.write_str("hold"),
            Schedule::From(time) => write!(f, "{time}"),
            _ => f.write_str("keep"),
        }
    }
}

impl fmt::Display for OrderText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            DataOrder::OfLevel(level) => write!(f, "level-{level}"),
            DataOrder::Draw(number) => write!(f, "draw-{number}"),
            _ => f.write_str("keep"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_read_as_what_is_written_back() {
        for text in ["keep", "clear", "init", "previous-level-end", "runs/a#4ep"] {
            assert_eq!(StateText::read(text).unwrap().to_string(), text);
        }
        for text in ["keep", "restart", "hold", "4ep", "500it"] {
            assert_eq!(ScheduleText::read(text).unwrap().to_string(), text);
        }
        for text in ["keep", "level-0", "draw-12"] {
            assert_eq!(OrderText::read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "Keep", "restart", "4"] {
            assert_eq!(StateText::read(text), None, "{text}");
        }
        for text in ["", "clear", "init", "4"] {
            assert_eq!(ScheduleText::read(text), None, "{text}");
        }
        for text in ["", "level-", "level-+1", "draw", "3", "draw-99999999999"] {
            assert_eq!(OrderText::read(text), None, "{text}");
        }
    }
}
