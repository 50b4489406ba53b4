//! Small networks and data for the trainer's tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kernels::shim;
use plugin_api::LayerKind;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::{LaneStart, OptimizerState, Session, Trainer};
use crate::data::{Augment, Dataset, Normalisation, Split};
use crate::experiment::Train;
use crate::model::{Buffer, Graph, Init, MODELS, Mode, Network, Operation, Parameter, Role, Value};
use crate::registry::find;
use crate::rng::{Moment, Purpose, Stream};
use crate::samples::{InputType, Task};

fn parameter(name: String, shape: &[i64], role: Role, init: Init) -> Parameter {
    Parameter {
        name,
        shape: shape.to_vec(),
        role,
        init,
    }
}

fn norm(name: &str, features: i64) -> ([Parameter; 2], [Buffer; 2]) {
    let buffer = |suffix: &str, initial| Buffer {
        name: format!("{name}.{suffix}"),
        features,
        initial,
        values: None,
        momentum: Some(crate::model::NORM_MOMENTUM),
    };
    (
        [
            parameter(
                format!("{name}.weight"),
                &[features],
                Role::NormWeight,
                Init::Constant(1.0),
            ),
            parameter(
                format!("{name}.bias"),
                &[features],
                Role::NormBias,
                Init::Constant(0.0),
            ),
        ],
        [buffer("running_mean", 0.0), buffer("running_var", 1.0)],
    )
}

/// Adds a linear layer with bias.
fn linear(graph: &mut Graph, layer: &str, from: Value) -> Value {
    graph.add(Operation::Linear {
        layer: layer.to_owned(),
        bias: true,
        from,
    })
}

/// An MLP with batch norm and y / sqrt(1 + y^2) whose lanes are batched products.
///
/// The activation is smooth, for finite differences, and made of single correctly rounded operations:
/// libtorch's tanh rounds otherwise where a row's end is not a whole vector.
pub struct LaneMlp {
    parameters: Vec<Parameter>,
    buffers: Vec<Buffer>,
    layers: usize,
}

impl LaneMlp {
    pub fn new(inputs: i64, hidden: &[i64], classes: i64) -> Self {
        let (mut parameters, mut buffers, mut fan_in) = (Vec::new(), Vec::new(), inputs);
        for (i, &out) in hidden.iter().chain([&classes]).enumerate() {
            let normal = Init::Normal((1.0 / fan_in as f64).sqrt());
            let role = Role::Weight(LayerKind::Linear);
            parameters.push(parameter(
                format!("fc{i}.weight"),
                &[out, fan_in],
                role,
                normal,
            ));
            parameters.push(parameter(
                format!("fc{i}.bias"),
                &[out],
                Role::Bias,
                Init::Uniform(0.1),
            ));
            if i < hidden.len() {
                let (affine, statistics) = norm(&format!("bn{i}"), out);
                parameters.extend(affine);
                buffers.extend(statistics);
            }
            fan_in = out;
        }
        Self {
            parameters,
            buffers,
            layers: hidden.len(),
        }
    }
}

impl Network for LaneMlp {
    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    // No operation is its activation. Without it the connections are the same, and nobody takes it for a
    // perceptron with ReLUs.
    fn graph(&self) -> Graph {
        let (mut graph, mut at) = Graph::of_input();
        for layer in 0..=self.layers {
            at = linear(&mut graph, &format!("fc{layer}"), at);
            if layer < self.layers {
                let layer = format!("bn{layer}");
                at = graph.add(Operation::Norm { layer, from: at });
            }
        }
        graph
    }

    fn lanes(&self) -> bool {
        true
    }

    fn forward(&self, p: &[Tensor], b: &[Tensor], input: &Tensor, mode: Mode<'_>) -> Tensor {
        // [lanes, features, batch]: sums over samples run along memory.
        let mut x = input.transpose(1, 2);
        let linear = |x: &Tensor, at: usize| shim::lane_linear(&p[at + 1], &p[at], x).unwrap();
        for layer in 0..self.layers {
            let at = 4 * layer;
            let y = linear(&x, at).contiguous();
            let (mean, variance) = match mode {
                Mode::Eval => (b[2 * layer].unsqueeze(2), b[2 * layer + 1].unsqueeze(2)),
                Mode::Train(_) => {
                    let mean = y.mean_dim([2i64].as_slice(), true, Kind::Float);
                    let centred = &y - &mean;
                    let variance =
                        (&centred * &centred).mean_dim([2i64].as_slice(), true, Kind::Float);
                    tch::no_grad(|| {
                        let n = y.size()[2] as f64;
                        let update = |running: &Tensor, new: Tensor| {
                            let mut running = running.shallow_clone();
                            let next = &running * 0.9 + new.detach().squeeze_dim(2) * 0.1;
                            running.copy_(&next);
                        };
                        update(&b[2 * layer], mean.shallow_clone());
                        update(&b[2 * layer + 1], &variance * (n / (n - 1.0)));
                    });
                    (mean, variance)
                }
            };
            let scale = p[at + 2].unsqueeze(2) / (variance + 1e-5).sqrt();
            let y = (y - mean) * scale + p[at + 3].unsqueeze(2);
            x = &y / (&y * &y + 1.0).sqrt();
        }
        linear(&x, 4 * self.layers).transpose(1, 2).contiguous()
    }
}

