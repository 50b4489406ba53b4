//! What is written of a run as a whole: what it is as it starts, and what it holds as it ends.

use std::path::Path;

use serde_json::Value;

use super::args::RunArgs;
use super::assemble::{Identities, Read};
use super::exit::{Exit, Failure};
use crate::levels::RunError;
use crate::store::{
    self, MANIFEST, Manifest, PluginFile, RUN_FILES, RunDir, RunIdentity, StoreError,
};

/// Writes what the run is, or checks that it still is. Returns its manifest from the command before.
///
/// # Errors
/// If it is another experiment's run, a plugin was built anew, or a file cannot be read or written.
pub fn describe(
    run: &RunDir,
    dense: &RunDir,
    read: &Read,
    identities: &Identities,
    args: &RunArgs,
) -> Result<Option<Manifest>, Failure> {
    let plugins = read.plugins.iter().map(|(name, plugin)| {
        let version = plugin.manifest.version.clone();
        let blake3 = plugin.digest.clone();
        (name.clone(), PluginFile { blake3, version })
    });
    let dense = dense.path().file_name();
    let mut now = RunIdentity {
        canonical: identities.own.canonical.clone(),
        dense: dense.map(|name| name.to_string_lossy().into_owned()),
        identity: identities.own.hash.clone(),
        plugins: plugins.collect(),
        replaced_plugins: Vec::new(),
    };
    let known = RunIdentity::read(run).map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!(
                "{error}; put it back from a copy, or remove it: the same command writes it anew, but \
                 which plugin files made the finished levels is then no longer known"
            ),
        )
    })?;
    match known {
        Some(known) => compare(run, &known.value, &mut now, args.allow_changed_plugins)?,
        None if run.seeds().is_empty() => warn_of_other_data(run, &now),
        None => log::warn!(
            "{} is missing and written anew; which plugin files made the finished levels is not known",
            run.file("identity.json").display()
        ),
    }
    let failed = |error: StoreError| Failure::new(Exit::Failed, error);
    let before = open_manifest(run).map_err(failed)?;
    now.write(run).map_err(failed)?;
    let text = read.loaded.text.as_bytes();
    store::write(&run.file("experiment.toml"), text).map_err(failed)?;
    Ok(before)
}

/// The run's manifest from the command before. On disk stays what is true while the run goes on.
fn open_manifest(run: &RunDir) -> Result<Option<Manifest>, StoreError> {
    let before = match Manifest::read(run.path(), MANIFEST) {
        Ok(before) => before,
        Err(error) => {
            log::warn!("{error}; it is written anew");
            None
        }
    };
    let Some(manifest) = before else {
        return Manifest::remove(run.path(), MANIFEST).map(|()| None);
    };
    for file in RUN_FILES {
        if let Some(expected) = manifest.files.get(file)
            && let Err(error) = store::expect_digest(&run.file(file), expected)
        {
            log::warn!("{error}; it is written anew");
        }
    }
    manifest.clone().of_levels().write(run.path(), MANIFEST)?;
    Ok(Some(manifest))
}

/// Lists a run's files with their digests. It is the last file that a command writes.
///
/// # Errors
/// If a file cannot be read, or the list not be written.
pub fn list(run: &RunDir, own: &[u64], before: Option<&Manifest>) -> Result<(), RunError> {
    let manifest = Manifest::of_run(run, own, before)?;
    Ok(manifest.write(run.path(), MANIFEST)?)
}

/// Checks that a run is still what it was, and takes over what is known of it.
fn compare(
    run: &RunDir,
    before: &RunIdentity,
    now: &mut RunIdentity,
    allow_changed: bool,
) -> Result<(), Failure> {
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
) -> Result<(), Failure> {
    if before.identity != now.identity {
        return Err(Failure::bad_input(format!(
            "{} belongs to another experiment (identity {}, this one's is {}); give this one another name",
            run.path().display(),
            before.identity,
            now.identity
        )));
    }
    for (name, plugin) in &now.plugins {
        let old = before.plugins.get(name).map(|plugin| &plugin.blake3);
        if old == Some(&plugin.blake3) {
            continue;
        }
        let what = format!(
            "plugin `{name}` was built anew since {} started (BLAKE3 {} is now {})",
            run.path().display(),
            old.map_or("unknown", String::as_str),
            plugin.blake3
        );
        if !allow_changed {
            return Err(Failure::new(
                Exit::Plugin,
                format!("{what}; put the old file back, or go on with --allow-changed-plugins"),
            ));
        }
        log::warn!("{what}");
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
