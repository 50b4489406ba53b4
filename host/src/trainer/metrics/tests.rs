//! Metrics against what PyTorch and numpy give, and against plain loops over the samples.

use serde_json::json;

use super::*;
use crate::experiment::Metric::{Confusion, Ece, Nll, PerClass, Perplexity, R2, Rmse, Top5};
use crate::trainer::testing::{conv_trainer, dataset, dropout_trainer, mlp_trainer, start};
use crate::trainer::{LaneStart, On, Trainer};

const ALL: [Metric; 6] = [Top5, PerClass, Confusion, Nll, Ece, Perplexity];

/// 12 outputs of 7 classes: quarters, so that every program reads the same.
const LOGITS: [[f32; 7]; 12] = [
    [-0.25, 1.25, 4.0, 0.25, 0.5, -0.5, -1.0],
    [-1.0, -1.0, 1.0, -0.0, 0.25, -0.75, -1.0],
    [-1.25, -0.75, 3.0, 0.0, -0.5, -0.25, -1.5],
    [1.25, -1.25, 0.0, 2.25, -2.5, -1.5, -0.75],
    [2.5, -1.75, -0.25, -0.0, 0.25, -2.5, 0.75],
    [1.5, 0.5, -0.75, -0.5, -2.75, 0.5, 1.5],
    [0.75, -3.0, -0.5, -0.0, 2.0, 1.0, -1.75],
    [-0.75, 0.5, 1.0, 0.25, 1.0, 0.5, -1.0],
    [1.25, -0.5, -1.75, 0.5, 1.75, 1.0, 3.5],
    [0.25, -2.5, 0.75, 0.25, -2.75, -0.75, -1.0],
    [1.0, 0.0, 0.25, 0.25, 1.25, -2.0, 0.0],
    [-0.25, -0.0, -0.25, -0.5, 0.5, 0.25, -0.5],
];
const LABELS: [i64; 12] = [2, 4, 2, 1, 0, 4, 4, 2, 6, 5, 4, 3];

fn tally(metrics: &[Metric]) -> Tally {
    let split = dataset(&[2], 7, 3, 3).test;
    Tally::new(metrics, Targets::Classes, 7, &split)
}

/// What a tally of the outputs gives that sees so many at a time.
fn measured(metrics: &[Metric], at_once: usize) -> Metrics {
    let mut tally = tally(metrics);
    for (rows, labels) in LOGITS.chunks(at_once).zip(LABELS.chunks(at_once)) {
        let outputs = Tensor::from_slice(&rows.concat()).view([-1, 7]);
        tally.add(&outputs, &Tensor::from_slice(labels));
    }
    tally.finish(metrics)
}

