//! What lies about where a dataset's files were looked for: the same files under other names, in another
//! program's folders, or in a version that this program does not read.

use super::folder::{Files, is_filled};
use crate::program::command_line;
use std::path::{Path, PathBuf};

/// Where other programs keep a dataset.
#[derive(Debug)]
pub(super) struct Elsewhere {
    /// Folders with the very same files, below the data folder or the dataset's.
    pub folders: &'static [&'static str],
    /// A folder, and a file in it, of a version that is not read.
    pub python: Option<(&'static str, &'static str)>,
}

/// What was found and what to do with it, for the end of a sentence; nothing if nothing was found. `roots` are
/// the data folder, if it was searched, and the folders that were.
pub(super) fn hint(files: &Files, roots: &[PathBuf]) -> Option<String> {
    renamed(files, roots)
        .or_else(|| moved(files, roots))
        .or_else(|| python(files, roots))
        .or_else(|| empty(files, roots))
}

/// The name that some servers give a file: a dot where the publisher has the last dash but one.
fn with_a_dot(file: &str) -> Option<String> {
    let (start, end) = file.split_once("-idx")?;
    Some(format!("{start}.idx{end}"))
}

fn renamed(files: &Files, roots: &[PathBuf]) -> Option<String> {
    let found = |root: &PathBuf| {
        let moves: Vec<[PathBuf; 2]> = (files.files.iter())
            .flat_map(|file| ["", ".gz"].map(|ending| (file, ending)))
            .filter_map(|(file, ending)| {
                let from = root.join(format!("{}{ending}", with_a_dot(file)?));
                let to = root.join(format!("{file}{ending}"));
                (is_filled(&from) && !is_filled(&to)).then_some([from, to])
            })
            .collect();
        (!moves.is_empty()).then_some(moves)
    };
    let moves = roots.iter().find_map(found)?;
    let commands: Vec<String> = (moves.iter())
        .map(|[from, to]| command_line(["mv", &from.to_string_lossy(), &to.to_string_lossy()]))
        .collect();
    Some(format!(
        "{} has a dot where a dash is expected: rename it, `{}`",
        moves[0][0].display(),
        commands.join(" && ")
    ))
}

fn moved(files: &Files, roots: &[PathBuf]) -> Option<String> {
    let inside = files.inside.iter();
    let below: Vec<&str> = files
        .elsewhere
        .folders
        .iter()
        .chain(inside)
        .copied()
        .collect();
    let candidates = roots
        .iter()
        .flat_map(|root| below.iter().map(move |it| root.join(it)));
    let has_all = |folder: &Path| files.lacking(folder).is_empty();
    let folder = candidates.into_iter().find(|it| has_all(it))?;
    let folder = folder.display();
    Some(format!(
        "all of them are in {folder}: say `data.dir = \"{folder}\"` in the experiment file, or move them"
    ))
}

fn python(files: &Files, roots: &[PathBuf]) -> Option<String> {
    let (folder, file) = files.elsewhere.python?;
    let places = roots
        .iter()
        .flat_map(|root| [root.join(folder), root.clone()]);
    let found = places.into_iter().find(|it| it.join(file).is_file())?;
    Some(format!(
        "{} holds the version for Python, whose pickles are not read: expected the binary version",
        found.display()
    ))
}

fn empty(files: &Files, roots: &[PathBuf]) -> Option<String> {
    let names = files.files.iter();
    let names = names.flat_map(|it| [(*it).to_owned(), format!("{it}.gz")]);
    let names: Vec<String> = names.collect();
    let paths = roots
        .iter()
        .flat_map(|root| names.iter().map(move |it| root.join(it)));
    let found = paths
        .into_iter()
        .find(|it| it.is_file() && !is_filled(it))?;
    Some(format!("{} is empty", found.display()))
}

#[cfg(test)]
mod tests {
    use super::super::{cifar10, fashion_mnist, idx, mnist};
    use super::*;
    use std::fs;

