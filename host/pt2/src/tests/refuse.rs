//! What is refused, and in which words.

use super::*;

fn nodes(graph: &mut Value) -> &mut Vec<Value> {
    graph["nodes"].as_array_mut().unwrap()
}

/// Both graphs with a node in front.
fn with_node(new: impl Fn() -> Value) -> Made {
    Made::new().edit_graphs(|graph| {
        graph["tensor_values"]["new"] = meta(7, json!(["s0", 3]));
        nodes(graph).insert(0, new());
    })
}

fn opened(bytes: Vec<u8>) -> Fault {
    let opened = Archive::from_bytes(Path::new("net.pt2"), bytes);
    opened.map(drop).unwrap_err().fault
}

#[test]
fn every_archive_that_is_cut_anywhere() {
    let bytes = Made::single().zip();
    for length in 0..bytes.len() {
        let fault = opened(bytes[..length].to_vec());
        let known = matches!(fault, Fault::NotZip | Fault::Short(_));
        assert!(known, "{length}: {fault}");
    }
    // The middle of a real one holds whole zip files.
    let bytes = std::fs::read(shipped("mlp")).unwrap();
    for length in (0..bytes.len())
        .step_by(97)
        .chain(bytes.len() - 200..bytes.len())
    {
        opened(bytes[..length].to_vec());
    }
}

#[test]
fn a_changed_byte_is_refused_or_changes_nothing_that_is_looked_at() {
    let bytes = Made::single().zip();
    for at in 0..bytes.len() {
        for new in [0, 0xff, bytes[at] ^ 1] {
            let mut changed = bytes.clone();
            changed[at] = new;
            if let Ok(archive) = Archive::from_bytes(Path::new("net.pt2"), changed) {
                let _ = archive.write_with(Part::Whole, &mut Vec::new(), |_| None);
                for place in 0..archive.parameters().len() {
                    let _ = archive.read_parameter(place);
                }
            }
        }
    }
}

#[test]
fn values_that_do_not_fit_their_checksum() {
    let mut bytes = Made::single().zip();
    let values = f32s(&[7., 8.]);
    let at = bytes
        .windows(8)
        .position(|window| window == values)
        .unwrap();
    bytes[at] ^= 1;
    let archive = Archive::from_bytes(Path::new("net.pt2"), bytes).unwrap();
    let message = archive.read_parameter(1).unwrap_err().to_string();
    assert_eq!(
        message,
        "net.pt2: it is damaged: record data/weights/weight_1: its bytes do not fit its checksum; \
         copy it once more, or export the network again"
    );
}

#[test]
fn what_is_no_file_of_this_kind() {
    assert!(matches!(
        opened(b"\x93NUMPY and more".to_vec()),
        Fault::NotZip
    ));
    assert!(matches!(opened(Vec::new()), Fault::NotZip));
    let pickled = zip(&[("net/data.pkl".to_owned(), b"x")]);
    let message = opened(pickled).to_string();
    assert!(
        message.contains("its archive format is missing, expected pt2"),
        "{message}"
    );
    let folder = tempfile::tempdir().unwrap();
    let message = Archive::open(folder.path())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(message.contains("no plain file"), "{message}");
    let message = Archive::open(&folder.path().join("net.pt2"))
        .map(drop)
        .unwrap_err();
    assert!(matches!(message.fault, Fault::Read(_)), "{message}");
}

#[test]
fn other_versions() {
    let mut made = Made::new();
    made.put("byteorder", b"big".to_vec());
    refused(&made, &["its byte order is big, expected little"]);
    let mut made = Made::new();
    made.put("archive_version", b"1".to_vec());
    refused(
        &made,
        &["its archive version is 1, expected 0", "another PyTorch"],
    );
    let made = Made::new().edit("models/eval.json", |json| {
        *json = json!({"schema_version": {"major": 9, "minor": 1}, "graph_module": 7});
    });
    refused(&made, &["its schema version is 9.1, expected 8.x"]);
    let mut made = Made::new();
    made.records
        .retain(|(name, _)| !name.ends_with("train_weights_config.json"));
    refused(
        &made,
        &["data/weights/train_weights_config.json: it is not there"],
    );
    made.put("data/weights/train.pt", Vec::new());
    refused(&made, &["way of storing tensors is one file for all"]);
}

