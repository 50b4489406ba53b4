//! Tests of what the trainer promises about bytes.

use serde_json::json;
use tch::{Kind, Tensor};

use super::feed::Feed;
use super::testing::{
    alone_with_threads, conv_trainer, dropout_trainer, image_trainer, mlp_trainer, start,
};
use super::{EpochRecord, LaneStart, OptimizerState, Progress, Session, Snapshot, Trainer};

/// Everything that a lane is.
pub(super) type State = (Snapshot, OptimizerState, Vec<(String, Tensor)>);

pub(super) fn state(session: &Session<'_>, lane: usize) -> State {
    let progress = session.progress(lane).unwrap();
    (
        session.snapshot(lane).unwrap(),
        session.optimizer_state(lane).unwrap(),
        progress.tensors,
    )
}

/// Fails at the first tensor whose bits differ.
pub(super) fn assert_same_bits(got: &State, expected: &State) {
    let list = |state: &State| {
        let all = [&state.0.tensors, &state.1.tensors, &state.2];
        let pairs = all.into_iter().flatten();
        pairs
            .map(|(name, tensor)| (name.clone(), bits(tensor)))
            .collect::<Vec<_>>()
    };
    let (got, expected) = (list(got), list(expected));
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert!(got == expected, "{} differs", got.0);
    }
}

