//! Photographs that nobody took: JPEG files with about as many bytes and edges as real ones of their size.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::error::BenchError;
use crate::files::empty;
use crate::settings::Settings;

/// Width and height, as most of ImageNet's have.
pub const SIZE: (u32, u32) = (500, 375);
/// How many there are to train on.
pub const COUNT: usize = 128;

const QUALITY: u8 = 90;
/// Distances of the points between which colours change smoothly, and by how much.
const OCTAVES: [(u32, f32); 7] = [
    (128, 60.0),
    (64, 40.0),
    (32, 24.0),
    (16, 18.0),
    (8, 18.0),
    (4, 28.0),
    (2, 28.0),
];
/// Discs of another shade, for edges.
const DISCS: u64 = 12;

/// The folder of the pictures, two classes of them, which is made where it is not.
///
/// # Errors
/// If it cannot be written.
pub fn folder(settings: &Settings) -> Result<PathBuf, BenchError> {
    let folder = settings.folder().join("data/pictures");
    let last = folder.join("whole");
    if last.is_file() {
        return Ok(folder);
    }
    empty(&folder)?;
    for number in 0..COUNT as u64 {
        write(&folder, "train", number)?;
    }
    for number in 0..2 {
        write(&folder, "val", number)?;
    }
    fs::write(&last, "").map_err(BenchError::file(&last))?;
    Ok(folder)
}

fn write(folder: &Path, split: &str, number: u64) -> Result<(), BenchError> {
    let folder = folder
        .join(split)
        .join(["even", "odd"][number as usize % 2]);
    fs::create_dir_all(&folder).map_err(BenchError::file(&folder))?;
    let mut bytes = Vec::new();
    let (width, height) = SIZE;
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .write_image(&pixels(number), width, height, ExtendedColorType::Rgb8)
        .map_err(BenchError::ours)?;
    let path = folder.join(format!("{number:03}.jpg"));
    fs::write(&path, bytes).map_err(BenchError::file(&path))
}

/// A number from 0 to 1 for each place.
fn noise(place: [u64; 4]) -> f32 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for part in place {
        state = (state ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state ^= state >> 29;
    }
    (state >> 40) as f32 / (1u64 << 24) as f32
}

/// A smooth surface through random heights at points so far apart.
fn smooth(number: u64, of: u64, step: u32, x: u32, y: u32) -> f32 {
    let height = |dx, dy| {
        let (x, y) = (u64::from(x / step + dx), u64::from(y / step + dy));
        noise([number, of * 1000 + u64::from(step), x, y]) - 0.5
    };
    let (right, down) = (
        (x % step) as f32 / step as f32,
        (y % step) as f32 / step as f32,
    );
    let between = |a: f32, b: f32, part: f32| a + (b - a) * part;
    between(
        between(height(0, 0), height(1, 0), right),
        between(height(0, 1), height(1, 1), right),
        down,
    )
}

/// `[height, width, 3]`.
fn pixels(number: u64) -> Vec<u8> {
    let (width, height) = SIZE;
    let disc = |which: u64| {
        let one = |of: u64| noise([number, 7777, which, of]);
        let (x, y) = (one(0) * width as f32, one(1) * height as f32);
        (x, y, 10.0 + 70.0 * one(2), 90.0 * (one(3) - 0.5))
    };
    let discs: Vec<_> = (0..DISCS).map(disc).collect();
    let mut pixels = Vec::with_capacity(3 * (width * height) as usize);
    for y in 0..height {
        for x in 0..width {
            let shade: f32 = (OCTAVES.iter())
                .map(|&(step, by)| by * smooth(number, 0, step, x, y))
                .sum();
            let edges: f32 = (discs.iter())
                .filter(|(at, down, radius, _)| (at - x as f32).hypot(down - y as f32) < *radius)
                .map(|(.., by)| by)
                .sum();
            for channel in 1..=3 {
                let tint = 50.0 * smooth(number, channel, 64, x, y);
                pixels.push((128.0 + shade + edges + tint).clamp(0.0, 255.0) as u8);
            }
        }
    }
    pixels
}
