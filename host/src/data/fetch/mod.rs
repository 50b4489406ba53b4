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
mod tests {
    use super::server::Server;
    use super::*;
    use crate::data::cifar100;
    use crate::data::folder::Package;
    use crate::data::hints::Elsewhere;
    use sha2::{Digest, Sha256};

    fn mode(mirror: &str) -> FetchMode {
        FetchMode {
            apt: false,
            mirror: Some(mirror.to_owned()),
            attempts: 2,
            pause: Duration::from_millis(1),
        }
    }

    fn leak(text: String) -> &'static str {
        Box::leak(text.into_boxed_str())
    }

    fn pinned(name: &'static str, contents: &[u8]) -> Pinned {
        Pinned {
            name,
            sha256: leak(format!("{:x}", Sha256::digest(contents))),
        }
    }

    fn origin(files: Vec<Pinned>) -> Origin {
        Origin {
            base: "http://127.0.0.1:9/never-asked",
            files: Box::leak(files.into_boxed_slice()),
        }
    }

    const TOY: Files = Files {
        name: "toy",
        files: &["a", "b"],
        gz: true,
        inside: None,
        package: None,
        contents: &[],
        elsewhere: Elsewhere {
            folders: &[],
            python: None,
        },
    };

    #[test]
    fn downloads_every_file_from_the_mirror_and_only_once() {
        let server = Server::start(&[("/toy/a.gz", b"first"), ("/toy/b.gz", b"second")]);
        let data = tempfile::tempdir().unwrap();
        let origin = origin(vec![pinned("a.gz", b"first"), pinned("b.gz", b"second")]);
        let mut seen = Vec::new();
        let mut run = || {
            fetch_from(
                &TOY,
                &origin,
                None,
                data.path(),
                &mode(&server.address),
                &mut |p| seen.push((p.file.to_owned(), p.done, p.total)),
            )
            .unwrap()
        };
        let folder = data.path().join("toy");
        let report = run();
        assert_eq!(
            report.outcome,
            Outcome::Downloaded {
                folder: folder.clone(),
                bytes: 11
            }
        );
        assert!(report.to_string().contains("digests match"));
        assert_eq!(run().outcome, Outcome::Here(folder.clone()));
        assert_eq!(fs::read(folder.join("b.gz")).unwrap(), b"second");
        assert_eq!(server.requests().len(), 2);
        assert!(seen.contains(&("b.gz".to_owned(), 6, Some(6))));
    }

    #[test]
    fn unpacks_an_archive_and_the_dataset_is_then_found() {
        let (train, test) = (vec![1; 5000], vec![2; 3000]);
        let archive = archive::tests::tar_gz(&[
            ("cifar-100-binary/train.bin", &train),
            ("cifar-100-binary/fine_label_names.txt", b"apple"),
            ("cifar-100-binary/test.bin", &test),
        ]);
        let server = Server::start(&[("/cifar100/cifar-100-binary.tar.gz", &archive)]);
        let data = tempfile::tempdir().unwrap();
        let origin = origin(vec![pinned("cifar-100-binary.tar.gz", &archive)]);
        fetch_from(
            &cifar100::FILES,
            &origin,
            None,
            data.path(),
            &mode(&server.address),
            &mut |_| {},
        )
        .unwrap();
        let folder = data.path().join("cifar100");
        let mut names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["test.bin", "train.bin"]);
        assert_eq!(fs::read(folder.join("train.bin")).unwrap(), train);
    }

    #[test]
    fn without_a_network_the_error_says_what_to_do_by_hand() {
        let data = tempfile::tempdir().unwrap();
        // Nothing listens on the discard port.
        let error = fetch(
            "mnist",
            data.path(),
            &mode("http://127.0.0.1:9"),
            &mut |_| {},
        )
        .unwrap_err()
        .to_string();
        for part in [
            "failed to download http://127.0.0.1:9/mnist/train-images-idx3-ubyte.gz",
            "2 attempts",
            "t10k-labels-idx1-ubyte.gz",
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            data.path().join("mnist").to_str().unwrap(),
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn embedded_and_unknown_datasets_are_told_apart() {
        let data = tempfile::tempdir().unwrap();
        let fetch = |name| fetch(name, data.path(), &mode("http://127.0.0.1:9"), &mut |_| {});
        assert_eq!(fetch("mnist1d").unwrap().outcome, Outcome::Embedded);
        assert!(matches!(fetch("nist"), Err(DataError::Unknown { .. })));
        let message = fetch("tiny-imagenet").unwrap_err().to_string();
        assert!(
            message.contains("cannot be fetched: get http://cs231n"),
            "{message}"
        );
        std::fs::create_dir(data.path().join("tiny-imagenet")).unwrap();
        std::fs::write(data.path().join("tiny-imagenet/wnids.txt"), "").unwrap();
        let here = Outcome::Here(data.path().join("tiny-imagenet"));
        assert_eq!(fetch("tiny-imagenet").unwrap().outcome, here);
    }

    #[test]
    fn prefers_the_system_package() {
        let data = tempfile::tempdir().unwrap();
        let system = data.path().join("system");
        let files = Files {
            package: Some(Package {
                name: "dataset-toy",
                folder: leak(system.display().to_string()),
            }),
            ..TOY
        };
        // An apt-get that knows the package only after an update.
        let script = format!(
            "cd {0}\ncase \"$1\" in\nupdate) touch updated ;;\n\
             install) test -f updated && mkdir system && echo 1 | tee system/a > system/b ;;\nesac\n",
            data.path().display()
        );
        let apt = apt::tests::script(data.path(), &script);
        let run = |apt| {
            fetch_from(
                &files,
                &origin(Vec::new()),
                apt,
                data.path(),
                &mode("http://127.0.0.1:9"),
                &mut |_| {},
            )
        };
        let report = run(Some(apt)).unwrap();
        assert_eq!(
            report.outcome,
            Outcome::Installed {
                package: "dataset-toy",
                folder: system.clone()
            }
        );
        assert_eq!(run(None).unwrap().outcome, Outcome::Here(system));
    }

    #[test]
    fn every_published_dataset_has_an_origin_whose_files_it_reads() {
        for entry in DATASETS {
            let Source::Published(files, origin) = &entry.build.source else {
                continue;
            };
            assert_eq!(files.name, entry.name);
            assert!(origin.base.starts_with("http") && !origin.base.ends_with('/'));
            for file in origin.files {
                assert_eq!(file.sha256.len(), 64, "{}", file.name);
            }
            if files.gz {
                let names: Vec<_> = origin.files.iter().map(|file| file.name).collect();
                let read: Vec<_> = files.files.iter().map(|f| format!("{f}.gz")).collect();
                assert_eq!(names, read);
            }
        }
    }
}
