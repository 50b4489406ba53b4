//! Points of training, written `init`, `init-1`, `4ep`, `500it`, `level-3-start`, `level-3-end`,
//! `level-start`, `previous-level-end`, or `runs/lrr-3f9a1c2e#level-3-end` for another run's.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Step;

macro_rules! point_pattern {
    () => {
        "(([^#]+#)?(init|[0-9]+(ep|it)|(level-[0-9]+|level|previous-level)-(start|end))|init-[1-9][0-9]*)"
    };
}

/// A point of training: weights, batch norm and optimizer state at that time.
///
/// In an experiment file it is a text: `"init"`, a time of level 0 such as `"4ep"`,
/// `"level-3-start"`, `"level-3-end"`, or one of these behind another run and a `#`.
///
/// Without a number, `"level-start"` and `"level-end"` are of the level that the rewind leads to,
/// which another run has already and this one has not; `"previous-level-start"` and
/// `"previous-level-end"` are of the level before it. `"init-1"`, `"init-2"`, ... are further draws
/// of the initial values, the same in every run of this network and seed; they are not stored, and
/// no run stands before them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Point {
    /// Before the first step.
    Init,
    /// Another draw of the initial values, numbered from 1: biases and batch norms included.
    /// [`Init`](Point::Init) is draw 0.
    InitDraw(u64),
    /// This far into the training of level 0; `points()` must name it, so that it is stored.
    Step(Step),
    /// The start of a level's training, after rewinding.
    LevelStart(u64),
    /// The end of a level's training.
    LevelEnd(u64),
    /// The start of the level that the rewind leads to.
    SameLevelStart,
    /// The end of the level that the rewind leads to.
    SameLevelEnd,
    /// The start of the level before the one that the rewind leads to.
    PreviousLevelStart,
    /// The end of the level before the one that the rewind leads to.
    PreviousLevelEnd,
    /// A point of another run's same seed, by the run's folder.
    Run {
        /// The run's folder.
        run: String,
        /// The point of that run.
        point: Box<Point>,
    },
}

impl Point {
    /// Regular expression of the texts that are points, not anchored, for the schemas of options
    /// that may be a point or something else.
    pub const PATTERN: &str = point_pattern!();

    /// This point where a rewind leads to `level`: points without a level's number get it. What has
    /// no meaning there, the level before level 0, stays as it is.
    #[must_use]
    pub fn at_level(&self, level: u64) -> Self {
        match (self, level.checked_sub(1)) {
            (Self::SameLevelStart, _) => Self::LevelStart(level),
            (Self::SameLevelEnd, _) => Self::LevelEnd(level),
            (Self::PreviousLevelStart, Some(previous)) => Self::LevelStart(previous),
            (Self::PreviousLevelEnd, Some(previous)) => Self::LevelEnd(previous),
            (Self::Run { run, point }, _) => Self::Run {
                run: run.clone(),
                point: Box::new(point.at_level(level)),
            },
            (other, _) => other.clone(),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::InitDraw(number) => write!(f, "init-{number}"),
            Self::SameLevelStart => f.write_str("level-start"),
            Self::SameLevelEnd => f.write_str("level-end"),
            Self::PreviousLevelStart => f.write_str("previous-level-start"),
            Self::PreviousLevelEnd => f.write_str("previous-level-end"),
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
     \"level-3-start\", \"level-3-end\", \"level-start\", \"level-end\", \"previous-level-start\" or \
     \"previous-level-end\", or one of these behind another run and a #; or \"init-1\" for another draw \
     of the initial values"
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
            // A further draw is a function of the network and the seed: no run holds it.
            if let Self::InitDraw(_) = point {
                return Err(error());
            }
            return Ok(Self::Run {
                run: run.to_owned(),
                point: Box::new(point),
            });
        }
        match text {
            "init" => return Ok(Self::Init),
            "level-start" => return Ok(Self::SameLevelStart),
            "level-end" => return Ok(Self::SameLevelEnd),
            "previous-level-start" => return Ok(Self::PreviousLevelStart),
            "previous-level-end" => return Ok(Self::PreviousLevelEnd),
            _ => {}
        }
        if let Some(draw) = text.strip_prefix("init-") {
            return match number(draw) {
                Some(number) if number > 0 && !draw.starts_with('0') => Ok(Self::InitDraw(number)),
                _ => Err(error()),
            };
        }
        let Some(level) = text.strip_prefix("level-") else {
            return text.parse().map(Self::Step).map_err(|_| error());
        };
        let (level, side) = level.split_once('-').ok_or_else(error)?;
        match (number(level), side) {
            (Some(level), "start") => Ok(Self::LevelStart(level)),
            (Some(level), "end") => Ok(Self::LevelEnd(level)),
            _ => Err(error()),
        }
    }
}

/// A number of digits alone; `parse` would take a sign.
fn number(digits: &str) -> Option<u64> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
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
    ($type:ident, $word:literal, $pattern:expr, $description:literal) => {
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
    concat!("^", point_pattern!(), "$"),
    "a point of training: \"init\", a time of level 0 such as \"4ep\", \"level-3-start\", \"previous-level-end\""
);
as_text!(
    Source,
    "\"keep\" or point",
    concat!("^(keep|", point_pattern!(), ")$"),
    "\"keep\" or a point of training: \"init\", a time of level 0 such as \"4ep\", \"level-3-start\", \"previous-level-end\""
);

#[cfg(test)]
mod tests;
