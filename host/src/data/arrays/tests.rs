//! Whole files, as people and programs write them, and as they come damaged.

mod damaged;

use super::super::{DataContext, DataError, Dataset, Inputs, declared, load};
use super::npy::tests::npy;
use crate::samples::{InputType, Task};
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// Made by `tests/arrays/make.py` with NumPy and safetensors: in each 12 samples `x` of float32 [3, 2], which are
/// a count from 0 with a step of a quarter, and `y`, which counts from 0 to 2.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/arrays");

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|it| it.to_le_bytes()).collect()
}

/// A zip file of these records, deflated or as they are.
fn zip(records: &[(&str, Vec<u8>)], deflate: bool) -> Vec<u8> {
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for (name, contents) in records {
        let mut crc = Crc::new();
        crc.update(contents);
        let packed = match deflate {
            false => contents.clone(),
            true => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(contents).unwrap();
                encoder.finish().unwrap()
            }
        };
        let method = if deflate { 8u16 } else { 0 };
        let mut fields = method.to_le_bytes().to_vec();
        fields.extend([0; 4]);
        fields.extend(crc.sum().to_le_bytes());
        fields.extend((packed.len() as u32).to_le_bytes());
        fields.extend((contents.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        list.extend(b"PK\x01\x02\x14\0\x14\0\0\0");
        list.extend(&fields);
        list.extend([0; 12]);
        list.extend((file.len() as u32).to_le_bytes());
        list.extend(name.as_bytes());
        file.extend(b"PK\x03\x04\x14\0\0\0");
        file.extend(&fields);
        file.extend([0; 2]);
        file.extend(name.as_bytes());
        file.extend(&packed);
    }
    let (count, start) = ((records.len() as u16).to_le_bytes(), file.len() as u32);
    let length = (list.len() as u32).to_le_bytes();
    file.extend(&list);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count, count].concat());
    file.extend(length);
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

/// A folder for files that a test writes.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn read(options: Value) -> Result<Dataset, DataError> {
    let context = DataContext {
        data_dir: "no-such-folder".into(),
        device: Device::Cpu,
    };
    let options = options.as_object().unwrap();
    let read = load("arrays", options, &context);
    // What is said before the inputs are read is what they are.
    if let Ok(data) = &read {
        let declared = declared("arrays", options).unwrap();
        assert_eq!(declared.spec(), data.spec());
        let validation = data.validation.as_ref().map_or(0, |it| it.len());
        let counts = (declared.train, declared.validation, declared.test);
        assert_eq!(counts, (data.train.len(), validation, data.test.len()));
    }
    read
}

fn message(options: Value) -> String {
    read(options).unwrap_err().to_string()
}

fn inputs(split: &super::super::Split) -> Tensor {
    let all = Tensor::arange(split.len(), (Kind::Int64, Device::Cpu));
    split.gather(&all).unwrap().0
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).contiguous().flatten(0, -1)).unwrap()
}

fn classes(split: &super::super::Split) -> Vec<i64> {
    Vec::try_from(&split.labels).unwrap()
}

#[test]
fn files_of_numpy_and_safetensors_hold_the_same_samples() {
    let pair = |x: &str| json!({"inputs": fixture(x), "targets": fixture("y.npy")});
    let expected: Vec<f32> = (0..72).map(|it| it as f32 / 4.0).collect();
    for train in [
        json!(fixture("stored.npz")),
        json!(fixture("compressed.npz")),
        json!(fixture("both.safetensors")),
        pair("x.npy"),
        pair("fortran.npy"),
        pair("big-endian.npy"),
        pair("half.npy"),
        pair("double.npy"),
    ] {
        let data = read(json!({"train": train, "test": train})).unwrap();
        assert_eq!((data.task, data.classes), (Task::Classes, 3), "{train}");
        assert_eq!(data.input_shape, [3, 2]);
        let got = inputs(&data.train);
        assert_eq!((got.size(), got.kind()), (vec![12, 3, 2], Kind::Float));
        assert_eq!(numbers(&got), expected, "{train}");
        assert_eq!(classes(&data.test), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }
}

#[test]
fn splits_of_one_file_are_told_by_their_names() {
    let data = read(json!({"train": fixture("keras.npz")})).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (6, 2));
    assert!(data.validation.is_none());
    // Images of bytes, on the scale 0 to 1.
    assert_eq!(data.input_shape, [1, 5, 5]);
    assert_eq!(data.train.inputs.tensor().unwrap().kind(), Kind::Uint8);
    assert_eq!(
        numbers(&inputs(&data.train))[..3],
        [0.0, 1.0 / 255.0, 2.0 / 255.0]
    );
    let data = read(json!({
        "train": fixture("keras.npz"), "validation": fixture("keras.npz"), "test": 2,
    }));
    let data = data.unwrap();
    let validation = data.validation.unwrap();
    assert_eq!(
        (data.train.len(), validation.len(), data.test.len()),
        (4, 3, 2)
    );
}

