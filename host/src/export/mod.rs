//! A level's model for use elsewhere: read from a run, made smaller if asked to, written in a form that
//! other programs know, timed in each.
//!
//! ```text
//! run -> source -> (compact) -> (fold) -> (quantise) -> safetensors | csr | onnx | pt2 | rewind
//!                      `-> latency
//! ```

mod accuracy;
mod compact;
mod csr;
mod error;
mod fold;
mod forward;
mod latency;
mod modules;
mod onnx;
mod onnx_runtime;
mod pt2;
mod quantise;
mod rewind;
mod runtime;
mod safetensors;
mod source;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use tch::Tensor;

pub use accuracy::accuracy;
pub use compact::{Compacted, compact};
pub use csr::Csr;
pub use error::ExportError;
pub use fold::fold;
pub use latency::{Bench, Measured, measure};
pub use modules::describe_modules;
pub use onnx::onnx;
pub use onnx_runtime::interpreter;
pub use pt2::pt2;
pub use quantise::{Calibration, Int8, Quantised, quantise};
pub use rewind::rewind;
pub use source::{Source, read};

use crate::model::Graph;

/// A model as it is written elsewhere.
#[derive(Debug)]
pub struct Model {
    /// What it computes.
    pub graph: Graph,
    /// Its parameters and running statistics by PyTorch's names, f32 on the CPU.
    pub tensors: BTreeMap<String, Tensor>,
    /// What else the state_dict of an imported network holds: other names of tied tensors, and what training leaves
    /// as it is, each in its own type.
    pub held: BTreeMap<String, Tensor>,
    /// Names of the weights that were pruned.
    pub prunable: Vec<String>,
    /// Shape of one input.
    pub input_shape: Vec<i64>,
    /// Number of outputs.
    pub outputs: i64,
    /// What a file says of it besides: where it comes from, and how its inputs are made.
    pub metadata: BTreeMap<String, String>,
}

impl Model {
    /// The same with tensors of its own, without what else a state_dict holds and without metadata.
    fn copied(&self) -> Self {
        let copy = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.copy());
        Self {
            graph: self.graph.clone(),
            tensors: self.tensors.iter().map(copy).collect(),
            held: BTreeMap::new(),
            prunable: self.prunable.clone(),
            input_shape: self.input_shape.clone(),
            outputs: self.outputs,
            metadata: BTreeMap::new(),
        }
    }
}

/// The logits of a model as its graph describes it.
#[cfg(test)]
pub(crate) fn testing_forward(model: &Model, input: &Tensor) -> Tensor {
    forward::forward(model, &BTreeMap::new(), input).unwrap_or_else(|error| panic!("{error}"))
}

/// The bytes of a safetensors file with every tensor in full.
pub fn dense(model: &Model) -> Vec<u8> {
    let entries = (state_dict(model))
        .map(|(name, tensor)| safetensors::Entry::of(name.clone(), tensor))
        .collect();
    safetensors::encode(&model.metadata, entries)
}

/// All tensors of a model by name.
fn state_dict(model: &Model) -> impl Iterator<Item = (&String, &Tensor)> {
    let all: BTreeMap<_, _> = model.held.iter().chain(&model.tensors).collect();
    all.into_iter()
}

/// The bytes of a safetensors file with the pruned weights in CSR, and the weights that are left in full
/// because that is no larger.
pub fn csr(model: &Model) -> (Vec<u8>, Vec<String>) {
    let (mut entries, mut left, mut sparse) = (Vec::new(), Vec::new(), serde_json::Map::new());
    for (name, tensor) in state_dict(model) {
        let is_prunable = model.prunable.contains(name);
        match is_prunable.then(|| Csr::of(tensor)).flatten() {
            Some(csr) => {
                sparse.insert(name.clone(), csr.describe(&tensor.size()));
                entries.extend(csr.entries(name));
            }
            None => {
                if is_prunable {
                    left.push(name.clone());
                }
                entries.push(safetensors::Entry::of(name.clone(), tensor));
            }
        }
    }
    let mut metadata = model.metadata.clone();
    metadata.insert(
        "csr".to_owned(),
        serde_json::Value::Object(sparse).to_string(),
    );
    metadata.insert("dense".to_owned(), serde_json::json!(left).to_string());
    (safetensors::encode(&metadata, entries), left)
}

#[cfg(test)]
mod tests {
    use ::safetensors::{Dtype, SafeTensors};
    use serde_json::{Value, json};
    use tch::Kind;

    use super::*;
    use crate::export::testing::{model_of, prune};

    #[test]
    fn a_dense_file_holds_every_tensor_and_the_same_bytes_each_time() {
        let model = model_of("cnn1d", json!({"width": 4}), &[40], 10, 3);
        let bytes = dense(&model);
        assert_eq!(bytes, dense(&model));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.len(), model.tensors.len());
        for (name, tensor) in &model.tensors {
            let view = file.tensor(name).unwrap();
            let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
            let read = Tensor::f_from_data_size(view.data(), &shape, Kind::Float).unwrap();
            assert!(read.equal(tensor), "{name}");
        }
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        assert_eq!(metadata["format"], "pt");
        assert_eq!(metadata["model"], "cnn1d");
    }

    #[test]
    fn a_csr_file_gives_the_dense_weights_again() {
        let mut model = model_of("cnn1d", json!({"width": 4}), &[40], 10, 3);
        // `conv1` stays in full: a row of 5 is 20 bytes, and 8 a survivor are not fewer.
        prune(&mut model, 0.2, 1);
        let full = model.tensors["conv1.weight"].ones_like();
        model.tensors.insert("conv1.weight".to_owned(), full);
        let (bytes, left) = csr(&model);
        assert_eq!(left, ["conv1.weight"]);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().as_ref().unwrap();
        let sparse: Value = serde_json::from_str(&metadata["csr"]).unwrap();
        assert_eq!(metadata["dense"], r#"["conv1.weight"]"#);
        let names: Vec<&String> = sparse.as_object().unwrap().keys().collect();
        assert_eq!(names, ["conv2.weight", "conv3.weight", "fc.weight"]);
        for name in names {
            let numbers = |part: &str| -> Vec<i32> {
                let view = file.tensor(&format!("{name}.{part}")).unwrap();
                assert_eq!(view.dtype(), Dtype::I32);
                let (numbers, _) = view.data().as_chunks();
                numbers.iter().map(|it| i32::from_le_bytes(*it)).collect()
            };
            let (crow, col) = (numbers("crow_indices"), numbers("col_indices"));
            let view = file.tensor(&format!("{name}.values")).unwrap();
            assert_eq!(view.dtype(), Dtype::F32);
            let values: Vec<f32> = (view.data().as_chunks().0.iter())
                .map(|it| f32::from_le_bytes(*it))
                .collect();
            let weight = &model.tensors[name];
            assert_eq!(sparse[name]["dense_shape"], json!(weight.size()));
            let [rows, columns] =
                [0, 1].map(|i| sparse[name]["shape"][i].as_u64().unwrap() as usize);
            assert_eq!((crow.len(), rows * columns), (rows + 1, weight.numel()));
            let mut full = vec![0.0; rows * columns];
            for row in 0..rows {
                for at in crow[row] as usize..crow[row + 1] as usize {
                    full[row * columns + col[at] as usize] = values[at];
                }
            }
            let flat = Vec::<f32>::try_from(weight.reshape([-1])).unwrap();
            assert_eq!(full, flat, "{name}");
            assert!(values.iter().all(|&value| value != 0.0));
        }
    }
}
