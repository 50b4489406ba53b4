//! One view of all runs of a sweep.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar};
use serde_json::{Value, json};

use super::jobs::{Job, count};
use super::pace::Counted;
use super::state::State;
use crate::cli::args::Output;
use crate::cli::bars::{self, CELL, RUN};
use crate::cli::stdout;
use crate::records::Stopped;

/// Shows how far the runs are.
pub struct Progress {
    jobs: Vec<JobProgress>,
    bars: MultiProgress,
    /// All runs together; none where nothing moves.
    total: Option<ProgressBar>,
    json: bool,
    quiet: bool,
    started: Instant,
    counted: Counted,
}

/// How far one run is.
struct JobProgress {
    name: String,
    run: PathBuf,
    wanted: bool,
    noun: &'static str,
    levels: u64,
    seeds: usize,
    /// Whether it is done: what is no run says nothing on the way.
    is_done: bool,
    /// Levels that are done, with the part of the one under way, by seed.
    done: BTreeMap<u64, f64>,
    steps: f64,
    accuracy: Option<f64>,
    bar: Option<ProgressBar>,
}

/// Resolution of the bars: parts of a level.
const PARTS: f64 = 100.0;

impl Progress {
    /// A view of these jobs.
    pub fn new(jobs: &[Job], wanted: &[Vec<u64>], output: &Output, bars: &MultiProgress) -> Self {
        let jobs: Vec<JobProgress> = (jobs.iter().zip(wanted))
            .map(|(job, seeds)| JobProgress {
                name: job.name.clone(),
                run: job.run.clone(),
                wanted: !seeds.is_empty(),
                noun: job.noun,
                levels: job.levels,
                seeds: seeds.len(),
                is_done: false,
                done: BTreeMap::new(),
                steps: 1.0,
                accuracy: None,
                bar: None,
            })
            .collect();
        let total = output.bars().then(|| {
            let bar = bars.add(bars::bar(RUN));
            bar.set_length(
                jobs.iter()
                    .filter(|job| job.wanted)
                    .map(JobProgress::length)
                    .sum(),
            );
            bar
        });
        Self {
            jobs,
            bars: bars.clone(),
            total,
            json: output.json,
            quiet: output.quiet,
            started: Instant::now(),
            counted: Counted::default(),
        }
    }

    /// What all runs did since the beginning.
    pub fn counted(&self) -> Counted {
        self.counted
    }

    /// A run starts.
    pub fn started(&mut self, index: usize, levels: u64) {
        let job = &mut self.jobs[index];
        (job.levels, job.is_done) = (levels, false);
        if let Some(total) = &self.total {
            total.set_length(self.length());
            let job = &mut self.jobs[index];
            let bar = self.bars.insert_before(total, bars::bar(CELL));
            bar.set_length(job.length());
            bar.set_message(job.name.clone());
            job.bar = Some(bar);
        }
    }

    /// A run says something.
    pub fn event(&mut self, index: usize, mut event: Value) {
        let job = &mut self.jobs[index];
        self.counted.epochs += u64::from(event["event"] == "epoch");
        self.counted.levels += job.take(&event);
        if let Some(bar) = &job.bar {
            bar.set_position(job.position());
            let accuracy = job.accuracy.map(|it| format!("  {:.2} %", 100.0 * it));
            bar.set_message(format!("{}{}", job.name, accuracy.unwrap_or_default()));
        }
        if let Some(total) = &self.total {
            total.set_position(self.jobs.iter().map(JobProgress::position).sum());
        }
        if self.json {
            event["cell"] = self.jobs[index].name.clone().into();
            // What fails here fails again where the result is written, and is reported there.
            let _ = stdout::line(event);
        }
    }

    /// A run ended.
    pub fn ended(&mut self, index: usize, state: &State) {
        if let Some(bar) = self.jobs[index].bar.take() {
            bar.finish_and_clear();
        }
        self.jobs[index].is_done = state.is_over();
        self.tell(index, state.word());
        if state.is_lost()
            && let Some(reason) = state.reason()
        {
            log::error!("{}: {reason}", self.jobs[index].name);
        }
    }