#[test]
fn usual_names_are_found_and_doubts_are_answered_by_the_options() {
    let desk = Desk::new();
    let x = npy(
        "<f4",
        false,
        &[4, 2],
        &floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
    );
    let y = npy("|u1", false, &[4], &[0, 1, 0, 1]);
    let records = |names: [&'static str; 3]| {
        let all = [
            (names[0], x.clone()),
            (names[1], x.clone()),
            (names[2], y.clone()),
        ];
        desk.write("names.npz", &zip(&all, false))
    };
    let file = records(["Images.npy", "weights.npy", "LABELS.npy"]);
    read(json!({"train": file, "test": 0.5})).unwrap();
    let file = records(["x.npy", "data.npy", "y.npy"]);
    let said = message(json!({"train": file, "test": 0.5}));
    assert!(
        said.contains("its arrays `data`, `x` may all be the inputs: name one by `data.inputs`")
            && said.contains("`y` (uint8 [4])"),
        "{said}"
    );
    read(json!({"train": file, "test": 0.5, "inputs": "data"})).unwrap();
    let file = records(["a.npy", "b.npy", "c.npy"]);
    let said = message(json!({"train": file, "test": 0.5}));
    assert!(
        said.contains("none of its arrays has a usual name for inputs"),
        "{said}"
    );
    let said = message(json!({"train": file, "test": 0.5, "inputs": "d", "targets": "c"}));
    assert!(
        said.contains("has no array `d`: there are `a` (float32 [4, 2])"),
        "{said}"
    );
    let data = read(json!({"train": file, "test": 0.5, "inputs": "b", "targets": "c"}));
    assert_eq!(data.unwrap().train.len(), 2);
    let said = message(json!({"train": file, "inputs": "b", "targets": "c"}));
    assert!(said.contains("`test = 0.2`"), "{said}");
    let said = message(json!({"train": file, "inputs": "b", "target": "c"}));
    assert!(said.contains("named by `data.targets`"), "{said}");
}

#[test]
fn a_share_is_held_out_of_each_class_and_is_the_same_for_every_reader() {
    let desk = Desk::new();
    let inputs_of: Vec<f32> = (0..100).map(|it| it as f32).collect();
    let labels: Vec<u8> = (0..100).map(|it| u8::from(it % 10 == 0)).collect();
    let all = [
        ("x.npy", npy("<f4", false, &[100, 1], &floats(&inputs_of))),
        ("y.npy", npy("|u1", false, &[100], &labels)),
    ];
    let file = desk.write("all.npz", &zip(&all, false));
    let options = json!({"train": file, "test": 0.2, "validation": 0.25});
    let data = read(options.clone()).unwrap();
    let validation = data.validation.as_ref().unwrap();
    let ones = |split: &super::super::Split| classes(split).iter().sum::<i64>();
    assert_eq!(
        (data.train.len(), validation.len(), data.test.len()),
        (60, 20, 20)
    );
    assert_eq!(
        (ones(&data.train), ones(validation), ones(&data.test)),
        (6, 2, 2)
    );
    let mut together = numbers(&inputs(&data.train));
    together.extend(numbers(&inputs(validation)));
    together.extend(numbers(&inputs(&data.test)));
    together.sort_by(f32::total_cmp);
    assert_eq!(together, inputs_of);
    // The same ones again, and test does not depend on validation.
    let again = read(options).unwrap();
    assert_eq!(inputs(&again.test), inputs(&data.test));
    let without = read(json!({"train": file, "test": 0.2})).unwrap();
    assert_eq!(inputs(&without.test), inputs(&data.test));
    let lone = [
        all[0].clone(),
        (
            "y.npy",
            npy("|u1", false, &[100], &[&[1][..], &[0; 99]].concat()),
        ),
    ];
    let file = desk.write("lone.npz", &zip(&lone, false));
    let said = message(json!({"train": file, "test": 0.2}));
    assert!(said.contains("class 1 has one sample"), "{said}");
}

