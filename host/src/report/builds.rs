//! Levels that another build of a plugin made than the present one: whoever sees them must know.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::missing::go_on;
use crate::store::{PluginFile, RunDir, RunIdentity, digest};

/// The levels of a run that another build of a plugin made, or began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherBuilds {
    /// They, ascending.
    pub levels: BTreeSet<Made>,
    /// What is to be said of them.
    pub note: String,
}

/// A level of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Made {
    /// Seed.
    pub seed: u64,
    /// Level.
    pub level: u64,
}

/// How a table marks such a level.
pub const MARK: &str = "*";

impl OtherBuilds {
    /// Those of a run; none if its present plugins made all that is there. Level 0 is no plugin's.
    pub fn read(run: &RunDir) -> Option<Self> {
        let known = RunIdentity::read(run).ok().flatten()?.value;
        let mut levels = BTreeSet::new();
        let mut others: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (at, plugins) in known.replaced_plugins.iter().enumerate() {
            let changed = |(name, file): &(&String, &PluginFile)| {
                known.plugins.get(*name).map(|now| &now.blake3) != Some(&file.blake3)
            };
            let changed: Vec<_> = plugins.iter().filter(changed).collect();
            if changed.is_empty() {
                continue;
            }
            let made = made_by(run, known.replaced_levels.get(at));
            if made.is_empty() {
                continue;
            }
            levels.extend(made);
            for (name, file) in changed {
                others.entry(name).or_default().insert(&file.blake3);
            }
        }
        if levels.is_empty() {
            return None;
        }
        let short = |digest: &str| digest.chars().take(8).collect::<String>();
        let others = others.into_iter().map(|(name, digests)| {
            let digests: Vec<String> = digests.into_iter().map(short).collect();
            let now = known.plugins.get(name).map_or("none", |it| &it.blake3);
            let (then, now) = (digests.join(" and "), short(now));
            format!("plugin `{name}` (BLAKE3 {then} then, {now} now)")
        });
        let seeds: BTreeSet<u64> = levels.iter().map(|it| it.seed).collect();
        let seeds: Vec<u64> = seeds.into_iter().collect();
        let note = format!(
            "{}: {} made by another build of {} than the present one; `{} --fresh` makes {} anew",
            run.path().display(),
            ranges(&levels),
            others.collect::<Vec<_>>().join(" and "),
            go_on(run.path(), &seeds),
            if levels.len() == 1 { "it" } else { "them" },
        );
        Some(Self { levels, note })
    }

    /// Whether a level of some seed is among them.
    pub fn has(&self, level: u64) -> bool {
        self.levels.iter().any(|it| it.level == level)
    }
}

/// Warns of what a command reads of a run, if another build made it.
pub fn warn_of_other_builds(run: &RunDir) {
    if let Some(builds) = OtherBuilds::read(run) {
        log::warn!("{}", builds.note);
    }
}

/// The levels that are still those which plugins left that were replaced then; all but level 0, where
/// an earlier version did not note them.
fn made_by(run: &RunDir, noted: Option<&BTreeMap<String, Option<String>>>) -> BTreeSet<Made> {
    let mut made = BTreeSet::new();
    for seed in run.seeds() {
        let dir = run.seed(seed);
        let done = |level: u64| dir.level(level).file("done.json");
        for level in (1..).take_while(|&level| done(level).exists()) {
            let is_theirs = match noted {
                None => true,
                Some(noted) => match noted.get(&RunIdentity::level_name(seed, level)) {
                    None => false,
                    // It was under way.
                    Some(None) => true,
                    Some(Some(digest_then)) => {
                        digest(&done(level)).is_ok_and(|now| now == *digest_then)
                    }
                },
            };
            if is_theirs {
                made.insert(Made { seed, level });
            }
        }
    }
    made
}

/// `level 3 was`, `levels 1 to 14 were`, `levels 1 and 3 to 5 were`.
fn ranges(levels: &BTreeSet<Made>) -> String {
    let numbers: BTreeSet<u64> = levels.iter().map(|it| it.level).collect();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |&(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    let texts: Vec<String> = ranges.iter().map(text).collect();
    match ranges.as_slice() {
        [(first, last)] if first == last => format!("level {first} was"),
        _ => format!("levels {} were", texts.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::write;

    fn plugin(digest: &str) -> BTreeMap<String, PluginFile> {
        let file = PluginFile {
            blake3: digest.to_owned(),
            version: "1.0.0".to_owned(),
        };
        [("mine".to_owned(), file)].into()
    }

    fn run(folder: &std::path::Path, identity: &RunIdentity) -> RunDir {
        let run = RunDir::new(folder.join("x-1"));
        for level in 0..4 {
            let done = run.seed(0).level(level).file("done.json");
            write(&done, level.to_string().as_bytes()).unwrap();
        }
        identity.write(&run).unwrap();
        run
    }

    fn levels(run: &RunDir) -> Vec<u64> {
        let builds = OtherBuilds::read(run);
        let levels = builds.into_iter().flat_map(|it| it.levels);
        levels.map(|it| it.level).collect()
    }

    #[test]
    fn levels_of_a_replaced_build_are_known_until_they_are_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let digest_of = |level: u64| {
            let digest = blake3::hash(level.to_string().as_bytes()).to_hex();
            (RunIdentity::level_name(0, level), Some(digest.to_string()))
        };
        let mut identity = RunIdentity {
            plugins: plugin("bb"),
            replaced_plugins: vec![plugin("aa")],
            replaced_levels: vec![[digest_of(1), digest_of(2)].into()],
            ..RunIdentity::default()
        };
        let run = run(folder.path(), &identity);
        assert_eq!(levels(&run), [1, 2]);
        let note = OtherBuilds::read(&run).unwrap().note;
        assert!(
            note.contains(
                "levels 1 to 2 were made by another build of plugin `mine` (BLAKE3 aa then, bb now)"
            ) && note.contains("--fresh` makes them anew"),
            "{note}"
        );
        write(&run.seed(0).level(1).file("done.json"), b"anew").unwrap();
        assert_eq!(levels(&run), [2]);
        // The one that was under way has a part of both.
        let under_way = (RunIdentity::level_name(0, 3), None);
        identity.replaced_levels[0].extend([under_way]);
        identity.write(&run).unwrap();
        assert_eq!(levels(&run), [2, 3]);
        // The old build is put back: it is the present one again.
        identity.plugins = plugin("aa");
        identity.write(&run).unwrap();
        assert_eq!(OtherBuilds::read(&run), None);
    }

    #[test]
    fn where_an_earlier_version_did_not_note_the_levels_all_may_be_of_another_build() {
        let folder = tempfile::tempdir().unwrap();
        let identity = RunIdentity {
            plugins: plugin("bb"),
            replaced_plugins: vec![plugin("aa")],
            ..RunIdentity::default()
        };
        assert_eq!(levels(&run(folder.path(), &identity)), [1, 2, 3]);
    }

    #[test]
    fn levels_are_named_in_ranges() {
        let of = |levels: &[u64]| {
            let made = |&level: &u64| Made { seed: 0, level };
            ranges(&levels.iter().map(made).collect())
        };
        assert_eq!(of(&[4]), "level 4 was");
        assert_eq!(of(&[1, 2, 3]), "levels 1 to 3 were");
        assert_eq!(of(&[1, 3, 4]), "levels 1 and 3 to 4 were");
    }
}
