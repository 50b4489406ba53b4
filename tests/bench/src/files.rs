//! Folders and data that measurements need.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use crate::error::BenchError;
use crate::peer::python;
use crate::settings::Settings;

const SPLITS: [(&str, usize); 2] = [("train", 60_000), ("t10k", 10_000)];
const PIXELS: usize = 28 * 28;

/// Makes a folder, or empties it.
///
/// # Errors
/// Names the folder.
pub fn empty(folder: &Path) -> Result<PathBuf, BenchError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(BenchError::file(folder))?;
    }
    fs::create_dir_all(folder).map_err(BenchError::file(folder))?;
    Ok(folder.to_owned())
}

/// A file of images of noise and their labels, of ten classes, so many to train on and to test: arrays as the dataset
/// `arrays` reads them.
///
/// # Errors
/// If it cannot be written.
pub fn images(folder: &Path, counts: [i64; 2], side: i64) -> Result<PathBuf, BenchError> {
    let path = folder.join("images.safetensors");
    let mut arrays = Vec::new();
    for (split, count) in ["train", "test"].into_iter().zip(counts) {
        let shape = [count, 3, side, side];
        let images = Tensor::randint(256, shape, (Kind::Uint8, Device::Cpu));
        let labels = Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(10);
        arrays.push((format!("x_{split}"), images));
        arrays.push((format!("y_{split}"), labels));
    }
    Tensor::write_safetensors(&arrays, &path).map_err(BenchError::ours)?;
    Ok(path)
}

/// The folder of Fashion-MNIST where the host would find it, and whether it is the real one: else
/// files of the same sizes, whose images can be told apart, take its place.
///
/// # Errors
/// If those cannot be written.
pub fn fashion(settings: &Settings) -> Result<(PathBuf, bool), BenchError> {
    let home =
        |variable: &str, below: &str| env::var_os(variable).map(|it| Path::new(&it).join(below));
    let candidates = [
        home("HOST_DATA_DIR", "fashion-mnist"),
        home("XDG_DATA_HOME", "rewind/fashion-mnist"),
        home("HOME", ".local/share/rewind/fashion-mnist"),
        Some("/usr/share/datasets/fashion-mnist".into()),
    ];
    let is_there = |folder: &PathBuf| {
        ["train-labels-idx1-ubyte", "train-labels-idx1-ubyte.gz"]
            .iter()
            .any(|file| folder.join(file).is_file())
    };
    if let Some(folder) = candidates.into_iter().flatten().find(is_there) {
        return Ok((folder, true));
    }
    let folder = settings.folder().join("data/fashion-mnist");
    if !is_there(&folder) {
        empty(&folder)?;
        for (name, samples) in SPLITS {
            stand_in(&folder, name, samples)?;
        }
    }
    Ok((folder, false))
}

/// A network of PyTorch's side, for samples of this shape in 10 classes, as an archive.
///
/// # Errors
/// If there is no PyTorch, or it cannot write the archive.
pub fn archive(settings: &Settings, model: &str, shape: &[i64]) -> Result<PathBuf, BenchError> {
    let shape: Vec<String> = shape.iter().map(i64::to_string).collect();
    let shape = shape.join("x");
    let folder = settings.folder().join("networks");
    fs::create_dir_all(&folder).map_err(BenchError::file(&folder))?;
    let path = folder.join(format!("{model}-{shape}.pt2"));
    let written = python(settings, "archive.py")
        .args([model, &shape, "10"])
        .arg(&path)
        .output()
        .map_err(|error| {
            BenchError::Peer(format!("{error}; `make bench` sets up what it needs"))
        })?;
    if !written.status.success() {
        let said = String::from_utf8_lossy(&written.stderr);
        let last = said.lines().last().unwrap_or("it said nothing");
        return Err(BenchError::Peer(format!("no archive of {model}: {last}")));
    }
    Ok(path)
}

/// Images of ten classes in the IDX format: a pattern for each class below noise.
fn stand_in(folder: &Path, name: &str, samples: usize) -> Result<(), BenchError> {
    let header = |kind: u8, sizes: &[usize]| {
        let mut bytes = vec![0, 0, 8, kind];
        sizes
            .iter()
            .for_each(|&size| bytes.extend((size as u32).to_be_bytes()));
        bytes
    };
    let mut images = header(3, &[samples, 28, 28]);
    let mut labels = header(1, &[samples]);
    let mut state = samples as u64;
    for sample in 0..samples {
        let label = sample % 10;
        labels.push(label as u8);
        for pixel in 0..PIXELS {
            // Knuth's linear congruential generator is enough for noise.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let pattern = (pixel * (label + 3) * 7) % 128;
            images.push(pattern as u8 / 2 + (state >> 57) as u8);
        }
    }
    let write = |file: String, bytes: &[u8]| {
        let path = folder.join(file);
        fs::write(&path, bytes).map_err(BenchError::file(&path))
    };
    write(format!("{name}-images-idx3-ubyte"), &images)?;
    write(format!("{name}-labels-idx1-ubyte"), &labels)
}
