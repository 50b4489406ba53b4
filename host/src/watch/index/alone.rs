//! The runs among the folders that no sweep has.

use std::path::Path;

use super::super::board::Place;
use super::{Index, changed};
use crate::neuron;
use crate::store::RunDir;

impl Index<'_> {
    /// Looks at a folder that is no sweep's, if it is a run's that no sweep has.
    pub(super) fn alone(&mut self, name: &str, round: u64) {
        if self.known.get(name).is_some_and(|it| it.round == round) {
            return;
        }
        let folder = self.runs.join(name);
        let run = RunDir::new(&folder);
        let written = changed(&run.file("experiment.toml"));
        let mut place = Place {
            folder: folder.clone(),
            ..Place::default()
        };
        let standing = if let Some(standing) = self.settled(name) {
            place.seeds = self
                .seeds
                .get(name)
                .map(|it| it.1.clone())
                .unwrap_or_default();
            standing
        } else if let Some(written) = written.or_else(|| changed(&run.file("identity.json"))) {
            match self.seeds.get(name) {
                Some((at, seeds))
                    if *at == written && run.seeds().iter().all(|it| seeds.contains(it)) =>
                {
                    place.seeds = seeds.clone();
                    self.look.with_seeds(&run, seeds.clone())
                }
                _ => {
                    let (seeds, standing) = self.look.alone(&run);
                    place.seeds = seeds.clone();
                    self.seeds.insert(name.to_owned(), (written, seeds));
                    standing
                }
            }
        } else if folder.join(neuron::FILE).exists() {
            self.look.simulation(&self.runs, name, Path::new(name))
        } else {
            self.seeds.remove(name);
            return;
        };
        let known = self.known.entry(name.to_owned()).or_default();
        known.round = round;
        known.cells.clear();
        known.place = place;
        known.standing = Some(standing);
        self.show_first(name);
    }
}