#[test]
fn names_that_lead_elsewhere_or_occur_twice() {
    let with = |name: &str| {
        let made = Made::new();
        let names = made.records.iter().map(|(name, _)| format!("net/{name}"));
        let mut records: Vec<(String, &[u8])> = names
            .zip(made.records.iter().map(|it| it.1.as_slice()))
            .collect();
        records.push((name.to_owned(), b""));
        opened(zip(&records)).to_string()
    };
    for name in [
        "net/../../etc/passwd",
        "net//x",
        "net/./x",
        "net/a\\b",
        "net/",
        "net/a\0",
    ] {
        let message = with(name);
        assert!(
            message.contains("leads out of the archive"),
            "{name}: {message}"
        );
    }
    for name in ["other/x", "/net/x", "net"] {
        let message = with(name);
        let known = message.contains("lie in the folder net") || message.contains("leads out");
        assert!(known, "{name}: {message}");
    }
    let message = with("net/models/train.json");
    assert!(
        message.contains("record net/models/train.json: its name occurs twice"),
        "{message}"
    );
}

#[test]
fn records_that_overlap_or_claim_what_is_not_there() {
    let bytes = Made::new().zip();
    let central = bytes
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    let second = central + 46 + "net/archive_format".len();
    assert_eq!(&bytes[second..second + 4], b"PK\x01\x02");
    let change = |at: usize, new: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        opened(changed).to_string()
    };
    // The first record is said to reach into the second.
    let message = change(central + 20, &[40, 0, 0, 0, 40, 0, 0, 0]);
    assert!(
        message.contains("it overlaps with net/archive_version"),
        "{message}"
    );
    let message = change(
        central + 20,
        &[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f],
    );
    assert!(
        message.contains("it does not lie within the file"),
        "{message}"
    );
    let message = change(central + 24, &[0xff, 0xff, 0xff, 0x7f]);
    assert!(message.contains("it has two sizes"), "{message}");
    // The second is said to begin where the first does.
    let message = change(second + 42, &[0, 0, 0, 0]);
    assert!(message.contains("its header is another one's"), "{message}");
    let message = change(central + 10, &[9, 0]);
    assert!(message.contains("compressed by method 9"), "{message}");
    let message = change(central + 8, &[1, 0]);
    assert!(message.contains("encrypted"), "{message}");
    // A large size whose extra field is missing.
    let message = change(central + 20, &[0xff; 8]);
    assert!(message.contains("its large sizes are missing"), "{message}");
    // The count of records.
    let message = change(bytes.len() - 12, &[1, 0]);
    assert!(message.contains("another length than it says"), "{message}");
}

#[test]
fn a_record_that_unpacks_to_more_than_it_says_or_may() {
    use std::io::Write;
    let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b' '; 1 << 20]).unwrap();
    let packed = packer.finish().unwrap();
    let mut made = Made::new();
    made.put("models/train.json", packed.clone());
    let claim = |size: u32| {
        let mut bytes = made.zip();
        let central = bytes
            .windows(4)
            .position(|window| window == b"PK\x01\x02")
            .unwrap();
        let name = bytes[central..]
            .windows(4)
            .position(|window| window == b"trai")
            .unwrap()
            + central;
        let entry = name - "net/models/".len() - 46;
        bytes[entry + 10] = 8;
        bytes[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
        opened(bytes).to_string()
    };
    let message = claim(1000);
    assert!(
        message.contains("it is not as long as the list of records says"),
        "{message}"
    );
    let message = claim(1 << 31);
    assert!(
        message.contains("has 2147483648 bytes, expected at most 268435456"),
        "{message}"
    );
}

#[test]
fn json_that_is_none_is_too_deep_or_says_a_thing_twice() {
    let mut made = Made::new();
    made.put(
        "models/train.json",
        b"{\"schema_version\": {\"major\": 8".to_vec(),
    );
    refused(&made, &["record models/train.json: EOF"]);
    made.put("models/train.json", vec![b'['; 1 << 20]);
    refused(&made, &["record models/train.json"]);
    let deep = format!(
        "{{\"schema_version\": {{\"major\": 8, \"minor\": 0}}, \"x\": {}",
        "[".repeat(100_000)
    );
    made.put("models/train.json", deep.into_bytes());
    refused(
        &made,
        &["record models/train.json: recursion limit exceeded"],
    );
    let mut made = Made::new();
    let text = made
        .json("data/weights/train_weights_config.json")
        .to_string();
    let twice = text.replacen("\"b\":", "\"w\":", 1);
    assert_ne!(text, twice);
    made.put("data/weights/train_weights_config.json", twice.into_bytes());
    refused(&made, &["the key \\\"w\\\" occurs twice"]);
}

