//! Looking at runs, again and again.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::{Standing, State, failed, pace};
use crate::counted::counted;
use crate::experiment::{Experiment, read_stored};
use crate::neuron;
use crate::records::{
    STOPPED_FILE, StopRecord, Stopped, SweepCell, SweepPart, SweepRecord, name_in_sweep,
};
use crate::store::{Lock, RunDir, SeedDir, Standing as LockStanding, Watch};

/// What is remembered from look to look, so that a look at what has not changed costs one question a seed.
#[derive(Default)]
pub struct Look {
    watches: BTreeMap<PathBuf, Watch>,
    /// What the experiments of runs say.
    asked: BTreeMap<PathBuf, Asked>,
    /// When a seed's folder was changed last, and its finished levels, by its path.
    finished: BTreeMap<PathBuf, (SystemTime, u64)>,
    /// Finished levels of a run's seeds, and how long a level took then.
    paces: BTreeMap<PathBuf, (Vec<u64>, Option<f64>)>,
    /// Which cells of a sweep were stopped.
    stopped: BTreeMap<PathBuf, StoppedCells>,
}

/// What a run's experiment says.
#[derive(Clone, Copy)]
struct Asked {
    /// Levels of a seed.
    levels: u64,
    /// The same for experiments whose levels take as long: those of one network, trained as long on the same data.
    work: u64,
}

impl Asked {
    fn of(experiment: &Experiment) -> Self {
        let train = &experiment.train;
        let work = (
            &experiment.data,
            &experiment.model,
            train.epochs,
            train.batch_size,
        );
        let mut hasher = DefaultHasher::new();
        format!("{work:?}").hash(&mut hasher);
        Self {
            levels: experiment.last_level() + 1,
            work: hasher.finish(),
        }
    }
}

/// Which cells of a sweep were stopped.
struct StoppedCells {
    /// When the file that says so was looked at, and when it had been written.
    looked: Instant,
    written: Option<SystemTime>,
    cells: BTreeMap<String, Stopped>,
}

/// For so long the cells of a sweep are looked at by one question which of them were stopped.
const ONE_LOOK: Duration = Duration::from_millis(500);

impl Look {
    /// How the cells of a sweep stand now.
    pub fn cells(&mut self, folder: &Path, record: &SweepRecord) -> Vec<Standing> {
        let mut cells = Vec::new();
        for part in &record.parts {
            for cell in &part.cells {
                cells.push(self.cell(folder, record, part, cell));
            }
            cells.extend(
                part.neuron
                    .iter()
                    .map(|run| self.simulation(folder, &part.name, run)),
            );
        }
        estimate(&mut cells);
        cells
    }

    /// How one cell stands now, but for the time left, which those beside it may have to say.
    pub fn cell(
        &mut self,
        folder: &Path,
        record: &SweepRecord,
        part: &SweepPart,
        cell: &SweepCell,
    ) -> Standing {
        let name = name_in_sweep(record.parts.len(), &part.name, &cell.name);
        let path = cell.folder(folder);
        let run = RunDir::new(&path);
        let stopped = self.stopped(folder, &name);
        let asked = self.asked_of(folder, record, &run);
        let wanted = asked.map(|it| it.levels);
        let wanted = match &stopped {
            Some(it) => Some(wanted.map_or(it.level + 1, |wanted| wanted.min(it.level + 1))),
            None => wanted,
        };
        let done: Vec<u64> = (cell.seeds.iter())
            .map(|&seed| self.finished(&run.seed(seed), wanted))
            .collect();
        let left = done.iter().map(|done| wanted.map(|it| it - done));
        let left = left.max().unwrap_or_default();
        let mut standing = self.of_run(path, name, left == Some(0));
        if let Some(stopped) = stopped.filter(|_| standing.owner.is_none()) {
            // Seeds that were given up before are no reason to go on.
            standing.state = State::Behind;
            standing.reason = Some(stopped.to_string());
            standing.stopped = Some(stopped);
        }
        standing.levels_done = done.iter().sum();
        standing.levels = wanted.map(|it| it * cell.seeds.len() as u64);
        standing.levels_left = left;
        standing.work = asked.map(|it| it.work);
        standing.seconds_a_level = self.pace(&run, &cell.seeds, &done);
        standing.finished = done;
        if !standing.state.is_over() {
            let failures = cell
                .seeds
                .iter()
                .filter_map(|&seed| failed::given_up(&run, seed));
            standing.fail(failures.collect(), folder);
        }
        standing
    }

