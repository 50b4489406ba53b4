//! What lies in a folder of runs: what each thing is, how it stands, what it takes, what needs it.

mod clean;
mod ls;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use super::exit::Failure;
use crate::neuron;
use crate::records::SweepRecord;
use crate::standing::{Links, Look, Size, Standing, State};
use crate::store::{Lock, RunDir, RunIdentity};

pub use clean::clean;
pub use ls::ls;

/// What a folder among the runs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// The runs of a file with `[sweep]`.
    Sweep,
    /// A run of an experiment.
    Run,
    /// A simulation of the hidden neuron.
    Simulation,
    /// Dense levels that runs share.
    Dense,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Sweep => "sweep",
            Self::Run => "run",
            Self::Simulation => "simulation",
            Self::Dense => "dense",
        }
    }
}

/// A folder among the runs.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    name: String,
    kind: Kind,
    state: State,
    /// Finished levels of all seeds.
    levels_done: u64,
    /// Levels that there are to be; none if no file says so.
    levels: Option<u64>,
    /// Bytes of its files, those included that it shares.
    bytes: u64,
    /// Seconds since a file of it was written last.
    seconds_since: Option<f64>,
    /// What it computes; a run's alone.
    identity: Option<String>,
    /// Names of what it needs: a sweep's runs, a run's dense level, the runs whose masks or points it takes.
    uses: Vec<String>,
    /// Names of what needs it.
    used_by: Vec<String>,
    /// Who has it, or why nobody does.
    note: String,
}

impl Entry {
    /// `lrr` of `lrr-301ce8ac`; a name without an identity as it is.
    fn experiment(&self) -> &str {
        match (self.kind, self.name.rsplit_once('-')) {
            (Kind::Run | Kind::Simulation, Some((name, _))) => name,
            _ => &self.name,
        }
    }
}

/// All that lies in a folder of runs.
struct Inventory {
    /// In the order of their names.
    entries: Vec<Entry>,
    /// Bytes of all of them; a file that several link counts once.
    bytes: u64,
    /// What an earlier `clean` began to remove and could not end.
    remains: Vec<PathBuf>,
}

