//! Losses and counts of samples with several targets, through whole steps and evaluations.

use serde_json::json;
use tch::{Device, Kind, Reduction};

use super::*;
use crate::data::{Inputs, Split};
use crate::model::{Graph, Init, Mode, Network, Operation, Parameter, Role};
use crate::trainer::testing::{LaneMlp, dataset, start, train};
use crate::trainer::{GradientRequest, LaneStart, On, Samples, Session, Trainer};

/// One linear layer at each position: `[batch, channels, length]` to `[batch, classes, length]`.
struct AtPositions(Vec<Parameter>);

impl AtPositions {
    fn new(channels: i64, classes: i64) -> Self {
        Self(vec![Parameter {
            name: "head.weight".to_owned(),
            shape: vec![classes, channels],
            role: Role::Weight(plugin_api::LayerKind::Linear),
            init: Init::Normal(0.4),
        }])
    }
}

impl Network for AtPositions {
    fn parameters(&self) -> &[Parameter] {
        &self.0
    }

    fn buffers(&self) -> &[crate::model::Buffer] {
        &[]
    }

    fn graph(&self) -> Graph {
        let (mut graph, input) = Graph::of_input();
        graph.add(Operation::Linear {
            layer: "head".to_owned(),
            bias: false,
            from: input,
        });
        graph
    }

    fn forward(&self, p: &[Tensor], _: &[Tensor], input: &Tensor, _: Mode<'_>) -> Tensor {
        let none = None::<&Tensor>;
        input.conv1d(&p[0].unsqueeze(-1), none, [1], [0], [1], 1)
    }
}

const LENGTH: i64 = 6;

/// A class at each of six positions: that of the channel with the largest value.
fn positions_trainer(keys: serde_json::Value) -> Trainer {
    let mut data = dataset(&[5, LENGTH], 4, 103, 57);
    for split in [&mut data.train, &mut data.test] {
        let inputs = split.inputs.tensor().unwrap().narrow(1, 0, 4);
        split.labels = inputs.argmax(1, false);
    }
    data.target_shape = vec![LENGTH];
    let network = Box::new(AtPositions::new(5, 4));
    Trainer::new(network, &train(keys), data, Device::Cpu).unwrap()
}

/// Three labels: whether the first three features are above a half.
fn labels_trainer(keys: serde_json::Value) -> Trainer {
    let mut data = dataset(&[7], 3, 103, 57);
    let labelled = |split: &Split| match &split.inputs {
        Inputs::Memory(inputs) => inputs.narrow(1, 0, 3).gt(0.5).to_kind(Kind::Float),
        _ => unreachable!("they are in memory"),
    };
    for split in [&mut data.train, &mut data.test] {
        split.labels = labelled(split);
    }
    (data.task, data.target_shape) = (Task::Labels, vec![3]);
    let network = Box::new(LaneMlp::new(7, &[9], 3));
    let mut keys = keys;
    keys["loss"] = json!("binary-cross-entropy");
    Trainer::new(network, &train(keys), data, Device::Cpu).unwrap()
}

fn dense(trainer: &Trainer, seed: u64) -> LaneStart {
    LaneStart {
        mask: trainer.dense_mask(),
        ..start(trainer, seed)
    }
}

