//! The records of a level, recomputed from its stored weights and masks.

use plugin_api::{Layer, LayerKind};
use tch::{Kind, Tensor};

use super::levels::Level;
use super::masks::Stored;
use super::{Means, Verdict};
use crate::experiment::Metric;
use crate::levels::invariants::tensors_of;
use crate::levels::{Carry, ScheduleStart};
use crate::records::{ClassRecord, Compared, Epoch, LayerRecord, Summary, compare, read_lines};
use crate::store::read_tensors;

/// By how much a norm may differ: a sum in another order.
const NORM: f64 = 1e-9;

type Wrong = (&'static str, String);

pub(super) fn check(
    level: &Level<'_>,
    stored: &Stored,
    means: &Means<'_>,
    checked: &mut Vec<&'static str>,
    verdict: &mut Verdict,
) {
    let result = check_layers(level, stored, means)
        .and_then(|layers| {
            super::signs::check(level, stored, &layers)?;
            check_summary(level, stored, &layers)
        })
        .and_then(|summary| {
            check_epochs(level, &summary, means)?;
            check_classes(level, &summary, means)
        });
    match result {
        Ok(()) => checked.push("records"),
        Err((file, reason)) => verdict.problem(level.named(file), reason),
    }
}

fn check_layers(
    level: &Level<'_>,
    stored: &Stored,
    means: &Means<'_>,
) -> Result<Vec<LayerRecord>, Wrong> {
    const FILE: &str = "layers.jsonl";
    let damaged = |error: crate::store::StoreError| (FILE, super::files::reason(&error));
    let written: Vec<LayerRecord> = read_lines(&level.dir.file(FILE)).map_err(damaged)?;
    let mut names: Vec<&str> = written.iter().map(|it| it.layer.as_str()).collect();
    let mut known: Vec<&str> = stored.masks.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    known.sort_unstable();
    if names != known {
        return Err((
            FILE,
            format!("it is of the layers {names:?}, expected {known:?}"),
        ));
    }
    let layers: Vec<Layer> = match &means.trainer {
        Ok(trainer) => trainer.layers().to_vec(),
        // What is compared does not depend on what a layer does.
        Err(_) => written
            .iter()
            .filter_map(|record| {
                let (_, mask) = stored
                    .masks
                    .iter()
                    .find(|(name, _)| *name == record.layer)?;
                Some(Layer::new(&record.layer, LayerKind::Linear, mask.size()))
            })
            .collect(),
    };
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    let shapes: Vec<Vec<i64>> = layers.iter().map(|layer| layer.shape.clone()).collect();
    let pick = |what: &'static str, from: &[(String, Tensor)]| {
        tensors_of(what, &names, &shapes, "", from).map_err(|broken| (what, broken.to_string()))
    };
    let read = |number: u64, file: &'static str| {
        let dir = level.run.seed(level.seed).level(number);
        let tensors = read_tensors(&dir.file(file))
            .map_err(|error| (FILE, format!("it cannot be compared: {error}")))?;
        pick(file, &tensors)
    };
    let masks = pick("mask.safetensors", &stored.masks)?;
    let masks: Vec<Tensor> = masks.iter().map(|it| it.to_kind(Kind::Float)).collect();
    let effective: Vec<u64> = match &means.trainer {
        Ok(trainer) => trainer.effective(&masks),
        Err(_) => written
            .iter()
            .filter_map(|record| record.effective)
            .collect(),
    };
    let previous = match level.level {
        0 => None,
        number => Some(read(number - 1, "end.safetensors")?),
    };
    let computed = compare(
        level.level,
        &layers,
        &Compared {
            end: &pick("end.safetensors", &stored.end)?,
            masks: &masks,
            effective: &effective,
            init: &read(0, "start.safetensors")?,
            start: &pick("start.safetensors", &stored.start)?,
            previous: previous.as_deref(),
        },
    );
    for (written, computed) in written.iter().zip(&computed) {
        let mut expected = computed.clone();
        if written.effective.is_none() {
            expected.effective = None; // An older version did not count them.
        }
        if (written.norm - expected.norm).abs() <= NORM * expected.norm {
            expected.norm = written.norm;
        }
        if *written != expected {
            return Err((
                FILE,
                format!("it says {written:?}, the stored weights give {expected:?}"),
            ));
        }
    }
    Ok(written)
}

