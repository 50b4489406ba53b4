//! The files of a folder of images, listed and looked at before anything is trained on them.

use super::DataError;
use super::picture::{MOST_FILE_BYTES, decode, ends_well, format};
use crate::counted::counted;
use crate::plain_file;
use rayon::prelude::*;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes at the start and at the end of a file that are looked at.
const LOOK: u64 = 4096;

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
    let classes = subfolders(&train)?;
    let others = subfolders(&test)?;
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
    let (mut train, mut test) = (files(train, &classes)?, files(test, &classes)?);
    let images = train.files.len() + test.files.len();
    log::info!("looking at {}", counted(images, "image"));
    let mut hasher = blake3::Hasher::new();
    for (name, split) in [("train", &mut train), ("test", &mut test)] {
        let looks: Result<Vec<(u64, blake3::Hash)>, DataError> = (split.files.par_iter())
            .map(|file| look(&split.folder.join(Path::new(&**file))))
            .collect();
        for (file, (length, hash)) in split.files.iter().zip(looks?) {
            hasher.update(name.as_bytes()).update(b"/");
            hasher.update(file.as_bytes()).update(b"\0");
            hasher.update(&length.to_le_bytes()).update(hash.as_bytes());
            split.looks.push(fingerprint(length, &hash));
        }
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

fn subfolders(folder: &Path) -> Result<Vec<String>, DataError> {
    let names = names(folder)?;
    if let Some((file, _)) = names.iter().find(|(_, is_folder)| !is_folder) {
        return Err(layout(
            folder,
            format!(
                "`{file}` is not a folder: expected one folder for each class and nothing else"
            ),
        ));
    }
    Ok(names.into_iter().map(|(name, _)| name).collect())
}

fn files(folder: PathBuf, classes: &[String]) -> Result<Listed, DataError> {
    let each: Result<Vec<Vec<Box<str>>>, DataError> = classes
        .par_iter()
        .map(|class| images(&folder, class))
        .collect();
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (label, of_class) in (0..).zip(each?) {
        labels.resize(labels.len() + of_class.len(), label);
        files.extend(of_class);
    }
    Ok(Listed {
        folder,
        files,
        labels,
        looks: Vec::new(),
    })
}

/// The images of one class, of which there must be one.
fn images(folder: &Path, class: &str) -> Result<Vec<Box<str>>, DataError> {
    let here = folder.join(class);
    let names = names(&here)?;
    if names.is_empty() {
        return Err(layout(
            &here,
            "it is empty: expected at least one image of the class",
        ));
    }
    let image = |(name, is_folder): (String, bool)| {
        let extension = Path::new(&name).extension().unwrap_or_default();
        let known = ["jpg", "jpeg", "png"];
        if is_folder || !known.iter().any(|it| extension.eq_ignore_ascii_case(it)) {
            let reason = format!(
                "`{name}` is no image: expected files that end in .jpg, .jpeg or .png; move it elsewhere"
            );
            return Err(layout(&here, reason));
        }
        Ok(format!("{class}/{name}").into_boxed_str())
    };
    names.into_iter().map(image).collect()
}

/// Looks at the ends of a file; decodes it if they are not what they should be.
fn look(path: &Path) -> Result<(u64, blake3::Hash), DataError> {
    let (length, start, end) = ends(path).map_err(DataError::io("read", path))?;
    let bad = |reason| DataError::BadImage {
        path: path.to_owned(),
        reason,
    };
    let last = if end.is_empty() { &start } else { &end };
    if !ends_well(format(&start).map_err(bad)?, last) {
        let bytes = plain_file::read(path, MOST_FILE_BYTES).map_err(DataError::io("read", path))?;
        decode(&bytes).map_err(bad)?;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&start).update(&end);
    Ok((length, hasher.finalize()))
}

/// Length, first and last bytes of a file; the whole file and nothing if it is short.
fn ends(path: &Path) -> io::Result<(u64, Vec<u8>, Vec<u8>)> {
    let mut file = plain_file::open(path)?;
    let length = file.metadata()?.len();
    let (mut start, mut end) = (Vec::new(), Vec::new());
    if length <= 2 * LOOK {
        file.read_to_end(&mut start)?;
    } else {
        (&mut file).take(LOOK).read_to_end(&mut start)?;
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
mod tests {
    use super::super::picture::tests::file;
    use super::*;
    use image::ImageFormat;

    /// Two classes, with one image each to evaluate on.
    fn small() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, width) in [
            ("train/b/2.png", 40),
            ("train/b/10.JPG", 41),
            ("train/a/x.jpeg", 42),
            ("val/a/y.png", 43),
            ("val/b/z.jpg", 300),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // The first bytes and not the name tell the format.
            fs::write(path, file(ImageFormat::Jpeg, width, 200, 0)).unwrap();
        }
        root
    }

    fn message(root: &Path) -> String {
        list(root).unwrap_err().to_string()
    }

    #[test]
    fn files_are_sorted_by_the_bytes_of_class_and_name() {
        let root = small();
        fs::write(root.path().join("train/a/.hidden"), "").unwrap();
        let listing = list(root.path()).unwrap();
        let expected = ["a/x.jpeg", "b/10.JPG", "b/2.png"].map(Box::from);
        assert_eq!(listing.train.files, expected);
        assert_eq!(listing.train.labels, [0, 1, 1]);
        assert_eq!((listing.classes, listing.test.labels), (2, vec![0, 1]));
    }

    #[test]
    fn the_checksum_changes_with_names_lengths_and_both_ends_and_not_with_the_folder() {
        let root = small();
        let path = root.path().join("val/b/z.jpg");
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() as u64 > 2 * LOOK + 100);
        let before = list(root.path()).unwrap().checksum;
        assert_eq!(list(small().path()).unwrap().checksum, before);
        let mut seen = vec![before.clone()];
        for at in [bytes.len() - 3, 4000] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            seen.push(list(root.path()).unwrap().checksum);
        }
        fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
        seen.push(list(root.path()).unwrap().checksum);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(list(root.path()).unwrap().checksum, before);
        fs::rename(&path, path.with_file_name("zz.jpg")).unwrap();
        seen.push(list(root.path()).unwrap().checksum);
        fs::rename(root.path().join("val"), root.path().join("test")).unwrap();
        assert_eq!(list(root.path()).unwrap().checksum, seen[4]);
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn folders_that_are_not_laid_out_as_they_should_be_are_named() {
        let root = small();
        let at = |path: &str| root.path().join(path);
        fs::write(at("train/readme.txt"), "").unwrap();
        assert!(message(root.path()).contains("`readme.txt` is not a folder"));
        fs::remove_file(at("train/readme.txt")).unwrap();

        fs::write(at("train/a/boxes.txt"), "").unwrap();
        let said = message(root.path());
        assert!(said.contains("train/a: `boxes.txt` is no image"), "{said}");
        fs::remove_file(at("train/a/boxes.txt")).unwrap();

        fs::create_dir(at("train/c")).unwrap();
        let said = message(root.path());
        assert!(said.contains("val: there is no folder `c` here"), "{said}");
        fs::create_dir(at("val/c")).unwrap();
        let said = message(root.path());
        assert!(said.contains("/c: it is empty"), "{said}");
        fs::remove_dir(at("train/c")).unwrap();
        let said = message(root.path());
        assert!(
            said.contains("train: there is no folder `c` here"),
            "{said}"
        );

        fs::remove_dir_all(at("val")).unwrap();
        assert!(message(root.path()).contains("neither `val` nor `test`"));
    }

    #[test]
    fn files_that_are_no_images_or_cut_off_are_named_before_training() {
        for (contents, expected) in [
            (b"hello".to_vec(), "neither those of JPEG nor of PNG"),
            (Vec::new(), "neither those of JPEG nor of PNG"),
            (
                file(ImageFormat::Jpeg, 300, 200, 0)[..9000].to_vec(),
                "end marker is missing",
            ),
            (
                file(ImageFormat::Png, 300, 200, 0)[..9000].to_vec(),
                "x.jpeg",
            ),
        ] {
            let root = small();
            fs::write(root.path().join("train/a/x.jpeg"), contents).unwrap();
            let said = message(root.path());
            assert!(
                said.contains("train/a/x.jpeg") && said.contains(expected),
                "{said}"
            );
        }
        // Something after the end does no harm.
        let root = small();
        let long = [file(ImageFormat::Jpeg, 300, 200, 0), vec![0; 9000]].concat();
        fs::write(root.path().join("train/a/x.jpeg"), long).unwrap();
        assert!(list(root.path()).is_ok());
    }
}
