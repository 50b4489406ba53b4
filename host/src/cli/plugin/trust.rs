//! `host plugin trust`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::{Output, TrustArgs};
use crate::cli::exit::{Exit, Failure};
use crate::cli::stdout;
use crate::configuration::{self, Trusted, TrustedFile, TrustedFolder, open_to_all};
use crate::store;
use crate::strategy::{is_plugin, runner};

/// Trusts a file or a folder, or no longer.
///
/// # Errors
/// A path that is neither a plugin nor a folder that can be trusted; a configuration that cannot be used.
pub fn trust(args: &TrustArgs, output: &Output) -> Result<(), Failure> {
    let config = configuration::path().map_err(Failure::bad_input)?;
    let (entries, word) = match args.remove {
        true => (remove(&config, &args.path)?, "no longer trusted"),
        false => {
            let entry = entry(&args.path)?;
            let is_new = configuration::trust(&config, &entry).map_err(Failure::bad_input)?;
            (
                vec![entry],
                if is_new {
                    "trusted from now on"
                } else {
                    "trusted already"
                },
            )
        }
    };
    for entry in entries {
        stdout::line(match output.json {
            true => json!({ "state": word, "entry": entry, "configuration": config }).to_string(),
            false => format!("{word}, by {}:\n  {}", config.display(), said(&entry)),
        })?;
    }
    Ok(())
}

/// An entry in words.
pub fn said(entry: &Trusted) -> String {
    match entry {
        Trusted::Folder(it) => format!("whatever lies in {}", it.folder.display()),
        Trusted::File(it) => {
            let place = it
                .file
                .as_ref()
                .map(|file| format!(", once {}", file.display()));
            format!(
                "the file of digest {}{}",
                it.blake3,
                place.unwrap_or_default()
            )
        }
    }
}

/// The entry that trusts what lies at a path.
fn entry(path: &Path) -> Result<Trusted, Failure> {
    let real = path.canonicalize().map_err(|error| {
        Failure::bad_input(format!("failed to find {}: {error}", path.display()))
    })?;
    if real.is_dir() {
        return folder(real);
    }
    // Reads, never loads.
    if !real.is_file() || !(is_plugin(&real) || runner(&real).is_some()) {
        return Err(Failure::bad_input(format!(
            "{} is no plugin: expected a folder, the dynamic library of a plugin, or a strategy's .py file",
            path.display()
        )));
    }
    let blake3 = store::digest(&real).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Trusted::File(TrustedFile {
        blake3,
        file: Some(utf8(real)?),
    }))
}

/// The entry that trusts what lies in a folder.
fn folder(real: PathBuf) -> Result<Trusted, Failure> {
    if real.parent().is_none() || open_to_all(&real) {
        let who = match real.parent() {
            Some(_) => "everybody on this machine may write there",
            None => "that is the whole machine",
        };
        return Err(Failure::bad_input(format!(
            "{} cannot be trusted, {who}: name the plugin's file or a folder of your own",
            real.display()
        )));
    }
    let folder = utf8(real)?;
    Ok(Trusted::Folder(TrustedFolder { folder }))
}

/// Trusts a folder, or what will be in a part of it, such as what is built in the `target` of a crate.
///
/// # Errors
/// As [`trust()`].
pub fn trust_own(folder: &Path, part: Option<&str>) -> Result<PathBuf, Failure> {
    let config = configuration::path().map_err(Failure::bad_input)?;
    let Trusted::Folder(mut entry) = entry(folder)? else {
        return Err(Failure::bad_input(format!(
            "{} is no folder",
            folder.display()
        )));
    };
    entry.folder.extend(part);
    let entry = Trusted::Folder(entry);
    configuration::trust(&config, &entry).map_err(Failure::bad_input)?;
    Ok(config)
}

/// Takes out what trusts a path: its folder's entry, or those of its digest or former place.
fn remove(config: &Path, path: &Path) -> Result<Vec<Trusted>, Failure> {
    let whole = path.canonicalize().or_else(|_| std::path::absolute(path));
    let whole = whole.unwrap_or_else(|_| path.to_owned());
    let digest = match whole.is_file() {
        true => store::digest(&whole).ok(),
        false => path.to_str().map(str::to_owned),
    };
    let gone = |entry: &Trusted| match entry {
        Trusted::Folder(it) => it.folder == whole || it.folder == path,
        Trusted::File(it) => {
            Some(&it.blake3) == digest.as_ref() || it.file.as_ref() == Some(&whole)
        }
    };
    let removed = configuration::distrust(config, gone).map_err(Failure::bad_input)?;
    match removed.is_empty() {
        true => Err(Failure::bad_input(format!(
            "nothing in {} trusts {}; `plugin list` shows what is trusted",
            config.display(),
            path.display()
        ))),
        false => Ok(removed),
    }
}

fn utf8(path: PathBuf) -> Result<PathBuf, Failure> {
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(Failure::bad_input(format!(
            "{} cannot be written down: expected a path in UTF-8",
            path.display()
        ))),
    }
}
