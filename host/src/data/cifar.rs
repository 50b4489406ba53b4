//! The binary version of CIFAR: records of labels and 3,072 pixels (red, green, blue planes, rows first).

use super::folder::{Files, Source};
use super::image::{ImageOptions, Images, Samples};
use super::published::compare_numbers;
use super::{DataContext, DataError, Dataset};
use crate::registry::Options;
use std::io::Read;

const PIXELS: usize = 3 * 32 * 32;

/// How a version of CIFAR is stored.
pub(super) struct Layout {
    pub images: Images,
    /// The training files in their order, then the test file.
    pub files: Files,
    /// Label bytes at the start of a record, of which the last is the class.
    pub label_bytes: usize,
}

impl Layout {
    /// Reads the dataset.
    pub(super) fn build(
        &self,
        options: &Options,
        context: &DataContext,
    ) -> Result<Dataset, DataError> {
        let name = self.images.name;
        let options = ImageOptions::read(name, options)?;
        let folder = self.files.find(&context.data_dir, options.dir.as_deref())?;
        let read = |files: &[&str], count: usize| -> Result<Samples, DataError> {
            let mut samples = Samples {
                pixels: Vec::with_capacity(count * PIXELS),
                labels: Vec::with_capacity(count),
            };
            for file in files {
                let source = Source {
                    name,
                    path: folder.join(file),
                };
                self.parse(&source, source.open()?, count / files.len(), &mut samples)?;
            }
            Ok(samples)
        };
        let (train, test) = self.files.files.split_at(self.files.files.len() - 1);
        let train = read(train, self.images.train)?;
        let test = read(test, self.images.test)?;
        compare_numbers(&self.images, &folder, &train);
        Ok(self.images.dataset(train, test, options.augment, context))
    }

    /// Appends the `count` records of one file.
    pub(super) fn parse(
        &self,
        source: &Source,
        reader: impl Read,
        count: usize,
        samples: &mut Samples,
    ) -> Result<(), DataError> {
        let record = self.label_bytes + PIXELS;
        let bytes = source.read_exactly(reader, count * record)?;
        let labels: Vec<u8> = bytes
            .chunks_exact(record)
            .map(|record| record[self.label_bytes - 1])
            .collect();
        source.check_labels(&labels, self.images.classes)?;
        samples.labels.extend(labels);
        for record in bytes.chunks_exact(record) {
            samples.pixels.extend(&record[self.label_bytes..]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{cifar10, cifar100};
    use super::*;
    use proptest::prelude::*;

    fn empty() -> Samples {
        Samples {
            pixels: Vec::new(),
            labels: Vec::new(),
        }
    }

    fn source() -> Source {
        Source {
            name: "cifar10",
            path: "cifar10/test_batch.bin".into(),
        }
    }

    /// `labels[i]` then pixels that count on from i.
    fn records(labels: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (i, labels) in labels.iter().enumerate() {
            bytes.extend(*labels);
            bytes.extend((0..PIXELS).map(|p| ((p + i) % 256) as u8));
        }
        bytes
    }

    #[test]
    fn reads_labels_and_planes_of_cifar10() {
        let bytes = records(&[&[3], &[9]]);
        let mut samples = empty();
        cifar10::LAYOUT
            .parse(&source(), &bytes[..], 2, &mut samples)
            .unwrap();
        assert_eq!(samples.labels, [3, 9]);
        assert_eq!(samples.pixels.len(), 2 * PIXELS);
        assert_eq!(samples.pixels[PIXELS..PIXELS + 3], [1, 2, 3]);
    }

    #[test]
    fn takes_the_fine_label_of_cifar100() {
        let bytes = records(&[&[19, 99], &[0, 20]]);
        let mut samples = empty();
        cifar100::LAYOUT
            .parse(&source(), &bytes[..], 2, &mut samples)
            .unwrap();
        assert_eq!(samples.labels, [99, 20]);
        assert_eq!(samples.pixels[..2], [0, 1]);
    }

    #[test]
    fn refuses_lengths_that_are_not_the_records() {
        let bytes = records(&[&[3], &[9]]);
        let message = |bytes: &[u8]| {
            let parsed = cifar10::LAYOUT.parse(&source(), bytes, 2, &mut empty());
            parsed.unwrap_err().to_string()
        };
        let short = message(&bytes[..bytes.len() - 1]);
        assert!(
            short.starts_with(
                "cifar10/test_batch.bin: the data should be 6146 bytes but is 6145 bytes"
            ) && short.ends_with("`called data fetch cifar10`"),
            "{short}"
        );
        assert!(message(&[&bytes[..], &[0]].concat()).contains("6146 bytes but is more"));
    }

    #[test]
    fn refuses_a_label_out_of_range() {
        let bytes = records(&[&[3], &[10]]);
        let parsed = cifar10::LAYOUT.parse(&source(), &bytes[..], 2, &mut empty());
        let message = parsed.unwrap_err().to_string();
        assert!(message.contains("the label of sample 1 should be below 10 but is 10"));
    }

    #[test]
    fn builds_the_dataset_from_an_unpacked_archive() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("cifar100/cifar-100-binary");
        std::fs::create_dir_all(&dir).unwrap();
        let zeros = vec![0; 3074];
        std::fs::write(dir.join("test.bin"), zeros.repeat(10_000)).unwrap();
        let mut train = zeros.repeat(50_000);
        train[1] = 42;
        train[2 + 1024] = 255;
        std::fs::write(dir.join("train.bin"), train).unwrap();
        let context = DataContext {
            data_dir: data.path().to_owned(),
            device: tch::Device::Cpu,
        };
        let dataset = cifar100::LAYOUT.build(&Options::new(), &context).unwrap();
        assert_eq!(dataset.input_shape, [3, 32, 32]);
        assert_eq!((dataset.train.len(), dataset.test.len()), (50_000, 10_000));
        assert_eq!(dataset.train.labels.int64_value(&[0]), 42);
        // The first pixel of the green plane.
        assert_eq!(
            dataset
                .train
                .inputs
                .tensor()
                .unwrap()
                .int64_value(&[0, 1, 0, 0]),
            255
        );
        assert_eq!(
            dataset
                .train
                .inputs
                .tensor()
                .unwrap()
                .int64_value(&[0, 0, 0, 0]),
            0
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..7000)) {
            let _ = cifar10::LAYOUT.parse(&source(), &bytes[..], 2, &mut empty());
            let _ = cifar100::LAYOUT.parse(&source(), &bytes[..bytes.len().min(3074)], 1, &mut empty());
        }
    }
}
