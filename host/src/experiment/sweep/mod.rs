//! Sweeps: files that stand for many experiments.
//!
//! `[sweep.methods]` lays each method over the rest of the file, `[sweep.grid]` crosses the methods
//! with lists of values, and `include` takes in other files. Each combination is a cell: an ordinary
//! experiment with a name of its own.

mod distinct;
mod expand;
mod file;
mod form;
mod resolve;
mod stop;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use self::distinct::Distinct;
pub use self::stop::Stop;
use super::diagnostic::{Diagnostic, Place};
use super::inherit::{Reader, text_of};
use super::overrides;
use super::{Catalog, Claim, Diagnostics, Loaded, NeuronFile, RunTarget, load_neuron};

/// A sweep whose cells are all checked.
#[derive(Clone, Debug)]
pub struct SweepFile {
    /// Its name.
    pub name: String,
    /// One for each file with cells.
    pub parts: Vec<PartFile>,
}

/// One file of a sweep.
#[derive(Clone, Debug)]
pub struct PartFile {
    /// Its name.
    pub name: String,
    /// What it is about, in a line.
    pub title: String,
    /// Its cells in the file's order; none if it simulates the hidden neuron.
    pub cells: Vec<CellFile>,
    /// The simulation, if it is one.
    pub neuron: Option<NeuronFile>,
    /// What is claimed of them.
    pub claims: Vec<Claim>,
    /// One or two methods each, between whose networks the error is measured.
    pub barriers: Vec<Vec<String>>,
    /// When cells that are behind end; none if all go on to their last level.
    pub stop: Option<Stop>,
}

/// One experiment of a sweep.
#[derive(Clone, Debug)]
pub struct CellFile {
    /// The method and the grid's values: unique within the file.
    pub name: String,
    /// The method.
    pub method: String,
    /// The grid's values by key.
    pub values: BTreeMap<String, Value>,
    /// The experiment.
    pub loaded: Loaded,
    /// Its run. Cells of the same identity share the run of the first of them, which has the seeds of
    /// all.
    pub run: RunTarget,
    /// Folders of the sweep's runs whose masks or points it takes.
    pub sources: Vec<String>,
}

/// What an experiment file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// One experiment; also a file that cannot be read, of which [`load`](crate::experiment::load()) says why.
    Experiment,
    /// A sweep.
    Sweep,
    /// A simulation of the hidden neuron.
    Neuron,
}

/// What a file is, by the tables that it or the one that it is based on has.
pub fn kind_of(path: &Path) -> FileKind {
    let root = Reader::default().read(path);
    let has = |key| root.as_ref().is_some_and(|root| root.at(&[key]).is_some());
    match (has("sweep"), has("neuron")) {
        (true, _) => FileKind::Sweep,
        (_, true) => FileKind::Neuron,
        _ => FileKind::Experiment,
    }
}

/// Reads a sweep's file, with the files it is based on and those it includes, and `--set` overrides,
/// which count for every cell.
///
/// # Errors
/// All problems of all cells; a problem that several cells share is reported once.
pub fn load_sweep(
    path: &Path,
    overrides: &[String],
    catalog: &dyn Catalog,
) -> Result<SweepFile, Diagnostics> {
    let mut parts = Vec::new();
    let mut problems = Diagnostics::default();
    let mut collector = Collector {
        overrides,
        catalog,
        parts: &mut parts,
        problems: &mut problems,
        chain: Vec::new(),
        files: 0,
        budget: expand::Budget::default(),
    };
    let name = collector.collect(path, None);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut names = Distinct::default();
    for part in &mut parts {
        // Two files of one name are told apart as two cells of one name are.
        part.name = names.take(&part.name);
    }
    let parts = resolve::resolve(parts, catalog)?;
    Ok(SweepFile {
        name: name.unwrap_or_default(),
        parts,
    })
}

/// Reads a sweep's files one after the other.
struct Collector<'a> {
    overrides: &'a [String],
    catalog: &'a dyn Catalog,
    parts: &'a mut Vec<expand::Part>,
    problems: &'a mut Diagnostics,
    /// The files that led here.
    chain: Vec<PathBuf>,
    /// Files that were read.
    files: usize,
    budget: expand::Budget,
}

/// Files that a sweep reads at most, each counted as often as it is included.
const MOST_FILES: usize = 1000;

impl Collector<'_> {
    /// Adds the parts of a file and of those that it includes. Returns its name.
    fn collect(&mut self, path: &Path, named_at: Option<(&Reader, &Place)>) -> Option<String> {
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if self.chain.contains(&identity) {
            let message = format!("`{}` includes itself", path.display());
            self.report(named_at, message);
            return None;
        }
        self.files += 1;
        if self.files > MOST_FILES {
            let message =
                format!("the sweep includes too many files: expected at most {MOST_FILES}");
            self.report(named_at, message);
            return None;
        }
        let mut reader = Reader::default();
        if named_at.is_some() {
            let refused = match path.exists() {
                true => text_of(path, true)
                    .err()
                    .map(|error| format!("failed to read `{}`: {error}", path.display())),
                false => Some(format!("there is no file `{}`", path.display())),
            };
            if let Some(refused) = refused {
                self.report(named_at, refused);
                return None;
            }
        }
        let root = reader.read(path);
        let mut parsed = overrides::parse(self.overrides, &mut reader);
        let (Some(root), true) = (root, reader.problems.is_empty()) else {
            self.problems.absorb(reader.problems);
            return None;
        };
        let is_top = self.chain.is_empty();
        if root.at(&["neuron"]).is_some() {
            return self.simulation(path);
        }
        if !is_top {
            // They are for the simulations that the top file includes.
            parsed.retain(|it| it.first_key() != "neuron");
        }
        let file = file::read(root, parsed, &mut reader, self.catalog, is_top);
        if !reader.problems.is_empty() {
            self.problems.absorb(reader.problems);
            return None;
        }
        let name = file.name.clone();
        self.chain.push(identity);
        match file.includes {
            Some(includes) => {
                let folder = path.parent().unwrap_or(Path::new("")).to_owned();
                for (include, place) in includes {
                    // Files that include each other twice are read twice as often at each step.
                    if self.files > MOST_FILES {
                        break;
                    }
                    self.collect(&folder.join(include), Some((&reader, &place)));
                }
            }
            None => {
                let part = expand::expand(file, &mut self.budget, &mut reader);
                if reader.problems.is_empty() {
                    self.parts.push(part);
                }
                self.problems.absorb(reader.problems);
            }
        }
        self.chain.pop();
        Some(name)
    }

    /// Adds a simulation of the hidden neuron, for which overrides of `neuron` count alone.
    fn simulation(&mut self, path: &Path) -> Option<String> {
        let own: Vec<String> = (self.overrides.iter())
            .filter(|it| it.starts_with("neuron"))
            .cloned()
            .collect();
        match load_neuron(path, &own, self.catalog) {
            Ok(file) => {
                let name = file.name.clone();
                self.parts.push(expand::simulation(file));
                Some(name)
            }
            Err(problems) => {
                self.problems.absorb(problems);
                None
            }
        }
    }

    fn report(&mut self, at: Option<(&Reader, &Place)>, message: String) {
        let mut problems = Diagnostics::default();
        if let Some((reader, _)) = at {
            problems.files = reader.problems.files.clone();
        }
        problems.push(Diagnostic::new(at.map(|(_, place)| place), message));
        self.problems.absorb(problems);
    }
}
