use super::super::picture::tests::file;
use super::*;
use crate::data::picture::Format;
use serde_json::json;
use std::fs;
use tch::Device;

const SMALL: Images = Images {
    classes: 2,
    shape: [3, 8, 8],
    train: 6,
    test: 3,
    ..IMAGES
};

fn small() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, contents: &[u8]| {
        let path = root.path().join(INSIDE).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    };
    write("wnids.txt", b"n02\nn01\n");
    for (shade, class) in [(0, "n01"), (100, "n02")] {
        for i in 0..3 {
            let path = format!("train/{class}/images/{class}_{i}.JPEG");
            write(&path, &file(Format::Png, 8, 8, shade + 10 * i));
        }
        write(&format!("train/{class}/{class}_boxes.txt"), b"boxes");
    }
    for i in 0..3 {
        let path = format!("val/images/val_{i}.JPEG");
        write(&path, &file(Format::Png, 8, 8, 50 + i));
    }
    let lines =
        b"val_2.JPEG\tn02\t0\t1\t2\t3\nval_0.JPEG\tn01\t0\t1\t2\t3\nval_1.JPEG\tn02\t0\t1\t2\t3\n";
    write("val/val_annotations.txt", lines);
    root
}

fn read_small(dir: &Path) -> Result<Dataset, DataError> {
    let context = DataContext {
        data_dir: "no-such-folder".into(),
        device: Device::Cpu,
    };
    load(&SMALL, json!({ "dir": dir }).as_object().unwrap(), &context)
}

#[test]
fn reads_the_layout_of_the_archive_into_memory() {
    let root = small();
    let data = read_small(root.path()).unwrap();
    let labels = |split: &super::super::Split| Vec::<i64>::try_from(&split.labels).unwrap();
    assert_eq!(labels(&data.train), [0, 0, 0, 1, 1, 1]);
    assert_eq!(labels(&data.test), [0, 1, 1]);
    let pixels = data.train.inputs.tensor().unwrap();
    assert_eq!(pixels.size(), [6, 3, 8, 8]);
    // The picture's colours are ramps; this is green of the second image of class n02.
    let green = |x: i64, y: i64| x * 5 + y * 4 + 110;
    assert_eq!(pixels.int64_value(&[4, 1, 2, 7]), green(7, 2));
    // As if the archive had been unpacked one folder higher.
    assert!(read_small(&root.path().join(INSIDE)).is_ok());
}

#[test]
fn says_which_part_of_the_layout_is_wrong() {
    let message = |path: &str, contents: Option<&str>| {
        let root = small();
        let path = root.path().join(INSIDE).join(path);
        match contents {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        read_small(root.path()).unwrap_err().to_string()
    };
    for (path, contents, expected) in [
        ("wnids.txt", None, "unpack it into"),
        ("wnids.txt", Some("n01\n"), "classes should be 2 but is 1"),
        (
            "train/n02/images/n02_1.JPEG",
            None,
            "1 of 6 files are missing, such as train/n02/images/n02_1.JPEG",
        ),
        (
            "train/n02/images/n02_1.JPEG",
            Some("?"),
            "n02_1.JPEG is no image",
        ),
        ("val/val_annotations.txt", None, "failed to read"),
        (
            "val/val_annotations.txt",
            Some("val_0.JPEG\tn01\n"),
            "the list should be 3 files but is 1 files",
        ),
        (
            "val/val_annotations.txt",
            Some("val_0.JPEG\tn07\n"),
            "the class in line 1",
        ),
        (
            "val/val_annotations.txt",
            Some("val_0.JPEG n01\n"),
            "line 1 should be",
        ),
        (
            "val/val_annotations.txt",
            Some("../x\tn01\n"),
            "without folders",
        ),
    ] {
        let said = message(path, contents);
        assert!(said.contains(expected), "{path}: {said}");
    }
    let root = small();
    let wide = root.path().join(INSIDE).join("val/images/val_1.JPEG");
    fs::write(wide, file(Format::Png, 9, 8, 0)).unwrap();
    let said = read_small(root.path()).unwrap_err().to_string();
    assert!(
        said.contains("val_1.JPEG") && said.contains("9 x 8 pixels"),
        "{said}"
    );
}