#[test]
fn inputs_are_standardised_by_the_training_samples_alone() {
    let desk = Desk::new();
    let table = desk.write("train.csv", b"a,b,y\n1,10,0\n3,10,1\n5,10,0\n7,10,1\n");
    let test = desk.write("test.csv", b"y,b,a\n1,12,100\n0,10,4\n");
    let options = json!({"train": table, "test": test, "target": "y", "standardise": true});
    let data = read(options).unwrap();
    let std = 5f64.sqrt();
    let got = numbers(&inputs(&data.train));
    for (got, expected) in got.iter().zip([-3.0, 0.0, -1.0, 0.0, 1.0, 0.0, 3.0, 0.0]) {
        assert!(
            (f64::from(*got) - expected / std).abs() < 1e-6,
            "{got} {expected}"
        );
    }
    let got = numbers(&inputs(&data.test));
    assert!((f64::from(got[0]) - 96.0 / std).abs() < 1e-4);
    // A column that does not vary is only shifted.
    assert_eq!(got[1..], [2.0, 0.0, 0.0]);

    // By channel: bytes keep being bytes.
    let pixels: Vec<u8> = (0..4 * 2 * 5 * 5).map(|it| (it * 7 % 251) as u8).collect();
    let all = [
        ("x.npy", npy("|u1", false, &[4, 2, 5, 5], &pixels)),
        (
            "y.npy",
            npy(
                "<i8",
                false,
                &[4],
                &[0u64, 1, 0, 1].map(u64::to_le_bytes).concat(),
            ),
        ),
    ];
    let file = desk.write("images.npz", &zip(&all, false));
    let data = read(json!({"train": file, "test": file, "standardise": "channel"})).unwrap();
    assert_eq!(data.train.inputs.tensor().unwrap().kind(), Kind::Uint8);
    let got = inputs(&data.train).to_kind(Kind::Double);
    for channel in 0..2 {
        let own = got.select(1, channel);
        assert!(own.mean(Kind::Double).double_value(&[]).abs() < 1e-6);
        assert!((own.std(false).double_value(&[]) - 1.0).abs() < 1e-5);
    }
    let data = read(json!({"train": file, "test": file, "standardise": "feature"})).unwrap();
    let got = inputs(&data.train).to_kind(Kind::Double);
    assert!(
        got.mean_dim(0, false, Kind::Double)
            .abs()
            .max()
            .double_value(&[])
            < 1e-6
    );
}

#[test]
fn samples_that_stay_in_their_file_are_those_that_are_held_in_memory() {
    let desk = Desk::new();
    let count = 1500usize;
    let values: Vec<f32> = (0..count * 300)
        .map(|it| (it % 977) as f32 / 31.0)
        .collect();
    let labels: Vec<u8> = (0..count).map(|it| (it % 3) as u8).collect();
    let records = [
        ("x.npy", npy("<f4", false, &[count, 300], &floats(&values))),
        ("y.npy", npy("|u1", false, &[count], &labels)),
    ];
    let file = desk.write("large.npz", &zip(&records, false));
    let options = |memory: u64| json!({"train": file, "test": 0.2, "validation": 0.1, "standardise": true, "memory": memory});
    let (held, stored) = (read(options(100)).unwrap(), read(options(1)).unwrap());
    assert!(matches!(held.train.inputs, Inputs::Memory(_)));
    assert!(matches!(stored.train.inputs, Inputs::Stored(_)));
    assert_eq!(held.checksum, stored.checksum);
    assert_eq!(inputs(&held.train), inputs(&stored.train));
    assert_eq!(inputs(&held.test), inputs(&stored.test));
    let index = Tensor::from_slice(&[7i64, 0, 7, 100]);
    let validation = [&held, &stored].map(|it| it.validation.as_ref().unwrap());
    let [a, b] = validation.map(|it| it.gather(&index).unwrap());
    assert!(a.0 == b.0 && a.1 == b.1);
    // A file that is written to meanwhile is noticed.
    fs::write(&file, b"other").unwrap();
    let said = stored.test.gather(&index).unwrap_err().to_string();
    assert!(
        said.contains("large.npz changed while it was trained on"),
        "{said}"
    );
    // What is packed has to be held.
    let file = desk.write("packed.npz", &zip(&records, true));
    let said = message(json!({"train": file, "test": 0.2, "memory": 1}));
    assert!(
        said.contains("array `x`: its 1800000 bytes are to be held in memory")
            && said.contains("numpy.savez"),
        "{said}"
    );
}