fn check_summary(
    level: &Level<'_>,
    stored: &Stored,
    layers: &[LayerRecord],
) -> Result<Summary, Wrong> {
    const FILE: &str = "summary.json";
    let damaged = |error: crate::store::StoreError| (FILE, super::files::reason(&error));
    let mut summaries: Vec<Summary> = read_lines(&level.dir.file(FILE)).map_err(damaged)?;
    let written = match (summaries.pop(), summaries.is_empty()) {
        (Some(summary), true) => summary,
        _ => return Err((FILE, "it holds other than one summary".to_owned())),
    };
    let expected = Summary {
        test_accuracy: written.test_correct as f64 / written.test_samples as f64,
        // Compared with the epochs' records, and by evaluating the weights.
        train_loss: written.train_loss,
        test_loss: written.test_loss,
        test_correct: written.test_correct,
        test_samples: written.test_samples,
        test_top_5_correct: written.test_top_5_correct,
        test_top_5_accuracy: (written.test_top_5_correct)
            .map(|correct| correct as f64 / written.test_samples as f64),
        test_nll: written.test_nll,
        test_perplexity: written.test_perplexity,
        test_ece: written.test_ece,
        test_rmse: written.test_rmse,
        test_r2: written.test_r2,
        validation_accuracy: (written.validation_correct.zip(written.validation_samples))
            .map(|(correct, samples)| correct as f64 / samples as f64),
        validation_loss: written.validation_loss,
        validation_correct: written.validation_correct,
        validation_samples: written.validation_samples,
        // Compared with the masks.
        units: written.units.clone(),
        ..Summary::of_layers(level.seed, level.level, stored.weights(), layers)
    };
    // As text: a loss may be no number, which equals nothing.
    match format!("{written:?}") == format!("{expected:?}") {
        true => Ok(written),
        false => Err((
            FILE,
            format!("it says {written:?}, the stored weights give {expected:?}"),
        )),
    }
}

/// The classes are those of the summary, taken together, and there are such records where they were asked for alone.
fn check_classes(level: &Level<'_>, summary: &Summary, means: &Means<'_>) -> Result<(), Wrong> {
    const FILE: &str = "classes.jsonl";
    let path = level.dir.file(FILE);
    let metrics = (means.experiment).as_ref().map(|it| &it.train.metrics);
    let asked =
        metrics.map(|it| [Metric::PerClass, Metric::Confusion].map(|one| it.contains(&one)));
    let [per_class, confusion] = asked.unwrap_or([path.exists(); 2]);
    match (path.exists(), per_class || confusion) {
        (false, false) => return Ok(()),
        (true, true) => {}
        (true, false) => {
            let reason = "no metric of the experiment asks for it".to_owned();
            return Err((FILE, reason));
        }
        (false, true) => return Err((FILE, "it is missing".to_owned())),
    }
    let classes: Vec<ClassRecord> =
        read_lines(&path).map_err(|error| (FILE, super::files::reason(&error)))?;
    let wrong = |reason: String| Err((FILE, reason));
    let mut sums = (0u64, 0u64);
    for (number, class) in (0..).zip(&classes) {
        let (got, expected) = ((class.level, class.class), (level.level, number));
        if got != expected {
            return wrong(format!(
                "level and class are {got:?}, expected {expected:?}"
            ));
        }
        let all = class.test_samples;
        let share = class
            .test_correct
            .map(|correct| correct as f64 / all as f64);
        // As text: an accuracy may be no number, which equals nothing.
        if format!("{share:?}") != format!("{:?}", class.test_accuracy) {
            return wrong(format!(
                "class {number}: its accuracy is not its share of right answers"
            ));
        }
        if let Some(predicted) = &class.predicted
            && (predicted.len() != classes.len()
                || predicted
                    .iter()
                    .fold(0u64, |sum, it| sum.saturating_add(*it))
                    != all)
        {
            return wrong(format!(
                "class {number}: what its samples were taken for does not add up to {all}"
            ));
        }
        sums.0 = sums.0.saturating_add(all);
        sums.1 = sums.1.saturating_add(class.test_correct.unwrap_or(0));
    }
    let correct = match per_class && means.experiment.is_ok() {
        true => summary.test_correct,
        false => sums.1,
    };
    let expected = (summary.test_samples, correct);
    match sums == expected {
        true => Ok(()),
        false => wrong(format!(
            "samples and right answers are {sums:?} of all classes together, in summary.json {expected:?}"
        )),
    }
}

