//! Inputs and targets of the single hidden neuron (Gadhikar & Burkholz 2024, arXiv:2402.19262,
//! section 2): normal inputs `x`, target `relu(x_1)`.

use super::{DataContext, DataError, Dataset, Declared, Definition, Source, Split, checksum};
use crate::registry::{Entry, Options, parse};
use crate::rng::{Moment, Purpose, Stream};
use crate::samples::{InputType, Task};
use plugin_api::schemars::{self, JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use tch::Tensor;

const NAME: &str = "hidden-neuron";

/// Options of `hidden-neuron`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HiddenNeuronOptions {
    /// Dimension of the input.
    #[schemars(range(min = 1, max = 10_000))]
    pub dimension: u64,
    /// Samples to train on, and as many to evaluate on: even, and at least twice the dimension.
    #[schemars(range(min = 2, max = 10_000_000))]
    pub samples: u64,
    /// Seed of the samples, which all seeds of an experiment share.
    pub seed: u64,
}

impl Default for HiddenNeuronOptions {
    fn default() -> Self {
        Self {
            dimension: 10,
            samples: 1000,
            seed: 0,
        }
    }
}

pub(super) const ENTRY: Entry<Definition> = Entry {
    name: NAME,
    summary: "normal inputs with relu(x_1) as target, for one hidden neuron; generated",
    schema: || schema_for!(HiddenNeuronOptions),
    build: Definition {
        load: build,
        declared,
        source: Source::Embedded,
    },
};

fn declared(options: &Options) -> Result<Declared, DataError> {
    let options = read(options)?;
    Ok(Declared {
        name: NAME,
        input_shape: vec![options.dimension as i64],
        task: Task::Numbers,
        classes: 1,
        train: options.samples as i64,
        test: options.samples as i64,
        ..Declared::default()
    })
}

fn read(options: &Options) -> Result<HiddenNeuronOptions, DataError> {
    let refuse = |reason| DataError::Options { name: NAME, reason };
    let options: HiddenNeuronOptions = parse(options).map_err(|error| refuse(error.to_string()))?;
    let HiddenNeuronOptions {
        dimension, samples, ..
    } = options;
    if dimension == 0 || samples % 2 == 1 || samples < 2 * dimension {
        return Err(refuse(format!(
            "`samples` is {samples} with a `dimension` of {dimension}, expected an even number of \
             at least twice the dimension"
        )));
    }
    Ok(options)
}

fn build(options: &Options, context: &DataContext) -> Result<Dataset, DataError> {
    let options = read(options)?;
    let dimension = options.dimension;
    let mut bytes = Vec::new();
    let mut split = |number: u64| {
        let inputs = draw(&options, number)?;
        let rows = inputs.chunks_exact(dimension as usize);
        let targets: Vec<f32> = rows.map(|row| row[0].max(0.0)).collect();
        for numbers in [&inputs, &targets] {
            bytes.push(numbers.iter().flat_map(|it| it.to_le_bytes()).collect());
        }
        Ok(Split {
            inputs: Tensor::from_slice(&inputs)
                .view([-1, dimension as i64])
                .to_device(context.device)
                .into(),
            labels: Tensor::from_slice(&targets).to_device(context.device),
            normalisation: None,
        })
    };
    let (train, test) = (split(0)?, split(1)?);
    let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    Ok(Dataset {
        name: NAME.to_owned(),
        task: Task::Numbers,
        classes: 1,
        class_names: Vec::new(),
        input_type: InputType::Numbers,
        target_shape: Vec::new(),
        input_shape: vec![dimension as i64],
        train,
        validation: None,
        test,
        augment: None,
        checksum: checksum(&bytes),
    })
}

/// Samples with mean 0 and covariance 1 to rounding: pairs `x, -x`, whitened. With one input the
/// mean over them is the mean over all inputs; with more it is nearer to it than plain samples' is.
fn draw(options: &HiddenNeuronOptions, split: u64) -> Result<Vec<f32>, DataError> {
    let (width, pairs) = (options.dimension as usize, options.samples as usize / 2);
    let moment = Moment {
        level: split,
        ..Moment::default()
    };
    let mut stream = Stream::new(options.seed, Purpose::Samples(NAME), moment);
    let mut rows: Vec<Vec<f64>> = (0..pairs)
        .map(|_| (0..width).map(|_| f64::from(stream.normal())).collect())
        .collect();
    let factor = cholesky(&rows, width).ok_or_else(|| DataError::Options {
        name: NAME,
        reason: format!("{pairs} pairs do not span {width} dimensions: expected more `samples`"),
    })?;
    for row in &mut rows {
        // Solves `factor x = row` from the top.
        for i in 0..width {
            let known: f64 = (0..i).map(|j| factor[i][j] * row[j]).sum();
            row[i] = (row[i] - known) / factor[i][i];
        }
    }
    let mirrored = |row: Vec<f64>| {
        [1.0, -1.0].map(|sign| {
            row.iter()
                .map(move |x| (sign * x) as f32)
                .collect::<Vec<_>>()
        })
    };
    Ok(rows.into_iter().flat_map(mirrored).flatten().collect())
}

/// The lower triangle L with L L^T = the rows' covariance; none if it is singular.
fn cholesky(rows: &[Vec<f64>], width: usize) -> Option<Vec<Vec<f64>>> {
    let mut factor = vec![vec![0.0; width]; width];
    for i in 0..width {
        for j in 0..=i {
            let product: f64 = rows.iter().map(|row| row[i] * row[j]).sum();
            let known: f64 = (0..j).map(|k| factor[i][k] * factor[j][k]).sum();
            let left = product / rows.len() as f64 - known;
            factor[i][j] = match i == j {
                true if left <= 1e-9 => return None,
                true => left.sqrt(),
                false => left / factor[j][j],
            };
        }
    }
    Some(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn load(options: serde_json::Value) -> Result<Dataset, DataError> {
        let context = DataContext {
            data_dir: "no-such-folder".into(),
            device: Device::Cpu,
        };
        build(options.as_object().unwrap(), &context)
    }

    #[test]
    fn samples_are_white_come_in_pairs_and_have_the_relu_of_the_first_value_as_target() {
        let data = load(serde_json::json!({"dimension": 4, "samples": 60})).unwrap();
        for split in [&data.train, &data.test] {
            assert_eq!(split.inputs.tensor().unwrap().size(), [60, 4]);
            let x = split.inputs.tensor().unwrap().to_kind(Kind::Double);
            let identity = Tensor::eye(4, (Kind::Double, Device::Cpu));
            let covariance = x.transpose(0, 1).matmul(&x) / 60.0;
            assert!((covariance - identity).abs().max().double_value(&[]) < 1e-6);
            assert_eq!(x.sum(Kind::Double).double_value(&[]), 0.0);
            assert_eq!(x.get(6), -x.get(7));
            assert_eq!(
                split.labels,
                split.inputs.tensor().unwrap().select(1, 0).relu()
            );
        }
        assert_ne!(data.train.inputs.tensor(), data.test.inputs.tensor());
    }

    #[test]
    fn the_seed_decides_the_samples() {
        let sum = |seed: u64| load(serde_json::json!({ "seed": seed })).unwrap().checksum;
        assert_eq!(sum(1), sum(1));
        assert_ne!(sum(1), sum(2));
    }

    #[test]
    fn too_few_or_an_odd_number_of_samples_are_refused() {
        for samples in [18, 1001] {
            let error = load(serde_json::json!({ "samples": samples })).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(&format!("`samples` is {samples}")),
                "{message}"
            );
        }
    }
}