fn bits(tensor: &Tensor) -> Vec<u8> {
    let size = tensor.kind().elt_size_in_bytes();
    let mut bytes = vec![0; tensor.numel() * size];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// Makes steps and finishes epochs until `step`.
pub(super) fn advance(session: &mut Session<'_>, step: u64) -> Vec<EpochRecord> {
    let mut records = Vec::new();
    while session.position().step < step {
        if session.is_epoch_complete() {
            records.extend(session.finish_epoch().unwrap());
        }
        session.step().unwrap();
    }
    records
}

pub(super) fn trainers() -> Vec<(Trainer, &'static str)> {
    let nesterov =
        json!({"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": true});
    let adamw = json!({"name": "adamw", "lr": 1e-2, "weight_decay": 0.1});
    vec![
        (mlp_trainer(json!({"epochs": 8})), "mlp, sgd"),
        (
            mlp_trainer(json!({"epochs": 8, "optimizer": nesterov, "clip_norm": 0.5})),
            "mlp, nesterov, clipped",
        ),
        (
            mlp_trainer(json!({"epochs": 8, "optimizer": adamw, "label_smoothing": 0.1})),
            "mlp, adamw, smoothed",
        ),
        (
            mlp_trainer(json!({"epochs": 8, "precision": "bf16"})),
            "mlp, bf16",
        ),
        (
            dropout_trainer("mlp", 0.0, json!({"epochs": 8})),
            "mlp, without autograd",
        ),
        (
            dropout_trainer("mlp", 0.3, json!({"epochs": 8})),
            "mlp, dropout",
        ),
        (conv_trainer(json!({"epochs": 12})), "conv, sgd"),
        (
            dropout_trainer("mlp", 0.3, json!({"epochs": 8, "shards": 3})),
            "mlp, dropout, shards",
        ),
        (
            image_trainer(json!({"epochs": 12, "shards": 2})),
            "conv, augmented images, shards",
        ),
        (
            dropout_trainer("cnn1d", 0.3, json!({"epochs": 8})),
            "cnn1d, dropout",
        ),
        (
            image_trainer(json!({"epochs": 12})),
            "conv, augmented images",
        ),
        (
            conv_trainer(json!({"epochs": 12, "optimizer": adamw, "precision": "bf16"})),
            "conv, adamw, bf16",
        ),
    ]
}

#[test]
fn three_lanes_are_byte_for_byte_what_each_is_alone() {
    let _alone = alone_with_threads();
    for (trainer, what) in trainers() {
        if !trainer.lanes() {
            continue;
        }
        for threads in [1, 2] {
            tch::set_num_threads(threads);
            let starts = || [5, 6, 7].map(|seed| start(&trainer, seed));
            let mut together = trainer.session(starts().into()).unwrap();
            let records = advance(&mut together, 50);
            for (lane, start) in starts().into_iter().enumerate() {
                let mut alone = trainer.session(vec![start]).unwrap();
                let single = advance(&mut alone, 50);
                println!("{what}, {threads} threads, lane {lane}");
                assert_same_bits(&state(&together, lane), &state(&alone, 0));
                let of_lane = records.iter().filter(|record| record.lane == lane);
                for (together, alone) in of_lane.zip(single) {
                    assert_eq!(together, &EpochRecord { lane, ..alone });
                }
                let evaluation = together.evaluate(super::On::Test).unwrap()[lane];
                assert_eq!(evaluation, alone.evaluate(super::On::Test).unwrap()[0]);
            }
        }
    }
}

#[test]
fn lanes_go_on_with_the_same_bytes_when_another_is_dropped() {
    let trainer = mlp_trainer(json!({"epochs": 4}));
    let mut session = trainer
        .session([1, 2, 3].map(|seed| start(&trainer, seed)).into())
        .unwrap();
    advance(&mut session, 12);
    session.drop_lane(1).unwrap();
    assert_eq!(session.lanes(), [0, 2]);
    assert!(session.snapshot(1).is_err());
    advance(&mut session, 30);
    for (lane, seed) in [(0, 1), (2, 3)] {
        let mut alone = trainer.session(vec![start(&trainer, seed)]).unwrap();
        advance(&mut alone, 30);
        assert_same_bits(&state(&session, lane), &state(&alone, 0));
    }
    session.drop_lane(0).unwrap();
    session.drop_lane(2).unwrap();
    assert!(session.step().is_err());
}

#[test]
fn a_level_interrupted_anywhere_continues_with_the_same_bytes() {
    for (trainer, what) in trainers() {
        let mut whole = trainer.session(vec![start(&trainer, 3)]).unwrap();
        let per_epoch = trainer.steps_per_epoch();
        let last = trainer.steps_per_level();
        let records = advance(&mut whole, last);
        // In the first epoch, with an epoch's record unread, and in the middle of the second.
        for stop in [2, per_epoch, per_epoch + 3] {
            let mut first = trainer.session(vec![start(&trainer, 3)]).unwrap();
            let mut pieces = advance(&mut first, stop);
            let resumed = LaneStart {
                point: first.snapshot(0).unwrap(),
                optimizer: first.optimizer_state(0).unwrap(),
                resume: Some(through_json(&first.progress(0).unwrap())),
                ..start(&trainer, 3)
            };
            drop(first);
            let mut second = trainer.session(vec![resumed]).unwrap();
            pieces.extend(advance(&mut second, last));
            println!("{what}, stopped at {stop}");
            assert_eq!(pieces, records);
            assert_same_bits(&state(&second, 0), &state(&whole, 0));
        }
    }
}

/// A position survives being written as JSON.
pub(super) fn through_json(progress: &Progress) -> Progress {
    let text = serde_json::to_string(&progress.position).unwrap();
    Progress {
        position: serde_json::from_str(&text).unwrap(),
        ..progress.clone()
    }
}

#[test]
fn pruned_weights_and_their_state_are_exactly_zero_after_every_step() {
    for (trainer, what) in trainers() {
        let mut session = trainer.session(vec![start(&trainer, 4)]).unwrap();
        for step in 1..=trainer.steps_per_epoch() {
            advance(&mut session, step);
            session.check_pruned(0).unwrap();
            // The check looks at what it says it looks at.
            for (layer, mask) in trainer.layers().iter().zip(session.mask(0).unwrap()) {
                let off = mask.eq(0.0);
                let (point, state) = (
                    session.snapshot(0).unwrap(),
                    session.optimizer_state(0).unwrap(),
                );
                let suffix = format!(".{}", layer.name);
                let states = state.tensors.iter().filter(|(n, _)| n.ends_with(&suffix));
                let weight = (layer.name.clone(), point.get(&layer.name).unwrap().copy());
                for (name, tensor) in states.chain([&weight]) {
                    let pruned = tensor.view_dtype(Kind::Int).masked_select(&off);
                    assert!(pruned.numel() > 0);
                    let alive = pruned.count_nonzero(None).int64_value(&[]);
                    assert_eq!(alive, 0, "{what}: {name} at step {step}");
                    let survivors = tensor.masked_select(&mask.ne(0.0));
                    assert!(survivors.abs().max().double_value(&[]) > 0.0);
                }
            }
        }
    }
}

#[test]
fn a_step_equals_an_unfused_reference() {
    let trainer = conv_trainer(json!({"clip_norm": 0.3, "label_smoothing": 0.1}));
    let first = start(&trainer, 2);
    let masks: Vec<Tensor> = first.mask.iter().map(Tensor::copy).collect();
    let mut session = trainer.session(vec![first]).unwrap();
    let point = session.snapshot(0).unwrap();
    let indices = session.next_samples(0).unwrap();
    session.step().unwrap();
    let after = session.snapshot(0).unwrap();

    let (count, buffers) = (point.tensors.len() - 4, 4);
    let tensor = |i: usize| point.tensors[i].1.copy();
    let weights: Vec<Tensor> = (0..count)
        .map(|i| tensor(i).set_requires_grad(true))
        .collect();
    let statistics: Vec<Tensor> = (count..count + buffers).map(tensor).collect();
    let index = Tensor::from_slice(&indices);
    let data = &trainer.data().train;
    let input = data.inputs.tensor().unwrap().index_select(0, &index);
    let labels = data.labels.index_select(0, &index);
    let logits = trainer.network.forward(
        &weights,
        &statistics,
        &input,
        crate::model::Mode::Train(crate::model::Keys::NONE),
    );
    let loss = logits.cross_entropy_loss::<Tensor>(&labels, None, tch::Reduction::Mean, -100, 0.1);
    let logged = session.progress(0).unwrap().tensors[0].1.double_value(&[0]) / 25.0;
    assert!((logged - loss.double_value(&[])).abs() < 1e-6);

    let names: Vec<&str> = point
        .tensors
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let mask_of = |name: &str| {
        let at = trainer.layers().iter().position(|l| l.name == name);
        at.map(|at| masks[at].shallow_clone())
    };
    let masked = |i: usize, t: Tensor| mask_of(names[i]).map_or_else(|| t.copy(), |m| &t * m);
    let _no_grad = tch::no_grad_guard();
    let slopes = Tensor::run_backward(&[&loss], &weights, false, false);
    let slopes: Vec<Tensor> = slopes
        .into_iter()
        .enumerate()
        .map(|(i, g)| masked(i, g))
        .collect();
    let norm: f64 = slopes
        .iter()
        .map(|g| g.square().sum(Kind::Double).double_value(&[]))
        .sum::<f64>()
        .sqrt();
    assert!(norm > 0.3, "the norm {norm} is not clipped");
    for (i, (weight, slope)) in weights.iter().zip(&slopes).enumerate() {
        // First step of a warm-up of three: a third of the learning rate; the momentum is the gradient.
        let next = weight - (slope * (0.3 / (norm + 1e-6)) + weight * 1e-3) * (0.1 / 3.0);
        let error = (&after.tensors[i].1 - masked(i, next)).abs().max();
        assert!(error.double_value(&[]) < 1e-6, "{}", names[i]);
    }
    for (i, expected) in statistics.iter().enumerate() {
        let error = (&after.tensors[count + i].1 - expected).abs().max();
        assert!(error.double_value(&[]) < 1e-6, "{}", names[count + i]);
    }
}

#[test]
fn a_perceptron_trained_at_its_survivors_has_the_bits_of_the_dense_one_and_autograds_but_for_rounding()
 {
    // As many steps as leave rounding small, and all epochs.
    for (epochs, dense) in [(1, 0.0), (8, 0.9)] {
        let keys = json!({"epochs": epochs, "clip_norm": 0.5, "label_smoothing": 0.1});
        let run = |trainer: &Trainer| {
            let mut start = start(trainer, 4);
            for mask in &mut start.mask {
                let kept = Tensor::rand(mask.size(), tch::kind::FLOAT_CPU).gt(dense);
                *mask = mask.copy() * kept.to_kind(Kind::Float);
            }
            start
        };
        let sparse = dropout_trainer("mlp", 0.0, keys.clone());
        let plain = dropout_trainer("mlp", 0.0, keys.clone()).without_sparse_kernels();
        tch::manual_seed(3);
        let first = run(&sparse);
        let again = LaneStart {
            point: first.point.clone(),
            mask: first.mask.iter().map(Tensor::copy).collect(),
            ..start(&plain, 4)
        };
        let mut one = sparse.session(vec![first]).unwrap();
        let mut other = plain.session(vec![again]).unwrap();
        let last = sparse.steps_per_level();
        assert_eq!(advance(&mut one, last), advance(&mut other, last));
        assert_same_bits(&state(&one, 0), &state(&other, 0));
        let on = super::On::Test;
        assert_eq!(one.evaluate(on).unwrap(), other.evaluate(on).unwrap());
    }
    // The forward pass of a network with so little dropout drops nothing, by autograd.
    let [hand, auto] = [0.0, 1e-12].map(|p| dropout_trainer("mlp", p, json!({"epochs": 1})));
    let step = |trainer: &Trainer| {
        let mut session = trainer.session(vec![start(trainer, 4)]).unwrap();
        let records = advance(&mut session, 3);
        assert!(records.is_empty());
        session.snapshot(0).unwrap()
    };
    for ((name, hand), (_, auto)) in step(&hand).tensors.iter().zip(&step(&auto).tensors) {
        let error = (hand - auto).abs().max().double_value(&[]);
        assert!(error < 1e-5, "{name}: {error}");
    }
}

#[test]
fn a_small_perceptron_alone_is_trained_by_one_thread_if_nobody_says_how_many() {
    let small = dropout_trainer("mlp", 0.0, json!({}));
    assert!(small.suits_one_thread(1) && small.suits_one_thread(6));
    assert!(!small.suits_one_thread(1_000_000));
    // The bytes of these depend on the number of threads.
    for other in [
        conv_trainer(json!({})),
        dropout_trainer("mlp", 0.2, json!({})),
    ] {
        assert!(!other.suits_one_thread(1));
    }
}

#[test]
fn an_imported_perceptron_is_trained_by_the_built_in_ones_kernels() {
    let trainer = |model: &str, options: serde_json::Value| {
        let data = super::testing::dataset(&[40], 10, 207, 101);
        let build = crate::registry::find(crate::model::MODELS, model).unwrap();
        let network = (build.build)(options.as_object().unwrap(), &data.spec()).unwrap();
        let train = super::testing::train(json!({"epochs": 2}));
        Trainer::new(network, &train, data, tch::Device::Cpu).unwrap()
    };
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../experiments/networks/mlp.pt2"
    );
    let imported = trainer("pt2", json!({ "file": file }));
    let built_in = trainer("mlp", json!({"hidden": [100, 100]}));
    assert!(imported.suits_one_thread(1));
    let first = start(&imported, 4);
    let mut again = LaneStart {
        mask: first.mask.iter().map(Tensor::copy).collect(),
        ..start(&built_in, 4)
    };
    for ((_, own), (_, given)) in again.point.tensors.iter_mut().zip(&first.point.tensors) {
        assert_eq!(own.size(), given.size());
        *own = given.copy();
    }
    let mut one = imported.session(vec![first]).unwrap();
    let mut other = built_in.session(vec![again]).unwrap();
    let last = built_in.steps_per_level();
    assert_eq!(advance(&mut one, last), advance(&mut other, last));
    let [one, other] = [one, other].map(|session| session.snapshot(0).unwrap());
    for ((name, one), (_, other)) in one.tensors.iter().zip(&other.tensors) {
        assert!(bits(one) == bits(other), "{name} differs");
    }
}