/// Steps of an epoch, as the records say: the first epoch of level 0 is always whole.
fn steps_of_an_epoch(level: &Level<'_>, epochs: &[Epoch]) -> u64 {
    let dense = level.run.seed(level.seed).level(0).file("metrics.jsonl");
    let dense: Vec<Epoch> = read_lines(&dense).unwrap_or_default();
    let first = dense.first().or(epochs.first());
    first.map_or(0, |first| first.step)
}

/// Where the schedule was at the level's start.
fn schedule_of(level: &Level<'_>) -> Result<ScheduleStart, Wrong> {
    const FILE: &str = "done.json";
    let read = (level.dir.read_sealed()).map_err(|error| (FILE, super::files::reason(&error)))?;
    let carry: Carry =
        serde_json::from_value(read.value.carry).map_err(|error| (FILE, error.to_string()))?;
    Ok(carry.schedule)
}

/// The epochs follow each other, and the last one agrees with the summary.
fn check_epochs(level: &Level<'_>, summary: &Summary, means: &Means<'_>) -> Result<(), Wrong> {
    const FILE: &str = "metrics.jsonl";
    let damaged = |error: crate::store::StoreError| (FILE, super::files::reason(&error));
    let epochs: Vec<Epoch> = read_lines(&level.dir.file(FILE)).map_err(damaged)?;
    let wrong = |reason: String| Err((FILE, reason));
    let per_epoch = match &means.trainer {
        Ok(trainer) => trainer.steps_per_epoch(),
        Err(_) => steps_of_an_epoch(level, &epochs),
    };
    let mut steps = u64::MAX;
    if let Ok(experiment) = &means.experiment {
        let schedule = schedule_of(level)?;
        let whole = per_epoch.saturating_mul(experiment.train.epochs);
        let level_end = experiment.prune.level_end;
        steps = level_end.steps(whole, schedule.step, schedule.hold);
        let expected = steps.div_ceil(per_epoch.max(1));
        if epochs.len() as u64 != expected {
            return wrong(format!("{} epochs, expected {expected}", epochs.len()));
        }
    }
    for (number, epoch) in (0..).zip(&epochs) {
        let got = (epoch.level, epoch.epoch, epoch.step);
        let expected = (level.level, number, steps.min((number + 1) * per_epoch));
        if got != expected {
            return wrong(format!(
                "line {}: level, epoch and step are {got:?}, expected {expected:?}",
                number + 1
            ));
        }
    }
    let Some(last) = epochs.last() else {
        return Ok(());
    };
    let bits = |number: f64| number.is_finite().then(|| number.to_bits());
    if bits(last.train_loss) != bits(summary.train_loss) {
        return wrong(format!(
            "the last epoch's loss is {}, in summary.json it is {}",
            last.train_loss, summary.train_loss
        ));
    }
    if let Some(accuracy) = last.test_accuracy
        && bits(accuracy) != bits(summary.test_accuracy)
    {
        return wrong(format!(
            "the last epoch's test accuracy is {accuracy}, in summary.json it is {}",
            summary.test_accuracy
        ));
    }
    if let Some(accuracy) = last.validation_accuracy
        && bits(accuracy) != summary.validation_accuracy.and_then(bits)
    {
        return wrong(format!(
            "the last epoch's validation accuracy is {accuracy}, in summary.json it is {:?}",
            summary.validation_accuracy
        ));
    }
    Ok(())
}
