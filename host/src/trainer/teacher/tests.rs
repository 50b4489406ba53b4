//! Steps of networks that are taught, against autograd in double precision.

use serde_json::json;
use tch::Reduction;

use super::*;
use crate::registry::find;
use crate::samples::InputSpec;
use crate::trainer::testing::{conv_trainer, dataset, dropout_trainer, mlp_trainer, start, train};
use crate::trainer::{LaneStart, On, Session};

fn taught(more: serde_json::Value) -> serde_json::Value {
    let mut keys = json!({
        "loss": {"name": "distillation", "run": "runs/teacher", "temperature": 3.0, "alpha": 0.7},
    });
    for (key, value) in more.as_object().unwrap() {
        keys[key] = value.clone();
    }
    keys
}

/// A shipped network for 7 values and 5 classes, with what it starts from for each of these seeds.
fn teacher(model: &str, seeds: &[u64]) -> Teacher {
    let own = dropout_trainer(model, 0.0, json!({}));
    let mut teacher = Teacher {
        network: network(model),
        layout: Layout::new(&*network(model), false),
        channels_last: false,
        precision: Precision::Fp32,
        device: Device::Cpu,
        points: BTreeMap::new(),
    };
    for &seed in seeds {
        teacher.take(seed, &own.initial(100 + seed)).unwrap();
    }
    teacher
}

fn network(model: &str) -> Box<dyn Network> {
    let spec = InputSpec {
        shape: vec![7],
        classes: 5,
        ..InputSpec::default()
    };
    (find(MODELS, model).unwrap().build)(&Default::default(), &spec).unwrap()
}

fn dense(trainer: &Trainer, seed: u64) -> LaneStart {
    LaneStart {
        mask: trainer.dense_mask(),
        ..start(trainer, seed)
    }
}

/// A network's outputs in f64, with leaves for its parameters.
fn outputs(
    trainer: &Trainer,
    point: &Snapshot,
    inputs: &Tensor,
    mode: Mode<'_>,
) -> (Vec<Tensor>, Tensor) {
    let (flat, statistics) = trainer.lay_out(std::slice::from_ref(point)).unwrap();
    let leaf = |view: Tensor| view.to_kind(Kind::Double).detach().set_requires_grad(true);
    let views = trainer.layout().views(&flat);
    let leaves: Vec<Tensor> = views.into_iter().map(leaf).collect();
    let statistics: Vec<Tensor> = statistics
        .iter()
        .map(|it| it.to_kind(Kind::Double))
        .collect();
    let inputs = inputs.to_kind(Kind::Double).unsqueeze(0);
    let outputs = (trainer.network).forward(&leaves, &statistics, &inputs, mode);
    (leaves, outputs.squeeze_dim(0))
}

#[test]
fn a_step_is_a_plain_one_on_the_loss_of_hinton_vinyals_and_dean() {
    let more = json!({
        "batch_size": 207, "schedule": {"name": "constant"}, "label_smoothing": 0.1,
        "optimizer": {"name": "sgd", "lr": 0.5, "momentum": 0.0},
    });
    // A teacher of another kind, and a student whose seeds are lanes.
    let trainer =
        dropout_trainer("mlp", 0.0, taught(more)).taught_by(teacher("lenet-300-100", &[1, 2]));
    let starts = vec![dense(&trainer, 1), dense(&trainer, 2)];
    let mut session = trainer.session(starts).unwrap();
    let before = [0, 1].map(|lane| session.snapshot(lane).unwrap());
    session.step().unwrap();
    let records = session.finish_epoch().unwrap();
    let split = &trainer.data().train;
    let inputs = split.inputs.tensor().unwrap();
    let lenet = dropout_trainer("lenet-300-100", 0.0, json!({}));
    for (lane, seed) in [(0, 1u64), (1, 2)] {
        let its = outputs(&lenet, &lenet.initial(100 + seed), inputs, Mode::Eval)
            .1
            .detach();
        let (leaves, own) = outputs(
            &trainer,
            &before[lane],
            inputs,
            Mode::Train(crate::model::Keys::NONE),
        );
        let goals = (its / 3.0).softmax(-1, Kind::Double);
        let apart =
            (&own / 3.0)
                .log_softmax(-1, Kind::Double)
                .kl_div(&goals, Reduction::Sum, false);
        let hard = own.cross_entropy_loss::<Tensor>(&split.labels, None, Reduction::Sum, -100, 0.1);
        let loss = (apart * (0.7 * 9.0) + hard * 0.3) / 207.0;
        let record = &records[lane];
        assert!(
            (record.loss - loss.double_value(&[])).abs() < 1e-6,
            "{}",
            record.loss
        );
        let slopes = Tensor::run_backward(&[&loss], &leaves, false, false);
        let after = session.snapshot(lane).unwrap();
        let names = trainer.layout().parameters();
        for ((parameter, leaf), slope) in names.zip(&leaves).zip(&slopes) {
            let expected = (leaf.detach() - slope * 0.5).squeeze_dim(0);
            let error = (after.get(&parameter.name).unwrap() - expected).abs().max();
            assert!(error.double_value(&[]) < 2e-6, "{}", parameter.name);
        }
    }
}

