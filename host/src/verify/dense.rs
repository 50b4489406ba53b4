//! The shared dense level, from which a run took its level 0.

use super::levels::Level;
use super::{Verdict, files};
use crate::store::{RunDir, RunIdentity};

/// The shared level 0 holds what the run's own does, and every file of it is whole.
pub(super) fn check(level: &Level<'_>, checked: &mut Vec<&'static str>, verdict: &mut Verdict) {
    let Some(dense) = (RunIdentity::read(level.run).ok().flatten()).and_then(|it| it.value.dense)
    else {
        return;
    };
    let folder = level.run.path().with_file_name(&dense);
    if !folder.is_dir() {
        verdict.unchecked(
            "the shared dense level",
            format!("{dense} does not lie beside the run, which does not need it"),
        );
        return;
    }
    let shared = RunDir::new(&folder).seed(level.seed).level(0);
    let named = |file: &str| format!("../{dense}/seed-{}/level-00/{file}", level.seed);
    if shared.names().is_empty() {
        verdict.unchecked(
            "the shared dense level",
            format!("{dense} has none of seed {}", level.seed),
        );
        return;
    }
    let theirs = match shared.read_sealed() {
        Ok(read) => read.value,
        Err(error) => {
            verdict.problem(
                named("done.json"),
                format!(
                    "{}; the next run that needs it trains it again",
                    files::reason(&error)
                ),
            );
            return;
        }
    };
    let mut same = true;
    for (file, digest) in &theirs.digests {
        if let Err(error) = crate::store::expect_digest(&shared.file(file), digest) {
            same = false;
            verdict.problem(named(file), files::reason(&error));
        }
    }
    let own = level.dir.read_sealed().map(|read| read.value.digests);
    for (file, digest) in own.unwrap_or_default() {
        // A shared level may hold more points than this run asked for, or fewer if it was made anew
        // for another one.
        if let Some(other) = theirs.digests.get(&file)
            && *other != digest
        {
            same = false;
            verdict.problem(
                level.named(&file),
                format!("it is not the {file} of the shared dense level {dense}"),
            );
        }
    }
    if same {
        checked.push("shared");
    }
}
