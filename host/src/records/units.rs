//! What masks keep of whole units.

use plugin_api::{Measure, UnitRule, Units};
use serde::{Deserialize, Serialize};

/// What masks of whole units keep at a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptUnits {
    /// What is counted.
    pub measure: Measure,
    /// Of so many units a set keeps a multiple, or all.
    pub multiple: u64,
    /// All that is counted.
    pub total: u64,
    /// What the level keeps at most: its density times all, rounded.
    pub target: u64,
    /// What it keeps.
    pub kept: u64,
    /// What it keeps of each set.
    pub sets: Vec<KeptOfSet>,
}

/// What is kept of one set of units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOfSet {
    /// The first layer that makes them.
    pub name: String,
    /// Units.
    pub units: u64,
    /// Those that are kept.
    pub kept: u64,
}

impl KeptUnits {
    /// What of it stands in tables: names of columns, and their values.
    pub fn columns(&self) -> [(&'static str, String); 4] {
        let measure = match self.measure {
            Measure::Weights => "weights",
            Measure::Units => "units",
            Measure::Macs => "macs",
        };
        [
            ("units_measure", measure.to_owned()),
            ("units_total", self.total.to_string()),
            ("units_target", self.target.to_string()),
            ("units_kept", self.kept.to_string()),
        ]
    }

    /// What masks keep by a rule: so many of each set, `kept` in all of what is counted.
    pub fn new(
        units: &Units,
        rule: &UnitRule,
        (total, target, kept): (u64, u64, u64),
        sets: &[u64],
    ) -> Self {
        let set = |(set, kept): (&plugin_api::UnitSet, &u64)| KeptOfSet {
            name: set.name.clone(),
            units: set.units,
            kept: *kept,
        };
        Self {
            measure: rule.measure,
            multiple: rule.multiple,
            total,
            target,
            kept,
            sets: units.sets.iter().zip(sets).map(set).collect(),
        }
    }
}