#[test]
fn sparse_convolutions_change_a_run_by_rounding_alone_and_only_below_their_density() {
    let run = |sparse_below: f64, channels_last: bool| {
        let keys = json!({
            "epochs": 1, "sparse_below": sparse_below, "channels_last": channels_last,
        });
        let data = super::testing::dataset(&[3, 8, 8], 4, 75, 61);
        let spec = data.spec();
        let build = crate::registry::find(crate::model::MODELS, "resnet-20").unwrap();
        let options = json!({"width": 4}).as_object().unwrap().clone();
        let network = (build.build)(&options, &spec).unwrap();
        let train = super::testing::train(keys);
        let trainer = Trainer::new(network, &train, data, tch::Device::Cpu).unwrap();
        // Half of the weights are pruned.
        let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
        advance(&mut session, 2);
        session.check_pruned(0).unwrap();
        let evaluation = session.evaluate(super::On::Test).unwrap()[0];
        let point = session.snapshot(0).unwrap();
        let again = trainer.evaluate(std::slice::from_ref(&point), super::On::Test);
        assert_eq!(again.unwrap(), [evaluation]);
        (point, evaluation)
    };
    let (dense, of_dense) = run(0.0, true);
    assert_eq!(run(0.4, true).0, dense);
    for channels_last in [true, false] {
        let (sparse, of_sparse) = run(0.8, channels_last);
        assert_ne!(sparse, dense);
        assert!((of_sparse.loss - of_dense.loss).abs() < 1e-2);
        for ((name, sparse), (_, dense)) in sparse.tensors.iter().zip(&dense.tensors) {
            let error = (sparse - dense).abs().max().double_value(&[]);
            assert!(error < 2e-2, "{name}: {error}");
        }
    }
}

