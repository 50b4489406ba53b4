//! The shared dense level: from a run that took its level 0 from it, and by itself.

use std::collections::BTreeMap;

use super::levels::Level;
use super::{Means, Verdict, files};
use crate::levels::{DENSE_FILES, carried_states};
use crate::program;
use crate::store::{Done, RunDir, RunIdentity, SeedDir, expect_digest, step_files};

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
    let home = RunDir::new(&folder).seed(level.seed);
    let shared = home.level(0);
    let named = |file: &str| format!("../{dense}/seed-{}/{file}", level.seed);
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
                named("level-00/done.json"),
                format!(
                    "{}; the next run that needs it trains it again",
                    files::reason(&error)
                ),
            );
            return;
        }
    };
    let before = verdict.problems.len();
    for (file, digest) in &theirs.digests {
        if let Err(error) = expect_digest(&shared.file(file), digest) {
            verdict.problem(named(&format!("level-00/{file}")), files::reason(&error));
        }
    }
    check_foreign(&theirs, &named, verdict);
    let mut digests = theirs.digests;
    digests.extend(check_points(&home, &named, verdict));
    let own = level.dir.read_sealed().map(|read| read.value.digests);
    for (file, digest) in own.unwrap_or_default() {
        // A shared level may lack a point that this run asked for if it was made anew for another one.
        if let Some(other) = digests.get(&file)
            && *other != digest
        {
            verdict.problem(
                level.named(&file),
                format!("it is not the {file} of the shared dense level {dense}"),
            );
        }
    }
    if verdict.problems.len() == before {
        checked.push("shared");
    }
}

/// A seed of a folder of dense levels: nothing of a strategy is in its level, and its points are whole.
pub(super) fn check_seed(home: &SeedDir, seed: u64, verdict: &mut Verdict) {
    let named = |file: &str| format!("seed-{seed}/{file}");
    if let Ok(read) = home.level(0).read_sealed() {
        check_foreign(&read.value, &named, verdict);
    }
    check_points(home, &named, verdict);
}

/// Names what belongs to the strategy that trained a dense level.
fn check_foreign(done: &Done, named: &dyn Fn(&str) -> String, verdict: &mut Verdict) {
    let program = program::name();
    let mended = format!("the next `{program} run` that needs the level takes it out");
    let places: Vec<String> = carried_states(done)
        .into_keys()
        .map(|place| format!("`{place}`"))
        .collect();
    if !places.is_empty() {
        verdict.problem(
            named("level-00/done.json"),
            format!(
                "it carries the state of {} of the strategy that trained the level, expected a dense level \
                 that is nobody's: an earlier version left it there, and {mended}",
                places.join(", ")
            ),
        );
    }
    for file in done.digests.keys() {
        if DENSE_FILES.contains(&file.as_str()) {
            continue;
        }
        let at = format!("level-00/{file}");
        match file.starts_with("step-") {
            true => verdict.note(format!(
                "{} is a point among the files of a dense level, as an earlier version kept it; the next \
                 `{program} run` that needs the level puts it beside",
                named(&at)
            )),
            false => verdict.problem(
                named(&at),
                format!("it belongs to the strategy that trained the level, not to a dense level: {mended}"),
            ),
        }
    }
}

/// Checks the points beside a dense level, and returns the digests of the files of those that are whole.
fn check_points(
    home: &SeedDir,
    named: &dyn Fn(&str) -> String,
    verdict: &mut Verdict,
) -> BTreeMap<String, String> {
    const AGAIN: &str = "the next run that needs the point makes it again";
    let mut digests = BTreeMap::new();
    for step in home.points() {
        let point = home.point(step);
        let at = |file: &str| named(&format!("points/step-{step:06}/{file}"));
        let names = point.names();
        let done = match point.read() {
            Ok(done) => done,
            Err(_) if !point.is_declared() && names.len() < step_files(step).len() => {
                verdict.note(format!("{} is not finished: {AGAIN}", at("")));
                continue;
            }
            Err(error) => {
                verdict.problem(
                    at("done.json"),
                    format!("{}; {AGAIN}", files::reason(&error)),
                );
                continue;
            }
        };
        verdict.files += 1;
        let expected = step_files(step).into_iter();
        for file in expected.filter(|file| !done.digests.contains_key(file)) {
            verdict.problem(at("done.json"), format!("it does not list {file}; {AGAIN}"));
        }
        for (file, digest) in done.digests {
            match expect_digest(&point.file(&file), &digest) {
                Ok(()) => {
                    verdict.files += 1;
                    digests.insert(file, digest);
                }
                Err(error) => {
                    verdict.problem(at(&file), format!("{}; {AGAIN}", files::reason(&error)));
                }
            }
        }
    }
    digests
}

/// The states that a run's level 0 carries are its own components', if it carries any.
pub(super) fn check_states(level: &Level<'_>, means: &mut Means<'_>, verdict: &mut Verdict) {
    let Ok((levels, seeds)) = &mut means.strategy else {
        return;
    };
    let (Some(seed), Ok(read)) = (
        seeds.iter_mut().find(|it| it.seed == level.seed),
        level.dir.read_sealed(),
    ) else {
        return;
    };
    match levels.foreign_states(seed, &read.value) {
        Ok(places) if places.is_empty() => {}
        Ok(places) => verdict.problem(
            level.named("done.json"),
            format!(
                "it carries the state of `{}` of another strategy, which trained the dense level: an earlier \
                 version took it over, and level 1 went on from it. Remove {} and the levels after it, and \
                 the same `{} run` makes them again",
                places.join("`, `"),
                level.named(""),
                program::name()
            ),
        ),
        Err(error) => verdict.unchecked(
            format!("the states that {} carries", level.named("done.json")),
            error,
        ),
    }
}
