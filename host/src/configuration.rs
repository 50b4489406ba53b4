//! The user's own configuration: what nobody else's file can say.
//!
//! `config.toml` holds whose plugins the user trusts. An experiment file, which may be a stranger's, has no
//! way to change it.

use std::io;
use std::path::{Path, PathBuf};

use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use crate::experiment::{Diagnostics, read_typed};
use crate::store::{self, Lock, LockError, StoreError};

/// Name of the environment variable with another path of the file.
pub const PATH_VARIABLE: &str = "REWIND_CONFIG";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// What is said of plugins.
    #[serde(default)]
    pub plugins: Plugins,
}

/// What the file says of plugins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plugins {
    /// Libraries that may be loaded where an experiment file names them.
    #[serde(default)]
    pub trusted: Vec<Trusted>,
}

/// One entry of what is trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Trusted {
    /// Whatever lies in a folder.
    Folder(TrustedFolder),
    /// One file, wherever it lies.
    File(TrustedFile),
}

/// Whatever lies in a folder or below it, now and later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedFolder {
    /// The folder, from the root.
    #[schemars(regex(pattern = "^/"))]
    pub folder: PathBuf,
}

/// The file with this digest, wherever it lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedFile {
    /// Its BLAKE3 digest, hexadecimal.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub blake3: String,
    /// Where it lay when it was trusted, for people: nothing depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// There is no place for it.
    #[error("there is no place for a configuration: set HOME, or name a file in {PATH_VARIABLE}")]
    Nowhere,
    /// It cannot be read.
    #[error("failed to read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Anyone could have written it.
    #[error(
        "everybody on this machine may write to the configuration {path}, so it cannot say whom you trust: \
         look through it, then `chmod o-w {path}`"
    )]
    OpenToAll {
        /// The file.
        path: PathBuf,
    },
    /// It says what cannot be.
    #[error("the configuration has mistakes, so it does not say whom you trust:\n{0}")]
    Mistakes(Diagnostics),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] StoreError),
    /// Another process writes it.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Where the configuration of whoever runs this lies: `REWIND_CONFIG`, or `rewind/config.toml` among the
/// user's configurations.
///
/// # Errors
/// If nothing says where that is.
pub fn path() -> Result<PathBuf, ConfigurationError> {
    let named = |variable: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| !path.as_os_str().is_empty())
    };
    if let Some(file) = named(PATH_VARIABLE) {
        return std::path::absolute(&file)
            .map_err(|source| ConfigurationError::Read { path: file, source });
    }
    // A relative one does not count, by the standard: it would be another one in each folder.
    let folder = named("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let folder = folder.or_else(|| Some(named("HOME")?.join(".config")));
    Ok(folder
        .ok_or(ConfigurationError::Nowhere)?
        .join("rewind/config.toml"))
}

/// Whether everybody on this machine may write there.
pub fn open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & 0o002 != 0)
}

impl Configuration {
    /// What the file says; an absent one says nothing.
    ///
    /// # Errors
    /// A file that cannot be read, has mistakes, or may be written by everybody.
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        match text(path)? {
            Some(text) => parse(path, text),
            None => Ok(Self::default()),
        }
    }
}

/// Adds an entry to the file, which keeps its comments. Says whether it was new.
///
/// # Errors
/// As [`Configuration::read`]; a file that cannot be written.
pub fn trust(path: &Path, entry: &Trusted) -> Result<bool, ConfigurationError> {
    change(path, |trusted, document| {
        let known = trusted.iter().any(|it| it.is_same(entry));
        if !known {
            push(document, entry);
        }
        !known
    })
}

/// Takes out every entry that is `gone` and returns them.
///
/// # Errors
/// As [`trust()`].
pub fn distrust(
    path: &Path,
    gone: impl Fn(&Trusted) -> bool,
) -> Result<Vec<Trusted>, ConfigurationError> {
    let mut removed = Vec::new();
    change(path, |trusted, document| {
        for (index, entry) in trusted.iter().enumerate().rev() {
            if gone(entry) {
                remove(document, index);
                removed.push(entry.clone());
            }
        }
        !removed.is_empty()
    })?;
    removed.reverse();
    Ok(removed)
}

impl Trusted {
    /// Whether both trust the same.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(one), Self::Folder(two)) => one == two,
            (Self::File(one), Self::File(two)) => one.blake3 == two.blake3,
            _ => false,
        }
    }

    fn keys(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match self {
            Self::Folder(it) => vec![("folder", text(&it.folder))],
            Self::File(it) => {
                let mut keys = vec![("blake3", it.blake3.clone())];
                keys.extend(it.file.as_deref().map(|file| ("file", text(file))));
                keys
            }
        }
    }
}

fn text(path: &Path) -> Result<Option<String>, ConfigurationError> {
    let read = |source| ConfigurationError::Read {
        path: path.to_owned(),
        source,
    };
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(read(error)),
        Ok(_) if open_to_all(path) => Err(ConfigurationError::OpenToAll {
            path: path.to_owned(),
        }),
        Ok(text) => Ok(Some(text)),
    }
}

fn parse(path: &Path, text: String) -> Result<Configuration, ConfigurationError> {
    read_typed(&path.display().to_string(), text).map_err(ConfigurationError::Mistakes)
}

/// Reads the file, changes it if `change` says that it did, and writes it whole. One process at a time.
fn change(
    path: &Path,
    change: impl FnOnce(&[Trusted], &mut DocumentMut) -> bool,
) -> Result<bool, ConfigurationError> {
    // The file behind a link is replaced, not the link.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::Write {
            path: path.clone(),
            bytes: 0,
            source,
        })?;
    }
    let _lock = Lock::wait(&path.with_extension("lock"), &|| false)?;
    let text = text(path)?.unwrap_or_default();
    let known = parse(path, text.clone())?;
    let mut document: DocumentMut = text.parse().map_err(|error| ConfigurationError::Read {
        path: path.clone(),
        source: io::Error::other(error),
    })?;
    let changed = change(&known.plugins.trusted, &mut document);
    if changed {
        store::write(path, document.to_string().as_bytes())?;
    }
    Ok(changed)
}

/// The list of entries, made if it is not there.
fn list(document: &mut DocumentMut) -> &mut Item {
    let plugins = document.entry("plugins").or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let list = &mut plugins["trusted"];
    if list.is_none() {
        *list = Item::ArrayOfTables(ArrayOfTables::new());
    }
    list
}

fn push(document: &mut DocumentMut, entry: &Trusted) {
    let keys = entry.keys();
    match list(document) {
        Item::ArrayOfTables(tables) => tables.push(
            keys.into_iter()
                .map(|(key, text)| (key, Value::from(text)))
                .collect(),
        ),
        // Written by hand as a list of inline tables.
        Item::Value(Value::Array(array)) => array.push(
            keys.into_iter()
                .map(|(key, text)| (key, Value::from(text)))
                .collect::<InlineTable>(),
        ),
        // The file was checked against its schema: there is nothing else.
        _ => {}
    }
}

fn remove(document: &mut DocumentMut, index: usize) {
    match list(document) {
        Item::ArrayOfTables(tables) => {
            tables.remove(index);
        }
        Item::Value(Value::Array(array)) => {
            array.remove(index);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
