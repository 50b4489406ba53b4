//! What is trained: a network, its data, and how.

use std::path::PathBuf;

use host::data::{DataContext, Dataset, Normalisation, Split};
use host::experiment::Train;
use host::model::MODELS;
use host::registry::{Options, find};
use host::samples::{InputType, Task};
use host::trainer::{OnGpu, Trainer};
use kernels::graphs::Library;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::error::BenchError;
use crate::place::Place;
use crate::settings::root;

/// Samples of a batch.
pub const BATCH: u64 = 128;

/// More epochs than are ever trained here.
const ENDLESS: u64 = 1_000_000;

/// What is trained on.
#[derive(Clone, Debug)]
pub enum Data {
    /// Files in this folder.
    Fashion(PathBuf),
    /// Part of the host.
    Mnist1d,
    /// So many random images of channels, height and width.
    Random(i64, [i64; 3]),
}

/// What is trained and how.
#[derive(Clone, Debug)]
pub struct Work {
    /// The network's name.
    pub model: &'static str,
    /// What the peer calls it.
    pub peer: &'static str,
    /// Options of the network; the peer knows the default ones only.
    pub options: Value,
    /// What it is trained on.
    pub data: Data,
    /// Arithmetic of the forward and backward pass, as experiments name it.
    pub precision: &'static str,
    /// Samples of a batch.
    pub batch: u64,
    /// Where it is trained.
    pub place: Place,
    /// Whether convolutions are computed at their survivors.
    pub sparse: bool,
    /// Whether units that are gone are left out of what is computed.
    pub compact: bool,
    /// Share of the weights that masks keep.
    pub density: f64,
}

impl Work {
    /// A network with its default options in fp32, half of it pruned.
    pub fn new(model: &'static str, data: Data) -> Self {
        Self {
            model,
            peer: model,
            options: json!({}),
            data,
            precision: "fp32",
            batch: BATCH,
            place: Place::Processors,
            sparse: false,
            compact: false,
            density: 0.5,
        }
    }

    /// The host's trainer.
    ///
    /// # Errors
    /// The host's.
    pub fn trainer(&self) -> Result<Trainer, BenchError> {
        let device = self.place.device();
        let data = self.data.load(device)?;
        let entry = find(MODELS, self.model)
            .ok_or_else(|| BenchError::Ours(format!("the host has no model `{}`", self.model)))?;
        let options: Options =
            serde_json::from_value(self.options.clone()).map_err(BenchError::ours)?;
        let spec = data.spec();
        let network = (entry.build)(&options, &spec).map_err(BenchError::ours)?;
        let train = self.train().map_err(BenchError::ours)?;
        Trainer::new(network, &train, data, device).map_err(BenchError::ours)
    }

    /// The same with steps that are recorded as graphs, as with `--cuda-graphs`; none where there is no GPU.
    ///
    /// # Errors
    /// The host's, or why there are no graphs.
    pub fn recorded(&self) -> Result<Option<Trainer>, BenchError> {
        let device = self.place.device();
        if !device.is_cuda() {
            return Ok(None);
        }
        let library = Library::get().map_err(BenchError::ours)?;
        let recorder = Box::new(OnGpu::new(library, device));
        Ok(Some(self.trainer()?.recorded_by(recorder)))
    }

    /// The task for PyTorch's process.
    pub fn for_peer(&self, trainer: &Trainer) -> Value {
        let parameters = trainer.layout().parameters();
        let parameters: Vec<_> = parameters.map(|it| json!([it.name, it.shape])).collect();
        json!({
            "model": self.peer, "shape": trainer.data().input_shape, "classes": trainer.data().classes,
            "data": self.data.for_peer(trainer.data().classes), "density": self.density,
            "batch": self.batch, "lr": self.lr(), "parameters": parameters, "device": self.place.name(),
        })
    }

    /// Small where no batch norm keeps activations in bounds: a network that died would be no work.
    fn lr(&self) -> f64 {
        if self.peer == "lenet-300-100" {
            0.01
        } else {
            0.05
        }
    }

    fn train(&self) -> Result<Train, serde_json::Error> {
        let optimizer =
            json!({"name": "sgd", "lr": self.lr(), "momentum": 0.9, "weight_decay": 5e-4});
        serde_json::from_value(json!({
            "epochs": ENDLESS, "batch_size": self.batch, "optimizer": optimizer,
            "precision": self.precision,
            "sparse_below": if self.sparse { 1.0 } else { 0.0 }, "compact": self.compact,
        }))
    }
}

impl Data {
    fn load(&self, device: Device) -> Result<Dataset, BenchError> {
        let context = DataContext {
            data_dir: PathBuf::new(),
            device,
        };
        let load = |name, options: Value| {
            let options: Options = serde_json::from_value(options).map_err(BenchError::ours)?;
            host::data::load(name, &options, &context).map_err(BenchError::ours)
        };
        match self {
            Self::Fashion(folder) => load("fashion-mnist", json!({ "dir": folder })),
            Self::Mnist1d => load("mnist1d", json!({})),
            Self::Random(samples, shape) => Ok(random(*samples, shape, device)),
        }
    }

    /// The same for PyTorch's process.
    pub fn for_peer(&self, classes: i64) -> Value {
        match self {
            Self::Fashion(folder) => json!({ "fashion": folder }),
            Self::Mnist1d => json!({ "mnist1d": root().join("host/src/data/mnist1d.safetensors") }),
            Self::Random(samples, shape) => {
                json!({ "random": [samples, shape], "classes": classes })
            }
        }
    }
}

fn random(samples: i64, shape: &[i64; 3], device: Device) -> Dataset {
    let channels = shape[0] as usize;
    let split = |samples: i64| Split {
        inputs: Tensor::randint(
            256,
            [samples, shape[0], shape[1], shape[2]],
            (Kind::Uint8, device),
        )
        .into(),
        labels: Tensor::arange(samples, (Kind::Int64, device)).remainder(10),
        normalisation: Some(Normalisation::new(
            &vec![0.5; channels],
            &vec![0.25; channels],
            device,
        )),
    };
    Dataset {
        name: "random".to_owned(),
        task: Task::Classes,
        classes: 10,
        class_names: Vec::new(),
        input_shape: shape.to_vec(),
        input_type: InputType::Numbers,
        target_shape: Vec::new(),
        train: split(samples),
        validation: None,
        test: split(BATCH as i64),
        augment: None,
        checksum: String::new(),
    }
}
