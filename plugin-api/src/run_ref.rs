//! Another run, as an option names it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Another run, whose masks or points a strategy takes.
///
/// In an experiment file it is a text: a run's folder, an experiment file, or, within a sweep,
/// a method's name. The host finds the run and hands its folder to the plugin; in the experiment's
/// identity the run stands with what it computes, not with where it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunRef(pub String);

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for RunRef {
    fn schema_name() -> Cow<'static, str> {
        "RunRef".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "x-type": "run",
            "description": "another run: its folder, its experiment file or, within a sweep, the name of a method",
        })
    }
}