#[test]
fn a_step_over_positions_is_a_plain_one_on_the_mean_over_all_of_them() {
    let keys = json!({
        "label_smoothing": 0.1, "batch_size": 103, "schedule": {"name": "constant"},
        "optimizer": {"name": "sgd", "lr": 0.3, "momentum": 0.0},
    });
    let trainer = positions_trainer(keys);
    let mut session = trainer.session(vec![dense(&trainer, 3)]).unwrap();
    let before = session.snapshot(0).unwrap();
    let evaluated = session.evaluate(On::Train).unwrap().remove(0);
    session.step().unwrap();
    let record = session.finish_epoch().unwrap().remove(0);
    let split = &trainer.data().train;
    let leaf = before.get("head.weight").unwrap().to_kind(Kind::Double);
    let leaf = leaf.set_requires_grad(true);
    let x = split.inputs.tensor().unwrap().to_kind(Kind::Double);
    let outputs = leaf.matmul(&x);
    let loss = |smoothing| {
        outputs.cross_entropy_loss::<Tensor>(&split.labels, None, Reduction::Mean, -100, smoothing)
    };
    let smoothed = loss(0.1);
    assert!((record.loss - smoothed.double_value(&[])).abs() < 1e-6);
    assert!((evaluated.loss - loss(0.0).double_value(&[])).abs() < 1e-6);
    let right = outputs.argmax(1, false).eq_tensor(&split.labels);
    let right = right.sum(Kind::Int64).int64_value(&[]) as u64;
    assert_eq!((evaluated.correct, evaluated.samples), (right, 103 * 6));
    assert_eq!(record.accuracy, right as f64 / (103.0 * 6.0));
    let slope = Tensor::run_backward(&[&smoothed], &[&leaf], false, false).remove(0);
    let expected = leaf.detach() - &slope * 0.3;
    let after = session.snapshot(0).unwrap();
    let error = (after.get("head.weight").unwrap() - expected).abs().max();
    assert!(error.double_value(&[]) < 1e-6);
    let request = GradientRequest {
        loss: plugin_api::Loss::CrossEntropy,
        samples: Samples::Training((0..103).collect()),
        on_absolute_weights: false,
        eval_mode: true,
        temperature: 1.0,
        double_precision: true,
        dense: true,
    };
    let mask = trainer.dense_mask();
    let asked = trainer.gradients(&before, &mask, &request).unwrap();
    assert!((&asked[0] - &slope).abs().max().double_value(&[]) < 1e-9);
    // An input of ones has outputs, too.
    let ones = GradientRequest {
        loss: plugin_api::Loss::SumOfOutputs,
        samples: Samples::Ones,
        ..request
    };
    let asked = trainer.gradients(&before, &mask, &ones).unwrap();
    assert_eq!(asked[0].double_value(&[1, 2]), LENGTH as f64);
}

#[test]
fn metrics_of_positions_count_each_of_them() {
    let metrics = json!({"metrics": ["perplexity", "nll", "per-class", "confusion", "ece"]});
    let trainer = positions_trainer(metrics);
    let session = trainer.session(vec![dense(&trainer, 3)]).unwrap();
    let tested = session.test_unless(&|| false).unwrap().unwrap().remove(0);
    let (nll, loss) = (tested.metrics.nll.unwrap(), tested.evaluation.loss);
    assert!((nll - loss).abs() < 1e-6, "{nll} {loss}");
    assert_eq!(tested.metrics.perplexity, Some(nll.exp()));
    let split = &trainer.data().test;
    for (class, counts) in (0i64..).zip(&tested.metrics.classes) {
        let all = split.labels.eq(class).sum(Kind::Int64).int64_value(&[]);
        assert_eq!(counts.targets, all as u64);
        let taken: u64 = counts.predicted.iter().flatten().sum();
        assert_eq!(taken, counts.targets);
    }
    assert_eq!(tested.evaluation.samples, 57 * 6);
}

