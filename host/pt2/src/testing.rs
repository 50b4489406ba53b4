//! Archives written by hand, for tests: a linear layer and a batch norm, small enough to cut at every byte.

use std::path::Path;

use serde_json::{Value, json};

use crate::archive::Archive;
use crate::container::checksum;
use crate::error::{ArchiveError, Fault};

/// An archive in the making.
#[derive(Clone)]
pub struct Made {
    /// Records with their names, in order.
    pub records: Vec<(String, Vec<u8>)>,
}

/// The values of a tensor of float32.
pub fn f32s(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub fn tensor(name: &str) -> Value {
    json!({"as_tensor": {"name": name}})
}

fn size(size: &Value) -> Value {
    match size.as_str() {
        Some(name) => {
            let symbol = format!("Symbol('{name}', positive=True, integer=True)");
            json!({"as_expr": {"expr_str": symbol, "hint": {"as_int": 2}}})
        }
        None => json!({"as_int": size}),
    }
}

/// What a tensor is: a number for its type, and its shape with names for symbols.
pub fn meta(dtype: u32, shape: Value) -> Value {
    let sizes: Vec<Value> = shape.as_array().into_iter().flatten().map(size).collect();
    let mut strides = vec![json!({"as_int": 1}); sizes.len()];
    for dim in (1..sizes.len()).rev() {
        let below = sizes[dim]["as_int"].as_u64().unwrap_or(1);
        let stride = strides[dim]["as_int"].as_u64().unwrap_or(1);
        strides[dim - 1] = json!({"as_int": below * stride});
    }
    json!({
        "dtype": dtype, "sizes": sizes, "requires_grad": false, "device": {"type": "cpu", "index": null},
        "strides": strides, "storage_offset": {"as_int": 0}, "layout": 7,
    })
}

/// A node with named arguments and one tensor as its result.
pub fn node(target: &str, inputs: &[(&str, Value)], output: &str) -> Value {
    let inputs: Vec<Value> = inputs
        .iter()
        .map(|(name, argument)| json!({"name": name, "arg": argument, "kind": 1}))
        .collect();
    json!({
        "target": target, "inputs": inputs, "outputs": [tensor(output)],
        "metadata": {"stack_trace": "elsewhere"}, "is_hop_single_tensor_return": null, "name": output,
    })
}

fn payload(path: &str, meta: Value) -> Value {
    json!({"path_name": path, "is_param": true, "use_pickle": false, "tensor_meta": meta})
}

fn graph(training: bool) -> Value {
    let input = |kind: &str, key: &str, arg: &str, name: &str| {
        let mut spec = json!({"arg": {"name": arg}, key: name});
        if kind == "buffer" {
            spec["persistent"] = json!(true);
        }
        json!({kind: spec})
    };
    json!({
        "graph_module": {
            "graph": {
                "inputs": (["p_w", "p_b", "b_mean", "b_var", "c_one", "x"].map(tensor)),
                "outputs": [tensor("out")],
                "nodes": [
                    node("torch.ops.aten.linear.default", &[
                        ("input", tensor("x")), ("weight", tensor("p_w")), ("bias", tensor("p_b")),
                    ], "linear"),
                    node("torch.ops.aten.batch_norm.default", &[
                        ("input", tensor("linear")), ("weight", json!({"as_none": true})),
                        ("bias", json!({"as_none": true})), ("running_mean", tensor("b_mean")),
                        ("running_var", tensor("b_var")), ("training", json!({"as_bool": training})),
                        ("momentum", json!({"as_float": 0.1})), ("eps", json!({"as_float": 1e-5})),
                        ("cudnn_enabled", json!({"as_bool": false})),
                    ], "norm"),
                    node("torch.ops.aten.add.Tensor", &[
                        ("self", tensor("norm")), ("other", tensor("c_one")),
                    ], "out"),
                ],
                "tensor_values": {
                    "p_w": meta(7, json!([2, 3])), "p_b": meta(7, json!([2])),
                    "b_mean": meta(7, json!([2])), "b_var": meta(7, json!([2])),
                    "c_one": meta(5, json!([])), "x": meta(7, json!(["s0", 3])),
                    "linear": meta(7, json!(["s0", 2])), "norm": meta(7, json!(["s0", 2])),
                    "out": meta(7, json!(["s0", 2])),
                },
                "sym_int_values": {}, "sym_bool_values": {}, "sym_float_values": {},
                "is_single_tensor_return": false, "custom_obj_values": {},
            },
            "signature": {
                "input_specs": [
                    input("parameter", "parameter_name", "p_w", "w"),
                    input("parameter", "parameter_name", "p_b", "b"),
                    input("buffer", "buffer_name", "b_mean", "mean"),
                    input("buffer", "buffer_name", "b_var", "var"),
                    input("tensor_constant", "tensor_constant_name", "c_one", "one"),
                    {"user_input": {"arg": tensor("x")}},
                ],
                "output_specs": [{"user_output": {"arg": tensor("out")}}],
            },
            "module_call_graph": [], "metadata": {}, "treespec_namedtuple_fields": {},
        },
        "opset_version": {"aten": 10},
        "range_constraints": {"s0": {"min_val": 1, "max_val": 64}},
        "schema_version": {"major": 8, "minor": 20},
        "verifiers": ["TRAINING"], "torch_version": "2.13.0", "guards_code": [],
    })
}

impl Made {
    /// Both graphs of the network, with the same state.
    pub fn new() -> Self {
        let mut made = Self {
            records: Vec::new(),
        };
        made.put("archive_format", b"pt2".to_vec());
        made.put("archive_version", b"0".to_vec());
        made.put("byteorder", b"little".to_vec());
        for (at, name) in ["train", "eval"].into_iter().enumerate() {
            let path = |index: usize| format!("weight_{}", 4 * at + index);
            made.put_json(&format!("models/{name}.json"), &graph(name == "train"));
            let config = json!({"config": {
                "w": payload(&path(0), meta(7, json!([2, 3]))), "b": payload(&path(1), meta(7, json!([2]))),
                "mean": payload(&path(2), meta(7, json!([2]))), "var": payload(&path(3), meta(7, json!([2]))),
            }});
            made.put_json(&format!("data/weights/{name}_weights_config.json"), &config);
            let config = json!({"config": {"one": payload("tensor_0", meta(5, json!([])))}});
            made.put_json(
                &format!("data/constants/{name}_constants_config.json"),
                &config,
            );
            let values: [&[f32]; 4] = [&[1., 2., 3., 4., 5., 6.], &[7., 8.], &[0., 0.5], &[1., 2.]];
            for (index, values) in values.into_iter().enumerate() {
                made.put(&format!("data/weights/{}", path(index)), f32s(values));
            }
        }
        made.put("data/constants/tensor_0", 1_i64.to_le_bytes().to_vec());
        made
    }

    /// The graph for training alone, under the name `model`, its batch norm taken out.
    pub fn single() -> Self {
        let mut made = Self::new();
        made.records.retain(|(name, _)| !name.contains("eval"));
        for (name, contents) in &mut made.records {
            *name = name.replace("train", "model");
            if name == "models/model.json" {
                let mut json: Value = serde_json::from_slice(contents).unwrap();
                let graph = &mut json["graph_module"]["graph"];
                graph["nodes"].as_array_mut().unwrap().remove(1);
                graph["nodes"][1]["inputs"][0]["arg"] = tensor("linear");
                *contents = json.to_string().into_bytes();
            }
        }
        made
    }

    pub fn put(&mut self, name: &str, contents: Vec<u8>) {
        match self.records.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = contents,
            None => self.records.push((name.to_owned(), contents)),
        }
    }

    pub fn put_json(&mut self, name: &str, json: &Value) {
        self.put(name, json.to_string().into_bytes());
    }

    pub fn json(&self, name: &str) -> Value {
        let record = self.records.iter().find(|(known, _)| known == name);
        serde_json::from_slice(&record.unwrap().1).unwrap()
    }

    /// Changes a record's JSON.
    pub fn edit(mut self, record: &str, edit: impl Fn(&mut Value)) -> Self {
        let mut json = self.json(record);
        edit(&mut json);
        self.put_json(record, &json);
        self
    }

    /// Changes both graphs.
    pub fn edit_graphs(self, edit: impl Fn(&mut Value)) -> Self {
        let edit = |json: &mut Value| edit(&mut json["graph_module"]["graph"]);
        self.edit("models/train.json", edit)
            .edit("models/eval.json", edit)
    }

    pub fn zip(&self) -> Vec<u8> {
        let records = self.records.iter();
        let named = records.map(|(name, contents)| (format!("net/{name}"), contents.as_slice()));
        zip(&named.collect::<Vec<_>>())
    }

    pub fn open(&self) -> Result<Archive, ArchiveError> {
        Archive::from_bytes(Path::new("net.pt2"), self.zip())
    }

    /// What is wrong with it.
    pub fn fault(&self) -> Fault {
        self.open().map(drop).unwrap_err().fault
    }

    /// What is wrong with it, in words.
    pub fn refusal(&self) -> String {
        self.open().map(drop).unwrap_err().to_string()
    }
}

/// A zip file with these records, as they are.
pub fn zip(records: &[(String, &[u8])]) -> Vec<u8> {
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for (name, contents) in records {
        let fields = |into: &mut Vec<u8>| {
            into.extend([0; 8]);
            into.extend(checksum(contents).to_le_bytes());
            into.extend((contents.len() as u32).to_le_bytes());
            into.extend((contents.len() as u32).to_le_bytes());
            into.extend((name.len() as u16).to_le_bytes());
        };
        list.extend(b"PK\x01\x02\0\0\0\0");
        fields(&mut list);
        list.extend([0; 12]);
        list.extend((file.len() as u32).to_le_bytes());
        list.extend(name.as_bytes());
        file.extend(b"PK\x03\x04\0\0");
        fields(&mut file);
        file.extend([0; 2]);
        file.extend(name.as_bytes());
        file.extend(*contents);
    }
    let start = file.len() as u32;
    file.extend(&list);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend((records.len() as u16).to_le_bytes());
    file.extend((records.len() as u16).to_le_bytes());
    file.extend((list.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}
