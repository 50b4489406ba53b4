//! The keys of a sweep's file, for its schema.
#![allow(dead_code, reason = "only their schemas are used")]

use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde_json::{Map, Value};

use super::{Claim, Stop};
use crate::experiment::config::MOST_NAME;

/// What a sweep's file has besides an experiment's keys.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SweepForm {
    /// Many experiments in one file.
    sweep: SweepTable,
    /// What the sweep is expected to show; the report judges it.
    claims: Option<Vec<Claim>>,
}

/// What a sweep that includes others must say.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct IncludingForm {
    /// Name of the sweep's folder.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$"), length(max = MOST_NAME))]
    name: String,
}

/// Many experiments in one file.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SweepTable {
    /// What the sweep is about, in a line.
    title: Option<String>,
    /// Other files, sweeps or not, whose runs belong to this sweep; a relative path starts at this
    /// file's folder. Not together with `methods` and `grid`.
    include: Option<Vec<String>>,
    /// Methods by name; each is laid over the rest of the file, as a file over its `base`.
    methods: Option<Map<String, Value>>,
    /// Lines between networks along which the error is measured once the runs are done: of one
    /// method between its consecutive levels, of two between their ends of each level.
    barriers: Option<Vec<Vec<String>>>,
    /// Lists of values by key: every method is run with every combination.
    grid: Option<Map<String, Value>>,
    /// At which levels cells that are behind end.
    stop: Option<Stop>,
}

/// The JSON Schema of `sweep` and `claims`.
pub(super) fn schema() -> Value {
    schema_for!(SweepForm).to_value()
}

/// The JSON Schema of what a sweep that includes others has beside these.
pub(super) fn including_schema() -> Value {
    schema_for!(IncludingForm).to_value()
}
