//! Tiny ImageNet (Stanford's course CS231n, 2015): 100,000 + 10,000 photographs of 200 classes.

use super::folder::Source as Complaint;
use super::image::{ImageOptions, Images, Samples};
use super::picture::{MOST_FILE_BYTES, Picture, decode};
use super::{DataContext, DataError, Dataset, Definition, Source};
use crate::plain_file;
use crate::registry::{Entry, Options};
use plugin_api::schemars::schema_for;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const NAME: &str = "tiny-imagenet";
/// The folder inside the published archive.
const INSIDE: &str = "tiny-imagenet-200";
const CLASSES: &str = "wnids.txt";
const ANNOTATIONS: &str = "val/val_annotations.txt";

pub(super) const IMAGES: Images = Images {
    name: NAME,
    classes: 200,
    shape: [3, 64, 64],
    train: 100_000,
    test: 10_000,
    mean: &[0.4802, 0.4481, 0.3975],
    std: &[0.2770, 0.2691, 0.2821],
};

pub(super) const ENTRY: Entry<Definition> = Entry {
    name: NAME,
    summary: "100,000 + 10,000 photographs, 64x64 colour, 200 classes",
    schema: || schema_for!(ImageOptions),
    build: Definition {
        load: |options, context| load(&IMAGES, options, context),
        declared: |options| IMAGES.declared(options),
        source: Source::ByHand {
            is_here: |data_dir| find(&data_dir.join(NAME)),
            advice: "get http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it into the folder `tiny-imagenet` of the data folder",
        },
    },
};

/// The folder with the list of classes: `folder`, or the archive's own in it.
fn find(folder: &Path) -> Option<PathBuf> {
    [folder.to_owned(), folder.join(INSIDE)]
        .into_iter()
        .find(|it| it.join(CLASSES).is_file())
}

/// Reads all images into memory. A class's number is its place in the sorted list of identifiers.
fn load(images: &Images, options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    let options = ImageOptions::read(NAME, options)?;
    let folder = match &options.dir {
        Some(dir) => dir.clone(),
        None => context.data_dir.join(NAME),
    };
    let found = find(&folder).ok_or_else(|| DataError::Absent {
        name: NAME,
        folder: folder.join(CLASSES),
        advice: format!(
            "get http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it into {}",
            folder.display()
        ),
    })?;
    let classes = classes(&found, images)?;
    let train = read(images, &found, train(&found, &classes, images)?)?;
    let test = read(images, &found, test(&found, &classes, images)?)?;
    Ok(images.dataset(train, test, options.augment, context))
}

/// The text of one of the dataset's lists, the longer of which has 400 KB.
fn read_list(path: &Path) -> Result<String, DataError> {
    let bytes = plain_file::read(path, 1 << 24).map_err(DataError::io("read", path))?;
    String::from_utf8(bytes).map_err(|_| {
        let (expected, got) = ("UTF-8", "something else");
        complaint(path.to_owned()).malformed("the text", expected, got)
    })
}

/// The classes' identifiers with their numbers.
fn classes(root: &Path, images: &Images) -> Result<BTreeMap<String, u8>, DataError> {
    let path = root.join(CLASSES);
    let text = read_list(&path)?;
    let mut names: Vec<&str> = text.split_whitespace().collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != usize::from(images.classes) {
        let (expected, got) = (images.classes, names.len());
        return Err(complaint(path).malformed(
            "the number of different classes",
            expected.to_string(),
            got.to_string(),
        ));
    }
    let names = names.into_iter().map(str::to_owned);
    Ok(names.zip(0..).collect())
}

/// `train/CLASS/images/CLASS_NUMBER.JPEG`, sorted by class, then by number.
fn train(
    root: &Path,
    classes: &BTreeMap<String, u8>,
    images: &Images,
) -> Result<Vec<(PathBuf, u8)>, DataError> {
    let each = images.train / usize::from(images.classes);
    let mut files = Vec::with_capacity(images.train);
    for (class, &label) in classes {
        let folder = Path::new("train").join(class).join("images");
        files.extend((0..each).map(|i| (folder.join(format!("{class}_{i}.JPEG")), label)));
    }
    present(root, files)
}

