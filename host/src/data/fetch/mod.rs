//! Gets the files of a dataset: from a system package, or by a download with a pinned digest.

mod apt;
mod archive;
mod download;
#[cfg(test)]
mod server;
mod source;

use super::folder::Files;
use super::{DATASETS, DataContext, DataError, Source};
use crate::registry::{Options, find};
use apt::Apt;
pub(super) use archive::unpack;
use download::Download;
pub(super) use source::{Origin, Pinned};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs};
use tch::Device;

/// The environment variable with the address of a mirror; a file is then asked for at
/// `<mirror>/<dataset>/<file>`, and its digest stays the pinned one.
pub const MIRROR: &str = "HOST_DATA_MIRROR";

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchMode {
    /// Whether `apt-get` may install a package that has the dataset (as root only).
    pub apt: bool,
    /// Address of a mirror instead of the datasets' own addresses.
    pub mirror: Option<String>,
    /// Attempts without progress before giving up.
    pub attempts: u32,
    /// Pause after the first failed attempt, doubled after each further one.
    pub pause: Duration,
}

impl FetchMode {
    /// The usual mode, with the mirror that the environment names.
    pub fn from_env(apt: bool) -> Self {
        Self {
            apt,
            mirror: env::var(MIRROR).ok().filter(|mirror| !mirror.is_empty()),
            attempts: 4,
            pause: Duration::from_secs(1),
        }
    }
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes of the whole file, where the server tells.
    pub total: Option<u64>,
}

/// What fetching a dataset came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReport {
    /// The dataset.
    pub name: &'static str,
    /// What was done.
    pub outcome: Outcome,
}

/// What was done to have a dataset here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: it is part of the program.
    Embedded,
    /// Nothing: it was in this folder already.
    Here(PathBuf),
    /// A system package was installed.
    Installed {
        /// The package.
        package: &'static str,
        /// Where it put the files.
        folder: PathBuf,
    },
    /// Files were downloaded and checked.
    Downloaded {
        /// Where they are.
        folder: PathBuf,
        /// Their size in all.
        bytes: u64,
    },
}

impl fmt::Display for FetchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name;
        match &self.outcome {
            Outcome::Embedded => write!(f, "{name} is embedded: nothing to fetch"),
            Outcome::Here(folder) => write!(f, "{name} is already in {}", folder.display()),
            Outcome::Installed { package, folder } => {
                write!(
                    f,
                    "{name} is in {}, from the package {package}",
                    folder.display()
                )
            }
            Outcome::Downloaded { folder, bytes } => {
                let megabytes = *bytes as f64 / 1e6;
                write!(
                    f,
                    "{name} is in {}: {megabytes:.1} MB downloaded, digests match",
                    folder.display()
                )
            }
        }
    }
}

/// Gets the dataset called `name` into `data_dir`, unless it is here already.
///
/// # Errors
/// An unknown name, no network, a file that is not the pinned one.
pub fn fetch(
    name: &str,
    data_dir: &Path,
    mode: &FetchMode,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<FetchReport, DataError> {
    let entry = find(DATASETS, name).ok_or_else(|| DataError::unknown(name))?;
    let report = |outcome| {
        Ok(FetchReport {
            name: entry.name,
            outcome,
        })
    };
    match &entry.build.source {
        Source::Embedded => report(Outcome::Embedded),
        Source::Published(files, origin) => {
            let apt = mode.apt.then(Apt::of_root).flatten();
            let report = fetch_from(files, origin, apt, data_dir, mode, progress)?;
            if let Outcome::Here(_) = report.outcome {
                // What somebody else put there is not known to be whole.
                let context = DataContext {
                    data_dir: data_dir.to_owned(),
                    device: Device::Cpu,
                };
                (entry.build.load)(&Options::new(), &context)?;
            }
            Ok(report)
        }
        Source::ByHand { is_here, advice } => match is_here(data_dir) {
            Some(folder) => report(Outcome::Here(folder)),
            None => Err(DataError::ByHand {
                name: entry.name,
                advice,
            }),
        },
    }
}

fn fetch_from(
    files: &Files,
    origin: &Origin,
    apt: Option<Apt>,
    data_dir: &Path,
    mode: &FetchMode,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<FetchReport, DataError> {
    let report = |outcome| {
        Ok(FetchReport {
            name: files.name,
            outcome,
        })
    };
    if let Ok(folder) = files.find(data_dir, None) {
        return report(Outcome::Here(folder));
    }
    if let (Some(package), Some(apt)) = (&files.package, apt) {
        match apt.install(package.name) {
            Ok(()) => {
                if let Ok(folder) = files.find(data_dir, None) {
                    let package = package.name;
                    return report(Outcome::Installed { package, folder });
                }
                log::warn!("{} has not the files expected: downloading", package.name);
            }
            Err(reason) => log::warn!("{reason}: downloading instead"),
        }
    }
    let folder = data_dir.join(files.name);
    fs::create_dir_all(&folder).map_err(DataError::io("create", &folder))?;
    let mut bytes = 0;
    for file in origin.files {
        let download = Download {
            url: match &mode.mirror {
                Some(mirror) => format!(
                    "{}/{}/{}",
                    mirror.trim_end_matches('/'),
                    files.name,
                    file.name
                ),
                None => format!("{}/{}", origin.base, file.name),
            },
            path: folder.join(file.name),
            sha256: file.sha256,
            limit: source::LIMIT,
            attempts: mode.attempts,
            pause: mode.pause,
            by_hand: origin.by_hand(&folder),
        };
        bytes += download.run(&mut |done, total| {
            progress(Progress {
                file: file.name,
                done,
                total,
            });
        })?;
        if let Some(inside) = files.inside {
            archive::unpack(files.name, &download.path, inside, files.files)?;
        }
    }
    let folder = files.find(data_dir, None)?;
    report(Outcome::Downloaded { folder, bytes })
}

#[cfg(test)]
mod tests;
