//! The list of a `.safetensors` file: its length in eight bytes, then JSON with each tensor's type, shape and place.

use super::super::DataError;
use super::array::count;
use super::element::{Element, Kind};
use super::listing::{Header, Listed, MOST_ARRAYS, Place, quoted_name};
use super::quoted;
use super::source::Source;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes of the list, at most: the format's own limit.
const MOST_LIST: u64 = 100_000_000;

/// A tensor in the list of a `.safetensors` file.
#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The tensors of a file.
pub(super) fn list(source: &Source) -> Result<Vec<Listed>, DataError> {
    let odd = |reason: String| {
        source.refuse(format!(
            "it is no whole safetensors file: {reason}; copy it once more, or save it again"
        ))
    };
    let mut length = [0; 8];
    if source.length < 8 {
        return Err(odd(format!("it has {} bytes", source.length)));
    }
    source.read_at(&mut length, 0)?;
    let length = u64::from_le_bytes(length);
    if length > MOST_LIST || length > source.length - 8 {
        return Err(odd(format!(
            "its list of tensors would have {length} bytes"
        )));
    }
    let mut list = vec![0; length as usize];
    source.read_at(&mut list, 8)?;
    let list: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&list).map_err(|error| odd(error.to_string()))?;
    let data = source.length - 8 - length;
    let mut arrays = Vec::new();
    for (name, value) in list.into_iter().filter(|(name, _)| name != "__metadata__") {
        let tensor = serde_json::from_value::<Tensor>(value);
        let tensor = tensor.map_err(|error| odd(format!("{}: {error}", quoted(&name))))?;
        arrays.push(Listed {
            header: of_tensor(&tensor, 8 + length, data),
            name: quoted_name(&name),
        });
    }
    match arrays.len() > MOST_ARRAYS {
        true => Err(odd(format!("it holds more than {MOST_ARRAYS} arrays"))),
        false => Ok(arrays),
    }
}

fn of_tensor(tensor: &Tensor, start: u64, data: u64) -> Result<Header, String> {
    let kind = match tensor.dtype.as_str() {
        "BOOL" => Kind::Bool,
        "U8" => Kind::U8,
        "I8" => Kind::I8,
        "U16" => Kind::U16,
        "I16" => Kind::I16,
        "U32" => Kind::U32,
        "I32" => Kind::I32,
        "U64" => Kind::U64,
        "I64" => Kind::I64,
        "F16" => Kind::F16,
        "BF16" => Kind::Bf16,
        "F32" => Kind::F32,
        "F64" => Kind::F64,
        other => {
            return Err(format!(
                "its elements are of the type {}: expected plain numbers",
                quoted(other)
            ));
        }
    };
    let element = Element::new(kind);
    let [begin, end] = tensor.data_offsets;
    let bytes = count(&tensor.shape).and_then(|it| it.checked_mul(element.size()));
    let bytes = bytes.map(|it| it as u64);
    if end > data || end.checked_sub(begin) != bytes {
        let shape = &tensor.shape;
        return Err(format!(
            "its bytes {begin} to {end} of {data} are not those of {element} {shape:?}: save the file again"
        ));
    }
    Ok(Header {
        element,
        fortran: false,
        shape: tensor.shape.clone(),
        bytes: end - begin,
        place: Place::Plain(start + begin),
    })
}
