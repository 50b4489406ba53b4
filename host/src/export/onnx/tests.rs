//! Decodes what was written and computes it operator by operator, as ONNX defines them.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use serde_json::json;
use tch::{Device, Kind};

use super::*;
use crate::export::testing::{MODELS_OF_ALL_KINDS, forward, inputs, model_of, network_of, prune};
use crate::export::{compact, fold};

mod integers;
mod tokens;

type Values = BTreeMap<String, tch::Tensor>;

fn decode(bytes: &[u8]) -> message::Model {
    message::Model::decode(bytes).unwrap()
}

/// What a graph makes of an input.
fn run(graph: &Graph, input: &tch::Tensor) -> tch::Tensor {
    let mut values: Values = graph.initializer.iter().map(read).collect();
    values.insert(graph.input[0].name.clone(), input.shallow_clone());
    for node in &graph.node {
        let result = compute(node, &values);
        assert!(values.insert(node.output[0].clone(), result).is_none());
    }
    values.remove(&graph.output[0].name).unwrap()
}

fn read(tensor: &Tensor) -> (String, tch::Tensor) {
    let kind = match tensor.data_type {
        Tensor::FLOAT => Kind::Float,
        Tensor::INT64 => Kind::Int64,
        Tensor::INT32 => Kind::Int,
        Tensor::INT8 => Kind::Int8,
        Tensor::UINT8 => Kind::Uint8,
        other => panic!("{other}"),
    };
    let values = tch::Tensor::f_from_data_size(&tensor.raw_data, &tensor.dims, kind);
    (tensor.name.clone(), values.unwrap())
}

fn compute(node: &Node, values: &Values) -> tch::Tensor {
    let read = |i: usize| &values[&node.input[i]];
    let optional = |i: usize| node.input.get(i).map(|name| &values[name]);
    let find = |name: &str| node.attribute.iter().find(|it| it.name == name);
    let ints = |name: &str| {
        let own = find(name).unwrap();
        assert_eq!(own.kind, Attribute::INTS);
        own.ints.clone()
    };
    // The same on both sides of each dimension.
    let pads = || {
        let all = ints("pads");
        let (before, after) = all.split_at(all.len() / 2);
        assert_eq!(before, after);
        before.to_vec()
    };
    match node.op_type.as_str() {
        "Gemm" => {
            assert_eq!(find("transB").unwrap().i, 1);
            let product = read(0).matmul(&read(1).tr());
            optional(2).map_or_else(|| product.shallow_clone(), |bias| &product + bias)
        }
        "Conv" => {
            let (strides, pads) = (ints("strides"), pads());
            assert_eq!(ints("kernel_shape"), read(1).size()[2..]);
            let dilation = vec![1; strides.len()];
            read(0).convolution(read(1), optional(2), strides, pads, dilation, false, [0], 1)
        }
        "BatchNormalization" => {
            let epsilon = f64::from(find("epsilon").unwrap().f);
            let mut shape = vec![1; read(0).dim()];
            shape[1] = -1;
            let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|i| read(i).view(&shape[..]));
            (read(0) - mean) / (variance + epsilon).sqrt() * scale + shift
        }
        "Relu" => read(0).relu(),
        "Add" => read(0) + read(1),
        "Mul" => read(0) * read(1),
        "Cast" => {
            assert_eq!(find("to").unwrap().i, i64::from(Tensor::FLOAT));
            read(0).to_kind(Kind::Float)
        }
        "Flatten" => {
            assert_eq!(find("axis").unwrap().i, 1);
            read(0).flatten(1, -1)
        }
        "Unsqueeze" => read(0).unsqueeze(read(1).int64_value(&[0])),
        "GlobalAveragePool" => read(0).mean_dim([2i64, 3].as_slice(), true, None::<Kind>),
        "MaxPool" => {
            read(0).max_pool2d(ints("kernel_shape"), ints("strides"), pads(), [1; 2], false)
        }
        other => tokens::compute(node, values)
            .or_else(|| integers::compute(node, values))
            .unwrap_or_else(|| panic!("{other}")),
    }
}

