//! Which cells of a sweep were stopped, and why: `runs/NAME/stopped.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{SweepRecord, name_in_sweep};
use crate::counted::counted;
use crate::store::{self, StoreError};

/// Its file in a sweep's folder. It carries its own digest.
pub const FILE: &str = "stopped.json";

/// What was decided at the rungs of a sweep that all cells have come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRecord {
    /// In the order of the sweep's parts, and of their rungs.
    pub rungs: Vec<Rung>,
}

/// Cells that were compared at the end of a level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    /// Name of the part.
    pub part: String,
    /// What of the grid's values they have in common, as far as only such are compared.
    pub within: BTreeMap<String, Value>,
    /// The level.
    pub level: u64,
    /// Density that they were to have there.
    pub density: f64,
    /// Names of the cells in the sweep.
    pub compared: Vec<String>,
    /// Names of those that were not there: they had failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The one with the highest mean of validation accuracy; none if no cell has a value of every seed.
    pub best: Option<String>,
    /// Its mean.
    pub accuracy: Option<f64>,
    /// Confidence of the intervals.
    pub confidence: f64,
    /// Those that are behind it, and end here.
    pub stopped: Vec<Behind>,
}

/// A cell whose difference to the best one lies wholly below 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behind {
    /// Its name in the sweep.
    pub cell: String,
    /// Mean over seeds of its validation accuracy minus the best one's.
    pub difference: f64,
    /// Ends of the difference's interval.
    pub low: f64,
    pub high: f64,
    /// The seeds of which both have a value.
    pub seeds: Vec<u64>,
}

/// A cell that was stopped.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stopped {
    /// The level that is its last.
    pub level: u64,
    /// The cell that it is behind.
    pub behind: String,
    /// Mean over seeds of its validation accuracy minus that one's.
    pub difference: f64,
    /// Ends of the difference's interval.
    pub low: f64,
    pub high: f64,
    /// Confidence of the interval.
    pub confidence: f64,
    /// The seeds of which both have a value.
    pub seeds: Vec<u64>,
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = |share: f64| format!("{:.2}", 100.0 * share);
        write!(
            formatter,
            "stopped at level {}: {} points behind {} by validation ({} %: {} to {}, {})",
            self.level,
            points(-self.difference),
            self.behind,
            // 95, and 99.9 where somebody asks for it.
            (1000.0 * 100.0 * self.confidence).round() / 1000.0,
            points(-self.high),
            points(-self.low),
            counted(self.seeds.len(), "seed"),
        )
    }
}

impl StopRecord {
    /// Reads it from a sweep's folder. Nothing is stopped where there is none.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        match path.exists() {
            true => Ok(store::read_sealed(&path)?.value),
            false => Ok(Self::default()),
        }
    }

    /// Writes it into a sweep's folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), StoreError> {
        store::write_sealed(&folder.join(FILE), self)
    }

    /// The cells that were stopped, by their names in the sweep.
    pub fn cells(&self) -> BTreeMap<String, Stopped> {
        let each = self.rungs.iter().flat_map(|rung| {
            let own = rung.stopped.iter();
            own.map(move |it| (it.cell.clone(), rung.stopped_of(it)))
        });
        each.collect()
    }
}

impl Rung {
    fn stopped_of(&self, cell: &Behind) -> Stopped {
        Stopped {
            level: self.level,
            behind: self.best.clone().unwrap_or_default(),
            difference: cell.difference,
            low: cell.low,
            high: cell.high,
            confidence: self.confidence,
            seeds: cell.seeds.clone(),
        }
    }
}

/// The cells of a sweep that were stopped, by their names in it; none, with a warning, if the record of them cannot be
/// read.
pub fn stopped_cells(folder: &Path) -> BTreeMap<String, Stopped> {
    match StopRecord::read(folder) {
        Ok(record) => record.cells(),
        Err(error) => {
            log::warn!(
                "{error}: which cells were stopped is not known; the same run writes it anew"
            );
            BTreeMap::new()
        }
    }
}

/// Behind whom a run was stopped, if the sweeps in the folder around it are through with it and one of them stopped it;
/// the last level of several.
pub fn stopped_beside(run: &Path) -> Option<Stopped> {
    let runs = run.parent()?;
    let name = run.file_name()?;
    let mut last: Option<Stopped> = None;
    for entry in std::fs::read_dir(runs).ok()?.flatten() {
        let folder = entry.path();
        if !folder.join(FILE).exists() {
            continue;
        }
        let Ok(sweep) = SweepRecord::read(&folder) else {
            continue;
        };
        let stopped = stopped_cells(&folder);
        for part in &sweep.parts {
            for cell in part
                .cells
                .iter()
                .filter(|it| it.run.file_name() == Some(name))
            {
                // A cell that goes on has the run to its end.
                let own = stopped.get(&name_in_sweep(sweep.parts.len(), &part.name, &cell.name))?;
                if last.as_ref().is_none_or(|it| it.level < own.level) {
                    last = Some(own.clone());
                }
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> StopRecord {
        StopRecord {
            rungs: vec![Rung {
                part: "small".to_owned(),
                within: BTreeMap::new(),
                level: 3,
                density: 0.512,
                compared: vec!["imp".to_owned(), "lrr".to_owned()],
                missing: Vec::new(),
                best: Some("lrr".to_owned()),
                accuracy: Some(0.9),
                confidence: 0.95,
                stopped: vec![Behind {
                    cell: "imp".to_owned(),
                    difference: -0.0213,
                    low: -0.03,
                    high: -0.0126,
                    seeds: vec![0, 1],
                }],
            }],
        }
    }

    #[test]
    fn a_stopped_cell_says_at_which_level_behind_whom_and_by_how_much() {
        let folder = tempfile::tempdir().unwrap();
        assert!(stopped_cells(folder.path()).is_empty());
        record().write(folder.path()).unwrap();
        assert_eq!(StopRecord::read(folder.path()).unwrap(), record());
        let cells = stopped_cells(folder.path());
        assert_eq!(cells.len(), 1);
        assert_eq!(
            cells["imp"].to_string(),
            "stopped at level 3: 2.13 points behind lrr by validation (95 %: 1.26 to 3.00, 2 seeds)"
        );
    }

    #[test]
    fn a_flipped_bit_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        record().write(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"level\": 3", "\"level\": 1")).unwrap();
        assert!(StopRecord::read(folder.path()).is_err());
        assert!(stopped_cells(folder.path()).is_empty());
    }
}
