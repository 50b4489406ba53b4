//! Tests of batches in shards, on one process.

use serde_json::{Value, json};
use tch::Tensor;

use crate::trainer::exactness::{advance, assert_same_bits, state};
use crate::trainer::testing::{conv_trainer, dropout_trainer, image_trainer, mlp_trainer, start};
use crate::trainer::{LaneStart, Position, Progress, Snapshot, Trainer};

/// Options of training with a constant rate and nothing that remembers.
fn plain(more: Value) -> Value {
    let mut options = json!({
        "epochs": 8, "optimizer": {"name": "sgd", "lr": 0.2, "momentum": 0.0},
        "schedule": {"name": "constant"},
    });
    if let (Some(options), Value::Object(more)) = (options.as_object_mut(), more) {
        options.extend(more);
    }
    options
}

fn sharded(shards: u64) -> Vec<(Trainer, &'static str)> {
    let of = |more: Value| {
        let mut options = json!({"epochs": 8, "shards": shards});
        if let (Some(options), Value::Object(more)) = (options.as_object_mut(), more) {
            options.extend(more);
        }
        options
    };
    vec![
        (mlp_trainer(of(json!({}))), "mlp, by its own forward"),
        (
            dropout_trainer("mlp", 0.0, of(json!({}))),
            "mlp, without autograd",
        ),
        (dropout_trainer("mlp", 0.3, of(json!({}))), "mlp, dropout"),
        (
            dropout_trainer("mlp", 0.3, of(json!({"sync_batch_norm": true}))),
            "mlp, dropout, synchronised",
        ),
        (
            dropout_trainer("cnn1d", 0.3, of(json!({}))),
            "cnn1d, dropout",
        ),
        (
            dropout_trainer(
                "cnn1d",
                0.0,
                of(json!({"sync_batch_norm": true, "precision": "bf16"})),
            ),
            "cnn1d, synchronised, bf16",
        ),
        (conv_trainer(of(json!({"clip_norm": 0.3}))), "conv, clipped"),
        (image_trainer(of(json!({}))), "conv, augmented images"),
    ]
}

/// The largest difference between two points.
fn distance(a: &Snapshot, b: &Snapshot) -> f64 {
    let each = a.tensors.iter().zip(&b.tensors);
    let apart =
        |((_, a), (_, b)): ((_, &Tensor), (_, &Tensor))| (a - b).abs().max().double_value(&[]);
    each.map(|((name, a), (_, b))| apart(((name, a), (name, b))))
        .fold(0.0, f64::max)
}

fn point(trainer: &Trainer, steps: u64) -> Snapshot {
    let mut session = trainer.session(vec![start(trainer, 3)]).unwrap();
    advance(&mut session, steps);
    session.snapshot(0).unwrap()
}

#[test]
fn a_step_is_the_mean_of_what_each_shard_alone_would_do() {
    // 25 samples in two shards: 12 and 13.
    let whole = conv_trainer(plain(json!({"shards": 2})));
    let after = point(&whole, 1);
    let begin = start(&whole, 3).point;
    let alone = |size: u64, step: u64| {
        let part = conv_trainer(plain(json!({"batch_size": size})));
        let begin = start(&part, 3);
        let log = Tensor::zeros([step as i64], (tch::Kind::Double, tch::Device::Cpu));
        let resume = Progress {
            position: Position {
                step,
                step_in_epoch: step,
                epoch: 0,
            },
            tensors: vec![
                ("losses".to_owned(), log.shallow_clone()),
                ("correct".to_owned(), log.to_kind(tch::Kind::Int64)),
            ],
        };
        let resumed = LaneStart {
            resume: (step > 0).then_some(resume),
            ..begin
        };
        let mut session = part.session(vec![resumed]).unwrap();
        session.step().unwrap();
        session.snapshot(0).unwrap()
    };
    // The first batch of 12 is the first shard; 13 from the 13th on is no batch of any size, so the second shard is
    // compared with what is left of the whole: a batch of 12 and one of 13 samples.
    let first = alone(12, 0);
    let moved = |point: &Snapshot| -> Vec<Tensor> {
        let pairs = point.tensors.iter().zip(&begin.tensors);
        pairs
            .map(|((_, after), (_, before))| after - before)
            .collect()
    };
    let of_first = moved(&first);
    let even = conv_trainer(plain(json!({"shards": 2, "batch_size": 24})));
    let (both, second) = (moved(&point(&even, 1)), moved(&alone(12, 1)));
    for ((both, first), second) in both.iter().zip(&of_first).zip(&second) {
        let expected = (first + second) * 0.5;
        let error = (both - &expected).abs().max().double_value(&[]);
        let size = expected.abs().max().double_value(&[]);
        assert!(
            size > 1e-5 && error < 1e-5 * size.max(0.1),
            "{error} of {size}"
        );
    }
    // Unequal shards count by their samples.
    let uneven = moved(&after);
    let rest = uneven.iter().zip(&of_first);
    for (whole, first) in rest {
        let second = (whole - first * (12.0 / 25.0)) * (25.0 / 13.0);
        assert!(second.isfinite().all().int64_value(&[]) == 1);
        assert!(
            second.abs().max().double_value(&[]) < 10.0 * first.abs().max().double_value(&[]) + 1.0
        );
    }
}

