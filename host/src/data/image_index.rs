//! The files of a folder of images, listed and looked at before anything is trained on them.

use super::DataError;
use super::extent::{Extent, extent};
use super::picture::{MOST_FILE_BYTES, decode, format};
use crate::counted::counted;
use crate::plain_file;
use rayon::prelude::*;
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes at the start and at the end of a file that are looked at.
const LOOK: u64 = 4096;

/// Bytes that are read at a time while a file's structure is followed.
const BUFFER: usize = 4096;

/// Files that a message names one by one.
const NAMED: usize = 10;

/// Splits, as their folders may be called, and as the checksum calls them.
const TEST: [&str; 2] = ["val", "test"];

/// What a folder of images holds.
#[derive(Debug)]
pub(super) struct Listing {
    pub classes: usize,
    pub train: Listed,
    pub test: Listed,
    /// BLAKE3 of, for each file in order: split, path, length, and the BLAKE3 of its first and last
    /// 4,096 bytes (of all, if it is shorter than both together).
    pub checksum: String,
}

/// The images of one split, sorted by class and name.
#[derive(Debug, PartialEq)]
pub(super) struct Listed {
    pub folder: PathBuf,
    /// `CLASS/FILE`.
    pub files: Vec<Box<str>>,
    /// The place of the class in the sorted list of classes.
    pub labels: Vec<i64>,
    /// What each file looked like, by [`fingerprint`].
    pub looks: Vec<u64>,
}

