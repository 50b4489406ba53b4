//! Tests of counting what crosses zero.

use serde_json::json;
use tch::Tensor;

use super::Crossed;
use crate::trainer::exactness::{advance, through_json, trainers};
use crate::trainer::testing::{mlp_trainer, random_mask, start};
use crate::trainer::{LaneStart, Session, Snapshot, Trainer};

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.reshape([-1]).to_kind(tch::Kind::Double);
    Vec::try_from(&flat).unwrap()
}

/// One weight after the other.
fn counted(trainer: &Trainer, [start, epoch, end]: [&Snapshot; 3], mask: &[Tensor]) -> Crossed {
    let mut all = Crossed::default();
    for (layer, mask) in trainer.layers().iter().zip(mask) {
        let of = |point: &Snapshot| numbers(point.get(&layer.name).unwrap());
        let (start, epoch, end, mask) = (of(start), of(epoch), of(end), numbers(mask));
        let is_kept = |&at: &usize| mask[at] != 0.0;
        let crossed = |before: &[f64]| {
            let kept = (0..end.len()).filter(is_kept);
            let crosses = |at: &usize| {
                (before[*at] < 0.0 && end[*at] > 0.0) || (before[*at] > 0.0 && end[*at] < 0.0)
            };
            kept.filter(crosses).count() as u64
        };
        all.survivors
            .push((0..end.len()).filter(is_kept).count() as u64);
        all.epoch.push(crossed(&epoch));
        all.start.push(crossed(&start));
    }
    all
}

fn finish(session: &mut Session<'_>) -> Option<Crossed> {
    let done = session.position().epoch + 1;
    let end = done * session.trainer.steps_per_epoch();
    advance(session, end);
    session.finish_epoch().unwrap().remove(0).crossed
}

#[test]
fn the_counts_are_those_of_one_weight_after_the_other() {
    for (trainer, what) in trainers() {
        let mut session = trainer.session(vec![start(&trainer, 3)]).unwrap();
        let begin = session.snapshot(0).unwrap();
        let mut before = begin.clone();
        let mut sums = (0, 0);
        for epoch in 0..4 {
            let crossed = finish(&mut session).unwrap();
            let (end, mask) = (session.snapshot(0).unwrap(), session.mask(0).unwrap());
            let expected = counted(&trainer, [&begin, &before, &end], &mask);
            assert_eq!(crossed, expected, "{what}, epoch {epoch}");
            sums.0 += crossed.epoch.iter().sum::<u64>();
            sums.1 += u64::from(epoch > 0 && crossed.epoch != crossed.start);
            before = end;
        }
        assert!(sums.0 > 0 && sums.1 > 0, "{what}: {sums:?}");
    }
}

#[test]
fn what_grew_has_no_sign_until_an_epoch_later() {
    let trainer = mlp_trainer(json!({"epochs": 4}));
    let mut session = trainer.session(vec![start(&trainer, 1)]).unwrap();
    let begin = session.snapshot(0).unwrap();
    finish(&mut session).unwrap();
    let before = session.snapshot(0).unwrap();
    // Within the epoch, and once more with its last step: what grows there is 0 at the epoch's end.
    let last = 2 * trainer.steps_per_epoch();
    for (step, seed) in [(last - 5, 77), (last, 78)] {
        advance(&mut session, step);
        session.set_mask(0, &random_mask(&trainer, seed)).unwrap();
    }
    let crossed = session.finish_epoch().unwrap().remove(0).crossed.unwrap();
    let (end, mask) = (session.snapshot(0).unwrap(), session.mask(0).unwrap());
    let expected = counted(&trainer, [&begin, &before, &end], &mask);
    assert_eq!(crossed, expected);
    let zeros = trainer.layers().iter().zip(&mask).map(|(layer, mask)| {
        let weights = numbers(end.get(&layer.name).unwrap());
        let pairs = weights.iter().zip(numbers(mask));
        pairs
            .filter(|(weight, mask)| **weight == 0.0 && *mask != 0.0)
            .count()
    });
    assert!(zeros.sum::<usize>() > 0);
}

#[test]
fn lanes_go_on_with_their_counts_when_another_is_dropped() {
    let trainer = mlp_trainer(json!({"epochs": 4}));
    let starts = [1, 2, 3].map(|seed| start(&trainer, seed));
    let mut session = trainer.session(starts.into()).unwrap();
    // Within an epoch: what it started with goes with the lane.
    advance(&mut session, 12);
    session.drop_lane(0).unwrap();
    let records = advance(&mut session, 30);
    for (lane, seed) in [(1, 2), (2, 3)] {
        let mut alone = trainer.session(vec![start(&trainer, seed)]).unwrap();
        let expected: Vec<_> = advance(&mut alone, 30).into_iter().skip(1).collect();
        let own = records.iter().filter(|it| it.lane == lane);
        let own: Vec<_> = own.map(|it| it.crossed.clone().unwrap()).collect();
        assert_eq!(own.len(), 2);
        assert!(
            own.iter()
                .zip(&expected)
                .all(|(own, it)| Some(own) == it.crossed.as_ref())
        );
    }
}

#[test]
fn a_checkpoint_without_signs_goes_on_without_counts_and_beside_one_with_them() {
    let trainer = mlp_trainer(json!({"epochs": 4}));
    let resumed = |seed: u64, with_signs: bool| {
        let mut first = trainer.session(vec![start(&trainer, seed)]).unwrap();
        advance(&mut first, 12);
        let mut progress = through_json(&first.progress(0).unwrap());
        progress
            .tensors
            .retain(|(name, _)| with_signs || !name.starts_with("signs."));
        LaneStart {
            point: first.snapshot(0).unwrap(),
            optimizer: first.optimizer_state(0).unwrap(),
            resume: Some(progress),
            ..start(&trainer, seed)
        }
    };
    let mut session = trainer
        .session(vec![resumed(1, false), resumed(2, true)])
        .unwrap();
    let records = advance(&mut session, 30);
    assert!(session.progress(0).unwrap().tensors.len() == 2);
    let mut whole = trainer.session(vec![start(&trainer, 2)]).unwrap();
    let expected: Vec<_> = advance(&mut whole, 30).into_iter().skip(1).collect();
    let own: Vec<_> = records.iter().filter(|it| it.lane == 1).collect();
    assert_eq!(own.len(), expected.len());
    for (own, expected) in own.iter().zip(&expected) {
        assert!(own.crossed.is_some() && own.crossed == expected.crossed);
    }
    assert!(
        records
            .iter()
            .all(|it| it.crossed.is_some() == (it.lane == 1))
    );
}