fn check_structure(model: &message::Model, batch: &message::ValueInfo) {
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    let graph = model.graph.as_ref().unwrap();
    let mut known: BTreeSet<&str> = [graph.input[0].name.as_str()].into();
    for tensor in &graph.initializer {
        let width = match tensor.data_type {
            Tensor::INT64 => 8,
            Tensor::INT8 | Tensor::UINT8 => 1,
            _ => 4,
        };
        let count = tensor.dims.iter().product::<i64>() as usize;
        assert_eq!(tensor.raw_data.len(), width * count, "{}", tensor.name);
        assert!(known.insert(&tensor.name), "{} twice", tensor.name);
    }
    let mut read = BTreeSet::new();
    for node in &graph.node {
        for name in &node.input {
            assert!(
                known.contains(name.as_str()),
                "{name} is read before it is made"
            );
            read.insert(name.as_str());
        }
        assert!(known.insert(&node.output[0]), "{} twice", node.output[0]);
    }
    known.remove(OUTPUT);
    assert_eq!(known, read, "everything is read but the output");
    assert_eq!(graph.input, std::slice::from_ref(batch));
    let first = &graph.output[0]
        .r#type
        .as_ref()
        .unwrap()
        .tensor_type
        .as_ref()
        .unwrap();
    let batch = &first.shape.as_ref().unwrap().dim[0];
    assert_eq!(
        (batch.dim_value, batch.dim_param.as_deref()),
        (None, Some("batch"))
    );
}

#[test]
fn every_model_computes_what_its_network_does_also_folded_and_compact() {
    for (name, options, shape, classes) in MODELS_OF_ALL_KINDS {
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        let network = network_of(name, &options, shape, classes);
        for (is_compact, is_folded) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let mut model = model_of(name, options.clone(), shape, classes, 4);
            prune(&mut model, 0.5, 4);
            let input = inputs(shape, 3, 4);
            let expected = forward(&*network, &model, &input);
            if is_compact {
                compact(&mut model, 1).unwrap();
            }
            if is_folded {
                fold(&mut model);
            }
            let decoded = decode(&onnx(&model, None, None).unwrap());
            check_structure(&decoded, &batch_of("input", Tensor::FLOAT, shape));
            let got = run(decoded.graph.as_ref().unwrap(), &input);
            assert_eq!(got.size(), expected.size(), "{name}");
            let scale = expected.abs().max().double_value(&[]);
            let error = (got - expected).abs().max().double_value(&[]);
            assert!(error <= 1e-5 * scale, "{name}: {error} of {scale}");
        }
    }
}

#[test]
fn pixels_are_normalised_as_they_were_for_training() {
    let options = json!({"width": 2});
    let (shape, statistics) = (
        [3, 16, 16],
        PixelStatistics {
            mean: vec![0.5, 0.4, 0.3],
            std: vec![0.2, 0.25, 0.3],
        },
    );
    let network = network_of("resnet-20", &options, &shape, 10);
    let model = model_of("resnet-20", options, &shape, 10, 4);
    let decoded = decode(&onnx(&model, Some(&statistics), None).unwrap());
    check_structure(&decoded, &batch_of("input", Tensor::UINT8, &shape));
    let pixels = (inputs(&shape, 3, 4) * 40.0 + 128.0)
        .clamp(0.0, 255.0)
        .to_kind(Kind::Uint8);
    let normalisation =
        crate::data::Normalisation::new(&statistics.mean, &statistics.std, Device::Cpu);
    let expected = forward(&*network, &model, &normalisation.apply(&pixels));
    let got = run(decoded.graph.as_ref().unwrap(), &pixels);
    let error = (got - &expected).abs().max().double_value(&[]);
    assert!(
        error <= 1e-5 * expected.abs().max().double_value(&[]),
        "{error}"
    );
}

