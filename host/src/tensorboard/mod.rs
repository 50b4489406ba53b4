//! What TensorBoard shows of a run: `tensorboard/seed-0/` in its folder, made of the records of its
//! finished levels alone.
//!
//! The bytes are a function of the records: times are steps taken for seconds.

mod event;

pub use event::{Event, Scalar, Scalars, encode};

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::records::{ClassRecord, Epoch, LayerRecord, METRICS, SignRecord, Summary, read_lines};
use crate::store::{LevelDir, RunDir, StoreError, ask, read, write};

/// TensorBoard knows event files by the middle of their names; the rest is a time and a machine
/// elsewhere, and the same for every run here.
const FILE: &str = "events.out.tfevents.0.rewind";

/// Brings a seed's event file up to date with its finished levels; none if it has none.
///
/// # Errors
/// If a record cannot be read or the file cannot be written.
pub fn export(run: &RunDir, seed: u64) -> Result<Option<PathBuf>, StoreError> {
    Shown::default().export(run, seed)
}

/// Path of a seed's event file from the run's folder.
pub fn file_of(seed: u64) -> String {
    format!("tensorboard/seed-{seed}/{FILE}")
}

/// What a seed's event file holds once it is up to date; nothing if no level is finished.
///
/// # Errors
/// If a record cannot be read.
pub fn bytes(run: &RunDir, seed: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut shown = Shown::default();
    shown.go_on(run, seed)?;
    Ok((shown.levels > 0).then_some(shown.bytes))
}

/// What is shown of a seed, kept from level to level: the records of a level are read once.
#[derive(Default)]
pub struct Shown {
    levels: u64,
    /// Steps after which the last of them ends.
    steps: u64,
    bytes: Vec<u8>,
}

impl Shown {
    /// Brings the seed's event file up to date, as [`export`] does.
    ///
    /// # Errors
    /// If a record cannot be read or the file cannot be written.
    pub fn export(&mut self, run: &RunDir, seed: u64) -> Result<Option<PathBuf>, StoreError> {
        self.go_on(run, seed)?;
        if self.levels == 0 {
            return Ok(None);
        }
        let path = run.file(&file_of(seed));
        update(&path, &self.bytes)?;
        Ok(Some(path))
    }

    /// Adds the levels that were finished since.
    fn go_on(&mut self, run: &RunDir, seed: u64) -> Result<(), StoreError> {
        let own = run.seed(seed);
        loop {
            let level = own.level(self.levels);
            if !level.file("done.json").exists() {
                return Ok(());
            }
            let mut events = match self.levels {
                0 => vec![Event::first()],
                _ => Vec::new(),
            };
            self.steps = add_level(&level, self.steps, &mut events)?;
            self.bytes.extend(encode(&events));
            self.levels += 1;
        }
    }
}

