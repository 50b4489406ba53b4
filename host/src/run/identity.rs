//! What a run is: said in its folder as it starts, and compared with that when it goes on.

use std::path::Path;

use serde_json::Value;

use super::{Folders, Identities, OpenError, Read};
use crate::store::{PluginFile, RunDir, RunIdentity};

/// What a run is now. What its folder says it was is compared with it and taken over.
///
/// # Errors
/// If it is another experiment's run, a plugin was built anew, or the file cannot be read.
pub(super) fn identify(
    folders: &Folders,
    read: &Read,
    identities: &Identities,
    allow_changed_plugins: bool,
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
    };
    let known = RunIdentity::read(run).map_err(OpenError::Identity)?;
    match known {
        Some(known) => compare(run, &known.value, &mut now, allow_changed_plugins)?,
        None if run.seeds().is_empty() => warn_of_other_data(run, &now),
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
    allow_changed: bool,
) -> Result<(), OpenError> {
    check_same(run, before, now, allow_changed)?;
    now.replaced_plugins.clone_from(&before.replaced_plugins);
    if before.plugins != now.plugins {
        // Whoever reads the results can see that two builds made them.
        now.replaced_plugins.push(before.plugins.clone());
    }
    if before.dense != now.dense {
        let name = |dense: &Option<String>| dense.clone().unwrap_or_default();
        log::warn!(
            "{} was computed on another device or with another number of threads before \
             ({} is now {}): its levels will not be what one uninterrupted run gives",
            run.path().display(),
            name(&before.dense),
            name(&now.dense)
        );
    }
    Ok(())
}

fn check_same(
    run: &RunDir,
    before: &RunIdentity,
    now: &RunIdentity,
    allow_changed: bool,
) -> Result<(), OpenError> {
    if before.identity != now.identity {
        return Err(OpenError::AnotherExperiment {
            run: run.path().to_owned(),
            got: before.identity.clone(),
            expected: now.identity.clone(),
        });
    }
    for (name, plugin) in &now.plugins {
        let old = before.plugins.get(name).map(|plugin| &plugin.blake3);
        if old == Some(&plugin.blake3) {
            continue;
        }
        let changed = OpenError::ChangedPlugin {
            run: run.path().to_owned(),
            name: name.clone(),
            before: old.map_or("unknown", String::as_str).to_owned(),
            now: plugin.blake3.clone(),
        };
        if !allow_changed {
            return Err(changed);
        }
        log::warn!("{changed}");
    }
    Ok(())
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