#[test]
fn metadata_are_properties_and_the_bytes_are_the_same_each_time() {
    let model = model_of("mlp", json!({"hidden": [3]}), &[4], 2, 1);
    let bytes = onnx(&model, None, None).unwrap();
    assert_eq!(bytes, onnx(&model, None, None).unwrap());
    let decoded = decode(&bytes);
    let expected = Property {
        key: "model".to_owned(),
        value: "mlp".to_owned(),
    };
    assert_eq!(decoded.metadata_props, [expected]);
    let graph = decoded.graph.unwrap();
    let operators: Vec<&str> = graph.node.iter().map(|it| it.op_type.as_str()).collect();
    let expected = ["Flatten", "Gemm", "BatchNormalization", "Relu", "Gemm"];
    assert_eq!(operators, expected);
}

/// Writes a model of each kind in every form with an input and the network's own logits, for these lines
/// of Python (onnx 1.23.2, onnxruntime 1.32.0, safetensors 0.8.0), which fail if ONNX's own checker or a runtime disagrees:
///
/// ```python
/// import glob, sys, numpy, onnx, onnxruntime
/// from safetensors.numpy import load_file
///
/// for path in sorted(glob.glob(sys.argv[1] + "/*.onnx")):
///     onnx.checker.check_model(path, full_check=True)
///     known = load_file(path[:-4] + "safetensors")
///     session = onnxruntime.InferenceSession(path)
///     for count in (len(known["input"]), 1):
///         logits, = session.run(None, {"input": known["input"][:count]})
///         error = numpy.abs(logits - known["logits"][:count]).max()
///         print(f"{error:.1e} of {numpy.abs(logits).max():.1e} {path}")
///         assert logits.shape == known["logits"][:count].shape
///         # In 8 bits sums in another order may come to the other side of a half.
///         assert error < (1e-1 if "int8" in path else 1e-4) * max(1, numpy.abs(logits).max())
/// ```
#[test]
#[ignore = "writes files for another program into the folder that ONNX_CHECK names"]
fn writes_every_model_for_an_onnx_runtime() {
    let folder = std::path::PathBuf::from(std::env::var_os("ONNX_CHECK").unwrap());
    for (place, (name, options, shape, classes)) in MODELS_OF_ALL_KINDS.into_iter().enumerate() {
        let options: serde_json::Value = serde_json::from_str(options).unwrap();
        let network = network_of(name, &options, shape, classes);
        for form in [
            "plain",
            "compact",
            "folded",
            "compact-folded",
            "bytes",
            "folded-int8",
        ] {
            let mut model = model_of(name, options.clone(), shape, classes, 4);
            prune(&mut model, 0.5, 4);
            let (mut input, mut fed) = (inputs(shape, 5, 4), inputs(shape, 5, 4));
            let statistics = (form == "bytes" && shape.len() == 3).then(|| PixelStatistics {
                mean: vec![0.5; shape[0] as usize],
                std: vec![0.25; shape[0] as usize],
            });
            if let Some(statistics) = &statistics {
                fed = (fed * 40.0 + 128.0).clamp(0.0, 255.0).to_kind(Kind::Uint8);
                let PixelStatistics { mean, std } = statistics;
                input = crate::data::Normalisation::new(mean, std, Device::Cpu).apply(&fed);
            }
            let mut logits = forward(&*network, &model, &input);
            if form.contains("compact") {
                compact(&mut model, 1).unwrap();
            }
            if form.contains("folded") {
                fold(&mut model);
            }
            let parts = [inputs(shape, 32, 4)];
            let quantised = form
                .ends_with("int8")
                .then(|| Quantised::new(&model, &parts, 99.9).unwrap());
            if let Some(quantised) = &quantised {
                logits = quantised.forward(&input).unwrap();
            }
            let path = folder.join(format!("{place:02}-{name}-{form}"));
            let named = [("input".to_owned(), fed), ("logits".to_owned(), logits)];
            crate::store::write_tensors(&path.with_extension("safetensors"), &named).unwrap();
            let bytes = onnx(&model, statistics.as_ref(), quantised.as_ref()).unwrap();
            crate::store::write(&path.with_extension("onnx"), &bytes).unwrap();
        }
    }
}