#[test]
fn other_graphs_than_those_of_the_two_modes() {
    let mut made = Made::new();
    for (name, _) in &mut made.records {
        *name = name.replace("eval", "infer");
    }
    refused(
        &made,
        &["it holds the graphs `infer`, `train`, expected `train` and `eval`, or `model`"],
    );
}

#[test]
fn one_graph_in_which_something_depends_on_the_mode() {
    let mut made = Made::new();
    made.records.retain(|(name, _)| !name.contains("eval"));
    refused(
        &made,
        &[
            "norm (aten.batch_norm)",
            "that change mean",
            "rewind_export",
        ],
    );
}

#[test]
fn graphs_within_graphs() {
    let made = with_node(|| {
        let graph = json!({"as_graph": {"name": "body", "graph": {}}});
        node(
            "torch.ops.higher_order.wrap_with_set_grad_enabled",
            &[("body", graph)],
            "new",
        )
    });
    refused(
        &made,
        &[
            "graph `train`, node new: wrap_with_set_grad_enabled",
            "torch.no_grad",
        ],
    );
    let made = with_node(|| {
        let graph = json!({"as_graph": {"name": "body", "graph": {}}});
        node("torch.ops.aten.cond.default", &[("body", graph)], "new")
    });
    assert!(matches!(made.fault(), Fault::HigherOrder { .. }));
}

#[test]
fn sizes_that_depend_on_numbers() {
    let expression = "Max(1, Symbol('u0', integer=True))";
    let made = with_node(|| {
        node(
            "torch.ops.aten.nonzero.default",
            &[("self", tensor("x"))],
            "new",
        )
    });
    let made = made.edit_graphs(|graph| {
        graph["tensor_values"]["new"]["sizes"][0] = json!({"as_expr": {"expr_str": expression}});
    });
    refused(
        &made,
        &[
            "graph `train`, new: the size u0 depends on the numbers",
            ".nonzero()",
        ],
    );
    let made = with_node(|| {
        let mut item = node(
            "torch.ops.aten.item.default",
            &[("self", tensor("p_b"))],
            "item",
        );
        item["outputs"] = json!([{"as_sym_float": {"as_name": "item"}}]);
        item
    });
    let made = made.edit_graphs(|graph| {
        graph["sym_float_values"]["item"] = json!({"as_expr": {"expr_str": "Symbol('zuf3')"}});
    });
    refused(&made, &["the size zuf3 depends"]);
}

#[test]
fn operators_and_arguments_that_nothing_here_runs() {
    let call = |target: &str, argument: Value| {
        let target = target.to_owned();
        with_node(move || node(&target, &[("x", argument.clone())], "new"))
    };
    let made = call("torch.ops.torchvision.nms.default", tensor("x"));
    refused(
        &made,
        &["graph `train`, node new calls torch.ops.torchvision.nms.default"],
    );
    for target in [
        "torch.ops.aten.x",
        "torch.ops.aten.a.b.c",
        "torch.ops.aten..x",
        "_operator.xor",
        "",
    ] {
        let made = call(target, tensor("x"));
        assert!(matches!(made.fault(), Fault::Operator { .. }), "{target}");
    }
    for (argument, kind) in [
        (
            json!({"as_complex": {"real": 0.0, "imag": 1.0}}),
            "a complex number",
        ),
        (
            json!({"as_custom_obj": {"name": "o", "class_fqn": "c"}}),
            "an object of a class",
        ),
        (json!({"as_operator": "torch.ops.aten.add"}), "an operator"),
        (json!({"as_string_to_argument": {}}), "a dictionary"),
        (json!({"as_layout": 1}), "the layout of sparse tensors"),
        (json!({"as_memory_format": 9}), "an unknown memory format"),
    ] {
        let made = call("torch.ops.aten.add.Tensor", argument);
        refused(&made, &[&format!("graph `train`, node new: x is {kind}")]);
    }
    let made = call("torch.ops.aten.to.dtype", json!({"as_scalar_type": 10}));
    refused(&made, &["the element type complex64 is not supported"]);
    let made = call("torch.ops.aten.add.Tensor", json!({"as_nothing_known": 1}));
    refused(&made, &["unknown variant `as_nothing_known`"]);
    let made = call("torch.ops.aten.add.Tensor", json!({"as_float": "ten"}));
    refused(&made, &["Infinity"]);
}

