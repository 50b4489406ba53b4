//! The room that a sweep takes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::records::SweepRecord;
use crate::standing::{Links, Size};
use crate::store::{RunDir, RunIdentity};

/// Bytes of a sweep's files: its own folder, its runs, and the dense levels that they share. A file that several
/// folders link counts once.
pub fn used(folder: &Path, record: &SweepRecord) -> u64 {
    let mut folders: BTreeSet<PathBuf> = [folder.to_owned()].into();
    for part in &record.parts {
        for run in part.cells.iter().map(|cell| &cell.run).chain(&part.neuron) {
            let run = RunDir::new(folder.join(run));
            let identity = RunIdentity::read(&run).ok().flatten();
            let dense = identity.and_then(|it| it.value.dense);
            folders.extend(dense.map(|name| folder.join("..").join(name)));
            folders.insert(run.path().to_owned());
        }
    }
    let mut seen = Links::new();
    let sizes = folders.iter().map(|it| Size::of(it, &mut seen));
    sizes.map(|it| it.new).sum()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::records::{SweepCell, SweepPart};

    #[test]
    fn a_file_that_two_runs_link_counts_once() {
        let runs = tempfile::tempdir().unwrap();
        let at = |file: &str| runs.path().join(file);
        for folder in ["sweep", "a-0/seed-0", "b-0", "other"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for (file, length) in [
            ("sweep/sweep.json", 5),
            ("a-0/seed-0/end", 100),
            ("other/end", 1000),
        ] {
            fs::write(at(file), vec![0; length]).unwrap();
        }
        fs::hard_link(at("a-0/seed-0/end"), at("b-0/end")).unwrap();
        let cell = |run: &str| SweepCell {
            run: Path::new("..").join(run),
            ..SweepCell::default()
        };
        let record = SweepRecord {
            parts: vec![SweepPart {
                cells: vec![cell("a-0"), cell("b-0"), cell("not-begun-0")],
                ..SweepPart::default()
            }],
            ..SweepRecord::default()
        };
        assert_eq!(used(&at("sweep"), &record), 105);
    }
}
