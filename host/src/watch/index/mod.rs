//! Looks at a folder of runs again and again, and brings what it finds to the board.
//!
//! A look asks little of what did not change: a finished run is looked at every half minute, any other one by a
//! question a seed. However slow the file system is, nine tenths of the time it is left alone.

mod alone;
mod facts;
mod row;
mod sweeps;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::beside;
use super::board::{Board, Place};
use crate::levels;
use crate::records::SweepRecord;
use crate::standing::{Links, Look, Size, Standing, State};
use crate::store::{RunDir, RunIdentity};
use facts::Facts;
use row::{Cell, Row};

/// Least time between two rounds.
const PAUSE: Duration = Duration::from_secs(1);

/// Finished runs are looked at again after this time.
const SETTLED: Duration = Duration::from_secs(30);

/// So many times as long as a round took nothing is looked at.
const REST: u32 = 9;

/// What is known so far is told so often within a round.
const TOLD: Duration = Duration::from_millis(200);

/// So long files are counted in a round.
const COUNTED: Duration = Duration::from_millis(200);

/// A folder of runs, as it was seen so far.
pub struct Index<'a> {
    runs: PathBuf,
    board: &'a Board,
    look: Look,
    sweeps: BTreeMap<String, (SystemTime, Result<SweepRecord, String>)>,
    /// Runs of no sweep: when their experiment file was written, and their seeds.
    seeds: BTreeMap<String, (SystemTime, Vec<u64>)>,
    known: BTreeMap<String, Known>,
    told: Instant,
    /// When all was looked at, the finished runs too, and how long that took.
    whole: Option<(Instant, Duration)>,
    is_whole: bool,
}

/// What is remembered of a run.
#[derive(Default)]
struct Known {
    cells: Vec<Cell>,
    place: Place,
    standing: Option<Standing>,
    facts: Option<(Vec<u64>, Facts)>,
    /// Its size when so many levels were finished.
    size: Option<(u64, u64)>,
    /// Folder of its dense level.
    dense: Option<PathBuf>,
    /// The round in which it was found last.
    round: u64,
}

impl<'a> Index<'a> {
    /// Nothing is known yet of this folder.
    pub fn new(runs: &Path, board: &'a Board) -> Self {
        Self {
            runs: runs.to_owned(),
            board,
            look: Look::default(),
            sweeps: BTreeMap::new(),
            seeds: BTreeMap::new(),
            known: BTreeMap::new(),
            told: Instant::now(),
            whole: None,
            is_whole: true,
        }
    }

