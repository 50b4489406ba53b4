//! Shows a run to whoever started it: moving bars on a terminal, plain lines or JSON elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar};
use serde_json::{Value, json};

use super::args::Output;
use super::bars::{RUN, bar};
use super::stdout;
use crate::counted::counted;
use crate::experiment::Experiment;
use crate::levels::{Event, Observer};
use crate::records::Summary;
use crate::store::RunDir;

/// What a run is called before its first event.
enum Title {
    /// For people.
    Words(String),
    /// For programs.
    Event(Value),
}

/// Shows a run.
pub struct Watcher {
    /// What is run, in words or as an event; said once something happens, as the run may yet be refused.
    title: Option<Title>,
    bar: Option<ProgressBar>,
    json: bool,
    quiet: bool,
    last_level: u64,
    seeds: usize,
    started: Instant,
    /// Summaries of the level under way, by seed.
    level: BTreeMap<u64, Summary>,
    /// Losses and accuracies of the last epoch, by seed.
    epoch: BTreeMap<u64, (f64, f64)>,
    /// Levels that are done, by seed.
    done: BTreeMap<u64, u64>,
    /// Seeds that train at the moment.
    training: BTreeSet<u64>,
    /// Whether a step was made since the last level started.
    stepped: bool,
}

impl Watcher {
    /// A watcher of a run of this experiment.
    pub fn new(
        output: &Output,
        bars: &MultiProgress,
        experiment: &Experiment,
        run: &RunDir,
    ) -> Self {
        let levels = experiment.last_level() + 1;
        let title = match (output.json, output.quiet) {
            (true, _) => Some(Title::Event(json!({
                "event": "run-started", "run": run.path(), "levels": levels, "seeds": experiment.seeds,
            }))),
            (false, true) => None,
            (false, false) => Some(Title::Words(format!(
                "{}: {}, {}",
                run.path().display(),
                counted(levels, "level"),
                counted(experiment.seeds.len(), "seed")
            ))),
        };
        Self {
            title,
            bar: output.bars().then(|| bars.add(bar(RUN))),
            json: output.json,
            quiet: output.quiet,
            last_level: experiment.last_level(),
            seeds: experiment.seeds.len(),
            started: Instant::now(),
            level: BTreeMap::new(),
            epoch: BTreeMap::new(),
            done: BTreeMap::new(),
            training: BTreeSet::new(),
            stepped: false,
        }
    }

    /// Takes down what moves.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if !self.quiet && !self.json => stdout::tell(line),
            None => {}
        }
    }

    fn level_done(&mut self, summary: &Summary) {
        self.level.retain(|_, other| other.level == summary.level);
        self.level.insert(summary.seed, summary.clone());
        if self.level.len() < self.seeds {
            return;
        }
        let mean =
            self.level.values().map(|s| s.test_accuracy).sum::<f64>() / self.level.len() as f64;
        self.say(&format!(
            "level {:>2}/{}  density {:.4}  survivors {:>8}  test accuracy {:5.2} %  {:>6.1} s",
            summary.level,
            self.last_level,
            summary.density,
            summary.survivors,
            100.0 * mean,
            self.started.elapsed().as_secs_f64()
        ));
    }

    /// Moves the bar, which counts the steps of all levels of all seeds.
    fn step(&mut self, level: u64, step: u64, steps: u64) {
        let first = !std::mem::replace(&mut self.stepped, true);
        let Some(bar) = &self.bar else { return };
        let resting = self
            .done
            .iter()
            .filter(|(seed, _)| !self.training.contains(seed));
        let before: u64 = resting.map(|(_, levels)| levels * steps).sum();
        bar.set_length(self.seeds as u64 * (self.last_level + 1) * steps);
        bar.set_position(before + self.training.len() as u64 * (level * steps + step));
        if first && self.epoch.is_empty() {
            // What was done in an earlier session says nothing of this one's speed.
            bar.reset_eta();
        }
        let n = self.epoch.len().max(1) as f64;
        let (loss, accuracy) = self
            .epoch
            .values()
            .fold((0.0, 0.0), |a, b| (a.0 + b.0 / n, a.1 + b.1 / n));
        bar.set_message(match self.epoch.is_empty() {
            true => format!("level {level}"),
            false => format!(
                "level {level}  loss {loss:.4}  train accuracy {:.1} %",
                100.0 * accuracy
            ),
        });
    }
}

impl Observer for Watcher {
    fn observe(&mut self, event: &Event<'_>) {
        match self.title.take() {
            Some(Title::Words(words)) => log::info!("{words}"),
            // What fails here fails again where the result is written, and is reported there.
            Some(Title::Event(event)) => drop(stdout::line(event)),
            None => {}
        }
        if self.json {
            print_json(event);
        }
        match event {
            Event::LevelFound { summary } => {
                self.done.insert(summary.seed, summary.level + 1);
            }
            Event::LevelStarted {
                seed,
                level,
                survivors,
                weights,
                step,
                ..
            } => {
                if std::mem::replace(&mut self.stepped, false) {
                    self.training.clear();
                    self.epoch.clear();
                }
                self.training.insert(*seed);
                log::debug!(
                    "seed {seed}: level {level} starts at step {step} with {survivors} of {weights} weights"
                );
            }
            Event::Step { level, step, steps } => self.step(*level, *step, *steps),
            Event::Epoch {
                seed,
                epochs,
                record,
            } => {
                self.epoch
                    .insert(*seed, (record.train_loss, record.train_accuracy));
                log::debug!(
                    "seed {seed}: level {} epoch {}/{epochs}  loss {:.4}  train accuracy {:.2} %",
                    record.level,
                    record.epoch + 1,
                    record.train_loss,
                    100.0 * record.train_accuracy
                );
            }
            Event::LevelDone { summary } => {
                self.done.insert(summary.seed, summary.level + 1);
                self.level_done(summary);
            }
            Event::SeedFailed {
                seed,
                level,
                reason,
            } => {
                self.done.insert(*seed, self.last_level + 1);
                self.training.remove(seed);
                self.epoch.remove(seed);
                log::error!("seed {seed}, level {level}: {reason}");
            }
        }
    }
}

fn print_json(event: &Event<'_>) {
    let value = match event {
        Event::LevelFound { summary } => json!({ "event": "level-found", "summary": summary }),
        Event::LevelStarted {
            seed,
            level,
            survivors,
            weights,
            step,
            steps,
        } => json!({
            "event": "level-started", "seed": seed, "level": level, "survivors": survivors,
            "weights": weights, "step": step, "steps": steps,
        }),
        Event::Step { .. } => return,
        Event::Epoch { seed, record, .. } => {
            json!({ "event": "epoch", "seed": seed, "record": record })
        }
        Event::LevelDone { summary } => json!({ "event": "level-done", "summary": summary }),
        Event::SeedFailed {
            seed,
            level,
            reason,
        } => {
            json!({ "event": "seed-failed", "seed": seed, "level": level, "reason": reason })
        }
    };
    // What fails here fails again where the result is written, and is reported there.
    let _ = stdout::line(value);
}
