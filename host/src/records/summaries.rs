//! The summaries of a run's finished levels, as they lie in its folder.

use std::collections::BTreeMap;

use super::{KeptUnits, Summary};
use crate::store::{LevelDir, RunDir, StoreError, read};

/// The summary of a finished level.
///
/// # Errors
/// If it cannot be read.
pub fn read_summary(level: &LevelDir) -> Result<Summary, StoreError> {
    let path = level.file("summary.json");
    serde_json::from_slice(&read(&path)?).map_err(|error| StoreError::Damaged {
        path,
        reason: error.to_string(),
    })
}

/// The summaries of all finished levels of a run, by seed and level.
///
/// # Errors
/// If a summary cannot be read.
pub fn summaries(run: &RunDir, seeds: &[u64]) -> Result<Vec<Summary>, StoreError> {
    let mut summaries = Vec::new();
    for &seed in seeds {
        let seed = run.seed(seed);
        for level in 0..seed.finished_levels() {
            summaries.push(read_summary(&seed.level(level))?);
        }
    }
    Ok(summaries)
}

/// All summaries as CSV, one line a level of a seed: `summary.csv`.
///
/// # Errors
/// If they cannot be written.
pub fn summary_csv(summaries: &[Summary]) -> Result<Vec<u8>, csv::Error> {
    let (header, rows) = summary_table(summaries)?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    if !rows.is_empty() {
        writer.write_record(&header)?;
    }
    for row in rows {
        writer.write_record(&row)?;
    }
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

/// The names of the summaries' columns, and a row of texts for each summary. Metrics that only some of them
/// have are empty in the others.
///
/// # Errors
/// If they cannot be written.
pub fn summary_table<'a>(
    summaries: impl IntoIterator<Item = &'a Summary>,
) -> Result<(Vec<String>, Vec<Vec<String>>), csv::Error> {
    let (mut header, mut records): (Vec<String>, Vec<BTreeMap<String, String>>) =
        Default::default();
    for summary in summaries {
        let mut writer = csv::Writer::from_writer(Vec::new());
        // A table has no room for lists.
        writer.serialize(Summary {
            units: None,
            ..summary.clone()
        })?;
        let text = writer.into_inner().map_err(|error| error.into_error())?;
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let mut names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        let values = reader.records().next().transpose()?.unwrap_or_default();
        let mut values: Vec<String> = values.iter().map(str::to_owned).collect();
        for (name, value) in summary.units.iter().flat_map(KeptUnits::columns) {
            names.push(name.to_owned());
            values.push(value);
        }
        merge(&mut header, &names);
        records.push(names.into_iter().zip(values).collect());
    }
    let row = |mut record: BTreeMap<String, String>| {
        let value = |name| record.remove(name).unwrap_or_default();
        header.iter().map(value).collect()
    };
    let rows = records.into_iter().map(row).collect();
    Ok((header, rows))
}

/// Adds the names that a list lacks, each behind the one that it follows in another list.
fn merge(all: &mut Vec<String>, names: &[String]) {
    let mut at = 0;
    for name in names {
        match all.iter().position(|it| it == name) {
            Some(place) => at = place + 1,
            None => {
                all.insert(at, name.clone());
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(test_nll: Option<f64>, test_rmse: Option<f64>) -> Summary {
        Summary {
            test_nll,
            test_rmse,
            ..Summary::of_layers(3, 1, 10, &[])
        }
    }

    #[test]
    fn a_metric_that_only_some_summaries_have_is_a_column_of_its_own() {
        let csv =
            |summaries: &[Summary]| String::from_utf8(summary_csv(summaries).unwrap()).unwrap();
        let none = csv(&[summary(None, None)]);
        assert!(none.starts_with("seed,level,weights,survivors,density,train_loss,test_loss,"));
        assert!(
            none.contains("\n3,1,10,0,0.0,NaN,NaN,0,0,0.0,0.0,0.0,0.0,0,0.0\n"),
            "{none}"
        );
        let mixed = csv(&[
            summary(None, Some(2.0)),
            summary(Some(0.5), None),
            summary(None, None),
        ]);
        let ends: Vec<&str> = mixed
            .lines()
            .map(|it| &it[it.rfind("0,0.0").unwrap_or(0)..])
            .collect();
        assert!(
            ends[0].ends_with("effective_density,test_nll,test_rmse"),
            "{}",
            ends[0]
        );
        assert_eq!(ends[1..], ["0,0.0,,2.0", "0,0.0,0.5,", "0,0.0,,"]);
        assert_eq!(csv(&[]), "");
    }
}
