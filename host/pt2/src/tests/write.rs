//! Copies.

use super::*;

#[test]
fn a_copy_with_nothing_new_is_the_same_to_the_byte() {
    for bytes in [Made::new().zip(), std::fs::read(shipped("vit")).unwrap()] {
        let archive = Archive::from_bytes(Path::new("net.pt2"), bytes.clone()).unwrap();
        let mut copy = Vec::new();
        archive
            .write_with(Part::Whole, &mut copy, |_| None)
            .unwrap();
        assert!(copy == bytes);
        // Its own values, written once more, change nothing either.
        let mut copy = Vec::new();
        let own = |name: &str| {
            let at = archive.parameters().iter().position(|it| it.name == name)?;
            Some(archive.read_parameter(at).unwrap())
        };
        archive.write_with(Part::Whole, &mut copy, own).unwrap();
        assert!(copy == bytes);
    }
}

#[test]
fn a_copy_differs_in_values_and_checksums_alone_and_in_both_graphs() {
    let made = Made::new();
    let archive = made.open().unwrap();
    let new = f32s(&[-7., -8.]);
    let mut copy = Vec::new();
    let values = |name: &str| matches!(name, "b" | "mean").then(|| new.clone());
    archive.write_with(Part::Whole, &mut copy, values).unwrap();
    let mut expected = made;
    for record in ["weight_1", "weight_2", "weight_5", "weight_6"] {
        expected.put(&format!("data/weights/{record}"), new.clone());
    }
    assert!(copy == expected.zip());
}

#[test]
fn a_value_of_another_length_is_refused() {
    let archive = Made::new().open().unwrap();
    let values = |name: &str| (name == "b").then(|| vec![0; 7]);
    let error = archive
        .write_with(Part::Whole, &mut Vec::new(), values)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "net.pt2: the new value of b has 7 bytes, expected 8"
    );
}

#[test]
fn names_of_one_tensor_may_not_get_two_values() {
    let archive = read::with_second_name(&["train", "eval"], "mean")
        .open()
        .unwrap();
    let write = |values: &dyn Fn(&str) -> Option<Vec<u8>>| {
        let mut copy = Vec::new();
        let written = archive.write_with(Part::Whole, &mut copy, values);
        written.map(|()| Archive::from_bytes(Path::new("copy.pt2"), copy).unwrap())
    };
    let one = write(&|name| (name == "var").then(|| f32s(&[5., 6.]))).unwrap();
    assert_eq!(one.read_buffer(0).unwrap(), f32s(&[5., 6.]));
    let two = write(&|name| match name {
        "mean" => Some(f32s(&[1., 2.])),
        "var" => Some(f32s(&[1., 3.])),
        _ => None,
    });
    let message = two.map(drop).unwrap_err().to_string();
    assert!(
        message.contains("another name of the same tensor"),
        "{message}"
    );
}

#[test]
fn a_full_disk_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let archive = Made::new().open().unwrap();
    let error = archive
        .write_with(Part::Whole, &mut Full, |_| None)
        .unwrap_err();
    assert!(matches!(error.fault, Fault::Write(_)), "{error}");
}