#[test]
fn metrics_of_classes_are_those_of_pytorch() {
    // By PyTorch 2.13 in f64: `cross_entropy`; its exponential; the published code of Guo et al.
    // (github.com/gpleiss/temperature_scaling, `_ECELoss`) on `softmax`; `topk(5)`; counts of `max`.
    let all = measured(&ALL, 12);
    let close = |got: Option<f64>, expected: f64| {
        assert!(
            (got.unwrap() - expected).abs() < 1e-14,
            "{got:?} {expected}"
        );
    };
    close(all.nll, 1.668_357_684_776_569);
    close(all.perplexity, 5.303_450_703_205_819);
    close(all.ece, 0.357_917_068_670_673);
    assert_eq!(all.top_5_correct, Some(10));
    let confusion = [
        [1, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 3, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0],
        [1, 0, 1, 0, 2, 0, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ];
    for (class, (counts, expected)) in all.classes.iter().zip(confusion).enumerate() {
        assert_eq!(counts.predicted.as_deref(), Some(&expected[..]));
        assert_eq!(counts.correct, Some(expected[class]));
        assert_eq!(counts.targets, expected.iter().sum::<u64>());
    }
    assert_eq!((all.rmse, all.r2), (None, None));
}

#[test]
fn how_many_outputs_are_seen_at_once_changes_no_bit() {
    let whole = measured(&ALL, 12);
    for at_once in [1, 5, 7] {
        assert_eq!(measured(&ALL, at_once), whole);
    }
}

#[test]
fn what_nobody_asks_for_is_not_there() {
    for metric in ALL {
        let one = measured(&[metric], 12);
        let there = [one.nll, one.perplexity, one.ece];
        let expected = [Nll, Perplexity, Ece].map(|it| it == metric);
        assert_eq!(there.map(|it| it.is_some()), expected);
        assert_eq!(one.top_5_correct.is_some(), metric == Top5);
        let classes = [PerClass, Confusion].contains(&metric);
        assert_eq!(one.classes.len(), if classes { 7 } else { 0 });
        for counts in one.classes {
            assert_eq!(counts.correct.is_some(), metric == PerClass);
            assert_eq!(counts.predicted.is_some(), metric == Confusion);
        }
    }
}

#[test]
fn outputs_that_are_no_numbers_are_wrong_and_make_no_number() {
    let mut tally = tally(&ALL);
    let outputs = [f32::NAN; 7];
    tally.add(
        &Tensor::from_slice(&outputs).view([1, 7]),
        &Tensor::from_slice(&[0i64]),
    );
    let all = tally.finish(&ALL);
    assert_eq!(all.top_5_correct, Some(0));
    assert_eq!(all.classes[0].correct, Some(0));
    assert!(all.nll.unwrap().is_nan() && all.ece.unwrap().is_nan());
}

#[test]
fn a_confidence_on_a_bins_upper_end_belongs_to_it() {
    // Two equal outputs: a confidence of exactly 1/2, between 7/15 and 8/15. Three: 1/3, the end of the fifth bin.
    for (scores, bin) in [
        ([0.0, 0.0, -1e9], 7),
        ([0.0, 0.0, 0.0], 4),
        ([0.0, -1e9, -1e9], 14),
    ] {
        let mut tally = OfClasses::new(&[Ece], 3);
        tally.add(&scores, &[2]);
        let found = tally.filled_bins();
        assert_eq!(found, [bin], "{scores:?}");
    }
}

#[test]
fn metrics_of_numbers_are_those_of_numpy() {
    // By numpy: `sqrt(mean((x - o)**2))` and `1 - sum((x - o)**2) / sum((x - mean(x))**2)`.
    let targets = [
        0.625f32, 1.125, 2.375, 0.25, 1.5, 0.25, -1.25, -2.25, 0.25, 0.875,
    ];
    let outputs = [
        1.25f32, 0.9375, 2.5, 0.25, 0.9375, 0.3125, -1.3125, -2.5625, 0.6875, 0.75,
    ];
    let mut tally = OfNumbers::of(&targets);
    for (outputs, targets) in outputs.chunks(3).zip(targets.chunks(3)) {
        tally.add(outputs, targets);
    }
    let all = tally.finish();
    assert!((all.rmse.unwrap() - 0.327_156_308_207_560).abs() < 1e-14);
    assert!((all.r2.unwrap() - 0.931_908_548_707_754).abs() < 1e-14);
    // Of targets that are all the same nothing can be explained.
    let mut tally = OfNumbers::of(&[2.0, 2.0]);
    tally.add(&[2.0, 3.0], &[2.0, 2.0]);
    let all = tally.finish();
    assert!(all.r2.unwrap().is_nan());
    assert_eq!(all.rmse, Some(0.5f64.sqrt()));
}

#[test]
fn each_of_several_labels_is_counted_by_itself() {
    let mut tally = OfLabels::new(3);
    tally.add(
        &[0.5, -0.5, 0.0, 2.0, 1.0, -3.0],
        &[1.0, 1.0, 0.0, 1.0, 0.0, 0.0],
    );
    let all = tally.finish();
    let correct: Vec<_> = all
        .classes
        .iter()
        .map(|it| (it.targets, it.correct))
        .collect();
    assert_eq!(correct, [(2, Some(2)), (2, Some(0)), (2, Some(2))]);
}

/// The metrics of lanes after three steps, once from the session and once from each stored point.
fn after_training(trainer: &Trainer, seeds: &[u64]) -> Vec<Tested> {
    let starts: Vec<LaneStart> = seeds.iter().map(|&seed| start(trainer, seed)).collect();
    let mut session = trainer.session(starts).unwrap();
    for _ in 0..3 {
        session.step().unwrap();
    }
    let tested = session.test_unless(&|| false).unwrap().unwrap();
    let evaluated = session.evaluate(On::Test).unwrap();
    for (lane, (tested, evaluated)) in tested.iter().zip(&evaluated).enumerate() {
        assert_eq!(tested.evaluation, *evaluated);
        let point = session.snapshot(lane).unwrap();
        assert_eq!(trainer.test(&point).unwrap(), *tested);
        let counted: u64 = tested
            .metrics
            .classes
            .iter()
            .filter_map(|it| it.correct)
            .sum();
        assert_eq!(counted, evaluated.correct);
        let nll = tested.metrics.nll.unwrap();
        assert!(
            (nll - evaluated.loss).abs() < 1e-6 * nll,
            "{nll} {}",
            evaluated.loss
        );
    }
    tested
}

#[test]
fn a_lane_has_the_metrics_that_it_has_alone_and_asking_changes_no_other_number() {
    let keys = json!({"metrics": ["per-class", "confusion", "nll", "ece"]});
    let of = |model: &str, keys: serde_json::Value| match model {
        "lanes" => mlp_trainer(keys),
        // Without autograd.
        model => dropout_trainer(model, 0.0, keys),
    };
    for model in ["lanes", "mlp"] {
        let trainer = of(model, keys.clone());
        let together = after_training(&trainer, &[1, 2, 3]);
        for (seed, together) in (1..).zip(together) {
            let alone = after_training(&trainer, &[seed]).remove(0);
            assert_eq!(alone, together, "{model}, seed {seed}");
        }
        let silent = of(model, json!({}));
        let starts = vec![start(&silent, 2)];
        let mut session = silent.session(starts).unwrap();
        for _ in 0..3 {
            session.step().unwrap();
        }
        let tested = session.test_unless(&|| false).unwrap().unwrap().remove(0);
        assert_eq!(tested.metrics, Metrics::default());
        let asked = after_training(&trainer, &[2]).remove(0);
        assert_eq!(tested.evaluation, asked.evaluation);
    }
}

#[test]
fn metrics_of_a_convolution_net_are_those_of_a_plain_loop() {
    let trainer = conv_trainer(json!({"metrics": ["confusion", "nll", "per-class"]}));
    let tested = after_training(&trainer, &[4]).remove(0);
    let mut session = trainer.session(vec![start(&trainer, 4)]).unwrap();
    for _ in 0..3 {
        session.step().unwrap();
    }
    let point = session.snapshot(0).unwrap();
    let split = &trainer.data().test;
    let tensors: Vec<Tensor> = point.tensors.iter().map(|(_, t)| t.copy()).collect();
    let (parameters, statistics) = tensors.split_at(tensors.len() - 4);
    let mut confusion = vec![vec![0u64; 4]; 4];
    for i in 0..split.len() {
        let input = split.inputs.tensor().unwrap().narrow(0, i, 1);
        let mode = crate::model::Mode::Eval;
        let logits = trainer
            .network
            .forward(parameters, statistics, &input, mode);
        let (label, taken) = (split.labels.int64_value(&[i]), logits.argmax(1, false));
        confusion[label as usize][taken.int64_value(&[0]) as usize] += 1;
    }
    let found = tested
        .metrics
        .classes
        .into_iter()
        .map(|it| it.predicted.unwrap());
    assert_eq!(found.collect::<Vec<_>>(), confusion);
}

#[test]
fn a_metric_for_other_targets_is_refused_with_what_is_expected() {
    let said = |metric, targets, classes| suits(metric, targets, classes).unwrap_err();
    for (metric, targets, classes, expected) in [
        (
            Top5,
            Targets::Classes,
            5,
            "it has 5 classes, so that five of them hold nearly every target: expected 6 or more",
        ),
        (
            Rmse,
            Targets::Classes,
            10,
            "its targets are classes: expected targets that are numbers",
        ),
        (
            Nll,
            Targets::Numbers,
            1,
            "its targets are numbers: expected \"rmse\" or \"r2\"",
        ),
        (
            Ece,
            Targets::Labels,
            8,
            "its targets are several labels: expected \"per-class\", which is of each label",
        ),
        (
            Perplexity,
            Targets::Classes,
            8,
            "its targets are classes: expected classes at positions, or \"nll\", of which perplexity is the exponential",
        ),
        (
            Confusion,
            Targets::Classes,
            1001,
            "it has 1001 classes, so that there are 1002001 counts: expected at most 1000 classes",
        ),
    ] {
        assert_eq!(said(metric, targets, classes), expected);
    }
    for (metric, targets, classes) in [
        (Top5, Targets::Positions, 6),
        (Perplexity, Targets::Positions, 2),
        (PerClass, Targets::Labels, 1),
        (R2, Targets::Numbers, 1),
    ] {
        assert_eq!(suits(metric, targets, classes), Ok(()));
    }
    let train = crate::trainer::testing::train(json!({"metrics": ["nll", "rmse"]}));
    let data = dataset(&[7], 5, 30, 10);
    let error = check(&train.metrics, Targets::of(&data), &data).unwrap_err();
    assert!(matches!(error, TrainError::Metric { at: 1, .. }));
    let text = "the metric \"rmse\" is not for dataset `synthetic`: its targets are classes";
    assert!(error.to_string().starts_with(text), "{error}");
}