impl Inventory {
    /// Reads a folder of runs.
    ///
    /// # Errors
    /// If there is no such folder.
    fn read(runs: &Path) -> Result<Self, Failure> {
        let listed = fs::read_dir(runs).map_err(|error| {
            Failure::bad_input(format!(
                "failed to read the folder of runs {}: {error}; name it with --runs",
                runs.display()
            ))
        })?;
        let folders = listed.flatten().filter(|it| it.path().is_dir());
        let names = folders.map(|it| it.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        let (mut look, mut links) = (Look::default(), Links::new());
        let mut cells: BTreeMap<String, Vec<Standing>> = BTreeMap::new();
        let mut inventory = Self {
            entries: Vec::new(),
            bytes: 0,
            remains: Vec::new(),
        };
        for name in names {
            let folder = runs.join(&name);
            if clean::is_remains(&name) {
                inventory.remains.push(folder);
            } else if let Some(mut entry) = entry((&mut look, &mut cells), runs, name) {
                let size = Size::of(&folder, &mut links);
                let since = size.changed.map(|it| SystemTime::now().duration_since(it));
                entry.seconds_since = since.map(|it| it.unwrap_or_default().as_secs_f64());
                entry.bytes = size.bytes;
                inventory.bytes += size.new;
                inventory.entries.push(entry);
            }
        }
        inventory.link();
        for entry in &mut inventory.entries {
            entry.stop(cells.get(&entry.name).map_or(&[], Vec::as_slice));
        }
        Ok(inventory)
    }

    /// Finds what uses what: so far entries name folders and identities that may not be here.
    fn link(&mut self) {
        let known = self.entries.iter();
        let by_identity: BTreeMap<&str, &str> = known
            .filter_map(|it| Some((it.identity.as_deref()?, it.name.as_str())))
            .collect();
        let names: BTreeSet<&str> = self.entries.iter().map(|it| it.name.as_str()).collect();
        let resolve = |entry: &Entry| -> Vec<String> {
            let named = entry.uses.iter().map(String::as_str);
            let named = named.map(|it| by_identity.get(it).copied().unwrap_or(it));
            let is_here = |name: &&str| names.contains(name);
            let mut uses: Vec<String> = named
                .filter(|name| is_here(name) && *name != entry.name)
                .map(str::to_owned)
                .collect();
            uses.sort();
            uses.dedup();
            uses
        };
        let uses: Vec<Vec<String>> = self.entries.iter().map(resolve).collect();
        let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (entry, uses) in self.entries.iter_mut().zip(uses) {
            for name in &uses {
                used.entry(name.clone())
                    .or_default()
                    .push(entry.name.clone());
            }
            entry.uses = uses;
        }
        for entry in &mut self.entries {
            entry.used_by = used.remove(&entry.name).unwrap_or_default();
        }
    }
}

/// What a folder is, but for its size; none if it is nothing that this program made.
fn entry(
    (look, all): (&mut Look, &mut BTreeMap<String, Vec<Standing>>),
    runs: &Path,
    name: String,
) -> Option<Entry> {
    let folder = runs.join(&name);
    let run = RunDir::new(&folder);
    let mut entry = Entry {
        kind: Kind::Dense,
        state: State::Stopped,
        levels_done: 0,
        levels: None,
        bytes: 0,
        seconds_since: None,
        identity: None,
        uses: Vec::new(),
        used_by: Vec::new(),
        note: String::new(),
        name,
    };
    if let Ok(record) = SweepRecord::read(&folder) {
        entry.kind = Kind::Sweep;
        let cells = look.cells(&folder, &record);
        entry.stand(&cells);
        for cell in cells {
            let Some(run) = cell.run.file_name() else {
                continue;
            };
            let run = run.to_string_lossy().into_owned();
            entry.uses.push(run.clone());
            all.entry(run).or_default().push(cell);
        }
    } else if run.file("identity.json").exists() || run.file("experiment.toml").exists() {
        entry.kind = Kind::Run;
        entry.stand(&[look.alone(&run).1]);
        if let Some(identity) = RunIdentity::read(&run).ok().flatten() {
            entry.uses = identities_in(&identity.value.canonical);
            entry.uses.extend(identity.value.dense);
            entry.identity = Some(identity.value.identity);
        }
    } else if folder.join(neuron::FILE).exists() {
        entry.kind = Kind::Simulation;
        (entry.state, entry.levels_done, entry.levels) = (State::Done, 1, Some(1));
    } else if !run.seeds().is_empty() {
        entry.of_dense(&run);
    } else {
        return None;
    }
    Some(entry)
}

/// The identities of other runs in the canonical form of an experiment, with or without a point behind them.
fn identities_in(canonical: &Value) -> Vec<String> {
    match canonical {
        Value::String(text) => {
            let text = text.split('#').next().unwrap_or_default();
            let is_identity = text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
            is_identity.then(|| text.to_owned()).into_iter().collect()
        }
        Value::Array(values) => values.iter().flat_map(identities_in).collect(),
        Value::Object(values) => values.values().flat_map(identities_in).collect(),
        _ => Vec::new(),
    }
}

impl Entry {
    /// How its runs stand, together.
    fn stand(&mut self, cells: &[Standing]) {
        let count = |state| cells.iter().filter(|it| it.state == state).count();
        let first = [State::Running, State::Failed, State::Stopped];
        let some = first.into_iter().find(|state| count(*state) > 0);
        self.state = match some {
            Some(state) => state,
            None if count(State::Waiting) == 0 => State::Done,
            None if count(State::Done) == 0 => State::Waiting,
            None => State::Stopped,
        };
        self.levels_done = cells.iter().map(|it| it.levels_done).sum();
        self.levels = cells.iter().map(|it| it.levels).sum();
        let said = cells
            .iter()
            .find(|it| it.state == self.state && !it.state.is_over());
        self.note = match (self.kind, said) {
            (_, None) => String::new(),
            (Kind::Sweep, Some(cell)) => match cell.note() {
                note if note.is_empty() => String::new(),
                note => format!("{}: {note}", cell.name),
            },
            (_, Some(cell)) => cell.note(),
        };
    }

    /// Takes in how the cells stand that it is: one that all sweeps are through with is not unfinished.
    fn stop(&mut self, cells: &[Standing]) {
        let own = cells.iter().find(|it| it.state == State::Behind);
        if let Some(own) = own.filter(|_| cells.iter().all(|it| it.state.is_over()))
            && matches!(self.state, State::Stopped | State::Failed)
        {
            (self.state, self.note) = (State::Behind, own.note());
            self.levels = own.levels.filter(|_| cells.len() == 1).or(self.levels);
        }
    }

    fn of_dense(&mut self, run: &RunDir) {
        let seeds = run.seeds();
        let done = seeds
            .iter()
            .map(|&it| run.seed(it).finished_levels().min(1));
        self.levels_done = done.sum();
        self.levels = Some(seeds.len() as u64);
        let locks = seeds.iter().map(|&it| run.seed(it).path().join("lock"));
        let owner = locks.filter_map(|it| Lock::holder(&it)).next();
        self.state = match &owner {
            Some(_) => State::Running,
            None if self.levels == Some(self.levels_done) => State::Done,
            None => State::Stopped,
        };
        self.note = owner.map_or_else(String::new, |by| {
            format!("process {} on {}", by.pid, by.host)
        });
    }
}

#[cfg(test)]
mod tests;
