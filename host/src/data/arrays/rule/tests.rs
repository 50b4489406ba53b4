//! Targets of every kind, and what they become.

use super::super::array::{Array, Bytes};
use super::super::element::{Element, Kind};
use super::super::source::Source;
use super::super::table::tests::table;
use super::*;
use serde_json::json;
use std::sync::Arc;

fn options(more: serde_json::Value) -> ArraysOptions {
    let mut options = json!({"train": "table.csv"});
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    ArraysOptions::read(options.as_object().unwrap()).unwrap()
}

/// Targets in the column `y`.
fn column(values: &[&str]) -> Targets {
    let lines = values.iter().map(|it| format!("0,{it}\n"));
    let text = format!("x,y\n{}", lines.collect::<String>());
    let table = Arc::new(table(&text).unwrap());
    Targets::of_table(&table, &[1]).unwrap()
}

/// Targets in an array of this shape.
fn array(kind: Kind, shape: &[usize], bytes: Vec<u8>) -> Result<Targets, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("y.npy");
    std::fs::write(&path, b"y").unwrap();
    let array = Array {
        source: Arc::new(Source::open("train", &path).unwrap()),
        name: "y".to_owned(),
        element: Element::new(kind),
        shape: shape.to_vec(),
        bytes: Bytes::Memory(Arc::new(bytes)),
    };
    Targets::of_array(&array, 1 << 20).map_err(|error| error.to_string())
}

fn all(rule: &Rule, targets: &Targets) -> Tensor {
    let samples: Vec<u64> = (0..targets.samples() as u64).collect();
    rule.tensor(targets, &samples, Device::Cpu).unwrap()
}

fn classes(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

#[test]
fn whole_numbers_from_0_are_classes_as_they_are_and_others_by_their_order() {
    let plain = column(&["2", "0", "1", "2"]);
    let rule = Rule::of(&plain, &options(json!({}))).unwrap();
    assert_eq!((rule.task, rule.classes), (Task::Classes, 3));
    assert_eq!(classes(&all(&rule, &plain)), [2, 0, 1, 2]);
    assert!(rule.class_names().is_empty());
    let other = column(&["10", "-1", "9", "10"]);
    let rule = Rule::of(&other, &options(json!({}))).unwrap();
    assert_eq!(rule.class_names(), ["-1", "9", "10"]);
    assert_eq!(classes(&all(&rule, &other)), [2, 0, 1, 2]);
    let message = rule.strata(&plain).unwrap_err().to_string();
    assert!(
        message.contains("line 2, column `y`: the target: 2 is no class"),
        "{message}"
    );
    let texts = column(&["dog", "cat", "dog", "ape"]);
    let rule = Rule::of(&texts, &options(json!({}))).unwrap();
    assert_eq!(rule.class_names(), ["ape", "cat", "dog"]);
    assert_eq!(rule.strata(&texts).unwrap().unwrap(), [2, 1, 2, 0]);
    let message = rule
        .strata(&column(&["cow", "cat"]))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`cow` is no class of the training file, which has `ape`, `cat`, `dog`"),
        "{message}"
    );
}

#[test]
fn the_number_of_classes_can_be_given_where_not_all_occur() {
    let some = column(&["0", "3", "3"]);
    let rule = Rule::of(&some, &options(json!({"classes": 5}))).unwrap();
    assert_eq!(rule.classes, 5);
    assert_eq!(classes(&all(&rule, &some)), [0, 3, 3]);
    let rule = Rule::of(&some, &options(json!({"classes": 3}))).unwrap();
    let message = rule.strata(&some).unwrap_err().to_string();
    assert!(
        message.contains("line 3, column `y`: the target: 3 is none of the classes 0 to 2"),
        "{message}"
    );
}