    /// How a simulation of the hidden neuron stands now.
    pub fn simulation(&mut self, folder: &Path, name: &str, run: &Path) -> Standing {
        let path = folder.join(run);
        let is_done = path.join(neuron::FILE).exists();
        let mut standing = self.of_run(path, name.to_owned(), is_done);
        (standing.levels_done, standing.levels) = (u64::from(is_done), Some(1));
        standing.levels_left = is_done.then_some(0);
        standing.fail(Vec::new(), folder);
        standing
    }

    /// How a run stands now that is looked at by itself, with the seeds that it has or is to have.
    pub fn alone(&mut self, run: &RunDir) -> (Vec<u64>, Standing) {
        let mut seeds = run.seeds();
        if let Ok(experiment) = read_stored(&run.file("experiment.toml")) {
            seeds.extend(experiment.seeds);
        }
        seeds.sort_unstable();
        seeds.dedup();
        let standing = self.with_seeds(run, seeds.clone());
        (seeds, standing)
    }

    /// As [`alone`](Self::alone) of these seeds.
    pub fn with_seeds(&mut self, run: &RunDir, seeds: Vec<u64>) -> Standing {
        let cell = SweepCell {
            name: run.name(),
            run: run.name().into(),
            seeds,
            ..SweepCell::default()
        };
        let runs = run.path().parent().unwrap_or(run.path());
        let (record, part) = (SweepRecord::default(), SweepPart::default());
        let standing = self.cell(runs, &record, &part, &cell);
        let mut cells = [standing];
        estimate(&mut cells);
        let [standing] = cells;
        standing
    }

    /// Finished levels of a seed, at most as many as there are to be. Who finishes a level changes nothing in the seed's
    /// own folder; who removes one does.
    fn finished(&mut self, seed: &SeedDir, wanted: Option<u64>) -> u64 {
        let wanted = wanted.unwrap_or(u64::MAX);
        let changed = fs::metadata(seed.path()).and_then(|it| it.modified());
        let Ok(changed) = changed else {
            return 0;
        };
        let known = self.finished.get(seed.path());
        let known = known.filter(|it| it.0 == changed).map_or(0, |it| it.1);
        let more = (known..wanted).take_while(|&level| seed.level(level).is_declared());
        let done = known + more.count() as u64;
        if done > 0 {
            self.finished
                .insert(seed.path().to_owned(), (changed, done));
        }
        done.min(wanted)
    }

    fn pace(&mut self, run: &RunDir, seeds: &[u64], done: &[u64]) -> Option<f64> {
        match self.paces.get(run.path()) {
            Some((known, pace)) if known == done => *pace,
            _ => {
                let pace = pace::of(run, seeds, done);
                if done.iter().any(|it| *it > 0) {
                    let known = (done.to_vec(), pace);
                    self.paces.insert(run.path().to_owned(), known);
                }
                pace
            }
        }
    }

    /// Behind whom a cell of a sweep was stopped, if it was.
    fn stopped(&mut self, folder: &Path, cell: &str) -> Option<Stopped> {
        let known = self.stopped.get_mut(folder);
        if known
            .as_ref()
            .is_none_or(|it| it.looked.elapsed() >= ONE_LOOK)
        {
            let file = fs::metadata(folder.join(STOPPED_FILE));
            let written = file.and_then(|it| it.modified()).ok();
            match known {
                Some(known) if known.written == written => known.looked = Instant::now(),
                _ => {
                    // What is damaged is written anew by the sweep's own command.
                    let record = StopRecord::read(folder).unwrap_or_default();
                    let now = StoppedCells {
                        looked: Instant::now(),
                        written,
                        cells: record.cells(),
                    };
                    self.stopped.insert(folder.to_owned(), now);
                }
            }
        }
        self.stopped.get(folder)?.cells.get(cell).cloned()
    }

