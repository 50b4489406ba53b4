//! Files that are cut short, changed, or random.

use super::super::super::Dataset;
use super::{Desk, fixture, message, read};
use proptest::prelude::*;
use serde_json::json;
use std::fs;

/// What a damaged file may come to: what it held, or a message that names it.
fn check(name: &str, desk: &Desk, bytes: &[u8], whole: &Dataset) {
    let file = desk.write(name, bytes);
    match read(json!({"train": file, "test": 0.25, "memory": 1})) {
        Err(error) => assert!(error.to_string().contains(name), "{error}"),
        Ok(data) => assert_eq!(
            data.train.len() + data.test.len(),
            whole.train.len() + whole.test.len()
        ),
    }
}

#[test]
fn every_beginning_of_a_file_is_refused_with_its_name() {
    let desk = Desk::new();
    for name in ["stored.npz", "compressed.npz", "both.safetensors"] {
        let whole = fs::read(fixture(name)).unwrap();
        for length in 0..whole.len() {
            let file = desk.write(name, &whole[..length]);
            let said = message(json!({"train": file, "test": 0.25}));
            assert!(said.contains(name), "{length}: {said}");
        }
    }
    let whole = fs::read(fixture("x.npy")).unwrap();
    for length in 0..whole.len() {
        let file = desk.write("x.npy", &whole[..length]);
        let pair = json!({"inputs": file, "targets": fixture("y.npy")});
        let said = message(json!({"train": pair, "test": 0.25}));
        assert!(said.contains("x.npy"), "{length}: {said}");
    }
}

proptest! {
    #[test]
    fn a_changed_byte_is_refused_or_changes_no_count(
        file in 0usize..3,
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let name = ["stored.npz", "compressed.npz", "both.safetensors"][file];
        let desk = Desk::new();
        let mut bytes = fs::read(fixture(name)).unwrap();
        let whole = read(json!({"train": fixture(name), "test": 0.25})).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        check(name, &desk, &bytes, &whole);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
        let desk = Desk::new();
        for (name, start) in [
            ("a.npz", &b"PK\x03\x04"[..]), ("a.npz", b""), ("a.safetensors", b"\x20\0\0\0\0\0\0\0{\"x\":"),
            ("a.csv", b"a,b\n"), ("a.csv", b""),
        ] {
            let file = desk.write(name, &[start, &bytes].concat());
            let _ = read(json!({"train": file, "test": 0.25, "memory": 1}));
        }
        let file = desk.write("a.npy", &[b"\x93NUMPY\x01\0", &bytes[..]].concat());
        let pair = json!({"inputs": file, "targets": fixture("y.npy")});
        let _ = read(json!({"train": pair, "test": 0.25}));
    }
}
