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

/// Reads a dataset, and a batch of each of its splits, of which both begin with the first sample.
pub fn arrays(options: &serde_json::Value) -> Result<(), DataError> {
    let options = options.as_object().cloned().unwrap_or_default();
    let context = super::DataContext {
        data_dir: "no-such-folder".into(),
        device: tch::Device::Cpu,
    };
    let data = super::load("arrays", &options, &context)?;
    assert_eq!(super::declared("arrays", &options)?.spec(), data.spec());
    for split in [
        Some(&data.train),
        Some(&data.test),
        data.validation.as_ref(),
    ] {
        let Some(split) = split else { continue };
        let (inputs, labels) = split.gather(&tch::Tensor::from_slice(&[0i64]))?;
        assert_eq!(inputs.size()[1..], data.input_shape);
        assert_eq!(labels.size()[1..], data.target_shape);
        assert!(inputs.isfinite().all().int64_value(&[]) == 1);
    }
    Ok(())
}

pub fn unpack(archive: &Path) -> Result<(), DataError> {
    fetch::unpack(NAME, archive, "toy-bin", &["a.bin", "b.bin"])
}