#[test]
fn numbers_with_fractions_are_numbers_and_unclear_ones_are_asked_about() {
    let numbers = column(&["0.5", "2", "-1e3"]);
    let rule = Rule::of(&numbers, &options(json!({}))).unwrap();
    assert_eq!((rule.task, rule.classes), (Task::Numbers, 1));
    let got = Vec::<f32>::try_from(all(&rule, &numbers)).unwrap();
    assert_eq!(got, [0.5, 2.0, -1000.0]);
    assert_eq!(rule.strata(&numbers).unwrap(), None);
    let message = |targets: &Targets, more| {
        let refused = Rule::of(targets, &options(more));
        refused.unwrap_err().to_string()
    };
    let said = message(&column(&["0.0", "1.0"]), json!({}));
    assert!(
        said.contains("stored as ones with fractions") && said.contains("data.task"),
        "{said}"
    );
    let rule = Rule::of(
        &column(&["0.0", "1.0"]),
        &options(json!({"task": "classes"})),
    );
    assert_eq!(rule.unwrap().classes, 2);
    let ages: Vec<String> = (0..30).map(|it| (7 * it).to_string()).collect();
    let ages: Vec<&str> = ages.iter().map(String::as_str).collect();
    let said = message(&column(&ages), json!({}));
    assert!(said.contains("30 different whole numbers"), "{said}");
    let rule = Rule::of(&column(&ages), &options(json!({"task": "numbers"}))).unwrap();
    assert_eq!(rule.task, Task::Numbers);
    let said = message(&column(&["1", "1"]), json!({}));
    assert!(said.contains("all targets are the same"), "{said}");
    let said = message(&numbers, json!({"task": "classes"}));
    assert!(
        said.contains("line 2, column `y`: the target: 0.5 is no whole number"),
        "{said}"
    );
}

#[test]
fn several_targets_a_sample_are_positions_or_labels() {
    let bytes = vec![0, 5, 2, 1, 1, 5];
    let positions = array(Kind::U8, &[2, 3], bytes).unwrap();
    let rule = Rule::of(&positions, &options(json!({}))).unwrap();
    assert_eq!(
        (rule.task, rule.classes, &rule.shape[..]),
        (Task::Classes, 6, &[3][..])
    );
    let tensor = rule.tensor(&positions, &[1, 0], Device::Cpu).unwrap();
    assert_eq!(tensor.size(), [2, 3]);
    assert_eq!(classes(&tensor), [1, 1, 5, 0, 5, 2]);
    let marks = array(Kind::Bool, &[2, 2], vec![0, 1, 1, 1]).unwrap();
    let said = Rule::of(&marks, &options(json!({})))
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("argmax") && said.contains("data.task"),
        "{said}"
    );
    let rule = Rule::of(&marks, &options(json!({"task": "labels"}))).unwrap();
    assert_eq!((rule.classes, rule.shape.len()), (2, 1));
    let got = Vec::<f32>::try_from(all(&rule, &marks).flatten(0, -1)).unwrap();
    assert_eq!(got, [0.0, 1.0, 1.0, 1.0]);
    let rule = Rule::of(&positions, &options(json!({"task": "labels"}))).unwrap();
    let said = rule
        .tensor(&positions, &[0], Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("the target of sample 0 at position 1: 5 was found"),
        "{said}"
    );
    // A column of one is a vector.
    assert!(
        array(Kind::U8, &[2, 1], vec![0, 1])
            .unwrap()
            .shape
            .is_empty()
    );
}

#[test]
fn what_is_not_finite_is_named() {
    let bytes: Vec<u8> = [1.0f32, f32::NAN]
        .iter()
        .flat_map(|it| it.to_le_bytes())
        .collect();
    let message = array(Kind::F32, &[2], bytes).err().unwrap();
    assert!(
        message.contains("y.npy: array `y`: the target of sample 1: NaN is no finite"),
        "{message}"
    );
    let message = array(Kind::U64, &[1], vec![0xff; 8]).err().unwrap();
    assert!(message.contains("63 bits"), "{message}");
    let table = Arc::new(table("x,y\n1,2\n1,\n").unwrap());
    let message = Targets::of_table(&table, &[1]).err().unwrap().to_string();
    assert!(
        message.contains("line 3, column `y`: the target: it is missing"),
        "{message}"
    );
}
