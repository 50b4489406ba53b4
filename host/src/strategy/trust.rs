//! Whose libraries may be loaded.
//!
//! A library that an experiment file names is code of whoever wrote the file. It runs - in a trial, too -
//! only if the user agreed. What lies in a searched folder, and a file that the user names on the command
//! line, is the user's word already and is not asked about.

use std::path::{Path, PathBuf};

use crate::configuration::{self, Configuration, ConfigurationError, Trusted};

/// What the user agrees to.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Every library.
    Everything,
    /// What this configuration lists; read when there is something to ask.
    Configured(PathBuf),
    /// What the configuration of whoever runs this program lists.
    Own,
}

/// Why a library may be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Everything may.
    Everything,
    /// It lies in this folder.
    Folder(PathBuf),
    /// It is this very file.
    Digest,
}

impl Trust {
    /// Why a library may be loaded; none if nothing says so. Its path has no links in it.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub fn ground(&self, path: &Path, digest: &str) -> Result<Option<Ground>, ConfigurationError> {
        let file = match self {
            Self::Everything => return Ok(Some(Ground::Everything)),
            Self::Configured(file) => file.clone(),
            Self::Own => match configuration::path() {
                Err(ConfigurationError::Nowhere) => return Ok(None),
                file => file?,
            },
        };
        let trusted = Configuration::read(&file)?.plugins.trusted;
        Ok(trusted.into_iter().find_map(|it| ground(it, path, digest)))
    }
}

fn ground(trusted: Trusted, path: &Path, digest: &str) -> Option<Ground> {
    match trusted {
        Trusted::Folder(it) => {
            // A folder that is not there has nothing in it.
            let real = it.folder.canonicalize().ok()?;
            path.starts_with(real).then_some(Ground::Folder(it.folder))
        }
        Trusted::File(it) => (it.blake3 == digest).then_some(Ground::Digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::{TrustedFile, TrustedFolder, trust};

    #[test]
    fn a_folder_covers_what_is_below_it_and_not_what_only_looks_like_it() {
        let desk = tempfile::tempdir().unwrap();
        let desk = desk.path().canonicalize().unwrap();
        for folder in ["mine/target/release", "mine/target-of-another", "links"] {
            std::fs::create_dir_all(desk.join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(desk.join("mine/target"), desk.join("links/to")).unwrap();
        let config = desk.join("config.toml");
        let folder = desk.join("links/to");
        let entry = Trusted::Folder(TrustedFolder {
            folder: folder.clone(),
        });
        trust(&config, &entry).unwrap();
        let own = Trust::Configured(config);
        let ground = |path: &str| own.ground(&desk.join(path), "").unwrap();
        assert_eq!(
            ground("mine/target/release/libmine.so"),
            Some(Ground::Folder(folder))
        );
        assert_eq!(ground("mine/target-of-another/libmine.so"), None);
        assert_eq!(ground("mine/libmine.so"), None);
    }

    #[test]
    fn a_digest_covers_that_file_alone_wherever_it_lies() {
        let desk = tempfile::tempdir().unwrap();
        let config = desk.path().join("config.toml");
        let entry = Trusted::File(TrustedFile {
            blake3: "a".repeat(64),
            file: Some("/x/libmine.so".into()),
        });
        trust(&config, &entry).unwrap();
        let own = Trust::Configured(config);
        let ground = |path: &str, digit: &str| own.ground(Path::new(path), &digit.repeat(64));
        assert_eq!(ground("/y/libother.so", "a").unwrap(), Some(Ground::Digest));
        assert_eq!(ground("/x/libmine.so", "b").unwrap(), None);
    }
}
