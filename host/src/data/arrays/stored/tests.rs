use super::super::array::Bytes;
use super::super::element::Element;
use super::super::source::Source;
use super::*;

fn stored(kind: Kind, shape: &[usize], bytes: Vec<u8>, view: View) -> StoredSamples {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    std::fs::write(&path, &bytes).unwrap();
    let array = Array {
        source: Arc::new(Source::open("train", &path).unwrap()),
        name: "x".to_owned(),
        element: Element::new(kind),
        shape: shape.to_vec(),
        bytes: Bytes::Memory(Arc::new(bytes)),
    };
    let samples = (0..shape[0] as u64).collect();
    StoredSamples::new(array, view, None, samples)
}

fn view(shape: &[i64], becomes: Becomes) -> View {
    View {
        shape: shape.to_vec(),
        channels_last: None,
        becomes,
    }
}

#[test]
fn channels_that_come_last_are_put_first() {
    let bytes: Vec<u8> = (0..24).collect();
    let last = View {
        channels_last: Some(3),
        ..view(&[3, 2, 2], Becomes::Bytes)
    };
    let stored = stored(Kind::U8, &[2, 2, 2, 3], bytes.clone(), last);
    let got = stored.read_all(Device::Cpu).unwrap();
    let expected = Tensor::from_slice(&bytes)
        .view([2, 2, 2, 3])
        .permute([0, 3, 1, 2]);
    assert_eq!(got, expected.contiguous());
    let one = stored.select(&[1]).read(&[0, 0], Device::Cpu).unwrap();
    assert_eq!(one, expected.narrow(0, 1, 1).repeat([2, 1, 1, 1]));
}

#[test]
fn bytes_become_numbers_from_0_to_1_and_whole_numbers_tokens() {
    let numbers = stored(
        Kind::U8,
        &[2, 2],
        vec![0, 51, 102, 255],
        view(&[2], Becomes::Numbers),
    );
    let got = Vec::<f32>::try_from(numbers.read_all(Device::Cpu).unwrap().flatten(0, -1));
    assert_eq!(got.unwrap(), [0.0, 0.2, 0.4, 1.0]);
    assert_eq!(numbers.bytes(), 16);
    let tokens = stored(
        Kind::U16,
        &[2, 1],
        vec![7, 0, 0, 1],
        view(&[1], Becomes::Tokens),
    );
    let got = tokens.read_all(Device::Cpu).unwrap();
    assert_eq!(Vec::<i64>::try_from(got.flatten(0, -1)).unwrap(), [7, 256]);
}

#[test]
fn what_is_not_finite_is_named_by_sample_and_place() {
    let numbers = [1.0, 2.0, 3.0, 4.0, f64::INFINITY, 6.0, 7.0, 1e300];
    let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
    let stored = stored(
        Kind::F64,
        &[2, 2, 2],
        bytes,
        view(&[2, 2], Becomes::Numbers),
    );
    let message = |index: &[i64]| stored.read(index, Device::Cpu).unwrap_err().to_string();
    assert!(
        message(&[0, 1]).ends_with("array `x`: sample 1, value [0, 0]: inf is no finite number"),
        "{}",
        message(&[0, 1])
    );
    let one = stored.read(&[0], Device::Cpu).unwrap();
    assert_eq!(one.size(), [1, 2, 2]);
    let wide = super::tests::stored(
        Kind::F64,
        &[1, 1],
        1e300f64.to_le_bytes().to_vec(),
        view(&[1], Becomes::Numbers),
    );
    let message = wide.read_all(Device::Cpu).unwrap_err().to_string();
    assert!(
        message.contains("beyond the numbers of 32 bits"),
        "{message}"
    );
}
