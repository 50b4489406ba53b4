//! Checks a sweep's cells, those first that others take masks or points from.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use plugin_api::schemars::Schema;

use super::expand::{Cell, Part};
use super::{CellFile, PartFile, stop};
use crate::experiment::diagnostic::Diagnostic;
use crate::experiment::load::load_tree;
use crate::experiment::overrides::Override;
use crate::experiment::{
    Catalog, Diagnostics, Kind, Loaded, PluginInfo, PluginSource, RunTarget, Slot,
};

/// The cells of all parts, numbered through.
struct Resolver<'a> {
    catalog: &'a dyn Catalog,
    parts: &'a [Part],
    cells: Vec<(usize, &'a Cell)>,
    states: RefCell<Vec<State>>,
    /// The runs that each cell takes something from.
    sources: RefCell<Vec<BTreeSet<String>>>,
    /// The first run of each identity, with its cell: cells that compute the same share it.
    runs: RefCell<BTreeMap<String, (RunTarget, usize)>>,
    problems: RefCell<Diagnostics>,
    /// Cells that wait for the one that is being checked.
    waiting: std::cell::Cell<usize>,
}

/// Cells that take from each other in a row at most, where none of them was checked before.
const MOST_WAITING: usize = 32;

enum State {
    Waiting,
    Loading,
    Done(Box<Loaded>, RunTarget),
    Broken,
}

pub(super) fn resolve(
    parts: Vec<Part>,
    catalog: &dyn Catalog,
) -> Result<Vec<PartFile>, Diagnostics> {
    let cells: Vec<(usize, &Cell)> = (parts.iter().enumerate())
        .flat_map(|(part, it)| it.cells.iter().map(move |cell| (part, cell)))
        .collect();
    let resolver = Resolver {
        catalog,
        parts: &parts,
        states: RefCell::new(cells.iter().map(|_| State::Waiting).collect()),
        sources: RefCell::new(vec![BTreeSet::new(); cells.len()]),
        runs: RefCell::default(),
        problems: RefCell::default(),
        waiting: std::cell::Cell::new(0),
        cells,
    };
    for index in 0..resolver.cells.len() {
        // A cell that has problems reports them itself.
        let _ = resolver.load(index);
    }
    let problems = resolver.problems.into_inner();
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut states = resolver.states.into_inner().into_iter();
    let mut sources = resolver.sources.into_inner().into_iter();
    let finish = |part: &Part| PartFile {
        name: part.name.clone(),
        title: part.title.clone(),
        claims: part.claims.clone(),
        barriers: part.barriers.clone(),
        neuron: part.neuron.clone(),
        stop: part.stop.as_ref().map(|(stop, _)| stop.clone()),
        cells: (part.cells.iter())
            .filter_map(|cell| {
                let (state, sources) = (states.next()?, sources.next()?);
                let State::Done(loaded, run) = state else {
                    return None;
                };
                Some(CellFile {
                    name: cell.name.clone(),
                    method: cell.method.clone(),
                    values: cell.values.clone(),
                    loaded: *loaded,
                    run,
                    sources: sources.into_iter().collect(),
                })
            })
            .collect(),
    };
    let finished: Vec<PartFile> = parts.iter().map(finish).collect();
    let problems = stop::check_all(&parts, &finished);
    match problems.is_empty() {
        true => Ok(finished),
        false => Err(problems),
    }
}

