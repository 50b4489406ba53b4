//! What datasets there are and whether they are here.

use super::{DATASETS, Source};
use crate::program;
use std::fmt;
use std::path::{Path, PathBuf};

/// One dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Name in the experiment file.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Whether it is here.
    pub status: Status,
}

/// Whether a dataset is here.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Part of the program.
    Embedded,
    /// All its files are in this folder; their contents are checked when they are read.
    Found(PathBuf),
    /// To be fetched.
    Missing {
        /// The dataset's name.
        name: &'static str,
    },
    /// To be put in its place by hand.
    ByHand {
        /// What to do.
        advice: &'static str,
    },
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => write!(f, "embedded"),
            Self::Found(path) => write!(f, "found at {}", path.display()),
            Self::Missing { name } => write!(f, "missing: `{} data fetch {name}`", program::name()),
            Self::ByHand { advice } => write!(f, "missing: {advice}"),
        }
    }
}

/// Every dataset, in the registry's order, as seen from `data_dir`.
pub fn inventory(data_dir: &Path) -> Vec<Item> {
    DATASETS
        .iter()
        .map(|entry| Item {
            name: entry.name,
            summary: entry.summary,
            status: match &entry.build.source {
                Source::Embedded => Status::Embedded,
                Source::Published(files, _) => match files.find(data_dir, None) {
                    Ok(folder) => Status::Found(folder),
                    Err(_) => Status::Missing { name: entry.name },
                },
                Source::ByHand { is_here, advice } => match is_here(data_dir) {
                    Some(folder) => Status::Found(folder),
                    None => Status::ByHand { advice },
                },
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::cifar100;

    #[test]
    fn says_what_is_embedded_found_and_missing() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("cifar100");
        std::fs::create_dir(&dir).unwrap();
        for file in cifar100::FILES.files {
            std::fs::write(dir.join(file), "1").unwrap();
        }
        let items = inventory(data.path());
        let status = |name| {
            let item = items.iter().find(|item| item.name == name).unwrap();
            item.status.to_string()
        };
        assert_eq!(items.len(), DATASETS.len());
        assert_eq!(status("mnist1d"), "embedded");
        assert_eq!(status("cifar100"), format!("found at {}", dir.display()));
        assert_eq!(status("cifar10"), "missing: `called data fetch cifar10`");
        assert!(status("tiny-imagenet").starts_with("missing: get http://cs231n"));
        std::fs::create_dir_all(data.path().join("image-folder/train")).unwrap();
        let items = inventory(data.path());
        let folder = items.iter().find(|item| item.name == "image-folder");
        let found = Status::Found(data.path().join("image-folder"));
        assert_eq!(folder.unwrap().status, found);
    }
}
