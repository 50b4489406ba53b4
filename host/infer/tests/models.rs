//! Small models in files, loaded and run as users do.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::process::Command;

use rewind_infer::{Array, Model, Options, available_kernels};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// A model's file: operations as JSON, and tensors with their shapes.
fn file(graph: &str, tensors: &[(&str, &[usize], &[f32])]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = (tensors.iter())
        .map(|it| {
            it.2.iter()
                .flat_map(|number| number.to_le_bytes())
                .collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (name.to_string(), view.unwrap())
    });
    let metadata = HashMap::from([
        ("graph".to_owned(), graph.to_owned()),
        ("run".to_owned(), "toy".to_owned()),
    ]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}

fn graph(input: &str, operations: &str) -> String {
    format!(r#"{{"version":1,"input_shape":{input},"operations":[{{"op":"input"}}{operations}]}}"#)
}

/// Whole numbers from -3 to 3, most of them 0.
fn weights(count: usize, seed: usize) -> Vec<f32> {
    let number = |at: usize| (at * 7919 + seed * 104_729) % 1009;
    (0..count)
        .map(|at| match number(at) % 4 {
            0 => (number(at) % 7) as f32 - 3.0,
            _ => 0.0,
        })
        .collect()
}

/// A convolution net with a shortcut, a stride, pools and a head: all sums are of whole numbers, so exact.
fn convolutions() -> Vec<u8> {
    let operations = r#",
        {"op":"convolution","layer":"stem","bias":true,"stride":1,"padding":1,"from":0},
        {"op":"relu","from":1},
        {"op":"convolution","layer":"a","bias":false,"stride":1,"padding":1,"from":2},
        {"op":"sum","from":[3,2]},
        {"op":"relu","from":4},
        {"op":"max-pool","kernel":3,"stride":2,"padding":1,"from":5},
        {"op":"convolution","layer":"b","bias":false,"stride":2,"padding":2,"from":6},
        {"op":"convolution","layer":"c","bias":false,"stride":2,"padding":0,"from":6},
        {"op":"flatten","from":7},
        {"op":"linear","layer":"head","bias":true,"from":9}"#;
    let (stem, a) = (weights(6 * 3 * 9, 1), weights(6 * 6 * 9, 2));
    let (b, c) = (weights(4 * 6 * 25, 3), weights(4 * 6, 4));
    let head = weights(5 * 4 * 9, 5);
    file(
        &graph("[3,11,12]", operations),
        &[
            ("stem.weight", &[6, 3, 3, 3], &stem),
            ("stem.bias", &[6], &[1.0, -2.0, 0.0, 3.0, 0.0, 1.0]),
            ("a.weight", &[6, 6, 3, 3], &a),
            ("b.weight", &[4, 6, 5, 5], &b),
            ("c.weight", &[4, 6, 1, 1], &c),
            ("head.weight", &[5, 36], &head),
            ("head.bias", &[5], &[0.0, 1.0, 2.0, 3.0, 4.0]),
        ],
    )
}

/// A convolution as it is defined.
fn convolve(
    input: &[f32],
    [channels, height, width]: [usize; 3],
    weight: &[f32],
    [out, kernel, stride, padding]: [usize; 4],
) -> (Vec<f32>, [usize; 3]) {
    let side = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    let sizes = [out, side(height), side(width)];
    let mut result = Vec::new();
    for o in 0..out {
        for y in 0..sizes[1] {
            for x in 0..sizes[2] {
                let mut sum = 0.0;
                for c in 0..channels {
                    for (r, q) in (0..kernel).flat_map(|r| (0..kernel).map(move |q| (r, q))) {
                        let row = (y * stride + r).checked_sub(padding);
                        let column = (x * stride + q).checked_sub(padding);
                        if let (Some(row), Some(column)) = (row, column)
                            && row < height
                            && column < width
                        {
                            sum += weight[((o * channels + c) * kernel + r) * kernel + q]
                                * input[(c * height + row) * width + column];
                        }
                    }
                }
                result.push(sum);
            }
        }
    }
    (result, sizes)
}

/// What [`convolutions`] gives for one sample.
fn expected(input: &[f32]) -> Vec<f32> {
    let (mut stem, sizes) = convolve(input, [3, 11, 12], &weights(6 * 3 * 9, 1), [6, 3, 1, 1]);
    let biases = [1.0, -2.0, 0.0, 3.0, 0.0, 1.0];
    for (at, it) in stem.iter_mut().enumerate() {
        *it = (*it + biases[at / (11 * 12)]).max(0.0);
    }
    let (a, _) = convolve(&stem, sizes, &weights(6 * 6 * 9, 2), [6, 3, 1, 1]);
    let sum: Vec<f32> = a.iter().zip(&stem).map(|(a, b)| (a + b).max(0.0)).collect();
    let mut pooled = Vec::new();
    for (c, y, x) in
        (0..6usize).flat_map(|c| (0..6usize).flat_map(move |y| (0..6usize).map(move |x| (c, y, x))))
    {
        let mut most = f32::NEG_INFINITY;
        for (r, q) in (0..3usize).flat_map(|r| (0..3usize).map(move |q| (r, q))) {
            let (row, column) = ((2 * y + r).wrapping_sub(1), (2 * x + q).wrapping_sub(1));
            if row < 11 && column < 12 {
                most = most.max(sum[(c * 11 + row) * 12 + column]);
            }
        }
        pooled.push(most);
    }
    let (b, _) = convolve(&pooled, [6, 6, 6], &weights(4 * 6 * 25, 3), [4, 5, 2, 2]);
    let head = weights(5 * 36, 5);
    (0..5)
        .map(|row| {
            let products = (0..36).map(|column| head[row * 36 + column] * b[column]);
            products.sum::<f32>() + row as f32
        })
        .collect()
}

fn samples(batch: usize) -> Vec<f32> {
    (0..batch * 3 * 11 * 12)
        .map(|at| ((at * 31 + at / 7) % 5) as f32 - 2.0)
        .collect()
}

#[test]
fn convolutions_are_exact_on_every_kernel_for_every_batch_and_number_of_threads() {
    let bytes = convolutions();
    for kernels in available_kernels() {
        for threads in [1, 3] {
            let options = Options {
                threads,
                kernels: Some(kernels.to_owned()),
            };
            let model = Model::of_bytes(&bytes, &options).unwrap();
            assert_eq!(model.input_shape(), [3, 11, 12]);
            assert_eq!(model.output_shape(), [5]);
            for batch in [0, 1, 2, 7, 16, 40] {
                let input = samples(batch);
                let got = model.run(&input, batch).unwrap();
                assert_eq!(got.len(), 5 * batch);
                for (input, got) in input.chunks(3 * 11 * 12).zip(got.chunks(5)) {
                    assert_eq!(got, expected(input), "{kernels} {threads} {batch}");
                }
            }
        }
    }
}

#[test]
fn a_value_that_others_read_stays_as_it_is() {
    // The input is flattened and read twice, through a ReLU and as it is; the same value is added to itself.
    let operations = r#",
        {"op":"flatten","from":0},
        {"op":"relu","from":1},
        {"op":"sum","from":[1,2]},
        {"op":"sum","from":[3,3]},
        {"op":"gelu","from":0},
        {"op":"norm","layer":"bn","epsilon":1e-20,"from":3},
        {"op":"sum","from":[6,4]}"#;
    let bytes = file(
        &graph("[4]", operations),
        &[
            ("bn.weight", &[4], &[1.0, 2.0, 1.0, 1.0]),
            ("bn.bias", &[4], &[0.0, 0.0, 1.0, 0.0]),
            ("bn.running_mean", &[4], &[0.0, 0.0, 0.0, 5.0]),
            ("bn.running_var", &[4], &[1.0, 1.0, 1.0, 4.0]),
        ],
    );
    let model = Model::of_bytes(&bytes, &Options::default()).unwrap();
    let one = [-1.0, 2.0, 0.0, 3.0];
    // x + relu(x) is (-1, 4, 0, 6); twice that, and its norm, are added.
    let expected = [-2.0 - 1.0, 8.0 + 8.0, 0.0 + 1.0, 12.0 + 0.5];
    assert_eq!(model.run(&one, 1).unwrap(), expected);
    assert_eq!(model.run(&one.repeat(3), 3).unwrap(), expected.repeat(3));
}

#[test]
fn what_is_no_model_is_refused_with_what_is_wrong() {
    let linear = r#",{"op":"linear","layer":"fc","bias":false,"from":0}"#;
    let one: &[(&str, &[usize], &[f32])] = &[("fc.weight", &[2, 3], &[1.0; 6])];
    let convolution = |stride: &str, padding: &str| {
        format!(
            r#",{{"op":"convolution","layer":"c","bias":false,"stride":{stride},"padding":{padding},"from":0}}"#
        )
    };
    let kernel: &[(&str, &[usize], &[f32])] = &[("c.weight", &[1, 1, 2, 2], &[1.0; 4])];
    let huge = "1000000000000";
    for (graph, tensors, message) in [
        (
            graph("[3]", r#",{"op":"relu","from":1}"#),
            one,
            "operation 1 (relu): it reads operation 1",
        ),
        (
            graph("[3]", r#",{"op":"relu","from":7}"#),
            one,
            "reads operation 7, expected one before",
        ),
        (
            graph("[3]", r#",{"op":"sine","from":0}"#),
            one,
            "unknown variant `sine`",
        ),
        (
            graph("[3]", r#",{"op":"relu","from":0,"by":1}"#),
            one,
            "unknown field `by`",
        ),
        (
            graph("[3]", r#",{"op":"relu","from":-1}"#),
            one,
            "cannot be read: invalid value",
        ),
        (
            graph("[3]", r#",{"op":"input"}"#),
            one,
            "only the first operation is `input`",
        ),
        (
            graph("[4]", linear),
            one,
            "`fc.weight`: it has shape [2, 3], expected [out, 4]",
        ),
        (
            graph("[3]", linear),
            &[],
            "`fc.weight`: the file does not have it",
        ),
        (
            graph("[3,2]", linear),
            one,
            "it reads Sequence([3, 2]), expected features or tokens",
        ),
        (
            graph("[1,9,9]", &convolution("0", "1")),
            kernel,
            "stride 0, expected both above 0",
        ),
        (
            graph("[1,9,9]", &convolution("1", huge)),
            kernel,
            "does not fit into 9 with a padding",
        ),
        (
            graph("[1,1,1]", &convolution("1", "0")),
            kernel,
            "does not fit into 1",
        ),
        (
            graph("[2,9,9]", &convolution("1", "0")),
            kernel,
            "has shape [1, 1, 2, 2], and reads",
        ),
        (
            graph("[1000000,1000000,1000000]", ""),
            one,
            "operation 0 (input): its value would have",
        ),
        (graph("[0]", ""), one, "its value would have the shape [0]"),
        (graph("[]", ""), one, "expected one to three sizes"),
        (
            graph(
                "[6]",
                r#",{"op":"attention","heads":2,"of_head":1,"from":0}"#,
            ),
            one,
            "expected tokens",
        ),
        (
            graph(
                "[1,2,2]",
                r#",{"op":"max-pool","kernel":2,"stride":2,"padding":2,"from":0}"#,
            ),
            one,
            "the padding is 2, expected at most half of 2",
        ),
        (
            graph(
                "[1,2,2]",
                r#",{"op":"max-pool","kernel":5000,"stride":2,"padding":2500,"from":0}"#,
            ),
            one,
            "a window of 5000, expected at most",
        ),
        (
            r#"{"version":2}"#.to_owned(),
            one,
            "of version 2, expected 1",
        ),
        ("{".to_owned(), one, "its operations cannot be read"),
        (
            r#"{"version":1,"input_shape":[3],"operations":[]}"#.to_owned(),
            one,
            "first is not `input`",
        ),
    ] {
        let error = Model::of_bytes(&file(&graph, tensors), &Options::default());
        let error = error.err().map(|it| it.to_string()).unwrap_or_default();
        assert!(error.contains(message), "{graph}: {error}");
    }
    let whole = file(&graph("[3]", linear), one);
    for length in [0, 7, 8, 60, whole.len() - 1] {
        let error = Model::of_bytes(&whole[..length], &Options::default());
        let error = error.err().map(|it| it.to_string()).unwrap_or_default();
        assert!(
            error.contains("no whole safetensors file"),
            "{length}: {error}"
        );
    }
    let no_graph = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), None).unwrap();
    let error = Model::of_bytes(&no_graph, &Options::default())
        .err()
        .unwrap();
    assert!(error.to_string().contains("--format rewind"), "{error}");
    let model = Model::of_bytes(&whole, &Options::default()).unwrap();
    let error = model.run(&[1.0; 5], 2).unwrap_err().to_string();
    assert_eq!(error, "the input has 5 numbers, expected 6: 2 of shape [3]");
}

/// What the program says: exit code, stdout, stderr.
fn program(arguments: &[&str]) -> (Option<i32>, String, String) {
    let said = Command::new(env!("CARGO_BIN_EXE_rewind-infer"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (said.status.code(), text(said.stdout), text(said.stderr))
}

#[test]
fn the_program_reads_arrays_and_writes_them_and_needs_no_libtorch() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (model, x, y) = (path("net.rewind.safetensors"), path("x.npy"), path("y.npy"));
    std::fs::write(&model, convolutions()).unwrap();
    let input = Array {
        shape: vec![2, 3, 11, 12],
        numbers: samples(2),
    };
    std::fs::write(&x, input.bytes()).unwrap();
    let (code, out, err) = program(&[&model, "--input", &x, "--output", &y, "--threads=2"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    let output = Array::parse(&std::fs::read(&y).unwrap()).unwrap();
    assert_eq!(output.shape, [2, 5]);
    let both: Vec<f32> = samples(2).chunks(3 * 11 * 12).flat_map(expected).collect();
    assert_eq!(output.numbers, both);
    let (code, out, _) = program(&[&model, "--batch", "2", "--show", "--time", "0.01"]);
    assert_eq!(code, Some(0));
    for text in [
        "\nstep 0: ",
        "run: toy\n",
        "multiply-adds, kernels ",
        "batch 2: median ",
    ] {
        assert!(out.contains(text), "{out}");
    }
    for (arguments, text) in [
        (&["--time"][..], "no model is named"),
        (&[&model, "--batch", "0"], "`0` is no number from 1 to"),
        (&[&model, "--fast"], "--fast is no option; --help lists"),
        (
            &[&model, "--kernels", "mmx"],
            "kernels `mmx` are not of this processor",
        ),
        (&[&x], "x.npy: it is no whole safetensors file"),
        (&[&path("none")], "No such file"),
        (
            &[&model, "--input", &model],
            "net.rewind.safetensors: it is no array",
        ),
        (
            &[&model, "--input", &y],
            "its shape is [2, 5], expected [batch, 3, 11, 12]",
        ),
    ] {
        let (code, out, err) = program(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.starts_with("error: ") && err.contains(text), "{err}");
    }
    assert_eq!(program(&["--version"]).0, Some(0));
    // What the dynamic loader is to find stands in the file by its name.
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_rewind-infer")).unwrap();
    for library in ["libtorch", "libc10.", "libstdc++", "libgomp"] {
        let found = bytes
            .windows(library.len())
            .any(|it| it == library.as_bytes());
        assert!(!found, "{library}");
    }
}
