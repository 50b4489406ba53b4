//! What is known of an experiment before anything trains, and would be found after hours.

use std::collections::BTreeSet;

use plugin_api::{Finding, Point, Severity};
use serde_json::Value;

use super::{OpenError, Read};
use crate::experiment::{self, Diagnostics, Experiment, LevelEnd, Part, Remark, density_key};
use crate::levels::{Course, is_gradual};
use crate::strategy::StrategyError;

/// What the host and the strategy's components have to say.
///
/// # Errors
/// If a component fails.
pub fn review(read: &Read, course: &Course<'_>) -> Result<Diagnostics, OpenError> {
    let failed = |error: StrategyError| OpenError::Make(error.into());
    let (experiment, trainer) = (course.experiment, course.trainer);
    let mut facts = trainer.facts(experiment);
    let mut remarks = experiment::review(experiment, &facts, trainer.computes_at_survivors());
    // Of an instance of its own: what it notes meanwhile must not reach the run.
    let mut strategy = read.strategy()?;
    if strategy.unit_rule().is_some() {
        let levels = 0..=experiment.last_level();
        facts.targets = levels
            .map(|level| course.target(level, &strategy))
            .collect();
        facts.units = Some(trainer.units().clone());
    }
    for (place, point) in strategy.points_by_place().map_err(failed)? {
        if let Err((message, advice)) = course.check_point(strategy.cadence(), &point) {
            let component = component(experiment, &place);
            let key = component.and_then(|part| option_of(part, &point));
            let key = [key_of(&place), key.unwrap_or_default()].join(".");
            remarks.push(Remark::impossible(key, message).advise(advice));
        }
    }
    remarks.extend(level_end(read, course)?);
    // Levels that follow from one key have one place: the first of them stands for all.
    let mut said = BTreeSet::new();
    for (place, finding) in strategy.review(&facts).map_err(failed)? {
        let level = finding.setting.is_some();
        let remark = remark(experiment, &place, finding);
        if !level || said.insert((place, remark.key().to_owned())) {
            remarks.push(remark);
        }
    }
    Ok(read.loaded.diagnose(remarks))
}

/// What levels that end with their schedule come to: one has nothing to train, has no time for its
/// masks, or all are as long as ever.
fn level_end(read: &Read, course: &Course<'_>) -> Result<Option<Remark>, OpenError> {
    const KEY: &str = "prune.level_end";
    let (experiment, trainer) = (course.experiment, course.trainer);
    let lengths = read.lengths(course).map_err(OpenError::Make)?;
    let pruned = || (1..).zip(&lengths[1..]);
    if experiment.prune.level_end == LevelEnd::Epochs || lengths.len() == 1 {
        return Ok(None);
    }
    let (whole, per_epoch) = (trainer.steps_per_level(), trainer.steps_per_epoch());
    if let Some((level, length)) = pruned().find(|(_, length)| length.steps == 0)
        && let Some((policy, time)) = length.goes_on
    {
        let part = &experiment.strategy.rewind[policy];
        let option = option_of(part, &Point::Step(time)).unwrap_or_default();
        let message =
            format!("level {level} has nothing to train: its schedule is over at `{time}`");
        let key = format!("strategy.rewind.{policy}.{option}");
        let advice = format!("a schedule has {whole} steps: name an earlier time");
        return Ok(Some(Remark::impossible(key, message).advise(advice)));
    }
    let cadence = read.seeds.first().map(|first| first.strategy.cadence());
    let gradual = cadence.filter(|cadence| is_gradual(cadence));
    if let Some(interval) = gradual.and_then(|cadence| cadence.within_level.as_ref())
        && let Some((level, length)) =
            pruned().find(|(_, length)| interval.last_call(per_epoch, length.steps).is_none())
    {
        let steps = length.steps;
        let message = format!("level {level} ends after {steps} steps, before its masks change");
        let advice = "let them change earlier, or rewind to an earlier time";
        return Ok(Some(Remark::impossible(KEY, message).advise(advice)));
    }
    let is_whole = pruned().all(|(_, length)| length.steps == whole);
    Ok(is_whole.then(|| {
        let message = "every level trains all its epochs: no schedule goes on from a time of it";
        let advice = "expected a rewind policy such as `imp/weights` with schedule_from_point";
        Remark::pointless(KEY, message).advise(advice)
    }))
}

/// What a component found, at the key that it concerns.
fn remark(experiment: &Experiment, place: &str, finding: Finding) -> Remark {
    let key = match &finding.setting {
        Some(key) => match key.strip_prefix("prune.densities.").map(str::parse::<u64>) {
            Some(Ok(at)) => density_key(experiment, at.saturating_add(1)),
            _ => key.clone(),
        },
        None => [&key_of(place), &*finding.option].join("."),
    };
    let part = component(experiment, place);
    let name = part.map_or(place, |part| &part.component);
    // A default is not in the file, where the place would name it.
    let option = finding.option.split('.').next().unwrap_or_default();
    let is_default = part.is_some_and(|part| !part.options.contains_key(option));
    let message = match is_default && !option.is_empty() {
        true => format!(
            "`{name}`: by the default of `{option}`, {}",
            finding.message
        ),
        false => format!("`{name}`: {}", finding.message),
    };
    let remark = match finding.severity {
        Severity::Impossible => Remark::impossible(key, message),
        // A plugin of a later version may mean something in between.
        _ => Remark::pointless(key, message),
    };
    remark.advise(finding.advice)
}

/// The key of a place in a strategy: `strategy.rewind.0` of `rewind[0]`.
fn key_of(place: &str) -> String {
    let inner = place.replace('[', ".").replace(']', "");
    format!("strategy.{inner}")
}

/// The part of the strategy at a place.
fn component<'a>(experiment: &'a Experiment, place: &str) -> Option<&'a Part> {
    let strategy = &experiment.strategy;
    match place {
        "score" => Some(&strategy.score),
        "mask" => Some(&strategy.mask),
        listed => {
            let (list, number) = listed.strip_suffix(']')?.split_once('[')?;
            let parts = match list {
                "rewind" => &strategy.rewind,
                _ => &strategy.update,
            };
            parts.get(number.parse::<usize>().ok()?)
        }
    }
}

/// The option of a component that names a point.
fn option_of(part: &Part, point: &Point) -> Option<String> {
    let names = |value: &Value| value.as_str()?.parse::<Point>().ok();
    let own = |(_, value): &(&String, &Value)| names(value).as_ref() == Some(point);
    part.options.iter().find(own).map(|(key, _)| key.clone())
}
