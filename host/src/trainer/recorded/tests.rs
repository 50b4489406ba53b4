//! Recorded steps have the bytes of steps that are made one operation after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Fork, Recorder, Recording, Work};
use crate::model::forms::kernels_on_cpu;
use crate::trainer::exactness::{advance, assert_same_bits, state};
use crate::trainer::testing::{
    conv_trainer, dropout_trainer, image_trainer, mlp_trainer, random_mask, start,
};
use crate::trainer::{LaneStart, TrainError, Trainer};

/// Does again what it was given: like a graph it knows nothing of the session.
struct Again(Arc<AtomicU64>);

struct Kept<'a>(Work<'a>, Arc<AtomicU64>);

impl Recorder for Again {
    fn record<'a>(&self, work: Work<'a>) -> Result<Box<dyn Recording + 'a>, TrainError> {
        Ok(Box::new(Kept(work, self.0.clone())))
    }
}

impl Recording for Kept<'_> {
    fn replay(&mut self) -> Result<(), TrainError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0(&OneAfterAnother)
    }
}

struct OneAfterAnother;

impl Fork for OneAfterAnother {
    fn on(
        &self,
        _: usize,
        work: &mut dyn FnMut() -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        work()
    }

    fn join(&self) -> Result<(), TrainError> {
        Ok(())
    }
}

fn recorded(trainer: Trainer) -> (Trainer, Arc<AtomicU64>) {
    let replays = Arc::new(AtomicU64::new(0));
    let trainer = trainer.recorded_by(Box::new(Again(replays.clone())));
    (trainer, replays)
}

/// A trainer with these options.
type Make = Box<dyn Fn() -> Trainer>;

