//! What is read.

use super::*;

#[test]
fn an_archive_has_its_state_and_a_graph_for_each_mode() {
    let archive = Made::new().open().unwrap();
    assert!(archive.has_two_graphs());
    let parameters = archive.parameters();
    assert_eq!(parameters.len(), 2);
    assert_eq!(
        (parameters[0].name.as_str(), parameters[0].shape.as_slice()),
        ("w", &[2, 3][..])
    );
    assert_eq!(
        archive.read_parameter(0).unwrap(),
        f32s(&[1., 2., 3., 4., 5., 6.])
    );
    assert_eq!(archive.buffers()[1].name, "var");
    assert_eq!(archive.read_buffer(1).unwrap(), f32s(&[1., 2.]));
    let train = archive.graph(Mode::Train);
    assert_eq!(train.constants[0].dtype, Dtype::I64);
    assert_eq!(
        archive.read_constant(Mode::Eval, 0).unwrap(),
        1_i64.to_le_bytes()
    );
    assert_eq!(
        train.batch,
        BatchRange {
            min: 1,
            max: Some(64)
        }
    );
    assert_eq!(
        train.shape(train.input),
        Some(&[Dim::Batch, Dim::Fixed(3)][..])
    );
    assert_eq!(train.value(train.output).name, "out");
    assert_eq!(train.nodes.len(), 3);
    let target = Target::Aten {
        name: "add".into(),
        overload: "Tensor".into(),
    };
    assert_eq!(train.nodes[2].target, target);
    assert_eq!(
        train.nodes[1].argument("momentum"),
        Some(&Argument::Float(0.1))
    );
    assert_eq!(train.nodes[1].argument("weight"), Some(&Argument::None));
    assert_eq!(train.changes(), [Source::Buffer(0), Source::Buffer(1)]);
    assert_eq!(archive.graph(Mode::Eval).changes(), []);
}

#[test]
fn one_graph_serves_both_modes_if_nothing_depends_on_them() {
    let archive = Made::single().open().unwrap();
    assert!(!archive.has_two_graphs());
    assert_eq!(archive.graph(Mode::Train).nodes.len(), 2);
    assert_eq!(archive.graph(Mode::Eval).nodes.len(), 2);
}

