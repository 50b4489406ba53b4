//! MNIST-1D (Greydanus, Kobak 2020, arXiv:2011.14439), embedded; `mnist1d.md` tells how it was made.

use super::{
    DataContext, DataError, Dataset, Declared, Definition, Source, Split, checksum, labels,
};
use crate::registry::{Entry, Options, parse};
use crate::samples::{InputType, Task};
use plugin_api::schemars::{self, JsonSchema, schema_for};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use tch::Tensor;

const NAME: &str = "mnist1d";
const FEATURES: usize = 40;
const CLASSES: u8 = 10;

static FILE: &[u8] = include_bytes!("mnist1d.safetensors");

/// MNIST-1D has no options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mnist1dOptions {}

pub(super) const ENTRY: Entry<Definition> = Entry {
    name: NAME,
    summary: "4,000 + 1,000 noisy one-dimensional digits of 40 values, 10 classes; embedded",
    schema: || schema_for!(Mnist1dOptions),
    build: Definition {
        load: build,
        declared: |_| Ok(declared()),
        source: Source::Embedded,
    },
};

fn declared() -> Declared {
    Declared {
        name: NAME,
        input_shape: vec![FEATURES as i64],
        classes: i64::from(CLASSES),
        train: 4000,
        test: 1000,
        ..Declared::default()
    }
}

fn build(options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    let _: Mnist1dOptions = parse(options).map_err(|error| DataError::Options {
        name: NAME,
        reason: error.to_string(),
    })?;
    // The file is part of the program, and a test reads it.
    let file = SafeTensors::deserialize(FILE).expect("the embedded file is well formed");
    let bytes = |name| file.tensor(name).expect("the embedded file has it").data();
    let split = |inputs: &[u8], classes: &[u8]| {
        let numbers: Vec<f32> = inputs
            .as_chunks()
            .0
            .iter()
            .map(|number| f32::from_le_bytes(*number))
            .collect();
        Split {
            inputs: Tensor::from_slice(&numbers)
                .view([-1, FEATURES as i64])
                .to_device(context.device)
                .into(),
            labels: labels(classes, context.device),
            normalisation: None,
        }
    };
    let [x_train, y_train, x_test, y_test] = ["x_train", "y_train", "x_test", "y_test"].map(bytes);
    Ok(Dataset {
        name: NAME.to_owned(),
        task: Task::Classes,
        classes: i64::from(CLASSES),
        class_names: Vec::new(),
        input_type: InputType::Numbers,
        target_shape: Vec::new(),
        input_shape: vec![FEATURES as i64],
        train: split(x_train, y_train),
        validation: None,
        test: split(x_test, y_test),
        augment: None,
        checksum: checksum(&[x_train, y_train, x_test, y_test]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// If this changes, every stored run on MNIST-1D gets another identity.
    const CHECKSUM: &str = "3a71a444a2daf1ba09595a4a219db915415a7a171eedea10175c88eef8025370";

    #[test]
    fn has_the_published_shapes_and_golden_bytes() {
        let context = DataContext {
            data_dir: "no-such-folder".into(),
            device: Device::Cpu,
        };
        let dataset = build(&Options::new(), &context).unwrap();
        assert_eq!(dataset.train.inputs.tensor().unwrap().size(), [4000, 40]);
        assert_eq!(dataset.test.inputs.tensor().unwrap().size(), [1000, 40]);
        assert_eq!(dataset.train.inputs.tensor().unwrap().kind(), Kind::Float);
        for split in [&dataset.train, &dataset.test] {
            assert_eq!(
                split.labels.size()[0],
                split.inputs.tensor().unwrap().size()[0]
            );
            let counts: Vec<i64> =
                Vec::try_from(split.labels.bincount(None::<Tensor>, 10)).unwrap();
            assert_eq!(counts.len(), 10);
            // The generator shuffles 500 of each class before it splits off the test set.
            let expected = split.len() / 10;
            assert!(
                counts.iter().all(|&c| (c - expected).abs() < 50),
                "{counts:?}"
            );
            assert!(bool::try_from(split.inputs.tensor().unwrap().isfinite().all()).unwrap());
        }
        assert_eq!(dataset.checksum, CHECKSUM);
    }

    #[test]
    fn takes_no_options() {
        let context = DataContext {
            data_dir: "no-such-folder".into(),
            device: Device::Cpu,
        };
        let options = serde_json::json!({"augment": {"crop": 4}});
        let error = build(options.as_object().unwrap(), &context).unwrap_err();
        assert!(error.to_string().contains("`augment`"), "{error}");
    }
}