/// Two convolutions with batch norm and a linear layer, on `[3, 6, 6]` inputs with 4 classes.
pub struct ConvNet {
    parameters: Vec<Parameter>,
    buffers: Vec<Buffer>,
}

impl ConvNet {
    pub fn new() -> Self {
        let conv = |name: &str, shape: &[i64]| {
            let fan_in: i64 = shape[1..].iter().product();
            let init = Init::Normal((2.0 / fan_in as f64).sqrt());
            let kind = if shape.len() == 4 {
                LayerKind::Conv2d
            } else {
                LayerKind::Linear
            };
            parameter(name.to_owned(), shape, Role::Weight(kind), init)
        };
        let (norm1, stats1) = norm("bn1", 8);
        let (norm2, stats2) = norm("bn2", 6);
        let mut parameters = vec![conv("conv1.weight", &[8, 3, 3, 2])];
        parameters.extend(norm1);
        parameters.push(conv("conv2.weight", &[6, 8, 3, 3]));
        parameters.extend(norm2);
        parameters.push(conv("fc.weight", &[4, 6]));
        parameters.push(parameter(
            "fc.bias".to_owned(),
            &[4],
            Role::Bias,
            Init::Constant(0.0),
        ));
        Self {
            parameters,
            buffers: stats1.into_iter().chain(stats2).collect(),
        }
    }
}

impl Network for ConvNet {
    fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    fn graph(&self) -> Graph {
        let (mut graph, mut at) = Graph::of_input();
        for (number, stride) in [(1, 1), (2, 2)] {
            at = graph.add(Operation::Convolution {
                layer: format!("conv{number}"),
                bias: false,
                stride,
                padding: 1,
                from: at,
            });
            let layer = format!("bn{number}");
            at = graph.add(Operation::Norm { layer, from: at });
            at = graph.add(Operation::Relu(at));
        }
        at = graph.add(Operation::Mean(at));
        linear(&mut graph, "fc", at);
        graph
    }

    fn channels_last(&self) -> bool {
        true
    }

    fn forward(&self, p: &[Tensor], b: &[Tensor], input: &Tensor, mode: Mode<'_>) -> Tensor {
        let train = matches!(mode, Mode::Train(_));
        let norm = |x: Tensor, p: &[Tensor], b: &[Tensor]| {
            x.batch_norm(
                Some(&p[0]),
                Some(&p[1]),
                Some(&b[0]),
                Some(&b[1]),
                train,
                0.1,
                1e-5,
                false,
            )
        };
        let none = None::<&Tensor>;
        let x = input.conv2d(&p[0], none, [1, 1], [1, 1], [1, 1], 1);
        let x = norm(x, &p[1..3], &b[..2]).relu();
        let x = x.conv2d(&p[3], none, [2, 2], [1, 1], [1, 1], 1);
        let x = norm(x, &p[4..6], &b[2..]).relu();
        x.mean_dim([2i64, 3].as_slice(), false, Kind::Float)
            .linear(&p[6], Some(&p[7]))
    }
}

