//! Cells that are compared with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::experiment::{Experiment, Measure, Stop};
use crate::records::{Behind, Rung, read_summary};
use crate::report::{behind, value};
use crate::standing::failed::given_up_at;
use crate::store::RunDir;

/// Cells that are compared with each other.
pub struct Group {
    part: String,
    within: BTreeMap<String, Value>,
    confidence: f64,
    seeds: Vec<u64>,
    /// In the order of the sweep's file.
    cells: Vec<Entrant>,
    /// The levels at which some of them are compared, ascending.
    rungs: Vec<u64>,
    /// What was decided at a rung of which values.
    decided: BTreeMap<u64, (Inputs, Vec<Rung>)>,
    /// The rungs to which all have come.
    closed: Vec<u64>,
    /// The first rung at which not all have come, and those that have not.
    open: Option<(u64, Vec<usize>)>,
}

/// A cell that is compared with others.
pub struct Entrant {
    /// Its name in the sweep.
    name: String,
    job: usize,
    last: u64,
    /// Whether it goes on even if it is behind.
    is_spared: bool,
    /// Its rungs, with the density that it is to have there.
    densities: BTreeMap<u64, f64>,
    /// Validation accuracy at a rung, of each seed that was not given up before.
    values: BTreeMap<u64, Values>,
    /// The level at which it ends.
    stopped: Option<u64>,
    /// The level to which it may go now.
    goal: u64,
}

type Values = Vec<Option<f64>>;

/// A cell that is compared at a rung with its values, none if it is not there.
type Input = (usize, Option<Values>);
type Inputs = Vec<Input>;

impl Entrant {
    /// A cell of which nothing is known yet.
    pub fn new(name: String, job: usize, stop: &Stop, experiment: &Experiment) -> Self {
        let last = experiment.last_level();
        let rungs = stop.rungs(last).into_iter();
        Self {
            name,
            job,
            last,
            is_spared: false,
            densities: rungs
                .map(|level| (level, experiment.density(level)))
                .collect(),
            values: BTreeMap::new(),
            stopped: None,
            goal: last,
        }
    }

    /// The value of each seed at a level; none before all have come there or were given up.
    fn read(run: &RunDir, seeds: &[u64], level: u64) -> Option<Values> {
        let of_seed = |&seed: &u64| {
            let folder = run.seed(seed).level(level);
            if folder.is_declared() {
                // What is damaged is trained again, to the same values.
                folder.check_file("summary.json").ok()?;
                let summary = read_summary(&folder).ok()?;
                return Some(value(Measure::ValidationAccuracy, &summary));
            }
            let is_given_up = given_up_at(run, seed).is_some_and(|at| at <= level);
            is_given_up.then_some(None)
        };
        seeds.iter().map(of_seed).collect()
    }
}

impl Group {
    /// One without cells yet.
    pub fn new(part: &str, stop: &Stop, apart: &BTreeMap<&str, &Value>, seeds: &[u64]) -> Self {
        let within = apart.iter();
        Self {
            part: part.to_owned(),
            within: within
                .map(|(key, value)| ((*key).to_owned(), (*value).clone()))
                .collect(),
            confidence: stop.confidence,
            seeds: seeds.to_vec(),
            cells: Vec::new(),
            rungs: Vec::new(),
            decided: BTreeMap::new(),
            closed: Vec::new(),
            open: None,
        }
    }

    /// Whether cells with these values belong to it.
    pub fn is_of(&self, apart: &BTreeMap<&str, &Value>) -> bool {
        let own = self.within.iter().map(|(key, value)| (key.as_str(), value));
        own.eq(apart.iter().map(|(key, value)| (*key, *value)))
    }

    /// Whether a rung was one of it.
    pub fn has_written(&self, part: &str, within: &BTreeMap<String, Value>) -> bool {
        self.part == part && self.within == *within
    }

    /// The first rung to which not all have come.
    pub fn open(&self) -> Option<u64> {
        self.open.as_ref().map(|it| it.0)
    }

    /// Adds a cell; its place.
    pub fn add(&mut self, cell: Entrant) -> usize {
        self.rungs.extend(cell.densities.keys());
        self.rungs.sort_unstable();
        self.rungs.dedup();
        self.cells.push(cell);
        self.cells.len() - 1
    }

    /// Lets a cell go on whatever it comes to; others are compared with it all the same.
    pub fn spare(&mut self, place: usize) {
        self.cells[place].is_spared = true;
    }

    /// Reads what a cell came to at its rungs.
    pub fn look(&mut self, place: usize, run: &Path) {
        let run = RunDir::new(run);
        let cell = &mut self.cells[place];
        for &level in cell.densities.keys() {
            // Seeds that were given up may have gone on since.
            let is_known = |values: &Values| values.iter().all(Option::is_some);
            if cell.values.get(&level).is_some_and(is_known) {
                continue;
            }
            match Entrant::read(&run, &self.seeds, level) {
                Some(values) => cell.values.insert(level, values),
                None => break,
            };
        }
    }