#[test]
fn a_lane_has_the_bytes_that_it_has_alone_on_any_number_of_threads() {
    let _alone = crate::trainer::testing::alone_with_threads();
    let advance = |session: &mut Session<'_>| {
        for _ in 0..5 {
            session.step().unwrap();
        }
    };
    for teaches in ["lenet-300-100", "mlp"] {
        let make = || mlp_trainer(taught(json!({}))).taught_by(teacher(teaches, &[1, 2, 3]));
        let trainer = make();
        assert!(!trainer.depends_on_threads());
        tch::set_num_threads(2);
        let all = [1, 2, 3].map(|seed| start(&trainer, seed));
        let mut together = trainer.session(all.into()).unwrap();
        advance(&mut together);
        tch::set_num_threads(1);
        for (lane, seed) in (0..).zip([1, 2, 3]) {
            let trainer = make();
            let mut alone = trainer.session(vec![start(&trainer, seed)]).unwrap();
            advance(&mut alone);
            assert_eq!(alone.snapshot(0).unwrap(), together.snapshot(lane).unwrap());
        }
    }
}

#[test]
fn going_on_gives_the_same_bytes_and_the_teacher_stays_as_it_is() {
    let trainer = mlp_trainer(taught(json!({}))).taught_by(teacher("mlp", &[4]));
    let weights = |trainer: &Trainer| {
        let (parameters, statistics) = &trainer.teacher.as_ref().unwrap().points[&4];
        let all = parameters.iter().chain(statistics);
        all.map(Tensor::copy).collect::<Vec<_>>()
    };
    let before = weights(&trainer);
    let mut whole = trainer.session(vec![start(&trainer, 4)]).unwrap();
    let mut first = trainer.session(vec![start(&trainer, 4)]).unwrap();
    for _ in 0..4 {
        whole.step().unwrap();
        first.step().unwrap();
    }
    let resumed = LaneStart {
        point: first.snapshot(0).unwrap(),
        optimizer: first.optimizer_state(0).unwrap(),
        resume: Some(first.progress(0).unwrap()),
        ..start(&trainer, 4)
    };
    let mut second = trainer.session(vec![resumed]).unwrap();
    for _ in 0..3 {
        whole.step().unwrap();
        second.step().unwrap();
    }
    assert_eq!(second.snapshot(0).unwrap(), whole.snapshot(0).unwrap());
    assert_eq!(weights(&trainer), before);
    // Evaluation asks nobody: it is that of the same network without a teacher.
    let plain = mlp_trainer(json!({}));
    let point = whole.snapshot(0).unwrap();
    let points = std::slice::from_ref(&point);
    let expected = plain.evaluate(points, On::Test).unwrap();
    assert_eq!(trainer.evaluate(points, On::Test).unwrap(), expected);
}

#[test]
fn a_teacher_takes_images_in_the_memory_order_of_its_own() {
    let data = dataset(&[3, 6, 6], 4, 107, 61);
    let network = || Box::new(crate::trainer::testing::ConvNet::new());
    for (own, its) in [(true, false), (false, true), (true, true)] {
        let keys = taught(json!({"channels_last": own}));
        let trainer = conv_trainer(keys);
        let mut teacher = Teacher {
            layout: Layout::new(&*network(), its),
            network: network(),
            channels_last: its,
            precision: Precision::Fp32,
            device: Device::Cpu,
            points: BTreeMap::new(),
        };
        let point = trainer.initial(8);
        teacher.take(1, &point).unwrap();
        let input = data.train.inputs.tensor().unwrap().narrow(0, 0, 9);
        let arranged = trainer.arrange(input.shallow_clone(), 1).unwrap();
        let said = teacher.logits(1, &arranged).unwrap();
        let tensors: Vec<Tensor> = point.tensors.iter().map(|(_, t)| t.copy()).collect();
        let (parameters, statistics) = tensors.split_at(tensors.len() - 4);
        let expected = network().forward(parameters, statistics, &input, Mode::Eval);
        assert!((said - expected).abs().max().double_value(&[]) < 1e-5);
        let trainer = trainer.taught_by(teacher);
        assert!(trainer.depends_on_threads());
        let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
        session.step().unwrap();
    }
}

#[test]
fn a_teacher_that_is_not_there_or_of_other_classes_is_said() {
    let trainer = mlp_trainer(taught(json!({}))).taught_by(teacher("mlp", &[1]));
    let mut session = trainer.session(vec![start(&trainer, 2)]).unwrap();
    let error = session.step().unwrap_err().to_string();
    assert_eq!(error, "the teacher has no weights for seed 2");
    let experiment: Experiment = serde_json::from_value(json!({
        "name": "teacher", "seeds": [0], "data": {"name": "mnist1d"}, "model": {"name": "mlp"},
        "train": train(json!({})), "prune": {"levels": 1},
        "strategy": {"score": {"use": "imp/magnitude"}, "mask": {"use": "imp/global"}},
    }))
    .unwrap();
    let data = dataset(&[40], 5, 30, 10);
    let error = Teacher::of(&experiment, &data, Device::Cpu)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "its data have 10 classes of inputs of shape [40], and dataset `synthetic` has 5 of [40]"
    );
    // Weights of another network.
    let mut other = teacher("mlp", &[]);
    let error = other
        .take(1, &mlp_trainer(json!({})).initial(1))
        .unwrap_err();
    assert!(matches!(error, TrainError::Shape { .. }), "{error}");
}

#[test]
fn a_teacher_may_have_started_from_given_weights_that_are_gone() {
    let model = json!({"name": "mlp", "weights": "gone.safetensors", "replace_head": true});
    let experiment: Experiment = serde_json::from_value(json!({
        "name": "teacher", "seeds": [0], "data": {"name": "mnist1d"}, "model": model,
        "train": train(json!({})), "prune": {"levels": 1},
        "strategy": {"score": {"use": "imp/magnitude"}, "mask": {"use": "imp/global"}},
    }))
    .unwrap();
    let data = dataset(&[40], 10, 30, 10);
    assert!(Teacher::of(&experiment, &data, Device::Cpu).is_ok());
}