    /// Looks until the board is closed.
    pub fn follow(mut self) {
        for round in 1.. {
            let started = Instant::now();
            self.round(round);
            let rest = (started.elapsed() * REST).max(PAUSE);
            let until = Instant::now() + rest;
            while Instant::now() < until {
                if self.board.is_closed() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50).min(rest));
            }
        }
    }

    /// Looks at all there is once.
    pub fn round(&mut self, round: u64) {
        let started = Instant::now();
        self.is_whole = self
            .whole
            .is_none_or(|(at, took)| at.elapsed() > (took * REST).max(SETTLED));
        let names = match names(&self.runs) {
            Ok(names) => names,
            Err(error) => return self.say(Some(error.to_string()), started),
        };
        if self.whole.is_none() {
            self.say(None, started);
        }
        for name in &names {
            self.sweep(name, round);
        }
        self.sweeps.retain(|name, _| names.contains(name));
        for name in &names {
            if !self.sweeps.contains_key(name) {
                self.alone(name, round);
            }
        }
        self.known.retain(|_, known| known.round == round);
        let ids: Vec<String> = self.known.keys().cloned().collect();
        for id in &ids {
            self.show(id);
            self.tell_now_and_then();
        }
        let (known, sweeps) = (&self.known, &self.sweeps);
        self.board.keep(|key| match key.split_once('/') {
            Some(("run", id)) => known.contains_key(id),
            Some(("sweep", name)) => sweeps.contains_key(name),
            _ => true,
        });
        if self.is_whole {
            self.whole = Some((started, started.elapsed()));
        }
        self.count_files();
        self.say(None, started);
    }

    /// Tells of the folder itself.
    fn say(&self, trouble: Option<String>, started: Instant) {
        let item = json!({
            "kind": "folder", "runs": self.runs, "trouble": trouble,
            "is_read": self.whole.is_some(),
            // In steps, so that it is no news each time.
            "seconds_between": (started.elapsed() * REST).max(PAUSE).as_secs(),
        });
        self.board.put("folder", &item, None);
        self.board.tell();
    }

    fn tell_now_and_then(&mut self) {
        if self.told.elapsed() > TOLD {
            self.board.tell();
            self.told = Instant::now();
        }
    }

    /// A finished run as it stood, in a round that takes it on trust.
    fn settled(&self, id: &str) -> Option<Standing> {
        let standing = self.known.get(id)?.standing.as_ref()?;
        let is_settled = !self.is_whole && standing.state.is_over();
        is_settled.then(|| standing.clone())
    }

    /// Notes that a run is a cell of a sweep, and how it stands. Cells with the same identity are one run.
    fn enter(&mut self, id: &str, cell: Cell, standing: Standing, place: Place, round: u64) {
        let known = self.known.entry(id.to_owned()).or_default();
        if known.round != round {
            known.round = round;
            known.cells.clear();
            known.place = Place::default();
        }
        if !known.cells.contains(&cell) {
            known.cells.push(cell);
        }
        if known.place.seeds.len() <= place.seeds.len() {
            known.place.seeds = place.seeds;
        }
        known.place.folder = place.folder;
        known.place.logs.extend(place.logs);
        known.standing = Some(standing);
        self.show_first(id);
    }

    /// Shows a run before all others were looked at, where none were yet.
    fn show_first(&mut self, id: &str) {
        if self.whole.is_none() {
            self.show(id);
            self.tell_now_and_then();
        }
    }

    /// Shows a run that was found.
    fn show(&mut self, id: &str) {
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        let Some(standing) = &known.standing else {
            return;
        };
        let (folder, seeds) = (&known.place.folder, &known.place.seeds);
        // What could not be read may have been mended.
        let is_current =
            |it: &(Vec<u64>, Facts)| it.0 == standing.finished && it.1.trouble.is_none();
        if !known.facts.as_ref().is_some_and(is_current) {
            let knows_levels = standing.levels.is_some();
            let facts = Facts::read(folder, seeds, &standing.finished, knows_levels);
            known.facts = Some((standing.finished.clone(), facts));
        }
        let mut row = Row::new(id, standing);
        row.cells = &known.cells;
        row.seeds = seeds;
        row.bytes = known.size.map(|it| it.1);
        if let Some((_, facts)) = &known.facts {
            row.facts = facts;
        }
        let mut stamp = standing.levels_done.to_string();
        if standing.state == State::Running {
            if known.dense.is_none() {
                let identity = RunIdentity::read(&RunDir::new(folder)).ok().flatten();
                let dense = identity.and_then(|it| it.value.dense);
                known.dense = dense.and_then(|it| beside(folder, &it));
            }
            let homes = [Some(folder), known.dense.as_ref()].into_iter().flatten();
            let homes =
                homes.flat_map(|home| seeds.iter().map(move |&it| RunDir::new(home).seed(it)));
            let last = homes
                .filter_map(|home| changed(&levels::checkpoint_of(&home)))
                .max();
            let since = last.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
            stamp += &since.map_or_else(String::new, |it| format!("/{}", it.as_millis()));
        }
        row.stamp = stamp;
        self.board
            .put(&format!("run/{id}"), &row, Some(known.place.clone()));
    }

    /// Counts the files of some runs that have more levels than when they were counted last.
    fn count_files(&mut self) {
        let started = Instant::now();
        let mut changed = Vec::new();
        for (id, known) in &mut self.known {
            let Some(standing) = &known.standing else {
                continue;
            };
            let is_counted = known.size.is_some_and(|it| it.0 == standing.levels_done);
            if is_counted || standing.state == State::Waiting || known.place.seeds.is_empty() {
                continue;
            }
            let bytes = Size::of(&known.place.folder, &mut Links::new()).bytes;
            known.size = Some((standing.levels_done, bytes));
            changed.push(id.clone());
            if started.elapsed() > COUNTED {
                break;
            }
        }
        for id in changed {
            self.show(&id);
        }
    }
}

/// When a file was written last; none if it is not there.
fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).ok()?.modified().ok()
}

/// The folders among the runs, in order, but for those that are being removed.
fn names(runs: &Path) -> std::io::Result<BTreeSet<String>> {
    let folders = fs::read_dir(runs)?
        .flatten()
        .filter(|it| it.path().is_dir());
    let names = folders.filter_map(|it| it.file_name().into_string().ok());
    Ok(names.filter(|it| !it.starts_with('.')).collect())
}