    /// What the lock of a run says.
    fn of_run(&mut self, run: PathBuf, name: String, is_done: bool) -> Standing {
        let lock = run.join("lock");
        let mut standing = Standing::new(name, run);
        if is_done {
            self.watches.remove(&lock);
            standing.state = State::Done;
            return standing;
        }
        if !standing.run.exists() {
            return standing;
        }
        let watch = self.watches.entry(lock.clone());
        let watch = watch.or_insert_with(|| Watch::new(&lock));
        standing.state = State::Stopped;
        match watch.look() {
            Ok(LockStanding::Held(by)) => {
                standing.state = State::Running;
                standing.owner = Some(by);
                standing.seconds_held = Lock::held_for(&lock).map(|it| it.as_secs_f64());
                standing.seconds_silent = watch.since().map(|it| it.as_secs_f64());
            }
            Ok(LockStanding::Dead(by)) => {
                let reason = format!("process {} on {} ended without a word", by.pid, by.host);
                standing.reason = Some(reason);
            }
            _ => (),
        }
        standing
    }

    /// What a run's experiment says, or else the sweep's copy of it.
    fn asked_of(&mut self, folder: &Path, record: &SweepRecord, run: &RunDir) -> Option<Asked> {
        if let Some(&asked) = self.asked.get(run.path()) {
            return Some(asked);
        }
        let name = run.name();
        let cell = name
            .rsplit_once('-')
            .map_or(record.name.as_str(), |it| it.0);
        let copy = folder.join("cells").join(format!("{cell}.toml"));
        let files = [run.file("experiment.toml"), copy];
        let asked = files
            .iter()
            .find_map(|file| read_stored(file).ok())
            .map(|it| Asked::of(&it))?;
        self.asked.insert(run.path().to_owned(), asked);
        Some(asked)
    }
}

/// Says how long the rest of each cell takes: as long as its own levels, or else as those of others that are trained alike.
pub fn estimate(cells: &mut [Standing]) {
    let mut known: BTreeMap<Option<u64>, Vec<f64>> = BTreeMap::new();
    for cell in cells.iter() {
        let seconds = cell.seconds_a_level;
        known.entry(cell.work).or_default().extend(seconds);
    }
    for cell in cells {
        let alike = &known[&cell.work];
        let mean = (!alike.is_empty()).then(|| alike.iter().sum::<f64>() / alike.len() as f64);
        cell.seconds_left = cell.levels_left.and_then(|levels| match levels {
            0 => Some(0.0),
            levels => Some(levels as f64 * cell.seconds_a_level.or(mean)?),
        });
    }
}

impl Standing {
    /// Takes in why seeds were given up, or else what the cell's process said last.
    fn fail(&mut self, seeds: Vec<String>, folder: &Path) {
        if !seeds.is_empty() {
            self.reason = Some(seeds.join("; "));
            if self.state == State::Stopped {
                self.state = State::Failed;
            }
            return;
        }
        if !matches!(self.state, State::Stopped | State::Waiting) {
            return;
        }
        let log = log_name(&self.name);
        if let Some(failed) = failed::read(folder, &log) {
            let alone = match failed.times >= failed::MOST {
                true => " and is left alone",
                false => "",
            };
            let times = counted(failed.times, "time");
            self.reason = Some(format!("failed {times}{alone}: {}", failed.reason));
            (self.state, self.failures) = (State::Failed, failed.times);
        } else if let Some(said) = failed::last_error(&log_of(folder, &self.name)) {
            self.reason = Some(said);
            self.state = State::Failed;
        }
    }
}

/// The name of a cell as its sweep's files have it.
fn log_name(cell: &str) -> String {
    cell.replace(['/', ' '], "-")
}

/// The file with what a cell's process told people.
pub fn log_of(sweep: &Path, cell: &str) -> PathBuf {
    sweep.join("logs").join(format!("{}.log", log_name(cell)))
}