    /// A run came to a level at which it waits for others.
    pub fn arrived(&mut self, index: usize, level: u64) {
        if let Some(bar) = self.jobs[index].bar.take() {
            bar.finish_and_clear();
        }
        self.tell(index, &format!("level {level}"));
    }

    /// A run that waited at a level goes no further.
    pub fn stopped(&mut self, index: usize, stopped: &Stopped) {
        let job = &mut self.jobs[index];
        job.levels = stopped.level + 1;
        job.is_done = true;
        let line = format!("{:<8} {}  {stopped}", "behind", job.name);
        if self.json {
            let mut event = json!({ "event": "cell-stopped", "cell": job.name, "run": job.run });
            if let (Some(event), Ok(Value::Object(facts))) =
                (event.as_object_mut(), serde_json::to_value(stopped))
            {
                event.extend(facts);
            }
            // As with events of runs.
            let _ = stdout::line(event);
        }
        if let Some(total) = &self.total {
            total.set_length(self.length());
        }
        self.say(line);
    }

    fn length(&self) -> u64 {
        let wanted = self.jobs.iter().filter(|job| job.wanted);
        wanted.map(JobProgress::length).sum()
    }

    fn tell(&self, index: usize, word: &str) {
        let job = &self.jobs[index];
        let accuracy = (job.accuracy).map_or_else(String::new, |it| {
            format!("  last accuracy {:.2} %", 100.0 * it)
        });
        self.say(format!(
            "{word:<8} {}{accuracy}  {:.0} s",
            job.name,
            self.started.elapsed().as_secs_f64()
        ));
    }

    fn say(&self, line: String) {
        match &self.total {
            Some(total) => {
                total.set_position(self.jobs.iter().map(JobProgress::position).sum());
                let done = self.jobs.iter().filter(|job| job.is_done);
                total.set_message(count(done.map(|job| job.noun)));
                total.println(line);
            }
            None if !self.quiet && !self.json => stdout::tell(line),
            None => {}
        }
    }

    /// Whether a run has left its dense level behind, so that another finds it.
    pub fn is_past_dense(&self, index: usize) -> bool {
        let job = &self.jobs[index];
        job.done.len() == job.seeds && job.done.values().all(|&levels| levels >= 1.0)
    }

    /// Takes down what moves.
    pub fn finish(&self) {
        if let Some(total) = &self.total {
            total.finish_and_clear();
        }
    }
}

impl JobProgress {
    fn length(&self) -> u64 {
        (self.levels as f64 * self.seeds as f64 * PARTS) as u64
    }

    fn position(&self) -> u64 {
        match self.is_done {
            true => self.length(),
            false => (self.done.values().sum::<f64>() * PARTS) as u64,
        }
    }

    /// Takes in how far a seed is; the levels, or the part of one, that it did since it last said so.
    fn take(&mut self, event: &Value) -> f64 {
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let summary = &event["summary"];
        let (seed, at, is_work) = match event["event"].as_str() {
            Some(kind @ ("level-found" | "level-done")) => {
                let Some(seed) = summary["seed"].as_u64() else {
                    return 0.0;
                };
                self.accuracy = summary["test_accuracy"].as_f64();
                (seed, number(&summary["level"]) + 1.0, kind == "level-done")
            }
            Some("level-started") => {
                self.steps = number(&event["steps"]).max(1.0);
                let Some(seed) = event["seed"].as_u64() else {
                    return 0.0;
                };
                let within = number(&event["step"]) / self.steps;
                (seed, number(&event["level"]) + within, false)
            }
            Some("epoch") => {
                let Some(seed) = event["seed"].as_u64() else {
                    return 0.0;
                };
                let record = &event["record"];
                let within = (number(&record["step"]) / self.steps).min(0.99);
                (seed, number(&record["level"]) + within, true)
            }
            _ => return 0.0,
        };
        let before = self.done.get(&seed).copied();
        // A level comes to lie on disk while the next one trains.
        let at = match event["event"].as_str() {
            Some("level-done") => at.max(before.unwrap_or(0.0)),
            _ => at,
        };
        self.done.insert(seed, at);
        match before {
            Some(before) if is_work => (at - before).max(0.0),
            _ => 0.0,
        }
    }
}
