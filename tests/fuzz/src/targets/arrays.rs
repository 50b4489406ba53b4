//! Arrays and tables of somebody's own.

use std::fs;

use host::fuzzing;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Target;
use super::network::zip;
use crate::scratch;

/// Files of NumPy, safetensors and spreadsheets, told apart by their first bytes; and the records of a `.npz`, one
/// after the other.
pub const ARRAYS: Target = Target {
    name: "arrays",
    read: arrays,
    dictionary: &[
        "PK\x01\x02",
        "PK\x03\x04",
        "PK\x05\x06",
        "\u{93}NUMPY\x01\0",
        "\n--- x.npy\n",
        "\n--- y.npy\n",
        "\n--- x_test.npy\n",
        "{'descr': '",
        "'<f4'",
        "'>i8'",
        "'|u1'",
        "'|b1'",
        "'|O'",
        "'<U3'",
        "'fortran_order': True",
        "'shape': (",
        "\"dtype\":\"BF16\"",
        "\"data_offsets\":[",
        "\"__metadata__\"",
        "target",
        "NaN",
        "1e999",
        "\"\"",
    ],
    mutations: 300,
    // What is packed is unpacked up to a MiB, and a table's values take eight times their text.
    memory: 64,
};

/// A mutation of a zip file seldom fits its checksums; one of the records that are zipped here always does.
fn arrays(bytes: &[u8]) {
    let folder = TempDir::new().expect("the system has room for a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("there is room for a small file");
        json!(path)
    };
    let train = match bytes {
        [b'P', b'K', ..] => write("a.npz", bytes),
        [b'-', b'-', b'-', ..] => write("a.npz", &zip("", &scratch::split(bytes, ""))),
        [0x93, ..] => {
            let one = write("a.npy", bytes);
            json!({ "inputs": one, "targets": one })
        }
        [_, _, _, _, _, _, _, _, b'{', ..] => write("a.safetensors", bytes),
        _ => write("a.csv", bytes),
    };
    let is_table = train.as_str().is_some_and(|it| it.ends_with(".csv"));
    let read = |more: Value| {
        let mut options = json!({ "train": train, "memory": 1 });
        for (key, value) in more.as_object().into_iter().flatten() {
            options[key] = value.clone();
        }
        let _ = fuzzing::arrays(&options);
    };
    read(json!({}));
    read(json!({ "test": train, "validation": 1, "layout": "channels-first" }));
    let encoded = match is_table {
        true => {
            json!({ "test": 0.5, "categories": "one-hot", "missing": "mean", "standardise": true })
        }
        false => json!({ "test": 0.5, "standardise": true, "layout": "channels-last" }),
    };
    read(encoded);
    read(json!({ "test": 0.5, "task": "labels" }));
    read(json!({ "test": 0.5, "task": "numbers", "shape": [1, 2, 3] }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_begin_at_files_that_are_read() {
        let inputs = crate::corpus::inputs("arrays").expect("the corpus is there");
        let folder = TempDir::new().expect("the system has room for a folder");
        let mut read = 0;
        for (name, bytes) in &inputs {
            let bytes = match bytes.as_slice() {
                [b'-', b'-', b'-', ..] => zip("", &scratch::split(bytes, "")),
                other => other.to_vec(),
            };
            let ending = match name.rsplit_once('.') {
                Some((_, ending)) => ending,
                None => "npz",
            };
            let path = folder.path().join(format!("a.{ending}"));
            fs::write(&path, &bytes).expect("there is room for a small file");
            let train = match ending {
                "npy" => json!({ "inputs": path, "targets": path }),
                _ => json!(path),
            };
            let more = match ending {
                "csv" => json!("one-hot"),
                _ => json!("refuse"),
            };
            let options = json!({ "train": train, "test": 0.5, "categories": more });
            match fuzzing::arrays(&options) {
                Ok(()) => read += 1,
                Err(error) => assert!(name.starts_with("bad-"), "{name}: {error}"),
            }
        }
        assert!(read >= 7, "{read}");
    }
}
