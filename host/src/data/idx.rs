//! The IDX format of MNIST and its kin, plain or compressed with gzip.
//!
//! Two zero bytes, the type (8 for u8), the number of dimensions, each size as u32 in big endian,
//! then the values, the last dimension fastest.

use super::folder::{Files, Source};
use super::image::{ImageOptions, Images, Samples};
use super::published::compare;
use super::{DataContext, DataError, Dataset};
use crate::registry::Options;
use flate2::bufread::MultiGzDecoder;
use std::io::{BufReader, Cursor, Read};

/// The four files, in this order.
pub(super) const FILES: &[&str] = &[
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// Reads the dataset `images` from `files`.
pub(super) fn build(
    images: &Images,
    files: &Files,
    options: &Options,
    context: &DataContext,
) -> Result<Dataset, DataError> {
    let options = ImageOptions::read(images.name, options)?;
    let folder = files.find(&context.data_dir, options.dir.as_deref())?;
    let source = |file: &str| Source {
        name: images.name,
        path: files.path(&folder, file),
    };
    let samples = |pixels: &str, labels: &str, count: usize| -> Result<Samples, DataError> {
        let [_, height, width] = images.shape;
        let read = |file: &str, shape: &[usize]| {
            let source = source(file);
            let values = source.read_idx(shape)?;
            let place = FILES.iter().position(|it| *it == file);
            if let Some(expected) = place.and_then(|it| files.contents.get(it)) {
                compare(
                    images.name,
                    &source.path,
                    &[&header(shape), &values],
                    expected,
                );
            }
            Ok::<_, DataError>((source, values))
        };
        let (_, pixels) = read(pixels, &[count, height, width])?;
        let (source, labels) = read(labels, &[count])?;
        source.check_labels(&labels, images.classes)?;
        Ok(Samples { pixels, labels })
    };
    let train = samples(FILES[0], FILES[1], images.train)?;
    let test = samples(FILES[2], FILES[3], images.test)?;
    Ok(images.dataset(train, test, options.augment, context))
}

/// The bytes before the values, as every file of this shape has them.
fn header(shape: &[usize]) -> Vec<u8> {
    let sizes = shape.iter().flat_map(|&size| (size as u32).to_be_bytes());
    [0, 0, 8, shape.len() as u8]
        .into_iter()
        .chain(sizes)
        .collect()
}

impl Source {
    /// The values of an IDX file, which must have exactly the dimensions `shape`.
    fn read_idx(&self, shape: &[usize]) -> Result<Vec<u8>, DataError> {
        self.parse_idx(self.open()?, shape)
    }

    pub(super) fn parse_idx(
        &self,
        mut reader: impl Read,
        shape: &[usize],
    ) -> Result<Vec<u8>, DataError> {
        // The first bytes, not the name, tell whether the file is compressed: some servers unpack
        // it on the way. IDX begins with a zero.
        let mut start = [0; 2];
        reader
            .read_exact(&mut start)
            .map_err(|error| self.unreadable(error))?;
        let reader = BufReader::new(Cursor::new(start).chain(reader));
        match start {
            [0x1f, 0x8b] => self.parse_plain(MultiGzDecoder::new(reader), shape),
            _ => self.parse_plain(reader, shape),
        }
    }

    fn parse_plain(&self, mut reader: impl Read, shape: &[usize]) -> Result<Vec<u8>, DataError> {
        let mut magic = [0; 4];
        reader
            .read_exact(&mut magic)
            .map_err(|error| self.unreadable(error))?;
        let expected = [0, 0, 8, shape.len() as u8];
        if magic != expected {
            return Err(self.malformed(
                "the IDX header",
                format!("{expected:02x?}"),
                format!("{magic:02x?}"),
            ));
        }
        let mut sizes = Vec::with_capacity(shape.len());
        for _ in shape {
            let mut size = [0; 4];
            reader
                .read_exact(&mut size)
                .map_err(|error| self.unreadable(error))?;
            sizes.push(u32::from_be_bytes(size) as usize);
        }
        // Nothing is allocated by what the header says, only by what is published.
        if sizes != shape {
            return Err(self.malformed("the shape", format!("{shape:?}"), format!("{sizes:?}")));
        }
        self.read_exactly(reader, shape.iter().product())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use serde_json::json;
    use std::io::Write;

    const SHAPE: [usize; 3] = [3, 2, 2];

    fn source() -> Source {
        Source {
            name: "mnist",
            path: "mnist/train-images-idx3-ubyte.gz".into(),
        }
    }

    fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        for size in sizes {
            bytes.extend(size.to_be_bytes());
        }
        bytes.extend(values);
        bytes
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn values() -> Vec<u8> {
        (100..112).collect()
    }

    fn message(bytes: &[u8]) -> String {
        let message = source().parse_idx(bytes, &SHAPE).unwrap_err().to_string();
        assert!(message.starts_with("mnist/train-images-idx3-ubyte.gz: "));
        assert!(message.ends_with("`called data fetch mnist`"));
        message
    }

    #[test]
    fn reads_plain_and_compressed_files() {
        let bytes = idx(&[3, 2, 2], &values());
        assert_eq!(source().parse_idx(&bytes[..], &SHAPE).unwrap(), values());
        assert_eq!(
            source().parse_idx(&gz(&bytes)[..], &SHAPE).unwrap(),
            values()
        );
    }

    #[test]
    fn refuses_a_wrong_magic() {
        let mut bytes = idx(&[3, 2, 2], &values());
        bytes[2] = 0x0d;
        let message = message(&bytes);
        assert!(
            message.contains("should be [00, 00, 08, 03] but is [00, 00, 0d, 03]"),
            "{message}"
        );
    }

    #[test]
    fn refuses_an_absurd_header_without_allocating_for_it() {
        let message = message(&idx(&[u32::MAX, u32::MAX, u32::MAX], &values()));
        assert!(
            message.contains("[3, 2, 2] but is [4294967295, 4294967295, 4294967295]"),
            "{message}"
        );
    }

    #[test]
    fn refuses_truncated_and_longer_files() {
        let bytes = idx(&[3, 2, 2], &values());
        assert!(message(&bytes[..bytes.len() - 1]).contains("should be 12 bytes but is 11 bytes"));
        assert!(message(&bytes[..10]).contains("should be complete but is cut off"));
        assert!(message(&bytes[..1]).contains("should be complete but is cut off"));
        let longer = idx(&[3, 2, 2], &[values(), vec![0]].concat());
        assert!(message(&longer).contains("should be 12 bytes but is more"));
    }

    #[test]
    fn refuses_damaged_gzip() {
        let bytes = gz(&idx(&[3, 2, 2], &values()));
        assert!(message(&bytes[..bytes.len() / 2]).contains("cut off"));
        let mut wrong_sum = bytes.clone();
        let end = wrong_sum.len();
        wrong_sum[end - 6] ^= 1;
        let message = message(&wrong_sum);
        assert!(message.contains("should be valid gzip"), "{message}");
    }

    #[test]
    fn stops_at_the_expected_length_of_a_bomb() {
        // 64 MiB of zeros in 300 KB; reading all of it would be seen by the reader's count.
        let bomb = gz(&[idx(&[3, 2, 2], &[]), vec![0; 64 << 20]].concat());
        let mut reader = Cursor::new(&bomb);
        let message = source()
            .parse_idx(&mut reader, &SHAPE)
            .unwrap_err()
            .to_string();
        assert!(message.contains("should be 12 bytes but is more"));
        assert!(reader.position() <= 2 * 8192 + 2, "{}", reader.position());
    }

    #[test]
    fn builds_a_dataset_and_refuses_labels_out_of_range() {
        const TOY: Images = Images {
            name: "mnist",
            classes: 10,
            shape: [1, 2, 2],
            train: 3,
            test: 1,
            mean: &[0.5],
            std: &[0.25],
        };
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("mnist");
        std::fs::create_dir(&dir).unwrap();
        let write = |file: &str, bytes: Vec<u8>| std::fs::write(dir.join(file), bytes).unwrap();
        write("train-images-idx3-ubyte", idx(&[3, 2, 2], &values()));
        write("train-labels-idx1-ubyte.gz", gz(&idx(&[3], &[9, 0, 4])));
        write(
            "t10k-images-idx3-ubyte.gz",
            gz(&idx(&[1, 2, 2], &[1, 2, 3, 4])),
        );
        write("t10k-labels-idx1-ubyte", idx(&[1], &[7]));
        let context = DataContext {
            data_dir: data.path().to_owned(),
            device: tch::Device::Cpu,
        };
        let files = &super::super::mnist::FILES;
        let dataset = build(&TOY, files, &Options::new(), &context).unwrap();
        assert_eq!(dataset.train.inputs.tensor().unwrap().size(), [3, 1, 2, 2]);
        assert_eq!(dataset.test.len(), 1);
        let labels: Vec<i64> = Vec::try_from(&dataset.train.labels).unwrap();
        assert_eq!(labels, [9, 0, 4]);
        let raw = [&values()[..], &[9, 0, 4], &[1, 2, 3, 4], &[7]].concat();
        assert_eq!(dataset.checksum, blake3::hash(&raw).to_hex().as_str());

        write("t10k-labels-idx1-ubyte", idx(&[1], &[10]));
        let options = json!({"dir": dir.to_str().unwrap()});
        let error = build(&TOY, files, options.as_object().unwrap(), &context).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("the label of sample 0 should be below 10 but is 10"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = source().parse_idx(&bytes[..], &SHAPE);
            let _ = source().parse_idx(&[&[0x1f, 0x8b, 8, 0], &bytes[..]].concat()[..], &SHAPE);
            let _ = source().parse_idx(&gz(&bytes)[..], &SHAPE);
        }

        #[test]
        fn a_changed_compressed_file_is_refused_or_reads_the_same(
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut bytes = gz(&idx(&[3, 2, 2], &values()));
            let place = place.index(bytes.len());
            bytes[place] = byte;
            if let Ok(read) = source().parse_idx(&bytes[..], &SHAPE) {
                prop_assert_eq!(read, values());
            }
        }
    }
}
