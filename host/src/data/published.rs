//! Whether data are the published ones. Whoever changed them on purpose may train on them, and the identity
//! of such a run is another; but nobody should do so without knowing.

use super::image::{Images, Samples};
use crate::program;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What is published of the numbers, with four digits.
const TOLERANCE: f64 = 3e-4;

/// Says so, once in a process, if the file is not the one with the SHA-256 `expected` of what it holds,
/// uncompressed.
pub(super) fn compare(name: &str, path: &Path, contents: &[&[u8]], expected: &str) {
    let mut sha = Sha256::new();
    for part in contents {
        sha.update(part);
    }
    let got = format!("{:x}", sha.finalize());
    if got != expected {
        say(
            path,
            &format!("its contents have SHA-256 {got}, expected {expected}"),
            name,
        );
    }
}

/// Says so if the training samples are not those whose numbers were published; for datasets of whose files no
/// digests are known.
pub(super) fn compare_numbers(images: &Images, folder: &Path, train: &Samples) {
    if let Some(difference) = difference(images, train) {
        say(folder, &difference, images.name);
    }
}

fn say(path: &Path, difference: &str, name: &str) {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    // A sweep reads them for each of its cells.
    if SAID
        .lock()
        .is_ok_and(|mut said| said.insert(path.to_owned()))
    {
        log::warn!("{}", message(path, difference, name));
    }
}

fn message(path: &Path, difference: &str, name: &str) -> String {
    format!(
        "{} is not as dataset '{name}' was published: {difference}; if you changed it on purpose, go on; \
         otherwise remove it and get it with `{} data fetch {name}`",
        path.display(),
        program::name()
    )
}

/// The first number that is not the published one: samples of a class, of which all have as many, mean and
/// standard deviation of a channel.
fn difference(images: &Images, train: &Samples) -> Option<String> {
    let mut counts = [0usize; 256];
    for &label in &train.labels {
        counts[usize::from(label)] += 1;
    }
    let each = images.train / usize::from(images.classes);
    let classes = &counts[..usize::from(images.classes)];
    if let Some(class) = classes.iter().position(|&count| count != each) {
        return Some(format!(
            "class {class} has {} training samples, expected {each}",
            classes[class]
        ));
    }
    let [channels, height, width] = images.shape;
    let plane = height * width;
    let sums = (train.pixels.par_chunks_exact(channels * plane))
        .map(|image| {
            let planes = image.chunks_exact(plane);
            let sums = planes.map(|plane| {
                let values = || plane.iter().map(|&it| u64::from(it));
                [values().sum(), values().map(|it| it * it).sum::<u64>()]
            });
            sums.collect::<Vec<_>>()
        })
        .reduce(
            || vec![[0, 0]; channels],
            |a, b| {
                let pairs = a.into_iter().zip(b);
                pairs.map(|(a, b)| [a[0] + b[0], a[1] + b[1]]).collect()
            },
        );
    let count = (images.train * plane) as f64;
    sums.iter()
        .enumerate()
        .find_map(|(channel, [sum, squares])| {
            let mean = *sum as f64 / count / 255.0;
            let std = (*squares as f64 / count / 255.0 / 255.0 - mean * mean)
                .max(0.0)
                .sqrt();
            let numbers = [
                ("mean", mean, images.mean[channel]),
                ("standard deviation", std, images.std[channel]),
            ];
            numbers.into_iter().find_map(|(what, got, expected)| {
                ((got - expected).abs() > TOLERANCE).then(|| {
                    format!("the {what} of channel {channel} is {got:.4}, expected {expected:.4}")
                })
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOY: Images = Images {
        name: "toy",
        classes: 2,
        shape: [2, 1, 2],
        train: 4,
        test: 2,
        // Of 0, 0, 51, 51 and of 0, 255.
        mean: &[0.1, 0.5],
        std: &[0.1, 0.5],
    };

    fn samples() -> Samples {
        Samples {
            pixels: [0, 51, 0, 255].repeat(4),
            labels: vec![0, 1, 1, 0],
        }
    }

    #[test]
    fn the_numbers_of_the_published_samples_are_theirs() {
        assert_eq!(difference(&TOY, &samples()), None);
        let mut other = samples();
        other.labels[0] = 1;
        let said = difference(&TOY, &other).unwrap();
        assert_eq!(said, "class 0 has 1 training samples, expected 2");
        let mut other = samples();
        other.pixels[2] = 255;
        let said = difference(&TOY, &other).unwrap();
        assert_eq!(said, "the mean of channel 1 is 0.6250, expected 0.5000");
        let mut other = samples();
        other.pixels[..2].copy_from_slice(&[25, 26]);
        let said = difference(&TOY, &other).unwrap();
        assert!(
            said.starts_with("the standard deviation of channel 0 is 0.0866"),
            "{said}"
        );
    }

    #[test]
    fn the_message_names_file_digests_and_what_to_do() {
        let said = message(
            Path::new("data/toy/a"),
            "its contents have SHA-256 x, expected y",
            "toy",
        );
        assert_eq!(
            said,
            "data/toy/a is not as dataset 'toy' was published: its contents have SHA-256 x, expected y; if you \
             changed it on purpose, go on; otherwise remove it and get it with `called data fetch toy`"
        );
    }
}