#[test]
fn channels_last_changes_a_run_by_rounding_alone() {
    let run = |channels_last: bool| {
        let trainer = conv_trainer(json!({"channels_last": channels_last}));
        assert_eq!(trainer.channels_last, channels_last);
        let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
        // What rounding did to a step, the steps after it multiply.
        advance(&mut session, 2);
        session.snapshot(0).unwrap()
    };
    let (on, off) = (run(true), run(false));
    for ((name, on), (_, off)) in on.tensors.iter().zip(&off.tensors) {
        let error = (on - off).abs().max().double_value(&[]);
        assert!(error < 1e-4, "{name}: {error}");
    }
}

#[test]
fn a_loss_that_is_not_finite_is_reported_with_its_step_and_lane() {
    let trainer = mlp_trainer(json!({}));
    let mut session = trainer
        .session(vec![start(&trainer, 1), start(&trainer, 2)])
        .unwrap();
    advance(&mut session, 4);
    let mut broken = session.snapshot(1).unwrap();
    let _ = broken.tensors[1].1.fill_(f64::NAN);
    session.set_point(1, &broken).unwrap();
    advance(&mut session, trainer.steps_per_epoch());
    let records = session.finish_epoch().unwrap();
    assert_eq!(records[0].first_non_finite_step, None);
    assert!(records[0].loss.is_finite());
    assert_eq!(records[1].first_non_finite_step, Some(4));
    session.check_pruned(1).unwrap();
}

