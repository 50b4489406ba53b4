use super::super::picture::tests::file;
use super::*;
use crate::data::picture::Format;
use serde_json::{Value, json};
use std::fs;
use tch::Device;

fn small() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (split, count) in [("train", 4), ("val", 2)] {
        for (class, shade) in [("cat", 10), ("dog", 150)] {
            let folder = root.path().join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let bytes = file(Format::Png, 20 + i, 24, shade + i as u8);
                fs::write(folder.join(format!("{i}.png")), bytes).unwrap();
            }
        }
    }
    root
}

fn read(dir: &Path, more: Value) -> Result<Dataset, DataError> {
    let mut options = json!({"dir": dir, "size": 16});
    for (key, value) in more.as_object().unwrap() {
        options[key] = value.clone();
    }
    let context = DataContext {
        data_dir: "no-such-folder".into(),
        device: Device::Cpu,
    };
    load(options.as_object().unwrap(), &context)
}

#[test]
fn reads_classes_in_the_order_of_their_names_and_normalises() {
    let root = small();
    let expect = json!({"classes": 2, "train": 8, "test": 4});
    let data = read(root.path(), json!({ "expect": expect })).unwrap();
    assert_eq!((data.classes, data.train.len(), data.test.len()), (2, 8, 4));
    assert_eq!(data.input_shape, [3, 16, 16]);
    let (inputs, labels) = data.test.gather(&Tensor::from_slice(&[3i64, 0])).unwrap();
    assert_eq!(inputs.size(), [2, 3, 16, 16]);
    assert_eq!(Vec::<i64>::try_from(labels).unwrap(), [1, 0]);
    let Inputs::Files(files) = &data.test.inputs else {
        panic!("the images are in memory");
    };
    assert!(files.path(3).ends_with("val/dog/1.png"));
    let pick = super::super::image_files::Pick {
        sample: 3,
        drawn: None,
    };
    let pixels = files.read(&[pick], Device::Cpu).unwrap();
    let green = pixels.double_value(&[0, 1, 5, 6]) / 255.0;
    let expected = (green - 0.456) / 0.224;
    assert!((inputs.double_value(&[0, 1, 5, 6]) - expected).abs() < 1e-5);
}

#[test]
fn a_folder_that_is_not_what_the_experiment_says_is_refused() {
    let root = small();
    let message = |more| read(root.path(), more).unwrap_err().to_string();
    let expect = json!({"classes": 2, "train": 9, "test": 4});
    let said = message(json!({ "expect": expect }));
    assert!(
        said.contains("should have 9 training images (data.expect.train) but has 8"),
        "{said}"
    );
    let said = message(json!({"resize": 15}));
    assert!(said.contains("resize is 15 and size is 16"), "{said}");
    let said = message(json!({"std": [0.1, 0.0, 0.1]}));
    assert!(said.contains("std has 0"), "{said}");
    let said = message(json!({"augment": {"scale": [0.9, 0.1]}}));
    assert!(said.contains("augment.scale"), "{said}");
    let absent = read(Path::new("no-such-folder"), json!({})).unwrap_err();
    assert!(absent.is_missing());
    assert!(
        absent.to_string().contains("no-such-folder/train"),
        "{absent}"
    );
}

#[test]
fn what_is_expected_stands_in_for_a_folder_that_is_not_here() {
    let options = json!({"size": 64, "expect": {"classes": 7, "train": 100, "test": 30}});
    let declared = declared(options.as_object().unwrap()).unwrap();
    assert_eq!(declared.input_shape, [3, 64, 64]);
    assert_eq!(
        (declared.classes, declared.train, declared.test),
        (7, 100, 30)
    );
    let without = super::declared(json!({"size": 64}).as_object().unwrap());
    let message = without.unwrap_err().to_string();
    assert!(message.contains("expect = { classes"), "{message}");
}

#[test]
fn the_short_side_is_256_for_224_unless_it_is_given() {
    let options = ImageFolderOptions::default();
    assert_eq!(options.view().resize, 256);
    let given = ImageFolderOptions {
        size: 32,
        resize: Some(32),
        ..options
    };
    assert_eq!((given.view().size, given.view().resize), (32, 32));
}
