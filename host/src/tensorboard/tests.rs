//! Event files read back by a decoder of their own.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::records::lines;

/// A run with these levels finished, of two epochs of ten steps each.
fn run(folder: &Path, levels: u64) -> RunDir {
    let run = RunDir::new(folder.join("lrr-0"));
    for level in 0..levels {
        let dir = run.seed(4).level(level);
        let epoch = |epoch: u64| Epoch {
            level,
            epoch,
            step: 10 * (epoch + 1),
            lr: 0.1 / (epoch + 1) as f64,
            train_loss: 2.0 - level as f64 - 0.25 * epoch as f64,
            train_accuracy: 0.5,
            test_loss: (epoch == 0).then_some(1.5),
            test_accuracy: (epoch == 0).then_some(0.0),
            validation_loss: (epoch == 0).then_some(1.75),
            validation_accuracy: (epoch == 0).then_some(0.5),
        };
        let layer = LayerRecord {
            level,
            layer: "fc.weight".to_owned(),
            size: 8,
            survivors: 4,
            effective: None,
            density: 0.5,
            flips_init: 1,
            flips_start: 0,
            flips_previous: None,
            norm: 3.0,
        };
        let summary = json!({
            "seed": 4, "level": level, "weights": 8, "survivors": 4, "density": 0.5,
            "train_loss": 1.75, "test_loss": 1.25, "test_correct": 3, "test_samples": 4,
            "test_accuracy": 0.75, "validation_loss": 1.125, "validation_correct": 1, "validation_samples": 4,
            "validation_accuracy": 0.25, "flips_init": 0.25, "flips_start": 0.0, "flips_previous": null,
            "test_top_5_accuracy": 0.875, "test_r2": null,
        });
        let class = |class: u64, accuracy: f64| {
            json!({
                "level": level, "class": class, "test_samples": 2, "test_correct": 1, "test_accuracy": accuracy,
            })
        };
        let texts = [
            ("metrics.jsonl", lines(&[epoch(0), epoch(1)])),
            ("layers.jsonl", lines(&[layer])),
            ("summary.json", lines(&[summary])),
            ("classes.jsonl", lines(&[class(0, 0.5), class(1, 1.0)])),
        ];
        // As where an earlier version made the first level.
        let signs = SignRecord {
            level,
            epoch: 1,
            survivors: vec![4],
            crossed_epoch: vec![1],
            crossed_start: vec![2],
        };
        if level > 0 {
            write(&dir.file("signs.jsonl"), &lines(&[signs]).unwrap()).unwrap();
        }
        for (file, text) in texts {
            write(&dir.file(file), &text.unwrap()).unwrap();
        }
        dir.finish(&[], Value::Null).unwrap();
    }
    run
}

