//! Masks, weights and optimizer state of a level: counts, nesting, exact zeros.

use plugin_api::{Scope, UnitRule};
use tch::{Kind, Tensor};

use super::levels::Level;
use super::{Means, Verdict};
use crate::experiment::Experiment;
use crate::levels::invariants::{Broken, binary, counted, dead, finite, nested, tensors_of};
use crate::records::{KeptUnits, read_summary};
use crate::store::read_tensors;
use crate::strategy::units;

/// The tensors of a level.
pub(super) struct Stored {
    pub masks: Vec<(String, Tensor)>,
    /// Where masks change within the level.
    pub masks_at_start: Option<Vec<(String, Tensor)>>,
    pub start: Vec<(String, Tensor)>,
    pub end: Vec<(String, Tensor)>,
    optimizer: Vec<(String, Tensor)>,
}

impl Stored {
    /// Reads them; the file and what is wrong with it, if one cannot be read.
    pub fn read(level: &Level<'_>) -> Result<Self, (String, String)> {
        let read = |file: &str| {
            read_tensors(&level.dir.file(file))
                .map_err(|error| (file.to_owned(), super::files::reason(&error)))
        };
        let at_start = "mask-start.safetensors";
        Ok(Self {
            masks: read("mask.safetensors")?,
            masks_at_start: match level.dir.file(at_start).exists() {
                true => Some(read(at_start)?),
                false => None,
            },
            start: read("start.safetensors")?,
            end: read("end.safetensors")?,
            optimizer: read("optimizer.safetensors")?,
        })
    }

    /// Names and shapes of the prunable layers.
    pub fn layers(&self) -> (Vec<String>, Vec<Vec<i64>>) {
        let layer = |(name, mask): &(String, Tensor)| (name.clone(), mask.size());
        self.masks.iter().map(layer).unzip()
    }

    /// Number of prunable weights.
    pub fn weights(&self) -> u64 {
        self.masks.iter().map(|(_, mask)| mask.numel() as u64).sum()
    }
}

/// The tensors themselves.
pub(super) fn tensors(named: &[(String, Tensor)]) -> Vec<Tensor> {
    let tensor = |(_, tensor): &(String, Tensor)| tensor.shallow_clone();
    named.iter().map(tensor).collect()
}

pub(super) fn check(
    level: &Level<'_>,
    stored: &Stored,
    before: Option<&[(String, Tensor)]>,
    means: &Means<'_>,
    checked: &mut Vec<&'static str>,
    verdict: &mut Verdict,
) {
    let mut tell = |file: &str, what: &'static str, result: Result<bool, Broken>| match result {
        Ok(true) => checked.push(what),
        Ok(false) => {}
        Err(broken) => verdict.problem(level.named(file), broken),
    };
    let (names, shapes) = stored.layers();
    let masks = tensors(&stored.masks);
    tell(
        "mask.safetensors",
        "masks",
        check_masks(level, stored, before).map(|()| true),
    );
    let counts = || match &means.experiment {
        Err(_) => Ok(false),
        Ok(experiment) => {
            if let Some(whole) = whole_units(level, means)? {
                return check_units(level, &masks, &names, experiment, &whole, means);
            }
            let target = experiment.keep(level.level, stored.weights());
            counted("mask.safetensors", &names, &masks, (target, target))?;
            if let Some(at_start) = &stored.masks_at_start {
                // Gradual pruning starts with what the level before kept.
                let most = experiment.keep(level.level.saturating_sub(1), stored.weights());
                let what = "mask-start.safetensors";
                counted(what, &names, &tensors(at_start), (target, most))?;
            }
            Ok(true)
        }
    };
    tell("mask.safetensors", "counts", counts());
    // By name: a file of tensors has no order.
    let first = match &stored.masks_at_start {
        Some(at_start) => tensors_of("mask-start.safetensors", &names, &shapes, "", at_start),
        None => Ok(masks.iter().map(Tensor::shallow_clone).collect()),
    };
    let first = match first {
        Ok(first) => first,
        Err(broken) => {
            tell("mask-start.safetensors", "masks", Err(broken));
            return;
        }
    };
    for (file, point, masks) in [
        ("start.safetensors", &stored.start, &first),
        ("end.safetensors", &stored.end, &masks),
    ] {
        let zeros = || {
            finite(file, point)?;
            let weights = tensors_of(file, &names, &shapes, "", point)?;
            dead(file, "weight", &names, &weights, masks)?;
            Ok(file == "end.safetensors")
        };
        tell(file, "zeros", zeros());
    }
    let file = "optimizer.safetensors";
    let state = || {
        finite(file, &stored.optimizer)?;
        for state in states(&stored.optimizer, &names) {
            let prefix = format!("{state}.");
            let own = tensors_of(file, &names, &shapes, &prefix, &stored.optimizer)?;
            dead(file, &state, &names, &own, &masks)?;
        }
        Ok(true)
    };
    tell(file, "optimizer", state());
}