#[test]
fn every_kind_of_argument_is_read() {
    let size = json!({"as_name": "n"});
    let made = Made::new().edit_graphs(|graph| {
        let mut size_of = node(
            "torch.ops.aten.sym_size.int",
            &[("self", tensor("x")), ("dim", json!({"as_int": 0}))],
            "n",
        );
        size_of["outputs"] = json!([{"as_sym_int": {"as_name": "n"}}]);
        let mut twice = node(
            "_operator.mul",
            &[
                ("a", json!({"as_sym_int": size})),
                ("b", json!({"as_int": 2})),
            ],
            "m",
        );
        twice["outputs"] = json!([{"as_sym_int": {"as_name": "m"}}]);
        let all = [
            json!({"as_tensors": [{"name": "x"}]}),
            json!({"as_optional_tensors": [{"as_none": true}, {"as_tensor": {"name": "x"}}]}),
            json!({"as_optional_tensor": {"as_tensor": {"name": "x"}}}),
            json!({"as_optional_tensor": {"as_none": true}}),
            json!({"as_nested_tensors": [[{"name": "x"}], []]}),
            json!({"as_ints": [1, -2]}),
            json!({"as_int_lists": [[1], []]}),
            json!({"as_float": "-Infinity"}),
            json!({"as_floats": [1, 0.5]}),
            json!({"as_float_lists": [[2.0]]}),
            json!({"as_bools": [true]}),
            json!({"as_string": "floor"}),
            json!({"as_strings": ["a"]}),
            json!({"as_sym_int": {"as_name": "m"}}),
            json!({"as_sym_ints": [{"as_name": "n"}, {"as_int": -1}]}),
            json!({"as_sym_float": {"as_float": 0.5}}),
            json!({"as_sym_floats": [{"as_float": "Infinity"}]}),
            json!({"as_sym_bool": {"as_bool": true}}),
            json!({"as_sym_bools": [{"as_bool": false}]}),
            json!({"as_scalar_type": 5}),
            json!({"as_memory_format": 2}),
            json!({"as_layout": 7}),
            json!({"as_device": {"type": "cuda", "index": 1}}),
        ];
        let names: Vec<String> = (0..all.len()).map(|at| format!("a{at}")).collect();
        let arguments: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(all).collect();
        let mut many = node("torch.ops.aten.many.default", &arguments, "y0");
        many["outputs"] =
            json!([{"as_tensors": [{"name": "y0"}, {"name": "y1"}]}, {"as_none": true}]);
        graph["tensor_values"]["y0"] = meta(7, json!([]));
        graph["tensor_values"]["y1"] = meta(7, json!([]));
        let sum = "Mul(Integer(2), Symbol('s0', positive=True, integer=True))";
        let alone = "Symbol('s0', positive=True, integer=True)";
        graph["sym_int_values"] =
            json!({"n": {"as_expr": {"expr_str": alone}}, "m": {"as_expr": {"expr_str": sum}}});
        let nodes = graph["nodes"].as_array_mut().unwrap();
        nodes.splice(0..0, [size_of, twice, many]);
    });
    let archive = made.open().unwrap();
    let graph = archive.graph(Mode::Train);
    let [size_of, twice, many] = &graph.nodes[..3] else {
        unreachable!()
    };
    assert_eq!(size_of.target, Target::Size);
    assert_eq!(twice.target, Target::Scalar(ScalarOp::Mul));
    let Output::Value(n) = size_of.outputs[0] else {
        panic!()
    };
    let Output::Value(m) = twice.outputs[0] else {
        panic!()
    };
    assert_eq!(graph.value(n).kind, ValueKind::Int(Dim::Batch));
    assert!(matches!(
        &graph.value(m).kind,
        ValueKind::Int(Dim::Other(_))
    ));
    assert_eq!(
        ScalarOp::Mul.evaluate(&[Number::Int(3), Number::Int(2)]),
        Some(Number::Int(6))
    );
    let x = graph.input;
    let arguments: Vec<&Argument> = many.inputs.iter().map(|(_, argument)| argument).collect();
    let expected = [
        Argument::Tensors(vec![x]),
        Argument::OptionalTensors(vec![None, Some(x)]),
        Argument::Tensor(x),
        Argument::None,
        Argument::TensorLists(vec![vec![x], vec![]]),
        Argument::Ints(vec![1, -2]),
        Argument::IntLists(vec![vec![1], vec![]]),
        Argument::Float(f64::NEG_INFINITY),
        Argument::Floats(vec![1.0, 0.5]),
        Argument::FloatLists(vec![vec![2.0]]),
        Argument::Bools(vec![true]),
        Argument::String("floor".into()),
        Argument::Strings(vec!["a".into()]),
        Argument::SymInt(Scalar::Value(m)),
        Argument::SymInts(vec![Scalar::Value(n), Scalar::Fixed(-1)]),
        Argument::SymFloat(Scalar::Fixed(0.5)),
        Argument::SymFloats(vec![Scalar::Fixed(f64::INFINITY)]),
        Argument::SymBool(Scalar::Fixed(true)),
        Argument::SymBools(vec![Scalar::Fixed(false)]),
        Argument::Dtype(Dtype::I64),
        Argument::MemoryFormat(crate::MemoryFormat::ChannelsLast),
        Argument::Strided,
        Argument::Device {
            kind: "cuda".into(),
            index: Some(1),
        },
    ];
    assert_eq!(arguments, expected.iter().collect::<Vec<_>>());
    assert_eq!(many.outputs.len(), 2);
    assert_eq!(many.makes().count(), 2);
    assert_eq!(many.reads(), [x, x, x, x, m, n]);
}

