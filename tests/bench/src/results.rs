//! What was measured, as it is stored.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::machine::Machine;
use crate::measure::Measured;
use crate::statistics::Quartiles;

/// All rows that were measured on one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// By name.
    pub rows: BTreeMap<String, RowResult>,
    /// Growth of costs, by name.
    #[serde(default)]
    pub scaling: BTreeMap<String, Curve>,
}

/// What a row's sides count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Images a second.
    Images,
    /// Weights a second.
    Weights,
    /// Bytes a second.
    Bytes,
    /// Seconds that a whole takes: fewer are better.
    Seconds,
    /// MiB: fewer are better.
    Mebibytes,
}

impl Unit {
    /// A side's rate as it is shown.
    pub fn show(self, rate: f64) -> String {
        match self {
            Self::Images => format!("{} images/s", grouped(rate)),
            Self::Weights => format!("{} M weights/s", short(rate / 1e6)),
            Self::Bytes => format!("{} MB/s", grouped(rate / 1e6)),
            Self::Seconds if rate > 1.0 => format!("{} ms", short(1e3 / rate)),
            Self::Seconds => format!("{} s", short(1.0 / rate)),
            Self::Mebibytes => format!("{} MiB", grouped(1.0 / rate)),
        }
    }
}

/// Three digits.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => grouped(value),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Whole, with a comma between thousands.
pub fn grouped(value: f64) -> String {
    host::cli::grouped(value.round() as u64)
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowResult {
    /// What is measured.
    pub what: String,
    /// What is counted.
    pub unit: Unit,
    /// When.
    pub date: String,
    /// Ours first, with its rate in every round.
    pub sides: Vec<SideResult>,
    /// Ours over the others.
    pub ratios: Vec<RatioResult>,
    /// Seconds, or MiB, that ours should stay below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Why a side is missing, or what must be known to read the row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One side of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideResult {
    /// Its name.
    pub name: String,
    /// Median of the rounds.
    pub median: f64,
    /// Units a second, round by round.
    pub rates: Vec<f64>,
}

/// Ours over another side, by rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioResult {
    /// The other side.
    pub against: String,
    /// Median and quartiles of the rounds.
    #[serde(flatten)]
    pub ratio: Quartiles,
    /// What it should reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<f64>,
}

/// How a cost grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What grows.
    pub x: String,
    /// What it costs.
    pub y: String,
    /// When.
    pub date: String,
    /// Pairs of both, and a word on each.
    pub points: Vec<(f64, f64, String)>,
}

impl RowResult {
    /// From series, with goals for ratios to some sides.
    pub fn new(
        what: &str,
        unit: Unit,
        measured: Measured,
        goals: &[(&str, f64)],
        date: &str,
    ) -> Self {
        let ours = measured.series.first().map_or(&[][..], |it| &it.rates);
        let ratio = |other: &crate::measure::Series| RatioResult {
            against: other.name.clone(),
            ratio: Quartiles::of_ratios(ours, &other.rates),
            goal: goals.iter().find(|it| it.0 == other.name).map(|it| it.1),
        };
        let ratios = measured.series.iter().skip(1).map(ratio).collect();
        let side = |it: &crate::measure::Series| SideResult {
            name: it.name.clone(),
            median: Quartiles::of(&it.rates).median,
            rates: it.rates.clone(),
        };
        Self {
            what: what.to_owned(),
            unit,
            date: date.to_owned(),
            sides: measured.series.iter().map(side).collect(),
            ratios,
            limit: None,
            notes: measured.notes,
        }
    }
}

impl Results {
    /// From a file; nothing if there is none.
    ///
    /// # Errors
    /// If the file is there and not what was written.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path).map_err(BenchError::file(path))?;
        serde_json::from_str(&text).map_err(|error| BenchError::Content {
            path: path.to_owned(),
            reason: format!("{error}; remove it to start anew"),
        })
    }

    /// Writes them, whole or not at all.
    ///
    /// # Errors
    /// Names the file.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        let text = serde_json::to_vec_pretty(self).map_err(BenchError::ours)?;
        host::store::write(path, &text).map_err(BenchError::ours)
    }

    /// Takes this machine's place; rows of another machine go.
    pub fn be_of(&mut self, machine: Machine) {
        let is_new = self.rows.is_empty() && self.scaling.is_empty();
        if !is_new && !self.machine.is_like(&machine) {
            eprintln!("bench: earlier results were measured elsewhere and are left out");
            self.rows.clear();
            self.scaling.clear();
        }
        let before = std::mem::replace(&mut self.machine, machine);
        if self.machine.torch == "not measured" && !before.torch.is_empty() {
            (self.machine.torch, self.machine.python) = (before.torch, before.python);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_three_digits_and_commas() {
        let shown = [0.5, 12.34, 1234.0, 1_234_567.0].map(short);
        assert_eq!(shown, ["0.50", "12.3", "1,234", "1,234,567"]);
        assert_eq!(Unit::Seconds.show(4.0), "250 ms");
        assert_eq!(Unit::Seconds.show(0.25), "4.00 s");
        assert_eq!(Unit::Mebibytes.show(1.0 / 2048.0), "2,048 MiB");
    }
}