/// Length and ends of a file in 64 bits: enough to notice that it is another one, and little enough
/// to keep for a million files.
pub(super) fn fingerprint(length: u64, ends: &blake3::Hash) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length.to_le_bytes()).update(ends.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

/// The fingerprint of a file that was read as a whole.
pub(super) fn fingerprint_of(bytes: &[u8]) -> u64 {
    let look = LOOK as usize;
    let mut hasher = blake3::Hasher::new();
    if bytes.len() <= 2 * look {
        hasher.update(bytes);
    } else {
        hasher.update(&bytes[..look]);
        hasher.update(&bytes[bytes.len() - look..]);
    }
    fingerprint(bytes.len() as u64, &hasher.finalize())
}

/// Lists `dir/train` and `dir/val` or, if there is none, `dir/test`, and looks at each file.
///
/// # Errors
/// Folders that do not match, a file that is no image or cut off.
pub(super) fn list(dir: &Path) -> Result<Listing, DataError> {
    let test = TEST
        .map(|name| dir.join(name))
        .into_iter()
        .find(|it| it.is_dir());
    let test = test.ok_or_else(|| layout(dir, "it has neither `val` nor `test`, of which one must hold the images to evaluate on, in a folder for each class"))?;
    let train = dir.join("train");
    let (classes, mut strays) = subfolders(&train)?;
    let (others, more) = subfolders(&test)?;
    strays.extend(more);
    for (classes, others, folder) in [(&classes, &others, &test), (&others, &classes, &train)] {
        if let Some(class) = classes.iter().find(|&it| !others.contains(it)) {
            let reason = format!(
                "there is no folder `{class}` here but in the other split: both need the same classes"
            );
            return Err(layout(folder, reason));
        }
    }
    if classes.is_empty() {
        return Err(layout(
            &train,
            "it has no folder: expected one for each class",
        ));
    }
    let (mut train, more) = files(train, &classes)?;
    strays.extend(more);
    let (mut test, more) = files(test, &classes)?;
    strays.extend(more);
    if !strays.is_empty() {
        return Err(litter(dir, &strays));
    }
    let all = train.files.len() + test.files.len();
    log::info!("looking at {}", counted(all, "image"));
    let mut hasher = blake3::Hasher::new();
    let mut bad = Vec::new();
    for (name, split) in [("train", &mut train), ("test", &mut test)] {
        let looks: Vec<Result<(u64, blake3::Hash), DataError>> = (split.files.par_iter())
            .map(|file| look(&split.folder.join(Path::new(&**file))))
            .collect();
        for (file, look) in split.files.iter().zip(looks) {
            let (length, hash) = match look {
                Err(DataError::BadImage { path, reason }) => {
                    bad.push((path, reason));
                    continue;
                }
                look => look?,
            };
            hasher.update(name.as_bytes()).update(b"/");
            hasher.update(file.as_bytes()).update(b"\0");
            hasher.update(&length.to_le_bytes()).update(hash.as_bytes());
            split.looks.push(fingerprint(length, &hash));
        }
    }
    if !bad.is_empty() {
        return Err(unreadable(dir, bad, all));
    }
    Ok(Listing {
        classes: classes.len(),
        train,
        test,
        checksum: hasher.finalize().to_hex().to_string(),
    })
}

/// Names in a folder, sorted by their bytes; hidden ones are passed over.
fn names(folder: &Path) -> Result<Vec<(String, bool)>, DataError> {
    let mut names = Vec::new();
    let entries = fs::read_dir(folder).map_err(DataError::io("list", folder))?;
    for entry in entries {
        let entry = entry.map_err(DataError::io("list", folder))?;
        let name = entry.file_name().into_string().map_err(|name| {
            layout(
                folder,
                format!("the name {name:?} is not Unicode: rename it"),
            )
        })?;
        if name.starts_with('.') {
            continue;
        }
        let kind = entry
            .file_type()
            .map_err(DataError::io("inspect", entry.path()))?;
        // What a link leads to counts.
        let is_folder = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
        names.push((name, is_folder));
    }
    names.sort();
    Ok(names)
}

/// The folders of a split, and what else lies there.
fn subfolders(folder: &Path) -> Result<(Vec<String>, Vec<PathBuf>), DataError> {
    let (folders, strays): (Vec<_>, Vec<_>) = names(folder)?.into_iter().partition(|it| it.1);
    let strays = strays.into_iter().map(|(name, _)| folder.join(name));
    let folders = folders.into_iter().map(|(name, _)| name);
    Ok((folders.collect(), strays.collect()))
}

/// The images of a split, and what else lies beside them.
fn files(folder: PathBuf, classes: &[String]) -> Result<(Listed, Vec<PathBuf>), DataError> {
    let each: Result<Vec<_>, DataError> = classes
        .par_iter()
        .map(|class| images(&folder, class))
        .collect();
    let (mut files, mut labels, mut strays) = (Vec::new(), Vec::new(), Vec::new());
    for (label, (of_class, others)) in (0..).zip(each?) {
        labels.resize(labels.len() + of_class.len(), label);
        files.extend(of_class);
        strays.extend(others);
    }
    let listed = Listed {
        folder,
        files,
        labels,
        looks: Vec::new(),
    };
    Ok((listed, strays))
}

/// The images of one class, and what is none. There must be something.
fn images(folder: &Path, class: &str) -> Result<(Vec<Box<str>>, Vec<PathBuf>), DataError> {
    let here = folder.join(class);
    let names = names(&here)?;
    if names.is_empty() {
        return Err(layout(
            &here,
            "it is empty: expected at least one image of the class",
        ));
    }
    let is_image = |(name, is_folder): &(String, bool)| {
        let extension = Path::new(name).extension().unwrap_or_default();
        let known = ["jpg", "jpeg", "png"];
        !is_folder && known.iter().any(|it| extension.eq_ignore_ascii_case(it))
    };
    let (images, strays): (Vec<_>, Vec<_>) = names.into_iter().partition(is_image);
    let images = images.into_iter();
    let images = images.map(|(name, _)| format!("{class}/{name}").into_boxed_str());
    let strays = strays.into_iter().map(|(name, _)| here.join(name));
    Ok((images.collect(), strays.collect()))
}

/// What lies about in a folder of images, named in one go.
fn litter(dir: &Path, strays: &[PathBuf]) -> DataError {
    let what = match strays.len() {
        1 => "one thing in it is".to_owned(),
        count => format!("{count} things in it are"),
    };
    let lines = lines(strays.iter().map(|it| shown(dir, it)), strays.len());
    layout(
        dir,
        format!(
            "{what} neither a folder of a class nor a file in one that ends in .jpg, .jpeg or .png; move \
             elsewhere:{lines}"
        ),
    )
}

/// The one file that is no image, or all of them.
fn unreadable(dir: &Path, mut bad: Vec<(PathBuf, String)>, of: usize) -> DataError {
    let count = bad.len();
    match bad.pop() {
        Some((path, reason)) if count == 1 => DataError::BadImage { path, reason },
        last => {
            bad.extend(last);
            let each = bad.iter();
            let each = each.map(|(path, reason)| format!("{}: {reason}", shown(dir, path)));
            let list = lines(each, count);
            let path = dir.to_owned();
            DataError::BadImages {
                path,
                count,
                of,
                list,
            }
        }
    }
}

/// A path as seen from the folder of the dataset.
fn shown(dir: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(dir).unwrap_or(path);
    inside.display().to_string()
}

/// The first of `count` things, a line each, and how many there are more.
fn lines(each: impl Iterator<Item = String>, count: usize) -> String {
    let mut text: String = each.take(NAMED).map(|it| format!("\n  {it}")).collect();
    if count > NAMED {
        text += &format!("\n  and {} more", count - NAMED);
    }
    text
}

/// Looks at the ends of a file and whether its structure goes on to the end of the picture; where it does
/// not, the decoder has the last word: it takes a PNG whose pixels are all there.
fn look(path: &Path) -> Result<(u64, blake3::Hash), DataError> {
    let io = |error| DataError::io("read", path)(error);
    let bad = |reason| DataError::BadImage {
        path: path.to_owned(),
        reason,
    };
    let mut file = plain_file::open(path).map_err(io)?;
    let (length, start, end) = ends(&mut file).map_err(io)?;
    let format = format(&start).map_err(bad)?;
    let extent = match end.is_empty() {
        true => extent(format, Cursor::new(&start), length),
        false => (file.rewind())
            .and_then(|()| extent(format, BufReader::with_capacity(BUFFER, &file), length)),
    };
    if extent.map_err(io)? != Extent::Whole {
        let bytes = plain_file::read(path, MOST_FILE_BYTES).map_err(io)?;
        decode(&bytes).map_err(bad)?;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&start).update(&end);
    Ok((length, hasher.finalize()))
}

/// Length, first and last bytes of a file; the whole file and nothing if it is short.
fn ends(file: &mut File) -> io::Result<(u64, Vec<u8>, Vec<u8>)> {
    let length = file.metadata()?.len();
    let (mut start, mut end) = (Vec::new(), Vec::new());
    if length <= 2 * LOOK {
        file.read_to_end(&mut start)?;
    } else {
        file.take(LOOK).read_to_end(&mut start)?;
        file.seek(SeekFrom::Start(length - LOOK))?;
        file.take(LOOK).read_to_end(&mut end)?;
    }
    Ok((length, start, end))
}

fn layout(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::Layout {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
