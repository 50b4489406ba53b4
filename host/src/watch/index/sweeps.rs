//! The sweeps among the folders, with their cells.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde_json::json;

use super::super::board::Place;
use super::row::Cell;
use super::{Index, changed};
use crate::records::{SWEEP_FILE, SweepCell, SweepPart, SweepRecord, name_in_sweep};
use crate::standing::{Standing, State, Total, estimate, log_of};

impl Index<'_> {
    /// Looks at a folder, if it is a sweep's, and at its cells.
    pub(super) fn sweep(&mut self, name: &str, round: u64) {
        let folder = self.runs.join(name);
        let Some(changed) = changed(&folder.join(SWEEP_FILE)) else {
            self.sweeps.remove(name);
            return;
        };
        let known = self.sweeps.remove(name).filter(|it| it.0 == changed);
        let read = || SweepRecord::read(&folder).map_err(|error| error.to_string());
        let (_, record) = known.unwrap_or_else(|| (changed, read()));
        let mut ids = Vec::new();
        if let Ok(record) = &record {
            for part in &record.parts {
                for cell in &part.cells {
                    ids.push(self.cell((name, record), part, cell, round));
                }
                let simulations = part.neuron.iter();
                ids.extend(simulations.filter_map(|run| self.simulation(name, part, run, round)));
            }
        }
        let standing = |id: &String| self.known.get(id)?.standing.clone();
        let mut standings: Vec<Standing> = ids.iter().filter_map(standing).collect();
        estimate(&mut standings);
        self.put_sweep(name, &record, &standings);
        for (id, standing) in ids.iter().zip(standings) {
            if let Some(known) = self.known.get_mut(id) {
                known.standing = Some(standing);
            }
        }
        self.sweeps.insert(name.to_owned(), (changed, record));
    }

    /// Looks at a cell, and returns by what it is known.
    fn cell(
        &mut self,
        (sweep, record): (&str, &SweepRecord),
        part: &SweepPart,
        cell: &SweepCell,
        round: u64,
    ) -> String {
        let folder = self.runs.join(sweep);
        let own = Cell {
            sweep: sweep.to_owned(),
            cell: name_in_sweep(record.parts.len(), &part.name, &cell.name),
            method: cell.method.clone(),
            values: cell.values.clone(),
        };
        let Some(id) = name_among_runs(&cell.run) else {
            let id = format!("{sweep}:{}", own.cell);
            let standing = astray(&cell.run, &own.cell);
            self.enter(&id, own, standing, Place::default(), round);
            return id;
        };
        let settled = self.settled(&id);
        let standing = settled.unwrap_or_else(|| self.look.cell(&folder, record, part, cell));
        let place = Place {
            folder: self.runs.join(&id),
            seeds: cell.seeds.clone(),
            logs: vec![log_of(&folder, &own.cell)],
        };
        self.enter(&id, own, standing, place, round);
        id
    }

    fn simulation(
        &mut self,
        sweep: &str,
        part: &SweepPart,
        run: &Path,
        round: u64,
    ) -> Option<String> {
        let id = name_among_runs(run)?;
        let folder = self.runs.join(sweep);
        let standing = self.look.simulation(&folder, &part.name, run);
        let own = Cell {
            sweep: sweep.to_owned(),
            cell: part.name.clone(),
            ..Cell::default()
        };
        let place = Place {
            folder: self.runs.join(&id),
            logs: vec![log_of(&folder, &own.cell)],
            ..Place::default()
        };
        self.enter(&id, own, standing, place, round);
        Some(id)
    }

    fn put_sweep(&self, name: &str, record: &Result<SweepRecord, String>, cells: &[Standing]) {
        let total = Total::of(cells);
        let states: BTreeMap<&str, usize> = (State::ALL.iter())
            .zip(total.states)
            .map(|(state, count)| (state.word(), count))
            .collect();
        let parts = record.iter().flat_map(|it| &it.parts);
        let titles: Vec<&str> = parts.map(|it| it.title.as_str()).collect();
        let item = json!({
            "kind": "sweep", "id": name, "cells": cells.len(), "states": states,
            "levels_done": total.levels_done, "levels": total.levels,
            "seconds_left": total.seconds, "trouble": record.as_ref().err(), "titles": titles,
        });
        self.board.put(&format!("sweep/{name}"), &item, None);
    }
}

/// The name of a folder beside a sweep's; none if the path leads elsewhere.
fn name_among_runs(run: &Path) -> Option<String> {
    match run.components().collect::<Vec<_>>()[..] {
        [Component::ParentDir, Component::Normal(name)] => {
            let name = name.to_str()?;
            (!name.starts_with('.')).then(|| name.to_owned())
        }
        _ => None,
    }
}

/// A cell whose run is looked for nowhere.
fn astray(run: &Path, name: &str) -> Standing {
    let reason = format!(
        "its run is {}, which is no folder beside the sweep's: it is not read",
        run.display()
    );
    Standing {
        state: State::Failed,
        reason: Some(reason),
        ..Standing::new(name.to_owned(), run.to_owned())
    }
}
