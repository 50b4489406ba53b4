//! A state_dict in a safetensors file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use crate::plain_file;

/// The line that makes such a file.
pub const SAVE: &str = "safetensors.torch.save_file(model.state_dict(), \"x.safetensors\")";

/// What wrappers of PyTorch's put in front of all names.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];

/// The tensors of a state_dict by their names.
#[derive(Debug, Default)]
pub struct StateDict {
    pub tensors: BTreeMap<String, Stored>,
    /// What was taken off all names, such as `module.`.
    pub prefix: String,
}

/// One tensor of a state_dict.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// As the file calls it.
    pub dtype: String,
    /// Its dimensions.
    pub shape: Vec<i64>,
    /// Its numbers, row-major, in f32; none of a type without fractions.
    pub values: Option<Arc<[f32]>>,
}

impl StateDict {
    /// The state_dict in a file with this BLAKE3, if one is given.
    ///
    /// # Errors
    /// What the file is instead, and what to do.
    pub fn read(path: &Path, blake3: &str) -> Result<Self, String> {
        let read = plain_file::open(path).and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        let bytes = read.map_err(|error| format!("failed to read it: {error}"))?;
        let got = blake3::hash(&bytes).to_hex();
        if !blake3.is_empty() && got.as_str() != blake3 {
            return Err(format!("its BLAKE3 is {got}, expected {blake3}"));
        }
        Self::of(&bytes)
    }

    /// The state_dict in a file's bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| match is_pickle(bytes) {
            true => format!(
                "it is a file of `torch.save`, which holds code and is not read; save it with `{SAVE}`"
            ),
            false => format!("it is no safetensors file ({error}); save it with `{SAVE}`"),
        })?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
            let values = kind(view.dtype()).map(|kind| floats(view.data(), &shape, kind));
            let stored = Stored {
                dtype: format!("{:?}", view.dtype()),
                values: values
                    .transpose()
                    .map_err(|error| format!("`{name}`: {error}"))?,
                shape,
            };
            tensors.insert(name.to_owned(), stored);
        }
        Ok(Self {
            tensors,
            prefix: String::new(),
        })
    }

    /// The same without what a wrapper put in front of all names, if `known` fits none of them as they are.
    pub fn unwrapped(mut self, known: impl Fn(&str) -> bool) -> Self {
        while !self.tensors.keys().any(|name| known(name))
            && let Some(prefix) = self.common_prefix()
        {
            let tensors = std::mem::take(&mut self.tensors).into_iter();
            self.tensors = tensors
                .map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor))
                .collect();
            self.prefix.push_str(prefix);
        }
        self
    }

    fn common_prefix(&self) -> Option<&'static str> {
        let in_all = |prefix: &&str| self.tensors.keys().all(|name| name.starts_with(*prefix));
        let found = PREFIXES.into_iter().find(in_all);
        found.filter(|_| !self.tensors.is_empty())
    }
}

/// Whether these bytes look like what `torch.save` writes: a zip, or a bare pickle.
fn is_pickle(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..])
}

fn kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F64 => Some(Kind::Double),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        _ => None,
    }
}

/// Numbers of any precision in f32, each the nearest one.
fn floats(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<Arc<[f32]>, String> {
    let said = |error: tch::TchError| error.to_string();
    let tensor = Tensor::f_from_data_size(bytes, shape, kind).map_err(said)?;
    let flat = tensor.to_kind(Kind::Float).reshape([-1]);
    Ok(Vec::<f32>::try_from(&flat).map_err(said)?.into())
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn file(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (
                *name,
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
        safetensors::serialize(views, None).unwrap()
    }

    #[test]
    fn numbers_of_every_precision_become_the_nearest_of_32_bits() {
        let bytes = file(&[
            (
                "a",
                Dtype::F32,
                vec![2],
                [1.5f32, -0.1].map(f32::to_le_bytes).concat(),
            ),
            (
                "b",
                Dtype::F64,
                vec![2, 1],
                [0.1f64, 1.0 / 3.0].map(f64::to_le_bytes).concat(),
            ),
            // 1.5, the smallest above 0, and -2 in 16 bits.
            (
                "c",
                Dtype::F16,
                vec![3],
                [0x3e00u16, 1, 0xc000].map(u16::to_le_bytes).concat(),
            ),
            (
                "d",
                Dtype::BF16,
                vec![2],
                [0x3fc0u16, 0xbf80].map(u16::to_le_bytes).concat(),
            ),
            ("e", Dtype::I64, vec![], 7i64.to_le_bytes().to_vec()),
        ]);
        let read = StateDict::of(&bytes).unwrap();
        let values = |name: &str| read.tensors[name].values.as_ref().unwrap().to_vec();
        assert_eq!(values("a"), [1.5, -0.1]);
        assert_eq!(values("b"), [0.1f32, 1.0 / 3.0]);
        assert_eq!(values("c"), [1.5, 2f32.powi(-24), -2.0]);
        assert_eq!(values("d"), [1.5, -1.0]);
        assert_eq!(read.tensors["b"].shape, [2, 1]);
        assert_eq!(read.tensors["e"].values, None);
    }

    #[test]
    fn what_wrappers_put_in_front_of_all_names_is_taken_off() {
        let names = |given: &[&str], known: &str| {
            let stored = Stored {
                dtype: "F32".to_owned(),
                shape: vec![0],
                values: Some([].into()),
            };
            let tensors = given.iter().map(|name| (name.to_string(), stored.clone()));
            let dict = StateDict {
                tensors: tensors.collect(),
                prefix: String::new(),
            };
            let dict = dict.unwrapped(|name| name == known);
            let names: Vec<String> = dict.tensors.into_keys().collect();
            (names.join(" "), dict.prefix)
        };
        let wrapped = ["module._orig_mod.fc.bias", "module._orig_mod.fc.weight"];
        let bare = (
            "fc.bias fc.weight".to_owned(),
            "module._orig_mod.".to_owned(),
        );
        assert_eq!(names(&wrapped, "fc.weight"), bare);
        // A network may have a part of that name itself.
        assert_eq!(names(&["module.weight"], "module.weight").1, "");
        assert_eq!(names(&["module.weight", "fc.weight"], "none").1, "");
    }

    #[test]
    fn another_kind_of_file_is_told_what_it_is() {
        let told = |bytes: &[u8]| StateDict::of(bytes).unwrap_err();
        assert!(told(b"PK\x03\x04rest").contains("a file of `torch.save`"));
        assert!(told(&[0x80, 2, 0x8a, 10, 0x6c]).contains("a file of `torch.save`"));
        let said = told(b"hello");
        assert!(
            said.contains("no safetensors file") && said.contains("save_file"),
            "{said}"
        );
        let whole = file(&[("a", Dtype::F32, vec![1], vec![0; 4])]);
        for length in 0..whole.len() {
            assert!(StateDict::of(&whole[..length]).is_err(), "{length}");
        }
    }
}
