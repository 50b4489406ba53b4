//! Training without the units that are gone, beside training with all of them.

use serde_json::{Value, json};
use tch::{Device, Tensor};

use super::*;
use crate::model::MODELS;
use crate::registry::find;
use crate::trainer::exactness::advance;
use crate::trainer::testing::{dataset, start, train};
use crate::trainer::{LaneStart, Snapshot, Trainer};

/// A trainer of one of the shipped models on small images.
fn trainer(model: &str, options: Value, shape: &[i64], keys: Value) -> Result<Trainer, TrainError> {
    // As other tests of shards do, whose threads share libtorch's number with these.
    tch::set_num_threads(1);
    let data = dataset(shape, 4, 60, 40);
    let network = (find(MODELS, model).unwrap().build)(options.as_object().unwrap(), &data.spec());
    // Small steps: differences of rounding grow with every one.
    let optimizer = json!({"name": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-3});
    let mut all = json!({"batch_size": 20, "epochs": 2, "optimizer": optimizer});
    for (key, value) in keys.as_object().unwrap() {
        all[key] = value.clone();
    }
    Trainer::new(network.unwrap(), &train(all), data, Device::Cpu)?.checked_for_units()
}

/// Networks with every kind of unit: of residual sums, of layers between them, behind flattened maps, heads.
fn networks() -> Vec<(&'static str, Value, Vec<i64>)> {
    vec![
        ("resnet-20", json!({"width": 4}), vec![3, 8, 8]),
        (
            "resnet-50",
            json!({"width": 2, "stem": "cifar"}),
            vec![3, 16, 16],
        ),
        ("cnn1d", json!({"width": 6}), vec![40]),
        ("vgg-16", json!({"width": 4}), vec![3, 32, 32]),
        (
            "vit",
            json!({"patch": 4, "width": 12, "depth": 2, "heads": 3}),
            vec![3, 8, 8],
        ),
        ("pt2", archive("narrow-resnet"), vec![1, 28, 28]),
        ("pt2", archive("mlp"), vec![40]),
    ]
}

/// The options of a shipped archive, for data of fewer classes.
fn archive(name: &str) -> Value {
    let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    json!({"file": format!("{top}/experiments/networks/{name}.pt2"), "replace_head": true})
}

/// The start of a level whose masks lack about half of the units of every set.
fn without_units(trainer: &Trainer) -> LaneStart {
    let masks = trainer.dense_mask();
    for set in trainer.unit_sets().0 {
        for slice in set.slices.iter().filter(|it| it.side != Side::Follows) {
            let layer = trainer
                .layers()
                .iter()
                .position(|it| it.name == slice.tensor);
            let Some(layer) = layer else { continue };
            for (place, unit) in (0..).zip(&slice.units) {
                if unit.is_some_and(|unit| unit % 2 == 1) {
                    let _ = masks[layer].narrow(slice.axis as i64, place, 1).fill_(0.0);
                }
            }
        }
    }
    LaneStart {
        mask: masks,
        ..start(trainer, 3)
    }
}

fn after(trainer: &Trainer, steps: u64) -> (Snapshot, Vec<f64>) {
    let mut session = trainer.session(vec![without_units(trainer)]).unwrap();
    advance(&mut session, steps);
    let evaluated = session.evaluate(crate::trainer::On::Test).unwrap();
    (
        session.snapshot(0).unwrap(),
        evaluated.iter().map(|it| it.loss).collect(),
    )
}

/// Of each running statistic the places of units that are gone, as ones: nobody looks at them.
fn idle(trainer: &Trainer) -> BTreeMap<String, Tensor> {
    let session = trainer.session(vec![without_units(trainer)]).unwrap();
    let mask = session.buffers.mask.select(0, 0);
    let kept = trainer.kept_places(&mask);
    let statistics = trainer.layout().buffers().iter();
    let gone = statistics.filter_map(|it| {
        let kept = kept.get(&(it.name.as_str(), 0))?;
        let gone: Vec<f32> = kept.iter().map(|kept| f32::from(u8::from(!kept))).collect();
        Some((it.name.clone(), Tensor::from_slice(&gone)))
    });
    gone.collect()
}

fn assert_near(trainer: &Trainer, what: &str, (a, b): (&Snapshot, &Snapshot), tolerance: f64) {
    let idle = idle(trainer);
    for ((name, a), (_, b)) in a.tensors.iter().zip(&b.tensors) {
        let mut apart = (a - b).abs();
        if let Some(idle) = idle.get(name) {
            apart *= 1.0 - idle;
        }
        let size = a.abs().max().double_value(&[]).max(0.1);
        let error = apart.max().double_value(&[]);
        assert!(
            error <= tolerance * size,
            "{what}, {name}: {error} of {size}"
        );
    }
}

