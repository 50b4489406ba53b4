//! A run as the page's table shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::facts::Facts;
use crate::standing::{Standing, State};
use crate::store::Owner;

/// Where a sweep has a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cell {
    /// Name of the sweep's folder.
    pub sweep: String,
    /// The cell's name in it.
    pub cell: String,
    /// Name of its method.
    pub method: String,
    /// The grid's values, by key.
    pub values: BTreeMap<String, Value>,
}

/// A run.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    pub kind: &'static str,
    /// Name of its folder; by this the page asks for it.
    pub id: &'a str,
    /// The cells that it is; none if it is of no sweep.
    pub cells: &'a [Cell],
    pub seeds: &'a [u64],
    pub state: State,
    /// Finished levels of all seeds, and how many there are to be.
    pub levels_done: u64,
    pub levels: Option<u64>,
    pub seconds_left: Option<f64>,
    pub seconds_a_level: Option<f64>,
    pub owner: Option<&'a Owner>,
    pub seconds_held: Option<u64>,
    pub seconds_silent: Option<u64>,
    /// Who has it, or why nobody does.
    pub note: String,
    pub failures: u64,
    /// Bytes of its files; none before they were counted.
    pub bytes: Option<u64>,
    /// Changes when there is more to draw.
    pub stamp: String,
    #[serde(flatten)]
    pub facts: &'a Facts,
}

static NOTHING: Facts = Facts::NONE;

impl<'a> Row<'a> {
    /// A run that stands so.
    pub fn new(id: &'a str, standing: &'a Standing) -> Self {
        // Seconds, so that a run that does nothing new is the same row for a while.
        let whole = |seconds: f64| (seconds / 5.0).round() as u64 * 5;
        Self {
            kind: "run",
            id,
            cells: &[],
            seeds: &[],
            state: standing.state,
            levels_done: standing.levels_done,
            levels: standing.levels,
            seconds_left: standing.seconds_left,
            seconds_a_level: standing.seconds_a_level,
            owner: standing.owner.as_ref(),
            seconds_held: standing.seconds_held.map(whole),
            seconds_silent: standing.seconds_silent.map(whole),
            note: match &standing.owner {
                Some(_) => standing.reason.clone().unwrap_or_default(),
                None => standing.note(),
            },
            failures: standing.failures,
            bytes: None,
            stamp: String::new(),
            facts: &NOTHING,
        }
    }
}
