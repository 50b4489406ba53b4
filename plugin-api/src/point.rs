//! Stored points of training, written `init`, `4ep`, `500it`, `level-3-start`, `level-3-end`, or
//! `runs/lrr-3f9a1c2e#level-3-end` for another run's.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Step;

/// A stored point of training: weights, batch norm and optimizer state at that time.
///
/// In an experiment file it is a text: `"init"`, a time of level 0 such as `"4ep"`,
/// `"level-3-start"`, `"level-3-end"`, or one of these behind another run's folder and a `#`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Point {
    /// Before the first step.
    Init,
    /// This far into the training of level 0; `points()` must name it, so that it is stored.
    Step(Step),
    /// The start of a level's training, after rewinding.
    LevelStart(u64),
    /// The end of a level's training.
    LevelEnd(u64),
    /// A point of another run's same seed, by the run's folder.
    Run {
        /// The run's folder.
        run: String,
        /// The point of that run.
        point: Box<Point>,
    },
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Step(step) => write!(f, "{step}"),
            Self::LevelStart(level) => write!(f, "level-{level}-start"),
            Self::LevelEnd(level) => write!(f, "level-{level}-end"),
            Self::Run { run, point } => write!(f, "{run}#{point}"),
        }
    }
}

/// A text that is not a point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a point of training: expected \"init\", a time of level 0 such as \"4ep\" or \"500it\", \
     \"level-3-start\" or \"level-3-end\", or one of these behind another run's folder and a #"
)]
pub struct ParsePointError(String);

impl FromStr for Point {
    type Err = ParsePointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePointError(text.to_owned());
        if let Some((run, point)) = text.rsplit_once('#') {
            if run.is_empty() || run.contains('#') {
                return Err(error());
            }
            let point = point.parse().map_err(|_| error())?;
            return Ok(Self::Run {
                run: run.to_owned(),
                point: Box::new(point),
            });
        }
        if text == "init" {
            return Ok(Self::Init);
        }
        let Some(level) = text.strip_prefix("level-") else {
            return text.parse().map(Self::Step).map_err(|_| error());
        };
        match level.split_once('-') {
            Some((level, "start")) => level.parse().map(Self::LevelStart).map_err(|_| error()),
            Some((level, "end")) => level.parse().map(Self::LevelEnd).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}

/// Where values come from. In an experiment file `"keep"` or a [`Point`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// As they are.
    #[default]
    Keep,
    /// From a point.
    From(Point),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::From(point) => write!(f, "{point}"),
        }
    }
}

impl FromStr for Source {
    type Err = ParsePointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "keep" {
            Ok(Self::Keep)
        } else {
            text.parse().map(Self::From)
        }
    }
}

/// Written and read as text, with a schema that says which texts there are.
macro_rules! as_text {
    ($type:ident, $word:literal, $pattern:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": $pattern,
                    "x-type": $word,
                    "description": $description,
                })
            }
        }
    };
}

as_text!(
    Point,
    "point",
    "^([^#]+#)?(init|[0-9]+(ep|it)|level-[0-9]+-(start|end))$",
    "a point of training: \"init\", a time of level 0 such as \"4ep\", \"level-3-start\" or \"level-3-end\""
);
as_text!(
    Source,
    "\"keep\" or point",
    "^(keep|([^#]+#)?(init|[0-9]+(ep|it)|level-[0-9]+-(start|end)))$",
    "\"keep\" or a point of training: \"init\", a time of level 0 such as \"4ep\", \"level-3-start\" or \"level-3-end\""
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let run = |point| Point::Run {
            run: "runs/lrr-3f9a".to_owned(),
            point: Box::new(point),
        };
        for point in [
            Point::Init,
            Point::Step(Step::Epochs(4)),
            Point::LevelStart(3),
            Point::LevelEnd(0),
            run(Point::Init),
            run(Point::LevelEnd(12)),
        ] {
            assert_eq!(point.to_string().parse(), Ok(point.clone()));
            assert_eq!(point.to_string().parse(), Ok(Source::From(point)));
        }
        assert_eq!("keep".parse(), Ok(Source::Keep));
    }

    #[test]
    fn refuses_what_is_not_a_point() {
        for text in [
            "",
            "Init",
            "level-3",
            "level--start",
            "4",
            "#init",
            "a#",
            "a#b#init",
        ] {
            assert_eq!(
                text.parse::<Point>(),
                Err(ParsePointError(text.to_owned())),
                "{text}"
            );
        }
    }
}