/// CRC-32C bit by bit, masked.
fn masked(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for &byte in data {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// Fields of a message: number and bytes, with varints as eight bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                let value = varint(&mut bytes);
                fields.push((key >> 3, value.to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            5 => 4,
            2 => varint(&mut bytes) as usize,
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    fields
}

/// Every scalar of a file, by tag: (time, step, value) in the order of the file.
fn scalars(path: &Path) -> BTreeMap<String, Vec<(f64, u64, f32)>> {
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut scalars) = (&bytes[..], BTreeMap::<_, Vec<_>>::new());
    let mut first = true;
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let checksum = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        assert_eq!(checksum(8), masked(&rest[..8]));
        let data = &rest[12..12 + length];
        assert_eq!(checksum(12 + length), masked(data));
        rest = &rest[16 + length..];
        let event = fields(data);
        if std::mem::take(&mut first) {
            assert_eq!(event, [(3, b"brain.Event:2".to_vec())]);
            continue;
        }
        let field = |number| event.iter().find(|(it, _)| *it == number).map(|(_, it)| it);
        let eight = |number| field(number).map(|it| it[..].try_into().unwrap());
        let time = eight(1).map_or(0.0, f64::from_le_bytes);
        let step = eight(2).map_or(0, u64::from_le_bytes);
        for (number, value) in fields(field(5).unwrap()) {
            assert_eq!(number, 1);
            let value = fields(&value);
            let [(1, tag), (2, number)] = &value[..] else {
                panic!("{value:?}")
            };
            let number = f32::from_le_bytes(number[..].try_into().unwrap());
            let tag = String::from_utf8(tag.clone()).unwrap();
            scalars.entry(tag).or_default().push((time, step, number));
        }
    }
    scalars
}

#[test]
fn curves_run_over_the_steps_of_all_levels_and_level_charts_over_levels() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path(), 2);
    let path = export(&run, 4).unwrap().unwrap();
    assert!(path.ends_with("lrr-0/tensorboard/seed-4/events.out.tfevents.0.rewind"));
    let scalars = scalars(&path);
    let at_steps = |values: [f32; 4]| -> Vec<(f64, u64, f32)> {
        let steps = [10u64, 20, 30, 40];
        (steps.iter().zip(values))
            .map(|(&step, value)| (step as f64, step, value))
            .collect()
    };
    assert_eq!(scalars["train/loss"], at_steps([2.0, 1.75, 1.0, 0.75]));
    assert_eq!(
        scalars["train/learning-rate"],
        at_steps([0.1, 0.05, 0.1, 0.05])
    );
    // The first epoch's own test, then the level's end, where no epoch was tested.
    assert_eq!(scalars["test/loss"], at_steps([1.5, 1.25, 1.5, 1.25]));
    assert_eq!(scalars["test/accuracy"], at_steps([0.0, 0.75, 0.0, 0.75]));
    let loss = at_steps([1.75, 1.125, 1.75, 1.125]);
    assert_eq!(scalars["validation/loss"], loss);
    let accuracy = at_steps([0.5, 0.25, 0.5, 0.25]);
    assert_eq!(scalars["validation/accuracy"], accuracy);
    assert_eq!(scalars["signs/crossed-epoch"], [(40.0, 40, 0.25)]);
    assert_eq!(scalars["signs/crossed-start"], [(40.0, 40, 0.5)]);
    for (tag, value) in [
        ("level/survivors", 4.0),
        ("level/test-accuracy", 0.75),
        ("level/test-top-5-accuracy", 0.875),
        ("class-accuracy/0", 0.5),
        ("class-accuracy/1", 1.0),
        ("level/validation-accuracy", 0.25),
        ("density/fc.weight", 0.5),
        ("flips-init/fc.weight", 0.25),
        ("norm/fc.weight", 3.0),
    ] {
        assert_eq!(scalars[tag], [(20.0, 0, value), (40.0, 1, value)], "{tag}");
    }
    assert!(!scalars.contains_key("level/flips-previous"));
    assert!(scalars["level/test-r2"].iter().all(|it| it.2.is_nan()));
}

#[cfg(unix)]
#[test]
fn a_further_level_is_appended_and_a_damaged_file_is_replaced_by_the_same_bytes() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().unwrap();
    let whole = {
        let path = export(&run(&folder.path().join("whole"), 3), 4);
        fs::read(path.unwrap().unwrap()).unwrap()
    };
    let path = export(&run(folder.path(), 1), 4).unwrap().unwrap();
    let (short, file) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().ino());
    let again = |text: &str| {
        export(&run(folder.path(), 3), 4).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole, "{text}");
        fs::metadata(&path).unwrap().ino()
    };
    assert_eq!(again("two levels more"), file);
    assert_eq!(again("nothing more"), file);
    // A write that stopped in the middle of a record.
    fs::write(&path, &whole[..short.len() + 5]).unwrap();
    assert_eq!(again("half a record"), file);
    fs::write(&path, b"something else").unwrap();
    assert_ne!(again("another file"), file);
}

#[test]
fn a_seed_without_a_finished_level_has_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path(), 0);
    assert_eq!(export(&run, 4).unwrap(), None);
    assert!(!run.file("tensorboard").exists());
}
