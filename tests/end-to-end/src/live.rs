//! A small network with real gradients, as a component sees it before training.

// Clippy knows tests, but not what they share.
#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::RefCell;

use host::data::{Dataset, Split};
use host::experiment::Train;
use host::model::{InputSpec, MODELS};
use host::registry::find;
use host::rng::{Moment, Purpose, Stream};
use host::samples::{InputType, Task};
use host::strategy::still::Still;
use host::strategy::{Scene, ServiceError};
use host::trainer::{GradientRequest, Samples, Snapshot, Trainer};
use plugin_api::abi::wire::Facts;
use plugin_api::{Batches, Phase, Point};
use serde_json::{Value, json};
use tch::{Device, Kind, Reduction, Tensor};

const CLASSES: i64 = 3;

/// A multi-layer perceptron on random inputs, before the first round of level 1.
pub struct Live {
    pub trainer: Trainer,
    pub point: Snapshot,
    /// Everything but gradients.
    pub still: Still,
    last: RefCell<Option<Samples>>,
}

/// An MLP's options and the number of its inputs.
pub fn live(inputs: i64, model: Value, seed: u64) -> Live {
    let input = InputSpec {
        shape: vec![inputs],
        classes: CLASSES,
        ..InputSpec::default()
    };
    let build = find(MODELS, "mlp").unwrap().build;
    let network = build(model.as_object().unwrap(), &input).unwrap();
    let train: Train = serde_json::from_value(json!({
        "epochs": 2,
        "batch_size": 16,
        "optimizer": {"name": "sgd", "lr": 0.1},
        "schedule": {"name": "constant"},
    }))
    .unwrap();
    let trainer = Trainer::new(network, &train, data(inputs, seed), Device::Cpu).unwrap();
    let point = trainer.initial(seed);
    let shapes: Vec<&[i64]> = trainer.layers().iter().map(|it| &it.shape[..]).collect();
    let mut still = Still::new(&shapes, seed);
    still.facts.layers = trainer.layers().to_vec();
    still.facts.phase = Phase::BeforeTraining {
        round: 0,
        rounds: 1,
    };
    let weight = |layer: &plugin_api::Layer| point.get(&layer.name).unwrap().shallow_clone();
    still.weights = trainer.layers().iter().map(weight).collect();
    Live {
        trainer,
        point,
        still,
        last: RefCell::default(),
    }
}

fn data(inputs: i64, seed: u64) -> Dataset {
    let mut stream = Stream::new(seed, Purpose::Strategy("live"), Moment::default());
    let mut split = |samples: i64| {
        let numbers: Vec<f32> = (0..samples * inputs).map(|_| stream.normal()).collect();
        let labels: Vec<i64> = (0..samples).map(|i| i % CLASSES).collect();
        Split {
            inputs: Tensor::from_slice(&numbers).view([samples, inputs]).into(),
            labels: Tensor::from_slice(&labels),
            normalisation: None,
        }
    };
    Dataset {
        name: "random".to_owned(),
        task: Task::Classes,
        classes: CLASSES,
        class_names: Vec::new(),
        input_shape: vec![inputs],
        input_type: InputType::Numbers,
        target_shape: Vec::new(),
        train: split(48),
        validation: None,
        test: split(16),
        augment: None,
        checksum: String::new(),
    }
}

impl Live {
    /// The mean cross-entropy of all training samples in f64, with these prunable weights; written
    /// without the host's network.
    pub fn loss(&self, weights: &[Tensor], temperature: f64) -> Tensor {
        let split = &self.trainer.data().train;
        let mut now = split.inputs.tensor().unwrap().to_kind(Kind::Double);
        for (number, weight) in weights.iter().enumerate() {
            if number > 0 {
                now = now.relu();
            }
            let name = &self.trainer.layers()[number].name;
            let bias = self.point.get(&name.replace("weight", "bias")).unwrap();
            now = now.matmul(&weight.tr()) + bias.to_kind(Kind::Double);
        }
        let (labels, mean) = (&split.labels, Reduction::Mean);
        (now / temperature).cross_entropy_loss::<Tensor>(labels, None, mean, -100, 0.0)
    }

    /// The same network with biases of 0.
    #[must_use]
    pub fn without_biases(mut self) -> Self {
        for (name, tensor) in &mut self.point.tensors {
            if name.ends_with(".bias") {
                *tensor = tensor.zeros_like();
            }
        }
        self
    }

    /// The weights in f64.
    pub fn doubles(&self) -> Vec<Tensor> {
        let weights = self.still.weights.iter();
        weights.map(|weight| weight.to_kind(Kind::Double)).collect()
    }

    fn request(
        &self,
        request: &plugin_api::GradientRequest,
        stream: &mut Stream,
    ) -> GradientRequest {
        let samples = match request.batches {
            Batches::Random(batches) => self.trainer.random_samples(batches, stream),
            Batches::Ones => Samples::Ones,
            Batches::Same => self.last.take().unwrap(),
            _ => self.trainer.all_samples(),
        };
        self.last.replace(Some(samples.clone()));
        GradientRequest::of(request, samples)
    }

    fn at(&self) -> Snapshot {
        let mut point = self.point.clone();
        for (layer, weight) in self.trainer.layers().iter().zip(&self.still.weights) {
            point.replace(&layer.name, weight.shallow_clone());
        }
        point
    }
}

impl Scene for Live {
    fn facts(&self) -> Facts {
        self.still.facts()
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn weights(&self) -> Vec<Tensor> {
        self.still.weights()
    }

    fn masks(&self) -> Vec<Tensor> {
        self.still.masks()
    }

    fn point_weights(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        self.still.point_weights(point)
    }

    fn points(&self) -> Vec<Point> {
        self.still.points()
    }

    fn stored_masks(&self, run: Option<&str>, level: u64) -> Result<Vec<Tensor>, ServiceError> {
        self.still.stored_masks(run, level)
    }

    fn units(&self) -> Result<&plugin_api::Units, ServiceError> {
        Ok(self.trainer.units())
    }

    fn unit_scales(&self) -> Result<Vec<Tensor>, ServiceError> {
        self.trainer
            .unit_scales(&self.at())
            .map_err(ServiceError::Other)
    }

    fn gradients(
        &self,
        request: &plugin_api::GradientRequest,
        stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        let request = self.request(request, stream);
        Ok(self
            .trainer
            .gradients(&self.at(), &self.still.masks, &request)
            .unwrap())
    }

    fn hessian_vector(
        &self,
        vectors: &[Tensor],
        request: &plugin_api::GradientRequest,
        stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        let request = self.request(request, stream);
        Ok(self
            .trainer
            .hessian_vector(&self.at(), &self.still.masks, vectors, &request)
            .unwrap())
    }
}