#[test]
fn a_network_without_its_dead_units_trains_as_it_does_with_them() {
    for (model, options, shape) in networks() {
        for (keys, steps, tolerance) in [
            (json!({}), 3, 1e-4),
            (json!({"shards": 2}), 3, 1e-4),
            (json!({"shards": 2, "sync_batch_norm": true}), 3, 1e-4),
            (json!({"precision": "bf16"}), 1, 2e-2),
        ] {
            let what = format!("{model}, {keys}");
            let own_arithmetic = keys.get("precision").or(keys.get("sync_batch_norm"));
            if model == "pt2" && own_arithmetic.is_some() {
                continue;
            }
            // Their second step jumps where a ReLU passes a value that the other one stops.
            let steps = match model {
                "resnet-50" | "pt2" => 1,
                _ => steps,
            };
            let full = trainer(model, options.clone(), &shape, keys.clone()).unwrap();
            let mut fewer = keys;
            fewer["compact"] = json!(true);
            let compact = trainer(model, options.clone(), &shape, fewer).unwrap();
            let ((a, losses), (b, others)) = (after(&full, steps), after(&compact, steps));
            assert_near(&full, &what, (&a, &b), tolerance);
            for (loss, other) in losses.iter().zip(&others) {
                assert!((loss - other).abs() <= tolerance * loss.abs(), "{what}");
            }
        }
    }
}

/// Dropout draws other numbers where there is less to drop, so nothing is trained here.
#[test]
fn imported_networks_with_channels_of_their_own_and_heads_give_the_same_without_dead_units() {
    for name in ["mobilenet", "vit"] {
        let with = |compact: bool| {
            let keys = json!({"compact": compact});
            let trainer = trainer("pt2", archive(name), &[1, 28, 28], keys).unwrap();
            assert!(!trainer.unit_sets().0.is_empty(), "{name}");
            (after(&trainer, 0), trainer)
        };
        let (((a, losses), full), ((b, others), compact)) = (with(false), with(true));
        assert_near(&full, name, (&a, &b), 0.0);
        for (loss, other) in losses.iter().zip(&others) {
            assert!(
                (loss - other).abs() <= 1e-5 * loss.abs(),
                "{name}: {loss} {other}"
            );
        }
        let session = compact.session(vec![without_units(&compact)]).unwrap();
        assert!(
            compact
                .compact(&session.buffers.mask.select(0, 0))
                .is_some()
        );
    }
}

#[test]
fn less_is_computed_with_the_sizes_of_what_is_left() {
    let options = json!({"width": 4});
    let whole = trainer("resnet-20", options, &[3, 8, 8], json!({"compact": true})).unwrap();
    let session = whole.session(vec![without_units(&whole)]).unwrap();
    let mask = session.buffers.mask.select(0, 0);
    let compact = whole.compact(&mask).unwrap();
    let views = whole.layout().lane(&session.buffers.weights.select(0, 0));
    let left = compact.parameters(&views).unwrap();
    let parameters = whole.layout().parameters();
    let names: Vec<&str> = parameters.map(|it| it.name.as_str()).collect();
    let sizes = |name: &str| {
        let at = names.iter().position(|it| *it == name).unwrap();
        (views[at].size(), left[at].size())
    };
    assert_eq!(
        sizes("layer1.0.conv1.weight"),
        (vec![4, 4, 3, 3], vec![2, 2, 3, 3])
    );
    assert_eq!(sizes("conv1.weight"), (vec![4, 3, 3, 3], vec![2, 3, 3, 3]));
    assert_eq!(sizes("bn1.weight"), (vec![4], vec![2]));
    // Classes stay.
    assert_eq!(sizes("fc.weight"), (vec![4, 16], vec![4, 8]));
    // Nothing is gone of a dense network, and nothing is done.
    assert!(whole.compact(&mask.ones_like()).is_none());
}

#[test]
fn a_set_that_lost_all_its_units_keeps_one_and_the_network_still_trains() {
    let options = json!({"width": 4});
    let trainer = trainer("resnet-20", options, &[3, 8, 8], json!({"compact": true})).unwrap();
    let start = without_units(&trainer);
    for mask in &start.mask {
        let _ = mask.shallow_clone().zero_();
    }
    let mut session = trainer.session(vec![start]).unwrap();
    advance(&mut session, 3);
    let losses = session.evaluate(crate::trainer::On::Test).unwrap();
    assert!(losses[0].loss.is_finite());
}

#[test]
fn a_network_that_cannot_be_computed_so_is_refused_with_the_reason() {
    let refused =
        |model: &str, shape: &[i64], keys: Value| match trainer(model, json!({}), shape, keys) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{model} was taken"),
        };
    let said = refused("lenet-300-100", &[28], json!({"compact": true}));
    assert!(
        said.contains("computed at their surviving weights anyway"),
        "{said}"
    );
    let both = json!({"compact": true, "sparse_below": 0.5});
    let said = refused("resnet-20", &[3, 8, 8], both);
    assert!(said.contains("train.sparse_below: choose one"), "{said}");
}
