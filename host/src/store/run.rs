//! Paths of a run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::level::LevelDir;
use super::lock::{Lock, LockError, NAME};
use super::point::{POINTS, PointDir};

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// A run's folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the folder, by which a run is told from others wherever they lie.
    pub fn name(&self) -> String {
        let path = self.path.canonicalize();
        let path = path.as_ref().unwrap_or(&self.path);
        path.file_name().map_or_else(
            || path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder of a seed.
    pub fn seed(&self, seed: u64) -> SeedDir {
        SeedDir {
            path: self.path.join(format!("seed-{seed}")),
        }
    }

    /// The seeds that have a folder, ascending.
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                entry
                    .ok()?
                    .file_name()
                    .to_str()?
                    .strip_prefix("seed-")?
                    .parse()
                    .ok()
            })
            .collect();
        seeds.sort_unstable();
        seeds
    }

    /// Removes what processes that were killed left of the files that they wrote beside the levels. The run must
    /// be locked.
    pub fn tidy(&self) {
        super::tidy(&self.path);
        for seed in self.seeds() {
            super::tidy(self.seed(seed).path());
            super::tidy(&self.path.join(format!("tensorboard/seed-{seed}")));
        }
    }

    /// Keeps other processes out of the run.
    ///
    /// # Errors
    /// If another process has it.
    pub fn lock(&self) -> Result<Lock, LockError> {
        Lock::take(&self.file(NAME))
    }

    /// As [`lock`](Self::lock), but gives a process that has it, and was led by one that is gone, this long to
    /// end.
    ///
    /// # Errors
    /// If another process has it still.
    pub fn lock_within(&self, patience: Duration) -> Result<Lock, LockError> {
        Lock::take_within(&self.file(NAME), patience)
    }
}

/// The folder of one seed.
#[derive(Clone, Debug)]
pub struct SeedDir {
    path: PathBuf,
}

impl SeedDir {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a level.
    pub fn level(&self, level: u64) -> LevelDir {
        LevelDir::new(&self.path, level)
    }

    /// Number of levels that are finished, counted from level 0.
    pub fn finished_levels(&self) -> u64 {
        let is_done = |level: &u64| self.level(*level).is_declared();
        (0..).take_while(is_done).count() as u64
    }

    /// The levels from one on that have a folder, ascending.
    pub fn levels_from(&self, first: u64) -> Vec<u64> {
        let names = super::level::names_in(&self.path);
        let numbers = names
            .iter()
            .filter_map(|it| it.strip_prefix("level-")?.parse().ok());
        let mut levels: Vec<u64> = numbers.filter(|&level| level >= first).collect();
        levels.sort_unstable();
        levels
    }

    /// The folder of a point of the dense level.
    pub fn point(&self, step: u64) -> PointDir {
        PointDir::new(&self.path, step)
    }

    /// The steps whose points have a folder, ascending.
    pub fn points(&self) -> Vec<u64> {
        let names = super::level::names_in(&self.path.join(POINTS));
        let mut steps: Vec<u64> = names
            .iter()
            .filter_map(|it| PointDir::step_of(it))
            .collect();
        steps.sort_unstable();
        steps
    }

    /// The folder of the rolling checkpoint.
    pub fn progress(&self) -> PathBuf {
        self.path.join("progress")
    }

    /// Why this seed was given up, if it was.
    pub fn failure(&self) -> PathBuf {
        self.path.join("failed.json")
    }

    /// Keeps other processes out of the seed, waiting if need be; none if `stop` came true meanwhile.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn wait(&self, stop: &dyn Fn() -> bool) -> Result<Option<Lock>, LockError> {
        Lock::wait(&self.path.join(NAME), stop)
    }
}