/// Samples of classes that can be told apart by their first feature values.
pub fn dataset(shape: &[i64], classes: i64, train: i64, test: i64) -> Dataset {
    let mut stream = Stream::new(9, Purpose::Strategy("test data"), Moment::default());
    let mut split = |samples: i64| {
        let features: i64 = shape.iter().product();
        let (mut inputs, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..samples {
            let label = stream.below(classes as u64) as i64;
            labels.push(label);
            for feature in 0..features {
                let signal = if feature % classes == label { 1.5 } else { 0.0 };
                inputs.push(stream.normal() + signal);
            }
        }
        Split {
            inputs: Tensor::from_slice(&inputs)
                .view(&[&[samples], shape].concat()[..])
                .into(),
            labels: Tensor::from_slice(&labels),
            normalisation: None,
        }
    };
    Dataset {
        name: "synthetic".to_owned(),
        task: Task::Classes,
        classes,
        class_names: Vec::new(),
        input_shape: shape.to_vec(),
        input_type: InputType::Numbers,
        target_shape: Vec::new(),
        train: split(train),
        validation: None,
        test: split(test),
        augment: None,
        checksum: String::new(),
    }
}

/// A `[train]` table with these keys on top of two epochs in batches of 25.
pub fn train(keys: serde_json::Value) -> Train {
    let mut table = json!({
        "epochs": 2, "batch_size": 25,
        "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
        "schedule": {"name": "cosine", "warmup": "3it"},
    });
    for (key, value) in keys.as_object().unwrap() {
        table[key] = value.clone();
    }
    serde_json::from_value(table).unwrap()
}

/// While it lives, no other test that takes it chooses how many threads compute: a library that computes products has
/// one number for the whole process.
pub fn alone_with_threads() -> MutexGuard<'static, ()> {
    static CHOSEN: Mutex<()> = Mutex::new(());
    CHOSEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lanes on 7 features, and a last batch of 7 samples: nothing is a multiple of a vector's width.
pub fn mlp_trainer(keys: serde_json::Value) -> Trainer {
    let network = Box::new(LaneMlp::new(7, &[13, 9], 5));
    Trainer::new(
        network,
        &train(keys),
        dataset(&[7], 5, 207, 101),
        Device::Cpu,
    )
    .unwrap()
}

pub fn conv_trainer(keys: serde_json::Value) -> Trainer {
    let data = dataset(&[3, 6, 6], 4, 107, 61);
    Trainer::new(Box::new(ConvNet::new()), &train(keys), data, Device::Cpu).unwrap()
}

/// The same network on augmented images.
pub fn image_trainer(keys: serde_json::Value) -> Trainer {
    let mut data = dataset(&[3, 6, 6], 4, 107, 61);
    for split in [&mut data.train, &mut data.test] {
        let inputs = split.inputs.tensor().unwrap();
        let pixels = (inputs * 40.0 + 100.0).clamp(0.0, 255.0);
        split.inputs = pixels.to_kind(Kind::Uint8).into();
        split.normalisation = Some(Normalisation::new(&[0.4; 3], &[0.2; 3], Device::Cpu));
    }
    data.augment = Some(Augment {
        crop: 1,
        flip: true,
    });
    Trainer::new(Box::new(ConvNet::new()), &train(keys), data, Device::Cpu).unwrap()
}

/// One of the shipped models, with dropout.
pub fn dropout_trainer(model: &str, dropout: f64, keys: serde_json::Value) -> Trainer {
    let data = dataset(&[7], 5, 207, 101);
    let spec = data.spec();
    let options = json!({"dropout": dropout}).as_object().unwrap().clone();
    let network = (find(MODELS, model).unwrap().build)(&options, &spec).unwrap();
    Trainer::new(network, &train(keys), data, Device::Cpu).unwrap()
}

/// One of the shipped models on small inputs of 4 classes.
pub fn shipped_trainer(
    model: &str,
    options: serde_json::Value,
    shape: &[i64],
    keys: serde_json::Value,
) -> Trainer {
    let data = dataset(shape, 4, 60, 40);
    let options = options.as_object().unwrap();
    let network = (find(MODELS, model).unwrap().build)(options, &data.spec());
    Trainer::new(network.unwrap(), &train(keys), data, Device::Cpu).unwrap()
}

/// Masks that prune about half of each layer, by this seed.
pub fn random_mask(trainer: &Trainer, seed: u64) -> Vec<Tensor> {
    let mask = |layer: &plugin_api::Layer| {
        let mut stream = Stream::new(seed, Purpose::Strategy(&layer.name), Moment::default());
        let draw = |_| f32::from(u8::from(stream.uniform() < 0.5));
        let values: Vec<f32> = (0..layer.len()).map(draw).collect();
        Tensor::from_slice(&values).view(&layer.shape[..])
    };
    trainer.layers().iter().map(mask).collect()
}

/// Makes the first pruned weight of a lane 1, which no step does.
pub fn revive(session: &Session<'_>, lane: i64) {
    let off = session.buffers.mask.select(0, lane).eq(0.0);
    let layer = &session.trainer.layout.prunable(&off)[0];
    let index = layer.reshape([-1]).nonzero().int64_value(&[0, 0]);
    let weights = session
        .trainer
        .layout
        .prunable(&session.buffers.weights.select(0, lane));
    let _ = weights[0].reshape([-1]).narrow(0, index, 1).fill_(1.0);
}

/// The start of a level from the seed's initial weights.
pub fn start(trainer: &Trainer, seed: u64) -> LaneStart {
    LaneStart {
        seed,
        order_level: 1,
        point: trainer.initial(seed),
        mask: random_mask(trainer, seed),
        optimizer: OptimizerState::default(),
        schedule_start: 0,
        hold: None,
        resume: None,
    }
}