/// What the level's summary says of whole units, if its masks keep such.
///
/// # Errors
/// If the summary cannot be read, or says something else than the strategy, where that is here.
fn whole_units(level: &Level<'_>, means: &Means<'_>) -> Result<Option<KeptUnits>, Broken> {
    let misfit = |reason: String| Broken::Misfit {
        what: "summary.json".to_owned(),
        reason,
    };
    let summary = read_summary(&level.dir).map_err(|error| misfit(error.to_string()))?;
    if let Ok((_, seeds)) = &means.strategy {
        let rule = seeds.first().and_then(|it| it.strategy.unit_rule());
        let rule = rule
            .map(|it| (it.measure, it.multiple))
            .filter(|_| level.level > 0);
        let said = summary.units.as_ref().map(|it| (it.measure, it.multiple));
        if level.level > 0 && rule != said {
            return Err(misfit(format!(
                "its masks count by {said:?}, the strategy's by {rule:?}"
            )));
        }
    }
    Ok(summary.units)
}

/// Masks are of whole units, and what is recorded of them is so; whether that could be checked.
fn check_units(
    level: &Level<'_>,
    masks: &[Tensor],
    names: &[String],
    experiment: &Experiment,
    said: &KeptUnits,
    means: &Means<'_>,
) -> Result<bool, Broken> {
    let what = "mask.safetensors";
    let Ok(trainer) = &means.trainer else {
        return Ok(false);
    };
    let (known, layers) = (trainer.units(), trainer.layers());
    let place = |layer: &plugin_api::Layer| names.iter().position(|it| *it == layer.name);
    let masks: Vec<Tensor> = (layers.iter().filter_map(place))
        .map(|at| masks[at].shallow_clone())
        .collect();
    if masks.len() != layers.len() {
        return Err(Broken::Misfit {
            what: what.to_owned(),
            reason: "it is of other layers than the network's".to_owned(),
        });
    }
    let rule = UnitRule {
        measure: said.measure,
        // Which units compete is for the strategy to say.
        scope: Scope::default(),
        multiple: said.multiple,
    };
    let total = known.total(rule.measure, layers);
    let target = experiment.keep(level.level, total);
    let counted = units::counted(known, &rule, layers, &masks, target);
    let (sets, kept) = counted.map_err(|fault| Broken::units(what, &fault))?;
    let expected = KeptUnits::new(known, &rule, (total, target, kept), &sets);
    if *said != expected {
        return Err(Broken::Misfit {
            what: "summary.json".to_owned(),
            reason: format!("it says {said:?}, the masks give {expected:?}"),
        });
    }
    Ok(true)
}

/// Masks are of 0 and 1, and keep what the level before kept.
fn check_masks(
    level: &Level<'_>,
    stored: &Stored,
    before: Option<&[(String, Tensor)]>,
) -> Result<(), Broken> {
    let (names, shapes) = stored.layers();
    let what = "mask.safetensors";
    for (name, mask) in &stored.masks {
        if mask.kind() != Kind::Uint8 {
            return Err(Broken::Misfit {
                what: what.to_owned(),
                reason: format!("`{name}` has type {:?}, expected U8", mask.kind()),
            });
        }
    }
    binary(what, &names, &tensors(&stored.masks))?;
    let mut first = tensors(&stored.masks);
    if let Some(at_start) = &stored.masks_at_start {
        let what = "mask-start.safetensors";
        first = tensors_of(what, &names, &shapes, "", at_start)?;
        binary(what, &names, &first)?;
    }
    match before {
        Some(before) if level.level > 0 => {
            let before = tensors_of("the level before", &names, &shapes, "", before)?;
            nested(what, &names, &first, &before)
        }
        _ => Ok(()),
    }
}

/// Names of the optimizer's states, such as `momentum`.
fn states(optimizer: &[(String, Tensor)], layers: &[String]) -> Vec<String> {
    let Some(first) = layers.first() else {
        return Vec::new();
    };
    // States have no dots in their names, layers may: `conv1.weight` also ends `layer1.0.conv1.weight`.
    let state = |(name, _): &(String, Tensor)| {
        let (state, layer) = name.split_once('.')?;
        (layer == first).then(|| state.to_owned())
    };
    optimizer.iter().filter_map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_from_layers_whose_names_end_alike() {
        let names = ["conv1.weight", "layer1.0.conv1.weight"].map(str::to_owned);
        let tensor = |name: String| (name, Tensor::zeros([1], tch::kind::FLOAT_CPU));
        let states_of = |first: usize| {
            let both = ["exp_avg", "exp_avg_sq"].into_iter();
            let all =
                both.flat_map(|state| names.iter().map(move |name| format!("{state}.{name}")));
            let all: Vec<_> = all.chain(["steps".to_owned()]).map(tensor).collect();
            states(&all, &names[first..])
        };
        assert_eq!(states_of(0), ["exp_avg", "exp_avg_sq"]);
        assert_eq!(states_of(1), ["exp_avg", "exp_avg_sq"]);
    }
}