#[test]
fn tokens_and_classes_at_positions_are_whole_numbers() {
    let desk = Desk::new();
    let words: Vec<u8> = (0..40i32).flat_map(|it| (it % 11).to_le_bytes()).collect();
    let records = [
        ("tokens.npy", npy("<i4", false, &[8, 5], &words)),
        ("targets.npy", npy("<i4", false, &[8, 5], &words)),
    ];
    let file = desk.write("text.npz", &zip(&records, false));
    let data = read(json!({"train": file, "test": 0.25})).unwrap();
    assert_eq!(
        (data.input_type, data.task),
        (InputType::Tokens, Task::Classes)
    );
    assert_eq!((data.classes, &data.target_shape[..]), (11, &[5][..]));
    assert_eq!(data.spec().outputs(), [11, 5]);
    let index = Tensor::from_slice(&[1i64]);
    let (got, targets) = data.train.gather(&index).unwrap();
    assert_eq!((got.kind(), got.size()), (Kind::Int64, vec![1, 5]));
    assert_eq!(got, targets);
    let more = read(json!({"train": file, "test": 0.25, "classes": 65})).unwrap();
    assert_eq!(more.classes, 65);
    let said = message(json!({"train": file, "test": 0.25, "standardise": true}));
    assert!(
        said.contains("`tokens` of type int32 are tokens, which have no mean"),
        "{said}"
    );
}

#[test]
fn shapes_are_given_others_and_images_with_channels_last_reordered() {
    let desk = Desk::new();
    let pixels: Vec<u8> = (0..2 * 6 * 5 * 3).collect();
    let records = [
        ("x.npy", npy("|u1", false, &[2, 6, 5, 3], &pixels)),
        (
            "y.npy",
            npy(
                "<U3",
                false,
                &[2],
                &['c', 'a', 't', 'd', 'o', 'g']
                    .map(|it| u32::from(it).to_le_bytes())
                    .concat(),
            ),
        ),
    ];
    let file = desk.write("pets.npz", &zip(&records, false));
    let said = message(json!({"train": file, "test": file}));
    assert!(
        said.contains("[6, 5, 3] looks like [height, width, channels]"),
        "{said}"
    );
    let data = read(json!({"train": file, "test": file, "layout": "channels-last"})).unwrap();
    assert_eq!(data.input_shape, [3, 6, 5]);
    assert_eq!(data.class_names, ["cat", "dog"]);
    let expected = Tensor::from_slice(&pixels)
        .view([2, 6, 5, 3])
        .permute([0, 3, 1, 2]);
    assert_eq!(data.train.inputs.tensor().unwrap(), &expected.contiguous());
    let kept = read(json!({"train": file, "test": file, "layout": "channels-first"})).unwrap();
    assert_eq!(kept.input_shape, [6, 5, 3]);
    let flat = read(json!({"train": file, "test": file, "shape": [90]})).unwrap();
    assert_eq!(flat.input_shape, [90]);
    assert_eq!(numbers(&inputs(&flat.train))[..2], [0.0, 1.0 / 255.0]);
    let said = message(json!({"train": file, "test": file, "shape": [1, 9, 9]}));
    assert!(
        said.contains("[1, 9, 9] has another number of values"),
        "{said}"
    );
    let said =
        message(json!({"train": file, "test": file, "shape": [90], "augment": {"flip": true}}));
    assert!(said.contains("images of bytes"), "{said}");
    let said =
        message(json!({"train": file, "test": file, "shape": [90], "layout": "channels-last"}));
    assert!(said.contains("no channels that come last"), "{said}");
}

