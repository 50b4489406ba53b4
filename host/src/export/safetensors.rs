//! Safetensors files with any number of metadata, whose bytes are a function of what they hold.
//!
//! The crate `safetensors` writes metadata in a random order, and so other bytes each time.
//!
//! # Source
//! <https://huggingface.co/docs/safetensors/index#format>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

/// Where the data starts is a multiple of this, so that numbers can be used where they lie.
const ALIGNMENT: usize = 8;

/// A tensor of a file.
#[derive(Debug)]
pub struct Entry {
    name: String,
    dtype: &'static str,
    shape: Vec<i64>,
    /// Little endian, row-major.
    bytes: Vec<u8>,
}

impl Entry {
    /// A tensor in its own type; f32 if the format has no name for that.
    pub fn of(name: String, tensor: &Tensor) -> Self {
        let Some(dtype) = dtype(tensor.kind()) else {
            return Self::f32(name, tensor.size(), &values(tensor));
        };
        let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
        let mut bytes = vec![0u8; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        Self {
            name,
            dtype,
            shape: tensor.size(),
            bytes,
        }
    }

    /// Numbers of this shape, f32.
    pub fn f32(name: String, shape: Vec<i64>, values: &[f32]) -> Self {
        Self {
            name,
            dtype: "F32",
            shape,
            bytes: values.iter().flat_map(|it| it.to_le_bytes()).collect(),
        }
    }

    /// A list of integers, i32.
    pub fn i32(name: String, values: &[i32]) -> Self {
        Self {
            name,
            dtype: "I32",
            shape: vec![values.len() as i64],
            bytes: values.iter().flat_map(|it| it.to_le_bytes()).collect(),
        }
    }
}

/// The numbers of a tensor, row-major.
pub(super) fn values(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.to_kind(tch::Kind::Float).contiguous();
    let mut values = vec![0.0; tensor.numel()];
    tensor.copy_data(&mut values, tensor.numel());
    values
}

fn dtype(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Float => "F32",
        Kind::Double => "F64",
        Kind::Half => "F16",
        Kind::BFloat16 => "BF16",
        Kind::Int64 => "I64",
        Kind::Int => "I32",
        Kind::Int16 => "I16",
        Kind::Int8 => "I8",
        Kind::Uint8 => "U8",
        Kind::Bool => "BOOL",
        _ => return None,
    })
}

/// The bytes of a file: length of the header in eight bytes, the header in JSON filled up with spaces,
/// the data in the header's order.
pub fn encode(metadata: &BTreeMap<String, String>, entries: Vec<Entry>) -> Vec<u8> {
    let mut header = Map::new();
    let mut all = metadata.clone();
    all.insert("format".to_owned(), "pt".to_owned());
    header.insert("__metadata__".to_owned(), json!(all));
    let mut end = 0;
    for Entry {
        name,
        dtype,
        shape,
        bytes,
    } in &entries
    {
        let start = end;
        end += bytes.len();
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    for entry in entries {
        file.extend(entry.bytes);
    }
    file
}