#[test]
fn values_that_are_not_there_yet_made_twice_or_of_another_kind() {
    let made = Made::new().edit_graphs(|graph| nodes(graph).swap(0, 1));
    refused(
        &made,
        &["graph `train`, norm: it reads linear, which is made nowhere before it"],
    );
    let made = with_node(|| {
        node(
            "torch.ops.aten.relu.default",
            &[("self", tensor("new"))],
            "new",
        )
    });
    refused(&made, &["graph `train`, new: it reads new"]);
    let made = Made::new().edit_graphs(|graph| {
        let again = nodes(graph)[0].clone();
        nodes(graph).push(again);
    });
    refused(&made, &["graph `train`, linear: two values have this name"]);
    let made = with_node(|| {
        node(
            "torch.ops.aten.relu.default",
            &[("self", tensor("x"))],
            "other",
        )
    });
    refused(
        &made,
        &["graph `train`, other: nothing says what the tensor is"],
    );
    let made = with_node(|| {
        node(
            "_operator.add",
            &[("a", tensor("x")), ("b", tensor("x"))],
            "new",
        )
    });
    refused(&made, &["its arguments are not those of its function"]);
    let made = with_node(|| {
        let two = [("self", tensor("x")), ("self", tensor("x"))];
        node("torch.ops.aten.relu.default", &two, "new")
    });
    refused(&made, &["it has two arguments self"]);
    let made = with_node(|| {
        let size = json!({"as_sym_int": {"as_name": "x"}});
        node("torch.ops.aten.add.Tensor", &[("self", size)], "new")
    });
    refused(&made, &["it takes x for a number, which it is not"]);
}

#[test]
fn a_batch_of_a_fixed_size() {
    let fix = |name: &'static str, shape: Value| {
        Made::new().edit_graphs(move |graph| graph["tensor_values"][name] = meta(7, shape.clone()))
    };
    let made = fix("x", json!([2, 3]));
    refused(
        &made,
        &[
            "graph `train`: the input x has the shape [2, 3]",
            "torch.export.Dim",
        ],
    );
    refused(
        &fix("x", json!(["s0", "s1"])),
        &["the input x has the shape"],
    );
    refused(&fix("x", json!([])), &["the input x has the shape []"]);
    refused(
        &fix("out", json!([2, 2])),
        &["the output out has the shape [2, 2]"],
    );
    refused(&fix("out", json!(["s1", 2])), &["the output out"]);
    refused(
        &fix("out", json!([2, "s0"])),
        &["the output out has the shape [2, batch]"],
    );
}

#[test]
fn other_inputs_and_outputs_than_one_tensor() {
    let made = Made::new().edit("models/train.json", |json| {
        let specs = &mut json["graph_module"]["signature"]["input_specs"];
        let second = json!({"user_input": {"arg": tensor("c_one")}});
        specs[4] = second;
    });
    refused(
        &made,
        &[
            "has the inputs c_one (a tensor), x (a tensor), expected one",
            "forward(self, x)",
        ],
    );
    let made = Made::new().edit("models/train.json", |json| {
        let specs = &mut json["graph_module"]["signature"]["input_specs"];
        specs[4] = json!({"constant_input": {"name": "flag", "value": {"as_bool": true}}});
    });
    refused(&made, &["has the inputs flag (no tensor), x (a tensor)"]);
    let made = Made::new().edit("models/train.json", |json| {
        let specs = json["graph_module"]["signature"]["input_specs"].as_array_mut();
        specs.unwrap().pop();
    });
    refused(&made, &["has the inputs none"]);
    let made = Made::new().edit("models/train.json", |json| {
        let module = &mut json["graph_module"];
        module["graph"]["outputs"] = json!([tensor("out"), tensor("norm")]);
        let user = |name: &str| json!({"user_output": {"arg": tensor(name)}});
        module["signature"]["output_specs"] = json!([user("out"), user("norm")]);
    });
    refused(
        &made,
        &["has the outputs out (a tensor), norm (a tensor), expected one"],
    );
    let made = Made::new().edit_graphs(|graph| graph["tensor_values"]["out"]["dtype"] = json!(8));
    refused(&made, &["has the outputs out (a tensor of float64)"]);
    let made = Made::new().edit("models/train.json", |json| {
        json["graph_module"]["graph"]["inputs"][0] = tensor("x");
    });
    refused(&made, &["the signature lists another input"]);
}