#[test]
fn what_is_no_array_of_samples_is_refused_by_name() {
    let desk = Desk::new();
    let y = npy("|u1", false, &[2], &[0, 1]);
    let with = |name: &str, x: Vec<u8>, y: &[u8]| {
        let file = desk.write(name, &zip(&[("x.npy", x), ("y.npy", y.to_vec())], false));
        message(json!({"train": file, "test": file}))
    };
    let said = with("a.npz", npy("|O", false, &[2], b"\x80\x04N."), &y);
    assert!(
        said.contains("a.npz: array `x`") && said.contains("pickle runs code"),
        "{said}"
    );
    let said = with("b.npz", npy("<f4", false, &[], &[0; 4]), &y);
    assert!(said.contains("it is one number"), "{said}");
    let said = with("c.npz", npy("<f4", false, &[0, 2], &[]), &y);
    assert!(said.contains("has no element"), "{said}");
    let said = with("d.npz", npy("<f4", false, &[3, 1], &[0; 12]), &y);
    assert!(said.contains("it has 3 samples, the targets 2"), "{said}");
    let said = with(
        "e.npz",
        npy("<f4", false, &[2, 1], &floats(&[1.0, f32::NAN])),
        &y,
    );
    assert!(
        said.contains("array `x`: sample 1, value [0]: NaN is no finite number"),
        "{said}"
    );
    let said = with("f.npz", npy("<f4", false, &[2, 1, 1, 1, 1, 1], &[0; 8]), &y);
    assert!(said.contains("4 dimensions at most"), "{said}");
    let said = with("g.npz", npy("<U1", false, &[2], &[0; 8]), &y);
    assert!(said.contains("texts: expected numbers"), "{said}");
    let said = message(json!({"train": desk.write("x.pt", b"PK"), "test": 0.5}));
    assert!(said.contains("it is pickled"), "{said}");
    let said = message(json!({"train": desk.write("x.mat", b"MATLAB"), "test": 0.5}));
    assert!(
        said.contains("expected .npz, .npy, .safetensors or .csv"),
        "{said}"
    );
    let said = message(json!({"train": desk.write("x.npy", &y), "test": 0.5}));
    assert!(said.contains("train = { inputs = "), "{said}");
    let error = read(json!({"train": "no-such.npz", "test": 0.5})).unwrap_err();
    assert_eq!(error.key().as_deref(), Some("data.train"));
    assert!(error.to_string().contains("no-such.npz"), "{error}");
}

#[test]
fn a_table_has_texts_as_classes_and_its_columns_by_name() {
    let desk = Desk::new();
    let lines: String = (0..30)
        .map(|it| {
            format!(
                "{it},{},{}\n",
                it % 7,
                ["setosa", "virginica", "versicolor"][it % 3]
            )
        })
        .collect();
    let file = desk.write(
        "iris.csv",
        format!("length,width,species\n{lines}").as_bytes(),
    );
    let data = read(json!({"train": file, "test": 0.2, "target": "species"})).unwrap();
    assert_eq!(data.class_names, ["setosa", "versicolor", "virginica"]);
    assert_eq!(
        (data.train.len(), data.test.len(), &data.input_shape[..]),
        (24, 6, &[2][..])
    );
    let said = message(json!({"train": file, "test": 0.2}));
    assert!(
        said.contains("none of its columns has a usual name")
            && said.contains("`length`, `width`, `species`"),
        "{said}"
    );
    let said = message(json!({"train": file, "test": 0.2, "target": "kind"}));
    assert!(said.contains("has no column `kind`"), "{said}");
    let said = message(json!({"train": file, "test": 0.2, "targets": "species"}));
    assert!(said.contains("named by `data.target`"), "{said}");
    let square = read(json!({"train": file, "test": 0.2, "target": "species", "shape": [2, 1, 1]}));
    assert_eq!(square.unwrap().input_shape, [2, 1, 1]);
    let numbers = read(
        json!({"train": file, "test": 0.2, "target": "width", "inputs": "length", "task": "numbers"}),
    );
    let numbers = numbers.unwrap();
    assert_eq!((numbers.task, numbers.classes), (Task::Numbers, 1));
    assert_eq!(numbers.train.labels.kind(), Kind::Float);
}
