//! Archives that are read, copied and refused.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::testing::{Made, f32s, meta, node, tensor, zip};
use crate::{
    Archive, Argument, BatchRange, Dim, Dtype, Fault, Mode, Number, Output, Part, Scalar, ScalarOp,
    Source, Target, ValueKind,
};

fn shipped(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../../experiments/networks")
        .join(format!("{name}.pt2"))
}

fn refused(made: &Made, parts: &[&str]) {
    let message = made.refusal();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

pub mod read;

mod refuse;

mod write;
