//! A simulation on disk: `neuron.json`, and its tables as CSV.

use std::path::{Path, PathBuf};

use super::{Fraction, NeuronRecord};
use crate::store::{self, MANIFEST, Manifest, StoreError};

/// The record's file, written last: where it is, the simulation is finished.
pub const FILE: &str = "neuron.json";

/// A simulation that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NeuronFileError {
    /// The file system's reason.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is not what was written.
    #[error("{} is damaged: {reason}; remove it, and the same command writes it anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// A table could not be made.
    #[error("failed to write {name}: {reason}")]
    Table {
        /// The file.
        name: &'static str,
        /// Why.
        reason: String,
    },
}

/// The record in a folder; none if there is no finished simulation.
///
/// # Errors
/// If it cannot be read.
pub fn read(folder: &Path) -> Result<Option<NeuronRecord>, NeuronFileError> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    if let Some(manifest) = Manifest::read(folder, MANIFEST)?
        && let Some(expected) = manifest.files.get(FILE)
    {
        store::expect_digest(&path, expected)?;
    }
    serde_json::from_slice(&store::read(&path)?)
        .map(Some)
        .map_err(|reason| NeuronFileError::Damaged { path, reason })
}

/// Writes the tables, the record and a manifest of them into a folder.
///
/// # Errors
/// If a file cannot be written.
pub fn write(folder: &Path, record: &NeuronRecord) -> Result<(), NeuronFileError> {
    let tables = [
        ("fractions.csv", fractions(record)),
        ("trajectories.csv", trajectories(record)),
        ("closed-form.csv", closed_form(record)),
        ("step-errors.csv", step_errors(record)),
    ];
    let names = tables.iter().map(|(name, _)| *name);
    let names: Vec<&str> = names.chain([FILE]).collect();
    Manifest::remove(folder, MANIFEST)?;
    for (name, rows) in &tables {
        let name = *name;
        let bytes = table(rows).map_err(|error| NeuronFileError::Table {
            name,
            reason: error.to_string(),
        })?;
        store::write(&folder.join(name), &bytes)?;
    }
    let path = folder.join(FILE);
    let mut text = serde_json::to_vec(record).map_err(|reason| NeuronFileError::Damaged {
        path: path.clone(),
        reason,
    })?;
    text.push(b'\n');
    store::write(&path, &text)?;
    Ok(Manifest::of(folder, names)?.write(folder, MANIFEST)?)
}

/// Writes the files of a finished simulation anew if one is missing or damaged.
///
/// # Errors
/// If a file cannot be written.
pub fn complete(folder: &Path, record: &NeuronRecord) -> Result<(), NeuronFileError> {
    let manifest = Manifest::read(folder, MANIFEST)?.unwrap_or_default();
    let is_whole = |(file, digest): (&String, &String)| {
        store::expect_digest(&folder.join(file), digest).is_ok()
    };
    if !manifest.files.is_empty() && manifest.files.iter().all(is_whole) {
        return Ok(());
    }
    write(folder, record)
}

type Rows = Vec<Vec<String>>;

fn table(rows: &Rows) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

fn header<const N: usize>(names: [&str; N]) -> Rows {
    vec![names.map(str::to_owned).to_vec()]
}

fn fractions(record: &NeuronRecord) -> Rows {
    let mut rows = header([
        "dimension",
        "method",
        "inits",
        "successes",
        "fraction",
        "low",
        "high",
    ]);
    for quadrant in ["a+ w1+", "a+ w1-", "a- w1+", "a- w1-"] {
        for what in ["inits", "successes"] {
            rows[0].push(format!("{what} {quadrant}"));
        }
    }
    rows.extend(record.fractions.iter().map(|it| {
        let mut row = vec![
            it.dimension.to_string(),
            it.method.name().to_owned(),
            it.inits.to_string(),
            it.successes.to_string(),
            it.fraction().to_string(),
            it.low.to_string(),
            it.high.to_string(),
        ];
        for quadrant in &it.quadrants {
            row.extend([quadrant.inits, quadrant.successes].map(|count| count.to_string()));
        }
        row
    }));
    rows
}

fn trajectories(record: &NeuronRecord) -> Rows {
    let names = [
        "dimension",
        "method",
        "init",
        "success",
        "time",
        "pruned",
        "a",
        "w1",
        "loss",
    ];
    let mut rows = header(names);
    for it in &record.trajectories {
        rows.extend((0..it.time.len()).map(|place| {
            vec![
                it.dimension.to_string(),
                it.method.name().to_owned(),
                it.init.to_string(),
                it.success.to_string(),
                it.time[place].to_string(),
                it.pruned[place].to_string(),
                it.a[place].to_string(),
                it.w1[place].to_string(),
                it.loss[place].to_string(),
            ]
        }));
    }
    rows
}

fn closed_form(record: &NeuronRecord) -> Rows {
    let mut rows = header(["time", "simulated", "exact"]);
    let row = |it: &super::ClosedForm| [it.time, it.simulated, it.exact].map(|it| it.to_string());
    rows.extend(record.closed_form.iter().map(|it| row(it).to_vec()));
    rows
}

fn step_errors(record: &NeuronRecord) -> Rows {
    let mut rows = header(["step", "error"]);
    let row = |it: &super::StepError| [it.step, it.error].map(|it| it.to_string());
    rows.extend(record.step_errors.iter().map(|it| row(it).to_vec()));
    rows
}

impl Fraction {
    /// Successes over inits.
    pub fn fraction(&self) -> f64 {
        self.successes as f64 / self.inits as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neuron::{Settings, simulate};

    #[test]
    fn what_was_written_is_read_back_and_the_tables_have_a_line_for_each_row() {
        let settings = Settings {
            dimensions: vec![1, 2],
            inits: 20,
            time: 4.0,
            ..Settings::default()
        };
        let record = simulate(&settings, 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        write(folder.path(), &record).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(record.clone()));
        let lines = |name: &str| {
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let table = lines("fractions.csv");
        assert_eq!(table.len(), 1 + 4);
        assert!(table[1].starts_with("1,imp,20,"), "{}", table[1]);
        assert_eq!(table[1].split(',').count(), 7 + 8);
        let points: usize = record.trajectories.iter().map(|it| it.time.len()).sum();
        assert_eq!(lines("trajectories.csv").len(), 1 + points);
        assert_eq!(lines("closed-form.csv").len(), 1 + record.closed_form.len());
        assert_eq!(lines("step-errors.csv").len(), 1 + 4);
    }

    #[test]
    fn a_damaged_record_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let message = read(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains(FILE) && message.contains("remove it"),
            "{message}"
        );
    }
}