    /// Decides at the rungs that all have come to, from the first on; cells that are lost are not waited for. Whether
    /// anything is decided otherwise than before.
    pub fn decide(&mut self, is_lost: &dyn Fn(usize) -> bool) -> bool {
        self.open = None;
        for cell in &mut self.cells {
            (cell.stopped, cell.goal) = (None, cell.last);
        }
        let before = std::mem::take(&mut self.closed);
        let mut is_new = false;
        for level in self.rungs.clone() {
            let inputs = self.inputs(level);
            if inputs.len() < 2 {
                // Whoever is left has nobody to be compared with.
                break;
            }
            let missing = || {
                inputs
                    .iter()
                    .filter(|(_, values)| values.is_none())
                    .map(|it| it.0)
            };
            let awaited: Vec<usize> = missing()
                .filter(|&it| !is_lost(self.cells[it].job))
                .collect();
            if !awaited.is_empty() || missing().count() == inputs.len() {
                for cell in &mut self.cells {
                    // One that has no rung here has fewer levels.
                    if cell.stopped.is_none() && !cell.is_spared {
                        cell.goal = cell.goal.min(level);
                    }
                }
                self.open = Some((level, awaited));
                break;
            }
            if self.decided.get(&level).is_none_or(|it| it.0 != inputs) {
                let rungs = self.compare(level, &inputs);
                self.decided.insert(level, (inputs, rungs));
                is_new = true;
            }
            self.closed.push(level);
            let rungs = self.decided.get(&level).into_iter().flat_map(|it| &it.1);
            let stopped: BTreeSet<&str> = rungs
                .flat_map(|it| &it.stopped)
                .map(|it| it.cell.as_str())
                .collect();
            for cell in &mut self.cells {
                if stopped.contains(cell.name.as_str()) {
                    (cell.stopped, cell.goal) = (Some(level), level);
                }
            }
        }
        is_new || self.closed != before
    }

    /// What was decided, in the order of the rungs.
    pub fn decided(&self) -> impl Iterator<Item = &Rung> {
        let closed = self.closed.iter();
        closed
            .filter_map(|level| self.decided.get(level))
            .flat_map(|it| &it.1)
    }

    /// The cells that are compared at a rung: those that were not stopped before it and have it.
    fn inputs(&self, level: u64) -> Inputs {
        let cells = self.cells.iter().enumerate();
        let there =
            cells.filter(|(_, it)| it.stopped.is_none() && it.densities.contains_key(&level));
        there
            .map(|(place, it)| (place, it.values.get(&level).cloned()))
            .collect()
    }

    /// Compares cells of the same density.
    fn compare(&self, level: u64, inputs: &Inputs) -> Vec<Rung> {
        let density = |place: usize| self.cells[place].densities[&level];
        let mut classes: Vec<(f64, Vec<&Input>)> = Vec::new();
        for input in inputs {
            let own = density(input.0);
            let same = |it: &f64| (it - own).abs() <= 0.01 * it.max(own);
            match classes.iter_mut().find(|(it, _)| same(it)) {
                Some((_, class)) => class.push(input),
                None => classes.push((own, vec![input])),
            }
        }
        classes.retain(|(_, class)| class.len() > 1);
        classes
            .into_iter()
            .map(|(density, class)| self.rung(level, density, &class))
            .collect()
    }

    fn rung(&self, level: u64, density: f64, class: &[&Input]) -> Rung {
        let name = |place: usize| self.cells[place].name.clone();
        let there: Vec<(usize, &[Option<f64>])> = (class.iter())
            .filter_map(|(place, values)| Some((*place, values.as_deref()?)))
            .collect();
        let values: Vec<&[Option<f64>]> = there.iter().map(|it| it.1).collect();
        let found = behind(&values, self.confidence);
        let best = found.best.map(|(at, mean)| (name(there[at].0), mean));
        let stopped = found
            .behind
            .into_iter()
            .filter(|lag| !self.cells[there[lag.cell].0].is_spared);
        let stopped = stopped.map(|lag| {
            let half = lag.difference.half_width.unwrap_or(f64::INFINITY);
            Behind {
                cell: name(there[lag.cell].0),
                difference: lag.difference.mean,
                low: lag.difference.mean - half,
                high: lag.difference.mean + half,
                seeds: lag.seeds.into_iter().map(|it| self.seeds[it]).collect(),
            }
        });
        Rung {
            part: self.part.clone(),
            within: self.within.clone(),
            level,
            density,
            stopped: stopped.collect(),
            compared: there.iter().map(|it| name(it.0)).collect(),
            missing: (class.iter())
                .filter(|(_, values)| values.is_none())
                .map(|(place, _)| name(*place))
                .collect(),
            accuracy: best.as_ref().map(|it| it.1),
            best: best.map(|it| it.0),
            confidence: self.confidence,
        }
    }

    /// The level to which a cell may go now.
    pub fn goal(&self, place: usize) -> u64 {
        self.cells[place].goal
    }

    /// The name of a cell that was stopped.
    pub fn stopped(&self, place: usize) -> Option<&str> {
        let cell = &self.cells[place];
        cell.stopped.map(|_| cell.name.as_str())
    }

    /// Whether a cell has come to this rung with some seeds, while others were given up before.
    pub fn is_there_in_part(&self, place: usize, level: u64) -> bool {
        let values = self.cells[place].values.get(&level);
        let some = |values: &Values| values.iter().any(Option::is_some);
        values.is_some_and(|it| some(it) && it.iter().any(Option::is_none))
    }

    /// The jobs that the others wait for, with the names of their cells.
    pub fn awaited(&self) -> impl Iterator<Item = (usize, &str)> {
        let places = self.open.iter().flat_map(|it| &it.1);
        places.map(|&place| (self.cells[place].job, self.cells[place].name.as_str()))
    }
}
