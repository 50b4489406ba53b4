//! The readers of published files, for [`crate::fuzzing`].

use super::extent::{Extent, extent_of};
use super::folder::Source;
use super::image::Samples;
use super::{DataError, cifar10, cifar100, fetch, picture};
use std::path::Path;

const NAME: &str = "toy";

fn source() -> Source {
    Source {
        name: NAME,
        path: "toy/file".into(),
    }
}

pub fn idx(bytes: &[u8], shape: &[usize]) -> Result<Vec<u8>, DataError> {
    source().parse_idx(bytes, shape)
}

pub fn cifar(bytes: &[u8], hundred: bool, records: usize) -> Result<(), DataError> {
    let layout = match hundred {
        true => &cifar100::LAYOUT,
        false => &cifar10::LAYOUT,
    };
    let mut samples = Samples {
        pixels: Vec::new(),
        labels: Vec::new(),
    };
    layout.parse(&source(), bytes, records, &mut samples)
}

pub fn picture(bytes: &[u8]) -> Result<(usize, usize, Vec<u8>), String> {
    let picture = picture::decode(bytes)?;
    Ok((picture.width, picture.height, picture.pixels))
}

pub fn picture_is_whole(bytes: &[u8]) -> bool {
    picture::format(bytes).is_ok_and(|format| extent_of(format, bytes) == Extent::Whole)
}

pub fn unpack(archive: &Path) -> Result<(), DataError> {
    fetch::unpack(NAME, archive, "toy-bin", &["a.bin", "b.bin"])
}