#[test]
fn what_the_signature_says_is_changed_is_an_update() {
    let made = Made::new().edit("models/train.json", |json| {
        let module = &mut json["graph_module"];
        module["graph"]["outputs"] =
            json!([tensor("p_b"), tensor("x"), tensor("p_b"), tensor("out")]);
        let specs = json!([
            {"buffer_mutation": {"arg": {"name": "p_b"}, "buffer_name": "var"}},
            {"user_input_mutation": {"arg": {"name": "x"}, "user_input_name": "x"}},
            {"parameter_mutation": {"arg": {"name": "p_b"}, "parameter_name": "b"}},
            {"user_output": {"arg": tensor("out")}},
        ]);
        module["signature"]["output_specs"] = specs;
    });
    let archive = made.open().unwrap();
    let graph = archive.graph(Mode::Train);
    let targets: Vec<Source> = graph.updates.iter().map(|update| update.target).collect();
    assert_eq!(
        targets,
        [Source::Buffer(1), Source::Input, Source::Parameter(1)]
    );
    assert_eq!(graph.updates[1].value, graph.input);
    assert_eq!(graph.value(graph.output).name, "out");
    let changes = [
        Source::Buffer(1),
        Source::Input,
        Source::Parameter(1),
        Source::Buffer(0),
    ];
    assert_eq!(graph.changes(), changes);
}

#[test]
fn changes_in_place_are_followed_through_views() {
    let changes = |view: &str| through(view).graph(Mode::Eval).changes();
    for view in [
        "view",
        "swapdims",
        "moveaxis",
        "reshape_as",
        "_unsafe_view",
        "mT",
    ] {
        assert_eq!(changes(view), [Source::Input], "{view}");
    }
    // What is changed is another memory.
    assert_eq!(changes("clone"), []);
    for (view, gives_back) in [("mT", true), ("clone", true), ("relu", false)] {
        let archive = through(view);
        let first = &archive.graph(Mode::Eval).nodes[0];
        assert_eq!(first.gives_back_elements(), gives_back, "{view}");
    }
}

/// An archive that changes in place what an operator makes of the input.
fn through(operator: &str) -> Archive {
    let made = Made::new().edit_graphs(|graph| {
        let view = node(
            &format!("torch.ops.aten.{operator}.default"),
            &[("self", tensor("x"))],
            "view",
        );
        let relu = node(
            "torch.ops.aten.relu_.default",
            &[("self", tensor("view"))],
            "relu",
        );
        let and = node(
            "torch.ops.aten.__and__.Tensor",
            &[("self", tensor("p_b"))],
            "and",
        );
        for name in ["view", "relu", "and"] {
            graph["tensor_values"][name] = meta(7, json!(["s0", 3]));
        }
        graph["nodes"]
            .as_array_mut()
            .unwrap()
            .splice(0..0, [view, relu, and]);
    });
    made.open().unwrap()
}

#[test]
fn a_strided_view_comes_in_one_piece() {
    // The transpose of rows of four, without the first row and the last column.
    let config = |path: &str| {
        let view = |json: &mut Value| {
            let meta = &mut json["config"]["w"]["tensor_meta"];
            meta["strides"] = json!([{"as_int": 1}, {"as_int": 4}]);
            meta["storage_offset"] = json!({"as_int": 4});
        };
        (path.to_owned(), view)
    };
    let (train, view) = config("data/weights/train_weights_config.json");
    let (eval, _) = config("data/weights/eval_weights_config.json");
    let mut made = Made::new().edit(&train, view).edit(&eval, view);
    let memory: Vec<f32> = (0..16).map(|it| it as f32).collect();
    made.put("data/weights/weight_0", f32s(&memory));
    made.put("data/weights/weight_4", f32s(&memory));
    let archive = made.open().unwrap();
    assert_eq!(
        archive.read_parameter(0).unwrap(),
        f32s(&[4., 8., 12., 5., 9., 13.])
    );
    let mut copy = Vec::new();
    let new = f32s(&[-1., -2., -3., -4., -5., -6.]);
    let values = |name: &str| (name == "w").then(|| new.clone());
    archive.write_with(Part::Whole, &mut copy, values).unwrap();
    let copied = Archive::from_bytes(Path::new("copy.pt2"), copy).unwrap();
    assert_eq!(copied.read_parameter(0).unwrap(), new);
    made.put("data/weights/weight_0", f32s(&memory[..14]));
    made.put("data/weights/weight_4", f32s(&memory[..14]));
    assert!(made.open().is_ok());
    made.put("data/weights/weight_0", f32s(&memory[..13]));
    refused(
        &made,
        &["tensor w", "it needs 14 elements, its record holds 13"],
    );
}

