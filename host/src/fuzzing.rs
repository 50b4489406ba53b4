//! Doors for the fuzzers in `tests/fuzz`: readers of foreign bytes that nobody else calls from outside.
//! No part of any interface.

use std::path::Path;

use abi_stable::std_types::{RSlice, RStr};
use plugin_api::abi::{HostObject, Service};

use crate::rng::{Moment, Purpose, Stream};
use crate::strategy::Services;
use crate::strategy::still::Still;
use crate::{cli, data, levels, model, strategy};

/// Reads an IDX file of this shape.
///
/// # Errors
/// What is wrong with it.
pub fn idx(bytes: &[u8], shape: &[usize]) -> Result<Vec<u8>, data::DataError> {
    data::fuzzing::idx(bytes, shape)
}

/// Reads records of CIFAR-10, or of CIFAR-100.
///
/// # Errors
/// What is wrong with them.
pub fn cifar(bytes: &[u8], hundred: bool, records: usize) -> Result<(), data::DataError> {
    data::fuzzing::cifar(bytes, hundred, records)
}

/// Decodes a JPEG or PNG file: width, height and pixels.
///
/// # Errors
/// What is wrong with it.
pub fn picture(bytes: &[u8]) -> Result<(usize, usize, Vec<u8>), String> {
    data::fuzzing::picture(bytes)
}

/// Whether the structure of a JPEG or PNG file goes on to the end of its picture.
pub fn picture_is_whole(bytes: &[u8]) -> bool {
    data::fuzzing::picture_is_whole(bytes)
}

/// Reads the dataset `arrays` with these options.
///
/// # Errors
/// What is wrong with its files.
pub fn arrays(options: &serde_json::Value) -> Result<(), data::DataError> {
    data::fuzzing::arrays(options)
}

/// Unpacks `toy-bin/a.bin` and `toy-bin/b.bin` beside an archive.
///
/// # Errors
/// What is wrong with it.
pub fn unpack(archive: &Path) -> Result<(), data::DataError> {
    data::fuzzing::unpack(archive)
}

/// Reads a state_dict to start a network from: how many numbers it gives.
///
/// # Errors
/// What is wrong with it.
pub fn state_dict(bytes: &[u8]) -> Result<usize, String> {
    model::numbers_of_state_dict(bytes)
}

/// Looks at a dynamic library without loading it.
///
/// # Errors
/// What is wrong with it.
pub fn library(bytes: &[u8]) -> Result<(), String> {
    strategy::check_library(bytes)
}

/// Reads a checkpoint's JSON, and the components' states in it.
///
/// # Errors
/// What is wrong with it.
pub fn checkpoint(bytes: &[u8]) -> Result<(), String> {
    levels::read_checkpoint_text(bytes)
}

/// Reads the value of `--seeds`.
///
/// # Errors
/// What is wrong with it.
pub fn seeds(text: &str) -> Result<Vec<u64>, String> {
    cli::seeds(text)
}

/// Answers a plugin's request, of both kinds, in a small network that stands still. Returns the JSON
/// answer, if there is one, and the number of tensors, if there are any.
pub fn service(code: u32, request: &str) -> (Option<String>, Option<usize>) {
    let scene = Still::new(&[&[4, 6], &[3, 4]], 0);
    let owner = strategy::Owner::default();
    let scores = scene.gradients.as_slice();
    let mut services = Services {
        scene: &scene,
        scores: Some(scores),
        step: None,
        stream: Stream::new(0, Purpose::Strategy("fuzz"), Moment::default()),
        component: "fuzz/fuzz",
        owner: &owner,
    };
    let text = services.query(Service(code), RStr::from(request));
    let tensors = services.tensors(Service(code), RStr::from(request), RSlice::from_slice(&[]));
    (
        text.into_result().ok().map(Into::into),
        tensors.into_result().ok().map(|list| list.len()),
    )
}