#[test]
fn a_step_on_several_labels_is_a_plain_one_on_the_mean_over_all_of_them() {
    let keys = json!({
        "batch_size": 103, "schedule": {"name": "constant"}, "metrics": ["per-class"],
        "optimizer": {"name": "sgd", "lr": 0.3, "momentum": 0.0},
    });
    let trainer = labels_trainer(keys);
    let starts = || vec![dense(&trainer, 1), dense(&trainer, 2)];
    let mut session = trainer.session(starts()).unwrap();
    let before = [0, 1].map(|lane| session.snapshot(lane).unwrap());
    let tested = session.test_unless(&|| false).unwrap().unwrap();
    session.step().unwrap();
    let records = session.finish_epoch().unwrap();
    for lane in [0usize, 1] {
        let point = &before[lane];
        let request = GradientRequest {
            loss: plugin_api::Loss::CrossEntropy,
            samples: Samples::Training((0..103).collect()),
            on_absolute_weights: false,
            eval_mode: false,
            temperature: 1.0,
            double_precision: true,
            dense: true,
        };
        let slopes = (trainer.gradients(point, &trainer.dense_mask(), &request)).unwrap();
        let after = session.snapshot(lane).unwrap();
        for (layer, slope) in trainer.layers().iter().zip(&slopes) {
            let moved = after.get(&layer.name).unwrap() - point.get(&layer.name).unwrap();
            let error = (moved + slope * 0.3).abs().max().double_value(&[]);
            assert!(error < 1e-6, "{}: {error}", layer.name);
        }
        // In evaluation, by the network itself.
        let outputs = outputs_of(&trainer, point, &trainer.data().test);
        let labels = &trainer.data().test.labels;
        let right = outputs.gt(0.0).eq_tensor(&labels.gt(0.5));
        let count = |tensor: Tensor| tensor.sum(Kind::Int64).int64_value(&[]) as u64;
        let tested = &tested[lane];
        assert_eq!(tested.evaluation.correct, count(right.shallow_clone()));
        assert_eq!(tested.evaluation.samples, 57 * 3);
        for (label, counts) in (0..).zip(&tested.metrics.classes) {
            assert_eq!(
                (counts.targets, counts.correct),
                (57, Some(count(right.select(1, label))))
            );
        }
        let loss =
            outputs.binary_cross_entropy_with_logits::<Tensor>(labels, None, None, Reduction::Mean);
        assert!((tested.evaluation.loss - loss.double_value(&[])).abs() < 1e-6);
        assert!(records[lane].loss > 0.0 && records[lane].accuracy < 1.0);
    }
}

fn outputs_of(trainer: &Trainer, point: &crate::trainer::Snapshot, split: &Split) -> Tensor {
    let (flat, statistics) = trainer.lay_out(std::slice::from_ref(point)).unwrap();
    let parameters = trainer.layout().views(&flat);
    let inputs = split.inputs.tensor().unwrap().unsqueeze(0);
    let network = &trainer.network;
    let outputs = network.forward(&parameters, &statistics, &inputs, Mode::Eval);
    outputs.squeeze_dim(0)
}

#[test]
fn several_targets_go_on_from_a_checkpoint_with_the_same_bytes() {
    for trainer in [positions_trainer(json!({})), labels_trainer(json!({}))] {
        let finish = |session: &mut Session<'_>| {
            let mut records = Vec::new();
            while !session.is_complete() {
                while !session.is_epoch_complete() {
                    session.step().unwrap();
                }
                records.extend(session.finish_epoch().unwrap());
            }
            (records, session.snapshot(0).unwrap())
        };
        let mut whole = trainer.session(vec![start(&trainer, 5)]).unwrap();
        let mut first = trainer.session(vec![start(&trainer, 5)]).unwrap();
        for _ in 0..3 {
            first.step().unwrap();
        }
        let resumed = LaneStart {
            point: first.snapshot(0).unwrap(),
            optimizer: first.optimizer_state(0).unwrap(),
            resume: Some(first.progress(0).unwrap()),
            ..start(&trainer, 5)
        };
        let mut second = trainer.session(vec![resumed]).unwrap();
        assert_eq!(finish(&mut second), finish(&mut whole));
    }
}

#[test]
fn outputs_of_another_shape_are_refused_with_what_is_expected() {
    let outputs = Tensor::zeros([1, 9, 4], tch::kind::FLOAT_CPU);
    let error = Targets::Positions.rows(&outputs).unwrap_err().to_string();
    let expected = "the network's outputs have shape [9, 4], expected [batch, classes, length] for targets that are classes at positions";
    assert!(error.ends_with(expected), "{error}");
    let outputs = Tensor::zeros([1, 9, 4, 6], tch::kind::FLOAT_CPU);
    let error = Targets::Classes.rows(&outputs).unwrap_err().to_string();
    assert!(
        error.ends_with("[9, 4, 6], expected [batch, classes] for targets that are classes"),
        "{error}"
    );
}