/// Both graphs with another description of the tensor in the lists.
fn with_weights(edit: impl Fn(&mut Value)) -> Made {
    let edit = |json: &mut Value| edit(&mut json["config"]);
    let made = Made::new().edit("data/weights/train_weights_config.json", edit);
    made.edit("data/weights/eval_weights_config.json", edit)
}

#[test]
fn parameters_in_half_or_double_precision() {
    for (number, name) in [(6, "float16"), (13, "bfloat16"), (8, "float64")] {
        let made = Made::new().edit("data/weights/train_weights_config.json", |json| {
            json["config"]["w"]["tensor_meta"]["dtype"] = json!(number);
        });
        let mut made = made;
        made.put("data/weights/weight_0", vec![0; 48]);
        refused(
            &made,
            &[
                &format!("the parameter w is {name}, expected float32"),
                "model.float()",
            ],
        );
    }
}

#[test]
fn tensors_that_are_missing_or_not_what_the_graph_says() {
    let made = with_weights(|config| drop(config.as_object_mut().unwrap().remove("b")));
    refused(&made, &["tensor b: its values are not there"]);
    let mut made = Made::new();
    made.records
        .retain(|(name, _)| name != "data/weights/weight_1");
    refused(&made, &["record data/weights/weight_1: it is not there"]);
    let made = with_weights(|config| config["b"]["tensor_meta"]["sizes"] = json!([{"as_int": 1}]));
    refused(
        &made,
        &["tensor b: its shape or type is another one in the graph"],
    );
    let made = with_weights(|config| config["b"]["path_name"] = json!("../../archive_format"));
    refused(&made, &["it is not there"]);
    let made = with_weights(|config| config["b"]["use_pickle"] = json!(true));
    refused(&made, &["the tensor b is pickled"]);
    let made = with_weights(|config| config["b"]["tensor_meta"]["layout"] = json!(1));
    refused(&made, &["tensor b: it is sparse"]);
}

#[test]
fn sizes_that_no_memory_has() {
    let huge = i64::MAX;
    for (sizes, strides) in [
        ([huge, huge], [0, 0]),
        ([huge, huge], [huge, huge]),
        ([1 << 20, 1 << 20], [0, 0]),
        ([1 << 40, 1 << 40], [1, 1]),
        ([-1, 3], [3, 1]),
        ([2, 3], [-3, 1]),
        ([2, 3], [3, i64::MAX]),
    ] {
        let made = with_weights(|config| {
            let number = |list: [i64; 2]| json!(list.map(|it| json!({"as_int": it})));
            config["w"]["tensor_meta"]["sizes"] = number(sizes);
            config["w"]["tensor_meta"]["strides"] = number(strides);
        });
        refused(&made, &["tensor w: "]);
    }
}

#[test]
fn parameters_that_share_a_part_of_their_memory() {
    // The bias is the first two numbers of the weight's memory.
    let made = with_weights(|config| config["b"]["path_name"] = config["w"]["path_name"].clone());
    refused(&made, &["b and w share a part of their memory", "clone()"]);
    // A buffer within a parameter.
    let made =
        with_weights(|config| config["mean"]["path_name"] = config["w"]["path_name"].clone());
    refused(&made, &["share a part of their memory"]);
    // A weight whose rows are one row.
    let made = with_weights(|config| {
        config["w"]["tensor_meta"]["strides"] = json!([{"as_int": 0}, {"as_int": 1}]);
    });
    refused(&made, &["w and w share"]);
}

#[test]
fn graphs_of_two_networks() {
    let mut made = Made::new();
    made.put("data/weights/weight_5", f32s(&[7., 9.]));
    refused(
        &made,
        &["differ in b: its values are other ones", "one model"],
    );
    let made = Made::new().edit("models/eval.json", |json| {
        let specs = &mut json["graph_module"]["signature"]["input_specs"];
        specs[1]["parameter"]["parameter_name"] = json!("var");
        specs[3]["buffer"]["buffer_name"] = json!("b");
    });
    refused(&made, &["differ in var: the parameter is in `eval` alone"]);
    let made = read::with_second_name(&["train"], "mean");
    refused(&made, &["differ in"]);
    let made = Made::new().edit("models/eval.json", |json| {
        let values = &mut json["graph_module"]["graph"]["tensor_values"];
        values["out"] = meta(7, json!(["s0", 5]));
    });
    refused(&made, &["differ in the output: its shape or type"]);
}