/// Adds the events of a level that starts after so many steps, and returns after how many it ends.
fn add_level(level: &LevelDir, before: u64, events: &mut Vec<Event>) -> Result<u64, StoreError> {
    let epochs: Vec<Epoch> = read_lines(&level.file("metrics.jsonl"))?;
    let layers: Vec<LayerRecord> = read_lines(&level.file("layers.jsonl"))?;
    let summaries: Vec<Summary> = read_lines(&level.file("summary.json"))?;
    let classes: Vec<ClassRecord> = read_if_there(&level.file("classes.jsonl"))?;
    let signs: Vec<SignRecord> = read_if_there(&level.file("signs.jsonl"))?;
    let tag = |tag: &str, value: f64| (tag.to_owned(), value);
    for epoch in &epochs {
        let step = before + epoch.step;
        let mut scalars = vec![
            tag("train/loss", epoch.train_loss),
            tag("train/accuracy", epoch.train_accuracy),
            tag("train/learning-rate", epoch.lr),
        ];
        scalars.extend(epoch.test_loss.map(|loss| tag("test/loss", loss)));
        scalars.extend(epoch.test_accuracy.map(|it| tag("test/accuracy", it)));
        scalars.extend(validation(
            "validation/",
            epoch.validation_loss,
            epoch.validation_accuracy,
        ));
        for record in signs.iter().filter(|it| it.epoch == epoch.epoch) {
            let (by_epoch, by_start) = (record.share_epoch(), record.share_start());
            scalars.extend(by_epoch.map(|it| tag("signs/crossed-epoch", it)));
            scalars.extend(by_start.map(|it| tag("signs/crossed-start", it)));
        }
        events.push(Event::scalars(step as f64, step, scalars));
    }
    let last = epochs.last();
    let after = before + last.map_or(0, |epoch| epoch.step);
    for summary in &summaries {
        if last.is_none_or(|epoch| epoch.test_loss.is_none()) {
            let mut scalars = vec![
                tag("test/loss", summary.test_loss),
                tag("test/accuracy", summary.test_accuracy),
            ];
            let (loss, accuracy) = (summary.validation_loss, summary.validation_accuracy);
            scalars.extend(validation("validation/", loss, accuracy));
            events.push(Event::scalars(after as f64, after, scalars));
        }
        let mut scalars = vec![
            tag("level/density", summary.density),
            tag("level/survivors", summary.survivors as f64),
            tag("level/test-loss", summary.test_loss),
            tag("level/test-accuracy", summary.test_accuracy),
            tag("level/flips-init", summary.flips_init),
            tag("level/flips-start", summary.flips_start),
        ];
        let (loss, accuracy) = (summary.validation_loss, summary.validation_accuracy);
        scalars.extend(validation("level/validation-", loss, accuracy));
        scalars.extend(
            summary
                .flips_previous
                .map(|it| tag("level/flips-previous", it)),
        );
        for (name, pick) in METRICS {
            let tag = |value| (format!("level/test-{}", name.replace('_', "-")), value);
            scalars.extend(pick(summary).map(tag));
        }
        for class in &classes {
            let accuracy = class.test_accuracy.filter(|it| it.is_finite());
            scalars.extend(accuracy.map(|it| (format!("class-accuracy/{}", class.class), it)));
        }
        for layer in &layers {
            let share = layer.flips_init as f64 / layer.survivors.max(1) as f64;
            for (chart, value) in [
                ("density", layer.density),
                ("flips-init", share),
                ("norm", layer.norm),
            ] {
                scalars.push((format!("{chart}/{}", layer.layer), value));
            }
        }
        events.push(Event::scalars(after as f64, summary.level, scalars));
    }
    Ok(after)
}

/// The records of a file that not every level has.
fn read_if_there<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, StoreError> {
    match path.exists() {
        true => read_lines(path),
        false => Ok(Vec::new()),
    }
}

/// Loss and accuracy of validation samples, where there are some.
fn validation(before: &str, loss: Option<f64>, accuracy: Option<f64>) -> Vec<(String, f64)> {
    let scalars = [("loss", loss), ("accuracy", accuracy)];
    let there = scalars
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    there
        .map(|(name, value)| (format!("{before}{name}"), value))
        .collect()
}

/// Makes a file hold these bytes. Where it holds their beginning, the rest is appended instead of
/// the whole being replaced: TensorBoard follows the open file and would not see another of its
/// name. A beginning that ends within a record is completed by the same step.
fn update(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let old = match path.exists() {
        true => read(path)?,
        false => Vec::new(),
    };
    if old == bytes {
        return Ok(());
    }
    if old.is_empty() || !bytes.starts_with(&old) {
        return write(path, bytes);
    }
    let rest = &bytes[old.len()..];
    ask(path)?;
    let append = || {
        let mut file = OpenOptions::new().append(true).open(path)?;
        file.write_all(rest)?;
        file.sync_all()
    };
    append().map_err(|source| StoreError::Write {
        path: path.to_owned(),
        bytes: rest.len(),
        source,
    })
}

#[cfg(test)]
mod tests;
