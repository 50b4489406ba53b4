//! Tests of levels that end with their schedule.

use serde_json::json;

use super::exactness::{advance, assert_same_bits, state, through_json, trainers};
use super::testing::{mlp_trainer, start};
use super::{LaneStart, Session, Trainer};
use crate::experiment::LevelEnd;

/// A level that goes on from `schedule_start`.
fn going_on(trainer: &Trainer, seed: u64, schedule_start: u64) -> LaneStart {
    LaneStart {
        schedule_start,
        ..start(trainer, seed)
    }
}

#[test]
fn a_level_that_ends_with_its_schedule_trains_what_is_left_with_the_bytes_and_rates_of_the_whole_one()
 {
    for (whole, shorter) in trainers().into_iter().zip(trainers()) {
        let ((whole, what), shorter) = (whole, shorter.0.ending_levels(LevelEnd::Schedule));
        let (per_epoch, all) = (whole.steps_per_epoch(), whole.steps_per_level());
        // Whole epochs, and within one.
        for begin in [2 * per_epoch, 2 * per_epoch + 3] {
            println!("{what}, from {begin}");
            let left = all - begin;
            let mut long = whole.session(vec![going_on(&whole, 3, begin)]).unwrap();
            let mut short = shorter.session(vec![going_on(&shorter, 3, begin)]).unwrap();
            assert_eq!((long.steps(), short.steps()), (all, left));
            assert_eq!(short.epochs(), left.div_ceil(per_epoch));
            let mut dense = shorter.session(vec![start(&shorter, 3)]).unwrap();
            assert_eq!(dense.steps(), all);
            let mut rates = Vec::new();
            for step in 0..left {
                if short.is_epoch_complete() {
                    short.finish_epoch().unwrap();
                }
                rates.push(short.lr(0).unwrap().to_bits());
                short.step().unwrap();
                assert_eq!(short.position().step, step + 1);
            }
            assert!(short.is_epoch_complete() && !short.is_complete());
            advance(&mut long, left);
            // Also what of the last epoch was logged so far.
            assert_same_bits(&state(&short, 0), &state(&long, 0));
            let last = short.finish_epoch().unwrap();
            assert_eq!(last[0].epoch, short.epochs() - 1);
            assert!(short.is_complete() && short.step().is_err());
            let mut expected = Vec::new();
            for step in 0..all {
                if dense.is_epoch_complete() {
                    dense.finish_epoch().unwrap();
                }
                if step >= begin {
                    expected.push(dense.lr(0).unwrap().to_bits());
                }
                dense.step().unwrap();
            }
            assert_eq!(rates, expected);
        }
    }
}

#[test]
fn a_level_that_ends_within_an_epoch_records_what_that_part_saw() {
    let trainer = mlp_trainer(json!({"epochs": 3})).ending_levels(LevelEnd::Schedule);
    // 207 samples in batches of 25: what is left after 12 of 27 steps is an epoch of 9 and one of 6.
    let mut session = trainer.session(vec![going_on(&trainer, 1, 12)]).unwrap();
    advance(&mut session, 15);
    let progress = session.progress(0).unwrap();
    let losses = Vec::<f64>::try_from(progress.get("losses").unwrap()).unwrap();
    let right = Vec::<i64>::try_from(progress.get("correct").unwrap()).unwrap();
    assert_eq!((losses.len(), right.len()), (6, 6));
    let record = session.finish_epoch().unwrap().remove(0);
    assert_eq!(record.loss, losses.iter().sum::<f64>() / 150.0);
    assert_eq!(record.accuracy, right.iter().sum::<i64>() as f64 / 150.0);
    assert_eq!((record.epoch, session.position().step), (1, 15));
}

#[test]
fn a_level_that_ends_within_an_epoch_continues_from_anywhere_with_the_same_bytes() {
    for (trainer, what) in trainers() {
        let trainer = trainer.ending_levels(LevelEnd::Schedule);
        let (begin, per_epoch) = (
            trainer.steps_per_level() - trainer.steps_per_epoch() - 4,
            trainer.steps_per_epoch(),
        );
        let finish = |session: &mut Session<'_>| {
            let mut records = advance(session, per_epoch + 4);
            if !session.is_complete() {
                records.extend(session.finish_epoch().unwrap());
            }
            records
        };
        let from = || going_on(&trainer, 3, begin);
        let mut whole = trainer.session(vec![from()]).unwrap();
        let records = finish(&mut whole);
        // In the part of an epoch, at its end, and with its record read, as before an evaluation.
        for (stop, is_read) in [
            (2, false),
            (per_epoch + 2, false),
            (per_epoch + 4, false),
            (per_epoch + 4, true),
        ] {
            println!("{what}, stopped at {stop}, read: {is_read}");
            let mut first = trainer.session(vec![from()]).unwrap();
            let mut pieces = match is_read {
                true => finish(&mut first),
                false => advance(&mut first, stop),
            };
            let resumed = LaneStart {
                point: first.snapshot(0).unwrap(),
                optimizer: first.optimizer_state(0).unwrap(),
                resume: Some(through_json(&first.progress(0).unwrap())),
                ..from()
            };
            let mut second = trainer.session(vec![resumed]).unwrap();
            pieces.extend(finish(&mut second));
            assert!(second.is_complete());
            assert_eq!(pieces, records);
            assert_same_bits(&state(&second, 0), &state(&whole, 0));
        }
    }
}

#[test]
fn levels_of_different_length_or_without_a_step_are_no_session() {
    let trainer = mlp_trainer(json!({"epochs": 3})).ending_levels(LevelEnd::Schedule);
    let refusal = |starts| trainer.session(starts).map(|_| ()).unwrap_err().to_string();
    let said = refusal(vec![start(&trainer, 1), going_on(&trainer, 2, 9)]);
    assert!(said.contains("one trains 27 steps, another 18"), "{said}");
    let said = refusal(vec![going_on(&trainer, 1, 27)]);
    assert!(
        said.contains("goes on from step 27 and ends at step 27"),
        "{said}"
    );
    // A schedule that is held has no end.
    let held = LaneStart {
        hold: Some(0.5),
        ..going_on(&trainer, 1, 26)
    };
    assert_eq!(trainer.session(vec![held]).unwrap().steps(), 27);
}