#[test]
fn training_learns_and_reports_what_it_saw() {
    let trainer = mlp_trainer(json!({"epochs": 12}));
    let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
    let mut records = Vec::new();
    while !session.is_complete() {
        session.step().unwrap();
        if session.is_epoch_complete() {
            records.extend(session.finish_epoch().unwrap());
        }
    }
    assert_eq!(records.len(), 12);
    // Half of the weights are pruned, and chance is a fifth.
    assert!(records[11].loss < 0.7 * records[0].loss, "{records:?}");
    assert!(records[11].accuracy > 0.6, "{records:?}");
    assert!(session.step().is_err());
}

#[test]
fn augmentation_changes_what_training_sees_and_nothing_else() {
    let trainer = image_trainer(json!({}));
    let index = Tensor::arange(20, tch::kind::INT64_CPU).unsqueeze(0);
    let session = trainer.session(vec![start(&trainer, 1)]).unwrap();
    let at = |step: i64| {
        let mut epochs = super::epoch::Epochs::default();
        let epoch = epochs.at(&trainer, &session.lanes, 0, false).unwrap();
        let draws = epoch.draws.as_ref().unwrap().narrow(2, step * 20, 20);
        let (samples, position) = ((&index, Some(&draws)), session.position());
        let batch = trainer.training_batch(samples, &session.lanes, position, &mut Feed::default());
        batch.unwrap()
    };
    let ((first, labels), (again, _), (other, _)) = (at(0), at(0), at(1));
    let (plain, plain_labels) = trainer.batch(&trainer.data().train, &index).unwrap();
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_ne!(first, plain);
    assert_eq!(labels, plain_labels);
}

#[test]
fn dropout_changes_steps_and_neither_gradients_nor_statistics_nor_evaluation() {
    let [with, without] = [0.3, 0.0].map(|p| dropout_trainer("mlp", p, json!({})));
    let point = with.initial(1);
    let step = |trainer: &Trainer| {
        let mut session = trainer.session(vec![start(trainer, 1)]).unwrap();
        session.step().unwrap();
        session.snapshot(0).unwrap()
    };
    assert_ne!(step(&with), step(&without));
    let request = super::GradientRequest {
        loss: plugin_api::Loss::CrossEntropy,
        samples: super::Samples::Training((0..50).collect()),
        on_absolute_weights: false,
        eval_mode: false,
        temperature: 1.0,
        double_precision: false,
        dense: true,
    };
    let seen = |trainer: &Trainer| {
        let gradients = trainer.gradients(&point, &trainer.dense_mask(), &request);
        let mut points = [point.clone()];
        trainer.recompute_statistics(&mut points).unwrap();
        let evaluation = trainer.evaluate(&points, super::On::Test).unwrap();
        (gradients.unwrap(), points, evaluation)
    };
    assert_eq!(seen(&with), seen(&without));
}
