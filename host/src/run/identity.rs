//! What a run is: said in its folder as it starts, and compared with that when it goes on.

use std::path::Path;

use serde_json::Value;

use super::{Folders, Identities, OpenError, Read, fresh};
use crate::store::{PluginFile, RunDir, RunIdentity};

/// What becomes of a run whose levels another build of a plugin made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Changed {
    /// It is refused.
    #[default]
    Refuse,
    /// All levels but the dense one, or with it where it acts there, are thrown away and made anew.
    Fresh,
    /// Its levels stay, and this build goes on with it.
    Allow,
}

/// What a run is now. What its folder says it was is compared with it and taken over.
///
/// # Errors
/// If it is another experiment's run, a plugin was built anew, or the file cannot be read.
pub(super) fn identify(
    folders: &Folders,
    read: &Read,
    identities: &Identities,
    changed: Changed,
) -> Result<RunIdentity, OpenError> {
    let run = &folders.run;
    let plugins = read.plugins.iter().map(|(name, plugin)| {
        let version = plugin.manifest.version.clone();
        let blake3 = plugin.digest.clone();
        (name.clone(), PluginFile { blake3, version })
    });
    let dense = folders.dense.path().file_name();
    let mut now = RunIdentity {
        canonical: identities.own.canonical.clone(),
        dense: dense.map(|name| name.to_string_lossy().into_owned()),
        identity: identities.own.hash.clone(),
        plugins: plugins.collect(),
        replaced_plugins: Vec::new(),
        replaced_levels: Vec::new(),
    };
    let known = RunIdentity::read(run).map_err(OpenError::Identity)?;
    match known {
        Some(known) => compare(run, &known.value, &mut now, changed)?,
        None if run.seeds().is_empty() => warn_of_other_data(run, &now),
        None if changed == Changed::Fresh => {
            let first = u64::from(!acts_in_dense(&now));
            start_afresh(run, first, "which plugin files made it is not known")?;
        }
        None => log::warn!(
            "{} is missing and written anew; which plugin files made the finished levels is not known",
            run.file("identity.json").display()
        ),
    }
    Ok(now)
}

/// Checks that a run is still what it was, and takes over what is known of it.
fn compare(
    run: &RunDir,
    before: &RunIdentity,
    now: &mut RunIdentity,
    changed: Changed,
) -> Result<(), OpenError> {
    if before.identity != now.identity {
        return Err(OpenError::AnotherExperiment {
            run: run.path().to_owned(),
            got: before.identity.clone(),
            expected: now.identity.clone(),
        });
    }
    let dense_anew = is_dense_anew(before, now);
    if before.dense != now.dense && !dense_anew {
        let name = |dense: &Option<String>| dense.clone().unwrap_or_default();
        log::warn!(
            "{} was computed on another device or with another number of threads before \
             ({} is now {}): its levels will not be what one uninterrupted run gives",
            run.path().display(),
            name(&before.dense),
            name(&now.dense)
        );
    }
    // Level 0 is no plugin's, but for those that act inside its steps.
    let first = u64::from(!dense_anew);
    if !fresh::has_work(run, first) {
        return Ok(());
    }
    let built_anew = built_anew(run, before, now);
    if changed == Changed::Fresh {
        return match built_anew.first() {
            Some(plugin) => start_afresh(run, first, &plugin.to_string()),
            None if !before.replaced_plugins.is_empty() => start_afresh(
                run,
                first,
                "builds of plugins had a part in it that were replaced since",
            ),
            None => {
                log::info!("--fresh: the present plugins made every level; nothing is thrown away");
                Ok(())
            }
        };
    }
    now.replaced_plugins.clone_from(&before.replaced_plugins);
    now.replaced_levels.clone_from(&before.replaced_levels);
    if dense_anew {
        // The run's level 0 is still the one that it took from there.
        now.dense.clone_from(&before.dense);
    }
    if built_anew.is_empty() {
        return Ok(());
    }
    for plugin in built_anew {
        if changed == Changed::Refuse {
            return Err(plugin);
        }
        log::warn!("{plugin}");
    }
    // Whoever reads the results can see that two builds made them, and which made which.
    let levels = fresh::levels(run, first)?;
    now.replaced_plugins.push(before.plugins.clone());
    let builds = now.replaced_plugins.len();
    now.replaced_levels.resize(builds, levels);
    Ok(())
}

/// Whether a plugin that acts inside the steps of level 0 was built anew: the shared level is then another one, on
/// whatever device and threads.
fn is_dense_anew(before: &RunIdentity, now: &RunIdentity) -> bool {
    let hash = |identity: &RunIdentity| {
        let name = identity.dense.as_deref()?;
        name.split('-').nth(1).map(str::to_owned)
    };
    acts_in_dense(now) && hash(before) != hash(now)
}

/// Whether a plugin acts inside the steps of level 0.
fn acts_in_dense(identity: &RunIdentity) -> bool {
    identity.canonical["strategy"].get("update").is_some()
}

/// The plugins that were built anew since a run started, each as why the run is refused.
fn built_anew(run: &RunDir, before: &RunIdentity, now: &RunIdentity) -> Vec<OpenError> {
    let each = now.plugins.iter().filter_map(|(name, plugin)| {
        let old = before.plugins.get(name).map(|plugin| &plugin.blake3);
        (old != Some(&plugin.blake3)).then(|| OpenError::ChangedPlugin {
            run: run.path().to_owned(),
            name: name.clone(),
            before: old.map_or("unknown", String::as_str).to_owned(),
            now: plugin.blake3.clone(),
        })
    });
    each.collect()
}

/// Throws away what other builds made, after saying what.
fn start_afresh(run: &RunDir, first: u64, why: &str) -> Result<(), OpenError> {
    let levels: Vec<String> = fresh::levels(run, first)?.into_keys().collect();
    log::warn!(
        "{why}; thrown away in {}: {}, and what was made of them{}",
        run.path().display(),
        match levels.is_empty() {
            true => "unfinished levels".to_owned(),
            false => levels.join(", "),
        },
        match first {
            0 => "",
            _ => ". Level 0 stays",
        }
    );
    Ok(fresh::discard(run, first)?)
}

/// Says which runs did the same on other data: a changed data file begins a new run, which nobody
/// may have meant.
fn warn_of_other_data(run: &RunDir, now: &RunIdentity) {
    let name = run.name();
    let Some((experiment, _)) = name.rsplit_once('-') else {
        return;
    };
    let folder = run.path().parent().unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let other = RunDir::new(entry.path());
        let is_of_this_name = (other.name().rsplit_once('-')).is_some_and(|it| it.0 == experiment);
        if !is_of_this_name || other.name() == name {
            continue;
        }
        let Ok(Some(known)) = RunIdentity::read(&other) else {
            continue;
        };
        let (old, new) = (&known.value.canonical, &now.canonical);
        let without_data = |canonical: &Value| {
            let mut canonical = canonical.clone();
            canonical["data_checksum"].take();
            canonical
        };
        if without_data(old) == without_data(new) {
            log::warn!(
                "{} is the same experiment on other data: the checksum of dataset `{}` was {}, and is now {}. \
                 A new run begins; to go on with the old one, put the old data back",
                other.path().display(),
                now.canonical["data"]["name"].as_str().unwrap_or_default(),
                old["data_checksum"].as_str().unwrap_or_default(),
                new["data_checksum"].as_str().unwrap_or_default()
            );
        }
    }
}