    /// What is said of a data folder with these files, one byte long each.
    fn said(files: &Files, paths: &[String]) -> String {
        let data = tempfile::tempdir().unwrap();
        for path in paths {
            let path = data.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "1").unwrap();
        }
        let data = data.path();
        let message = files.find(data, None).unwrap_err().to_string();
        message.replace(data.to_str().unwrap(), "DATA")
    }

    fn all(folder: &str, ending: &str) -> Vec<String> {
        let names = idx::FILES.iter();
        names.map(|it| format!("{folder}/{it}{ending}")).collect()
    }

    #[test]
    fn names_with_dots_are_renamed_by_the_command_that_is_said() {
        let dotted: Vec<String> = (all("mnist", "").iter())
            .map(|it| it.replace("-idx", ".idx"))
            .collect();
        let message = said(&mnist::FILES, &dotted);
        for part in [
            "dataset 'mnist' lacks train-images-idx3-ubyte",
            "DATA/mnist/train-images.idx3-ubyte has a dot where a dash is expected",
            "`mv DATA/mnist/train-images.idx3-ubyte DATA/mnist/train-images-idx3-ubyte && mv ",
            "t10k-labels.idx1-ubyte DATA/mnist/t10k-labels-idx1-ubyte`",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn the_folders_of_torchvision_are_named() {
        for (files, folder) in [
            (&mnist::FILES, "MNIST/raw"),
            (&mnist::FILES, "mnist/MNIST/raw"),
            (&mnist::FILES, "mnist/raw"),
        ] {
            for ending in ["", ".gz"] {
                let message = said(files, &all(folder, ending));
                let expected = format!("`data.dir = \"DATA/{folder}\"`");
                assert!(message.contains(&expected), "{message}");
            }
        }
        if !Path::new(fashion_mnist::FILES.package.as_ref().unwrap().folder).is_dir() {
            let message = said(&fashion_mnist::FILES, &all("FashionMNIST/raw", ".gz"));
            assert!(message.contains("DATA/FashionMNIST/raw"), "{message}");
        }
        let binary = cifar10::FILES.files.iter();
        let binary: Vec<String> = binary
            .map(|it| format!("cifar-10-batches-bin/{it}"))
            .collect();
        let message = said(&cifar10::FILES, &binary);
        assert!(
            message.contains("`data.dir = \"DATA/cifar-10-batches-bin\"`"),
            "{message}"
        );
    }

    #[test]
    fn pickles_are_told_from_the_binary_version() {
        for folder in [
            "cifar-10-batches-py",
            "cifar10/cifar-10-batches-py",
            "cifar10",
        ] {
            let message = said(&cifar10::FILES, &[format!("{folder}/data_batch_1")]);
            let expected = format!("DATA/{folder} holds the version for Python, whose pickles");
            assert!(message.contains(&expected), "{message}");
            assert!(
                message.ends_with("get it with `called data fetch cifar10`"),
                "{message}"
            );
        }
    }

    #[test]
    fn empty_files_are_not_there() {
        let data = tempfile::tempdir().unwrap();
        let mnist = data.path().join("mnist");
        fs::create_dir(&mnist).unwrap();
        for file in idx::FILES {
            fs::write(mnist.join(file), "").unwrap();
        }
        let message = mnist::FILES
            .find(data.path(), None)
            .unwrap_err()
            .to_string();
        let expected = format!("{}/train-images-idx3-ubyte is empty", mnist.display());
        assert!(message.contains(&expected), "{message}");
        // The one beside it counts.
        for file in idx::FILES {
            fs::write(mnist.join(format!("{file}.gz")), "1").unwrap();
        }
        assert_eq!(mnist::FILES.find(data.path(), None).unwrap(), mnist);
        let file = idx::FILES[0];
        assert_eq!(
            mnist::FILES.path(&mnist, file),
            mnist.join(format!("{file}.gz"))
        );
    }
}