/// The bias becomes another name of the buffer `mean`, in one of the graphs or both.
pub fn with_second_name(graphs: &[&str], of: &str) -> Made {
    let mut made = Made::new();
    for graph in graphs {
        let path = format!("data/weights/{graph}_weights_config.json");
        made = made.edit(&path, |json| {
            json["config"]["var"] = json["config"][of].clone()
        });
    }
    made
}

#[test]
fn of_two_names_of_a_tensor_graphs_know_the_first() {
    let archive = with_second_name(&["train", "eval"], "mean").open().unwrap();
    assert_eq!(archive.buffers()[0].tied_to, None);
    assert_eq!(archive.buffers()[1].tied_to, Some(0));
    assert_eq!(
        archive.read_buffer(1).unwrap(),
        archive.read_buffer(0).unwrap()
    );
    for mode in [Mode::Train, Mode::Eval] {
        let sources: Vec<Source> = archive
            .graph(mode)
            .inputs
            .iter()
            .map(|it| it.source)
            .collect();
        assert_eq!(sources[2..4], [Source::Buffer(0), Source::Buffer(0)]);
    }
}

#[test]
fn buffers_outside_the_state_dict_are_among_the_constants() {
    let mut made = Made::new();
    for graph in ["train", "eval"] {
        made = made.edit(&format!("models/{graph}.json"), |json| {
            json["graph_module"]["signature"]["input_specs"][3]["buffer"]["persistent"] =
                json!(false);
        });
        made = made.edit(&format!("data/constants/{graph}_constants_config.json"), |json| {
            json["config"]["var"] = json!({
                "path_name": "tensor_1", "is_param": false, "use_pickle": false, "tensor_meta": meta(7, json!([2])),
            });
        });
    }
    made.put("data/constants/tensor_1", f32s(&[9., 9.]));
    let archive = made.open().unwrap();
    assert!(!archive.buffers()[1].persistent);
    assert_eq!(archive.read_buffer(1).unwrap(), f32s(&[9., 9.]));
}

#[test]
fn what_depends_on_the_mode_is_known_by_operator_and_arguments() {
    let with = |target: &str, arguments: &[(&str, Value)]| {
        let mut given = vec![("self", tensor("x"))];
        given.extend(arguments.iter().cloned());
        let target = format!("torch.ops.aten.{target}.default");
        let made = Made::single().edit("models/model.json", |json| {
            let graph = &mut json["graph_module"]["graph"];
            graph["tensor_values"]["y"] = meta(7, json!(["s0", 3]));
            graph["nodes"]
                .as_array_mut()
                .unwrap()
                .insert(0, node(&target, &given, "y"));
        });
        made.open().map(drop).map_err(|error| error.fault)
    };
    let (yes, no) = (json!({"as_bool": true}), json!({"as_bool": false}));
    let half = json!({"as_float": 0.5});
    for (target, arguments) in [
        ("dropout", vec![("p", half.clone()), ("train", yes.clone())]),
        ("dropout", vec![("p", half.clone()), ("train", no.clone())]),
        (
            "dropout_",
            vec![("p", half.clone()), ("train", yes.clone())],
        ),
        (
            "scaled_dot_product_attention",
            vec![("dropout_p", half.clone())],
        ),
        ("bernoulli_", vec![("p", half.clone())]),
        ("rand_like", vec![]),
        ("rrelu", vec![("training", no.clone())]),
        (
            "lstm",
            vec![("dropout", half.clone()), ("train", no.clone())],
        ),
        (
            "batch_norm",
            vec![("running_mean", tensor("b_mean")), ("training", no.clone())],
        ),
        (
            "_native_batch_norm_legit_no_training",
            vec![("running_mean", tensor("b_mean"))],
        ),
        ("_transformer_encoder_layer_fwd", vec![]),
    ] {
        let result = with(target, &arguments);
        assert!(
            matches!(result, Err(Fault::Mode { .. })),
            "{target}: {result:?}"
        );
    }
    for (target, arguments) in [
        (
            "dropout",
            vec![("p", json!({"as_float": 0.0})), ("train", yes.clone())],
        ),
        ("scaled_dot_product_attention", vec![]),
        (
            "batch_norm",
            vec![
                ("running_mean", json!({"as_none": true})),
                ("training", yes),
            ],
        ),
        ("layer_norm", vec![]),
        ("gelu", vec![]),
    ] {
        assert!(with(target, &arguments).is_ok(), "{target}");
    }
}

