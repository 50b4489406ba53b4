//! What the host's own options come to in an experiment of known length: what cannot be, and what
//! has no effect.

use plugin_api::{Experiment as Facts, Layer, Step};
use serde_json::Value;

use super::{Experiment, LevelEnd, Remark};

/// What is to be said of the host's own options. `sparse` says whether the network's convolutions can
/// be computed at the survivors.
pub fn review(experiment: &Experiment, facts: &Facts, sparse: bool) -> Vec<Remark> {
    let mut remarks = Vec::new();
    remarks.extend(schedule(experiment, facts));
    remarks.extend(evaluations(experiment, facts));
    remarks.extend(sparse_kernels(experiment, sparse));
    remarks.extend(synchronised(experiment, facts));
    remarks.extend(empty_level(experiment, facts));
    remarks
}

/// The key that says what a level keeps: its density, or the number of levels.
pub fn density_key(experiment: &Experiment, level: u64) -> String {
    match experiment.prune.densities {
        Some(_) => format!("prune.densities.{}", level.saturating_sub(1)),
        None => "prune.levels".to_owned(),
    }
}

/// Times of the schedule that lie behind the level's end.
fn schedule(experiment: &Experiment, facts: &Facts) -> Vec<Remark> {
    let (total, length) = (facts.steps_per_level(), facts.length());
    let options = &experiment.train.schedule.options;
    let time = |value: &Value| value.as_str()?.parse::<Step>().ok();
    let mut remarks = Vec::new();
    if let Some(warmup) = options.get("warmup").and_then(time)
        && facts.steps(warmup) > total
    {
        remarks.push(
            Remark::impossible(
                "train.schedule.warmup",
                "the warm-up is longer than the training",
            )
            .advise(format!("a level has {length}")),
        );
    }
    let milestones = options.get("milestones").and_then(Value::as_array);
    for (at, milestone) in milestones.into_iter().flatten().enumerate() {
        if let Some(time) = time(milestone).filter(|it| facts.steps(*it) >= total) {
            let key = format!("train.schedule.milestones.{at}");
            let message = format!("the milestone `{time}` is not before the level's end");
            let nothing = match experiment.prune.level_end {
                LevelEnd::Epochs => "it changes nothing where the schedule starts at 0",
                LevelEnd::Schedule => "it changes nothing",
            };
            let advice = format!("a level has {length}: {nothing}");
            remarks.push(Remark::pointless(key, message).advise(advice));
        }
    }
    remarks
}

fn evaluations(experiment: &Experiment, facts: &Facts) -> Option<Remark> {
    let every = experiment.train.evaluate_every?;
    (facts.steps(every) > facts.steps_per_level()).then(|| {
        let message = format!("no evaluation comes every `{every}` within a level");
        Remark::pointless("train.evaluate_every", message).advise(format!(
            "a level has {}; its end is evaluated anyway",
            facts.length()
        ))
    })
}

fn sparse_kernels(experiment: &Experiment, sparse: bool) -> Option<Remark> {
    let below = experiment.train.sparse_below;
    let remark = |message: &str, advice: &str| {
        Some(Remark::pointless("train.sparse_below", message).advise(advice))
    };
    if below == 0.0 {
        return None;
    }
    if !sparse {
        return remark(
            "this network is never computed at its surviving weights",
            "it is for residual nets in fp32: leave it out",
        );
    }
    let least = experiment.density(experiment.last_level());
    if least >= below {
        return remark(
            "no level is sparse enough to be computed at its surviving weights",
            &format!("the last level's density is {least}: expected more than that"),
        );
    }
    None
}

/// Batch norms that would see the whole batch anyway, or that are not there.
fn synchronised(experiment: &Experiment, facts: &Facts) -> Option<Remark> {
    let train = &experiment.train;
    let (message, advice) = match (train.shards, facts.batch_norms) {
        _ if !train.sync_batch_norm => return None,
        _ if train.accumulate > 1 => {
            let message = "a batch norm cannot see batches that are computed one after another";
            let advice = "leave it out, or `train.accumulate`";
            return Some(Remark::impossible("train.sync_batch_norm", message).advise(advice));
        }
        (1, _) => ("a batch is one piece", "it is for train.shards above 1"),
        (_, 0) => ("the network has no batch norm", "leave it out"),
        _ => return None,
    };
    Some(Remark::pointless("train.sync_batch_norm", message).advise(advice))
}

/// The first level that keeps no weight at all.
fn empty_level(experiment: &Experiment, facts: &Facts) -> Option<Remark> {
    let level = facts.targets.iter().position(|target| *target == 0)?;
    let weights: u64 = facts.layers.iter().map(Layer::len).sum();
    let density = experiment.density(level as u64);
    let message =
        format!("level {level} keeps no weight: {density} of {weights} is less than half a one");
    let advice = match (experiment.prune.densities.is_some(), level) {
        (true, _) => format!(
            "expected a density of at least {:.1e}",
            1.0 / weights as f64
        ),
        (false, level) => format!("expected at most {} levels, or a smaller `rate`", level - 1),
    };
    Some(Remark::impossible(density_key(experiment, level as u64), message).advise(advice))
}