/// `val/images/FILE` with the class that `val_annotations.txt` gives it, sorted by name.
fn test(
    root: &Path,
    classes: &BTreeMap<String, u8>,
    images: &Images,
) -> Result<Vec<(PathBuf, u8)>, DataError> {
    let path = root.join(ANNOTATIONS);
    let text = read_list(&path)?;
    let mut files = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut fields = line.split('\t');
        let (file, class) = (fields.next(), fields.next());
        let (Some(file), Some(class)) = (file, class) else {
            return Err(complaint(path).malformed(
                format!("line {number}"),
                "a file, a tab and a class",
                format!("{line:?}"),
            ));
        };
        let Some(&label) = classes.get(class) else {
            return Err(complaint(path).malformed(
                format!("the class in line {number}"),
                format!("one of {CLASSES}"),
                format!("{class:?}"),
            ));
        };
        // A name that leads elsewhere would be read from there.
        if file.contains(['/', '\\']) || files.insert(file.to_owned(), label).is_some() {
            return Err(complaint(path).malformed(
                format!("the file in line {number}"),
                "a name of its own without folders",
                format!("{file:?}"),
            ));
        }
    }
    if files.len() != images.test {
        let (expected, got) = (images.test, files.len());
        let number = |count: usize| format!("{count} files");
        return Err(complaint(path).malformed("the list", number(expected), number(got)));
    }
    let folder = Path::new("val").join("images");
    let files = files.into_iter();
    present(
        root,
        files
            .map(|(file, label)| (folder.join(file), label))
            .collect(),
    )
}

/// The same files, all of which must be there.
fn present(root: &Path, files: Vec<(PathBuf, u8)>) -> Result<Vec<(PathBuf, u8)>, DataError> {
    let missing = |file: &&(PathBuf, u8)| !root.join(&file.0).is_file();
    let lacking = files.par_iter().filter(missing).count();
    match files.iter().find(missing) {
        None => Ok(files),
        Some((first, _)) => Err(DataError::Layout {
            path: root.to_owned(),
            reason: format!(
                "{lacking} of {} files are missing, such as {}; unpack the archive again",
                files.len(),
                first.display()
            ),
        }),
    }
}

/// Decodes the files side by side.
fn read(images: &Images, root: &Path, files: Vec<(PathBuf, u8)>) -> Result<Samples, DataError> {
    let [_, height, width] = images.shape;
    let plane = height * width;
    let mut pixels = vec![0; files.len() * 3 * plane];
    let places = pixels.par_chunks_exact_mut(3 * plane).zip(&files);
    places.try_for_each(|(pixels, (file, _))| {
        let path = root.join(file);
        let bytes =
            plain_file::read(&path, MOST_FILE_BYTES).map_err(DataError::io("read", &path))?;
        let bad = |reason| DataError::BadImage {
            path: path.clone(),
            reason,
        };
        let picture = decode(&bytes).map_err(bad)?;
        let Picture {
            width: w,
            height: h,
            ..
        } = picture;
        if (w, h) != (width, height) {
            return Err(bad(format!(
                "it has {w} x {h} pixels, expected {width} x {height}"
            )));
        }
        for (i, colours) in picture.pixels.as_chunks::<3>().0.iter().enumerate() {
            for (channel, &colour) in colours.iter().enumerate() {
                pixels[channel * plane + i] = colour;
            }
        }
        Ok(())
    })?;
    let labels = files.into_iter().map(|(_, label)| label).collect();
    Ok(Samples { pixels, labels })
}

fn complaint(path: PathBuf) -> Complaint {
    Complaint { name: NAME, path }
}

#[cfg(test)]
mod tests;