impl Resolver<'_> {
    /// The run of a cell, which is checked first if it was not yet.
    fn load(&self, index: usize) -> Result<RunTarget, String> {
        let (part, cell) = self.cells[index];
        match &self.states.borrow()[index] {
            State::Done(_, run) => return Ok(run.clone()),
            State::Loading => {
                return Err(format!(
                    "`{}` takes from a run that takes from itself",
                    cell.name
                ));
            }
            State::Broken => return Err(format!("`{}` has mistakes of its own", cell.name)),
            State::Waiting => {}
        }
        if self.waiting.get() == MOST_WAITING {
            return Err(format!(
                "`{}` is the last of more than {MOST_WAITING} runs that take from the next: put those \
                 that others take from first",
                cell.name
            ));
        }
        self.waiting.set(self.waiting.get() + 1);
        self.states.borrow_mut()[index] = State::Loading;
        let within = Within {
            resolver: self,
            index,
        };
        let reader = self.parts[part].reader.clone();
        let loaded = load_tree(cell.root.clone(), cell.overrides.clone(), reader, &within);
        self.waiting.set(self.waiting.get() - 1);
        let (state, result) = match loaded {
            Ok(loaded) => match self.catalog.run_of(&loaded) {
                Ok(run) => {
                    let (run, first) = (self.runs.borrow_mut())
                        .entry(run.identity.clone())
                        .or_insert((run, index))
                        .clone();
                    self.check_plugins(first, index, &loaded);
                    (State::Done(Box::new(loaded), run.clone()), Ok(run))
                }
                Err(reason) => {
                    self.problems.borrow_mut().say(reason.clone());
                    (State::Broken, Err(reason))
                }
            },
            Err(problems) => {
                self.problems.borrow_mut().absorb(problems);
                let reason = format!("`{}` has mistakes of its own", cell.name);
                (State::Broken, Err(reason))
            }
        };
        self.states.borrow_mut()[index] = state;
        result
    }

    /// Reports a cell that shares the run of another one and names another file for one of its plugins:
    /// by their versions the two files are the same, and the run can have only one of them.
    fn check_plugins(&self, first: usize, index: usize, loaded: &Loaded) {
        let states = self.states.borrow();
        let State::Done(shared, _) = &states[first] else {
            return;
        };
        let (part, cell) = self.cells[index];
        for (name, info) in &loaded.plugins {
            let path = |loaded: &Loaded| Some(loaded.experiment.plugins.get(name)?.path.clone());
            let (own, other) = (path(loaded), path(shared));
            if own == other {
                continue;
            }
            let shown = |path: Option<PathBuf>| {
                path.map_or_else(
                    || "the shipped one".to_owned(),
                    |it| it.display().to_string(),
                )
            };
            let message = format!(
                "`{}` and `{}` differ in nothing but the file of plugin `{name}`, of version {} in both: {} and {}",
                self.cells[first].1.name,
                cell.name,
                info.version,
                shown(other),
                shown(own)
            );
            let named = cell.root.at(&["plugins", name]).map(|node| &node.place);
            let changed = cell
                .overrides
                .iter()
                .rev()
                .filter(|it| it.concerns_plugins());
            let place = changed.filter_map(Override::place).next().or(named);
            let mut problems = Diagnostics::default();
            problems.files = self.parts[part].reader.problems.files.clone();
            problems.push(Diagnostic::new(place, message).label(
                "runs are told apart by the versions of their plugins: build one of the two with another version",
            ));
            self.problems.borrow_mut().absorb(problems);
        }
    }

    /// The cell that another one means by a name: of the same file, the cell or the method with the
    /// same values; of another file the same behind the file's name and a slash.
    fn find(&self, from: usize, name: &str) -> Option<usize> {
        let (own_part, own) = self.cells[from];
        let (part, name) = match name.split_once('/') {
            Some((part, name)) => (
                self.parts.iter().position(|it| it.name == part)?,
                name.to_owned(),
            ),
            None => (own_part, name.to_owned()),
        };
        let of_part = || (self.cells.iter().enumerate()).filter(|(_, (it, _))| *it == part);
        let named = of_part().find(|(_, (_, cell))| cell.name == name);
        let method: Vec<_> = of_part()
            .filter(|(_, (_, cell))| cell.method == name)
            .collect();
        let same = method
            .iter()
            .find(|(_, (_, cell))| cell.values == own.values);
        let only = method.first().filter(|_| method.len() == 1);
        same.or(only)
            .map(|(index, _)| *index)
            .or(named.map(|(index, _)| index))
    }

    /// The methods that a cell can name.
    fn methods(&self, from: usize) -> Vec<&str> {
        let (part, _) = self.cells[from];
        let own = self.parts[part].cells.iter();
        let mut methods: Vec<&str> = own.map(|cell| cell.method.as_str()).collect();
        methods.dedup();
        methods
    }
}

/// The catalog as one cell sees it: with the sweep's runs.
struct Within<'a> {
    resolver: &'a Resolver<'a>,
    index: usize,
}

impl Catalog for Within<'_> {
    fn run(&self, name: &str, folder: &Path) -> Result<RunTarget, String> {
        if let Some(other) = self.resolver.find(self.index, name) {
            let run = self.resolver.load(other)?;
            self.resolver.sources.borrow_mut()[self.index].insert(run.folder.clone());
            return Ok(run);
        }
        let run = self.resolver.catalog.run(name, folder);
        run.map_err(|reason| {
            let methods = self.resolver.methods(self.index).join(", ");
            format!("{reason}\nmethods of this sweep: {methods}")
        })
    }

    fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        self.resolver.catalog.schema(kind, name)
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        self.resolver.catalog.known(kind)
    }

    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String> {
        self.resolver.catalog.plugin(name, source)
    }

    fn validate(&self, slot: Slot, part: &crate::experiment::Part) -> Result<(), String> {
        self.resolver.catalog.validate(slot, part)
    }

    fn script(
        &self,
        slot: Slot,
        part: &crate::experiment::Part,
    ) -> Result<Option<serde_json::Value>, String> {
        self.resolver.catalog.script(slot, part)
    }

    fn known_plugins(&self) -> Vec<String> {
        self.resolver.catalog.known_plugins()
    }

    fn knows_plugin(&self, name: &str) -> bool {
        self.resolver.catalog.knows_plugin(name)
    }

    fn run_of(&self, loaded: &Loaded) -> Result<RunTarget, String> {
        self.resolver.catalog.run_of(loaded)
    }
}