fn cases() -> Vec<(&'static str, Make)> {
    let of = |name, make: fn(Value) -> Trainer, mut options: Value| -> (&'static str, Make) {
        options["epochs"] = json!(4);
        (name, Box::new(move || make(options.clone())))
    };
    let nesterov = json!({"optimizer":
        {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": true}});
    let adamw = json!({"optimizer": {"name": "adamw", "lr": 1e-2, "weight_decay": 0.1}});
    vec![
        of("lanes", mlp_trainer, json!({})),
        of("AdamW", mlp_trainer, adamw),
        of("convolutions", conv_trainer, nesterov),
        of("clipped", conv_trainer, json!({"clip_norm": 0.3})),
        of("bf16", conv_trainer, json!({"precision": "bf16"})),
        of("augmented", image_trainer, json!({})),
    ]
}

#[test]
fn recorded_steps_have_the_bytes_of_others() {
    for (name, make) in cases() {
        let plain = make();
        let (trainer, replays) = recorded(make());
        // Twice an epoch and a part of the third.
        let steps = 2 * plain.steps_per_epoch() + 3;
        let run = |trainer: &Trainer| {
            let mut session = trainer.session(vec![start(trainer, 3)]).unwrap();
            let records = advance(&mut session, steps);
            (state(&session, 0), format!("{records:?}"))
        };
        let (expected, got) = (run(&plain), run(&trainer));
        assert_same_bits(&got.0, &expected.0);
        assert_eq!(got.1, expected.1, "{name}");
        // All but the first two and the last, shorter batches.
        let samples = plain.data().train.len() as u64;
        let short = u64::from(!samples.is_multiple_of(25)) * 2;
        assert_eq!(replays.load(Ordering::Relaxed), steps - 2 - short, "{name}");
    }
}

/// Fails as libtorch does where it meets what cannot be recorded.
struct Panics(Arc<AtomicU64>);

impl Recorder for Panics {
    fn record<'a>(&self, _: Work<'a>) -> Result<Box<dyn Recording + 'a>, TrainError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("operation not permitted when stream is capturing")
    }
}

#[test]
fn a_recording_that_fails_costs_no_more_than_the_recording() {
    let run = |trainer: &Trainer| {
        let mut session = trainer.session(vec![start(trainer, 3)]).unwrap();
        advance(&mut session, 9);
        state(&session, 0)
    };
    let asked = Arc::new(AtomicU64::new(0));
    let plain = conv_trainer(json!({}));
    let trainer = conv_trainer(json!({})).recorded_by(Box::new(Panics(asked.clone())));
    assert_same_bits(&run(&trainer), &run(&plain));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn coins_of_recorded_steps_are_those_of_others() {
    let cases: [fn() -> Trainer; 2] = [
        || dropout_trainer("cnn1d", 0.3, json!({"epochs": 3})),
        || dropout_trainer("mlp", 0.3, json!({"epochs": 3})),
    ];
    for make in cases {
        let (plain, expected_lanes) = (make(), [3, 5]);
        let (trainer, replays) = recorded(make().computed_by(kernels_on_cpu()));
        let lanes = if plain.lanes() { 2 } else { 1 };
        let run = |trainer: &Trainer| {
            let seeds = &expected_lanes[..lanes];
            let starts = seeds.iter().map(|&seed| start(trainer, seed)).collect();
            let mut session = trainer.session(starts).unwrap();
            let records = advance(&mut session, 2 * trainer.steps_per_epoch() + 4);
            let states: Vec<_> = (0..lanes).map(|lane| state(&session, lane)).collect();
            (states, format!("{records:?}"))
        };
        let (expected, got) = (run(&plain), run(&trainer));
        for (got, expected) in got.0.iter().zip(&expected.0) {
            assert_same_bits(got, expected);
        }
        assert_eq!(got.1, expected.1);
        assert!(replays.load(Ordering::Relaxed) > 2 * (trainer.steps_per_epoch() - 2));
    }
}

#[test]
fn what_changes_in_a_level_is_recorded_anew() {
    let run = |trainer: &Trainer| {
        let starts = (1..4).map(|seed| start(trainer, seed)).collect();
        let mut session = trainer.session(starts).unwrap();
        advance(&mut session, 5);
        session.set_mask(1, &random_mask(trainer, 77)).unwrap();
        advance(&mut session, 11);
        session.drop_lane(0).unwrap();
        advance(&mut session, 14);
        let point = session.snapshot(2).unwrap();
        session.set_point(1, &point).unwrap();
        advance(&mut session, 20);
        [1, 2].map(|lane| state(&session, lane))
    };
    let (trainer, replays) = recorded(mlp_trainer(json!({"epochs": 4})));
    let plain = mlp_trainer(json!({"epochs": 4}));
    let (got, expected) = (run(&trainer), run(&plain));
    for (got, expected) in got.iter().zip(&expected) {
        assert_same_bits(got, expected);
    }
    // Twice two steps after the mask and the lane, and the two short batches.
    assert_eq!(replays.load(Ordering::Relaxed), 20 - 6 - 2);
}

#[test]
fn a_level_that_goes_on_within_an_epoch_is_recorded() {
    let (trainer, replays) = recorded(image_trainer(json!({})));
    let mut whole = trainer.session(vec![start(&trainer, 3)]).unwrap();
    advance(&mut whole, 4);
    let stopped = LaneStart {
        point: whole.snapshot(0).unwrap(),
        optimizer: whole.optimizer_state(0).unwrap(),
        resume: Some(whole.progress(0).unwrap()),
        ..start(&trainer, 3)
    };
    let before = replays.load(Ordering::Relaxed);
    let mut rest = trainer.session(vec![stopped]).unwrap();
    advance(&mut whole, 9);
    advance(&mut rest, 9);
    assert!(replays.load(Ordering::Relaxed) > before);
    assert_same_bits(&state(&rest, 0), &state(&whole, 0));
}

#[test]
fn steps_that_draw_or_are_made_in_parts_are_not_recorded() {
    let cases = [
        dropout_trainer("cnn1d", 0.3, json!({})),
        dropout_trainer("mlp", 0.0, json!({})),
        conv_trainer(json!({"shards": 2})),
    ];
    for trainer in cases {
        let (trainer, replays) = recorded(trainer);
        let mut session = trainer.session(vec![start(&trainer, 3)]).unwrap();
        advance(&mut session, 6);
        assert_eq!(replays.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn seeds_of_a_network_without_lanes_have_beside_others_the_bytes_that_they_have_alone() {
    for make in [conv_trainer, image_trainer] {
        let plain = || make(json!({"epochs": 4, "clip_norm": 0.5})).with_seeds_together(3);
        for records in [false, true] {
            let (trainer, replays) = match records {
                true => recorded(plain()),
                false => (plain(), Arc::default()),
            };
            let run = |seeds: &[u64]| {
                let starts = seeds.iter().map(|&seed| start(&trainer, seed)).collect();
                let mut session = trainer.session(starts).unwrap();
                let mut records = advance(&mut session, 8);
                if seeds.len() > 1 {
                    session.set_mask(1, &random_mask(&trainer, 9)).unwrap();
                    session.drop_lane(0).unwrap();
                }
                records.extend(advance(&mut session, 17));
                let last = *session.lanes().last().unwrap();
                records.retain(|it| it.lane == last);
                let records: Vec<_> = (records.iter()).map(|it| (it.loss, it.accuracy)).collect();
                let tested = session.test_unless(&|| false).unwrap().unwrap();
                let evaluated = format!("{:?}", tested.last());
                (state(&session, last), records, evaluated)
            };
            let (together, alone) = (run(&[4, 5, 6]), run(&[6]));
            assert_same_bits(&together.0, &alone.0);
            assert_eq!(together.1, alone.1);
            assert_eq!(together.2, alone.2);
            assert_eq!(replays.load(Ordering::Relaxed) > 0, records);
        }
    }
    let said = |trainer: Trainer| {
        let starts = vec![start(&trainer, 1), start(&trainer, 2)];
        trainer.session(starts).err().unwrap().to_string()
    };
    let alone = said(conv_trainer(json!({})));
    assert!(alone.contains("trains 1 seed at a time"), "{alone}");
    let _ = said(conv_trainer(json!({"shards": 2})).with_seeds_together(2));
}