#[test]
fn the_shipped_archives_hold_what_their_script_says() {
    for (name, parameters, numbers, buffers, first, last, input) in [
        ("mlp", 10, 15_610, 6, "0.weight", "6.bias", vec![40]),
        (
            "narrow-resnet",
            65,
            17_462,
            63,
            "conv1.weight",
            "fc.bias",
            vec![1, 28, 28],
        ),
        (
            "vit",
            32,
            19_658,
            0,
            "class_token",
            "head.bias",
            vec![1, 28, 28],
        ),
        (
            "mobilenet",
            29,
            5_706,
            27,
            "stem.0.weight",
            "classifier.1.bias",
            vec![1, 28, 28],
        ),
    ] {
        let archive = Archive::open(&shipped(name)).unwrap();
        assert!(archive.has_two_graphs());
        let all = archive.parameters();
        assert_eq!(
            (all.len(), archive.buffers().len()),
            (parameters, buffers),
            "{name}"
        );
        assert_eq!(
            (all[0].name.as_str(), all[parameters - 1].name.as_str()),
            (first, last)
        );
        let sizes = all.iter().map(|it| it.shape.iter().product::<usize>());
        assert_eq!(sizes.sum::<usize>(), numbers, "{name}");
        for (at, parameter) in all.iter().enumerate() {
            assert!(parameter.trainable && parameter.tied_to.is_none());
            let bytes = archive.read_parameter(at).unwrap();
            assert_eq!(bytes.len(), 4 * parameter.shape.iter().product::<usize>());
        }
        for mode in [Mode::Train, Mode::Eval] {
            let graph = archive.graph(mode);
            let mut shape = vec![Dim::Batch];
            shape.extend(input.iter().map(|&size| Dim::Fixed(size)));
            assert_eq!(graph.shape(graph.input), Some(shape.as_slice()));
            assert_eq!(
                graph.shape(graph.output),
                Some(&[Dim::Batch, Dim::Fixed(10)][..])
            );
            assert_eq!(graph.batch, BatchRange { min: 1, max: None });
            let changed = if mode == Mode::Train { buffers } else { 0 };
            assert_eq!(graph.changes().len(), changed);
            let draws = mode == Mode::Train && matches!(name, "vit" | "mobilenet");
            assert_eq!(graph.draws(), draws, "{name}");
        }
    }
}

#[test]
fn two_files_are_one_archive_by_any_of_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let half = |graph: &str| {
        let mut made = Made::new();
        let other = if graph == "train" { "eval" } else { "train" };
        made.records.retain(|(name, _)| !name.contains(other));
        for (name, _) in &mut made.records {
            *name = name.replace(graph, "model");
        }
        std::fs::write(folder.path().join(format!("net.{graph}.pt2")), made.zip()).unwrap();
    };
    half("train");
    let whole = folder.path().join("net.pt2");
    let message = Archive::open(&whole).map(drop).unwrap_err().to_string();
    assert!(message.contains("its other half"), "{message}");
    half("eval");
    for name in ["net.pt2", "net.train.pt2", "net.eval.pt2"] {
        let archive = Archive::open(&folder.path().join(name)).unwrap();
        assert!(archive.has_two_graphs());
        assert_ne!(archive.graph(Mode::Train).changes(), []);
        assert_eq!(archive.graph(Mode::Eval).changes(), []);
        let parts: Vec<Part> = archive.parts().map(|(part, _)| part).collect();
        assert_eq!(parts, [Part::Train, Part::Eval]);
    }
    let archive = Archive::open(&whole).unwrap();
    for part in [Part::Train, Part::Eval] {
        let mut copy = Vec::new();
        let values = |name: &str| (name == "b").then(|| f32s(&[0., 1.]));
        archive.write_with(part, &mut copy, values).unwrap();
        std::fs::write(part.path(&folder.path().join("copy.pt2")), copy).unwrap();
    }
    let copy = Archive::open(&folder.path().join("copy.pt2")).unwrap();
    assert_eq!(copy.read_parameter(1).unwrap(), f32s(&[0., 1.]));
    let nowhere = archive.write_with(Part::Whole, &mut Vec::new(), |_| None);
    assert!(matches!(nowhere.unwrap_err().fault, Fault::NewValue { .. }));
}