#[test]
fn accumulated_batches_are_the_shards_of_one_step() {
    for make in [mlp_trainer, conv_trainer] {
        for shards in [1, 2] {
            let several = make(plain(json!({"accumulate": 3, "shards": shards})));
            let cut = make(plain(json!({"batch_size": 75, "shards": 3 * shards})));
            assert_eq!(several.steps_per_epoch(), cut.steps_per_epoch());
            let [several, cut] = [several, cut].map(|trainer| {
                let mut session = trainer.session(vec![start(&trainer, 3)]).unwrap();
                let records = format!("{:?}", advance(&mut session, 8));
                (state(&session, 0), records)
            });
            assert_same_bits(&several.0, &cut.0);
            assert_eq!(several.1, cut.1);
        }
    }
    // What strategies have gradients of is a batch.
    let several = mlp_trainer(json!({"accumulate": 3}));
    assert_eq!(several.samples_of_a_step(), 75);
    let mut stream = crate::rng::Stream::new(1, crate::rng::Purpose::Shuffle, Default::default());
    let crate::trainer::Samples::Training(samples) = several.random_samples(1, &mut stream) else {
        panic!("samples of no batch")
    };
    assert_eq!(samples.len(), 25);
}

#[test]
fn synchronised_batch_norms_compute_what_one_piece_does() {
    // In bf16 a difference of one rounding grows with every step.
    let cases = [
        ("mlp", "fp32", 6, 1e-5),
        ("cnn1d", "fp32", 6, 1e-5),
        ("cnn1d", "bf16", 1, 1e-2),
    ];
    for (model, precision, steps, tolerance) in cases {
        let options = |more: Value| {
            let mut options = plain(json!({"precision": precision}));
            if let (Some(options), Value::Object(more)) = (options.as_object_mut(), more) {
                options.extend(more);
            }
            options
        };
        let one = point(&dropout_trainer(model, 0.0, options(json!({}))), steps);
        // 25 samples in three shards: of unequal size.
        let several = json!({"shards": 3, "sync_batch_norm": true});
        let several = point(&dropout_trainer(model, 0.0, options(several)), steps);
        let apart = point(
            &dropout_trainer(model, 0.0, options(json!({"shards": 3}))),
            steps,
        );
        let (near, far) = (distance(&one, &several), distance(&one, &apart));
        assert!(
            near < tolerance && near < 0.5 * far,
            "{model}, {precision}: {near}, {far}"
        );
        assert!(near > 0.0, "they round differently");
    }
}

#[test]
fn the_bits_do_not_depend_on_how_many_shards_are_computed_side_by_side() {
    let _alone = crate::trainer::testing::alone_with_threads();
    for shards in [2, 3] {
        let mut expected = Vec::new();
        for abreast in [1, 2, 3] {
            for (at, (trainer, what)) in sharded(shards).into_iter().enumerate() {
                tch::set_num_threads(1);
                let trainer = trainer.side_by_side(abreast);
                println!("{what}, {shards} shards, {abreast} at once");
                let mut session = trainer.session(vec![start(&trainer, 3)]).unwrap();
                let records = advance(&mut session, 20);
                let (state, records) = (state(&session, 0), format!("{records:?}"));
                match abreast {
                    1 => expected.push((state, records)),
                    _ => {
                        assert_same_bits(&state, &expected[at].0);
                        assert_eq!(records, expected[at].1);
                    }
                }
            }
        }
    }
}

#[test]
fn a_batch_that_cannot_be_cut_is_refused_with_a_size_that_can() {
    let refusal = |options: Value| {
        std::panic::catch_unwind(|| mlp_trainer(options).steps_per_epoch()).unwrap_err()
    };
    let said = |options: Value| {
        let panic = refusal(options);
        let text = panic.downcast_ref::<String>().cloned();
        text.unwrap_or_default()
    };
    // 207 samples in batches of 25 leave 7.
    let few = said(json!({"shards": 8}));
    assert!(
        few.contains("Shards { shards: 8, batches: 1, samples: 7"),
        "{few}"
    );
    // A batch norm behind a linear layer wants two of each shard.
    let lone = said(json!({"shards": 4}));
    assert!(
        lone.contains("samples: 7, least: 8, suggestion: Some(26)"),
        "{lone}"
    );
    let _ = mlp_trainer(json!({"shards": 3}));
    // 207 samples in steps of 100 leave 7, in those of 104 they leave 103.
    let few = said(json!({"accumulate": 4}));
    assert!(
        few.contains("batches: 4, samples: 7, least: 8, suggestion: Some(26)"),
        "{few}"
    );
}
