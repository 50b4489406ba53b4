//! `host groups`.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::args::{ModelShowArgs, Output};
use super::exit::{Exit, Failure};
use super::model::{Experimental, archived, experimental};
use super::plan::grouped;
use super::stdout;
use crate::counted::counted;
use crate::model::{LeftOut, Network, Role, Side, UnitSet, Units};
use crate::report::columns;

/// Lists the units of a network that can be removed whole.
///
/// # Errors
/// A file that is no network, or an experiment that cannot be carried out.
pub fn groups(args: &ModelShowArgs, output: &Output) -> Result<Exit, Failure> {
    let shown = match args.file.extension().is_some_and(|it| it == "pt2") {
        true => of_archive(&args.file)?,
        false => of_experiment(args)?,
    };
    stdout::line(match output.json {
        true => json!(shown).to_string(),
        false => text(&shown),
    })?;
    Ok(Exit::Success)
}

/// The units of a network, as they are shown.
#[derive(Debug, Serialize)]
struct Shown {
    /// Prunable weights.
    weights: u64,
    /// Their multiply-adds for one sample.
    multiply_adds: u64,
    /// Units in all.
    units: usize,
    /// Sets of units that are alike.
    sets: Vec<Set>,
    /// Weights whose units stay, and why.
    left_out: Vec<LeftOut>,
}

/// A set of units.
#[derive(Debug, Serialize)]
struct Set {
    #[serde(flatten)]
    set: UnitSet,
    /// Prunable weights that go with one unit of the whole network.
    weights: u64,
    /// Their multiply-adds for one sample.
    multiply_adds: u64,
}

/// A prunable layer: name, shape, multiply-adds.
type Sized = (String, Vec<i64>, u64);

fn of_archive(path: &Path) -> Result<Shown, Failure> {
    let (network, spec) = archived(path)?;
    let Units { sets, left_out } = network.units(&spec.shape);
    let weights = (network.parameters().iter()).filter(|it| matches!(it.role, Role::Weight(_)));
    let layers = weights.map(|it| (it.name.clone(), it.shape.clone()));
    let layers = sized(&*network, &spec.shape, layers);
    Ok(shown(&sets, &left_out, &layers))
}

fn of_experiment(args: &ModelShowArgs) -> Result<Shown, Failure> {
    let Experimental { trainer, input, .. } = experimental(args)?;
    let layers = trainer.layers().iter();
    let layers = layers.map(|it| (it.name.clone(), it.shape.clone()));
    let layers = sized(trainer.network(), &input, layers);
    let (sets, left_out) = trainer.unit_sets();
    Ok(shown(sets, left_out, &layers))
}

fn sized(
    network: &dyn Network,
    input: &[i64],
    layers: impl Iterator<Item = (String, Vec<i64>)>,
) -> Vec<Sized> {
    let products = network.multiply_adds(input);
    let of = |name: &str| {
        let own = products
            .iter()
            .filter(|(held, _)| held.as_deref() == Some(name));
        own.map(|(_, count)| count).sum()
    };
    layers
        .map(|(name, shape)| {
            let count = of(&name);
            (name, shape, count)
        })
        .collect()
}

fn shown(sets: &[UnitSet], left_out: &[LeftOut], layers: &[Sized]) -> Shown {
    let len = |shape: &[i64]| shape.iter().product::<i64>() as u64;
    let set = |set: &UnitSet| {
        let (mut weights, mut multiply_adds) = (0, 0);
        for (name, shape, products) in layers {
            // What is left of the layer without one unit.
            let mut left = shape.clone();
            for slice in set.slices.iter().filter(|it| it.tensor == *name) {
                let own = slice.units.iter().filter(|it| **it == Some(0));
                left[slice.axis] -= own.count() as i64;
            }
            let own = len(shape) - len(&left);
            weights += own;
            multiply_adds += products / len(shape).max(1) * own;
        }
        Set {
            set: set.clone(),
            weights,
            multiply_adds,
        }
    };
    Shown {
        weights: layers.iter().map(|it| len(&it.1)).sum(),
        multiply_adds: layers.iter().map(|it| it.2).sum(),
        units: sets.iter().map(|it| it.units).sum(),
        sets: sets.iter().map(set).collect(),
        left_out: left_out.to_vec(),
    }
}

fn text(shown: &Shown) -> String {
    let mut parts = vec![format!(
        "{} in {} can be removed, of a network with {} and {} for a sample",
        counted(grouped(shown.units as u64), "unit"),
        counted(shown.sets.len(), "set"),
        counted(grouped(shown.weights), "prunable weight"),
        counted(grouped(shown.multiply_adds), "multiply-add"),
    )];
    if !shown.sets.is_empty() {
        let header = [
            "set",
            "units",
            "weights each",
            "multiply-adds each",
            "made by",
            "read by",
        ];
        let tensors = |set: &Set, side: Side| {
            let own = set.set.slices.iter().filter(|it| it.side == side);
            let names: Vec<&str> = own.map(|it| it.tensor.as_str()).collect();
            match &names[..] {
                [.., last] if names.len() > 3 => {
                    format!("{}, {} more, {last}", names[0], names.len() - 2)
                }
                names => names.join(", "),
            }
        };
        let rows = shown.sets.iter().map(|it| {
            vec![
                it.set.name.clone(),
                it.set.units.to_string(),
                grouped(it.weights),
                grouped(it.multiply_adds),
                tensors(it, Side::Makes),
                tensors(it, Side::Reads),
            ]
        });
        parts.push(columns(header.map(str::to_owned).into(), rows, &[1, 2, 3]));
    }
    if !shown.left_out.is_empty() {
        let mut lines = vec!["Units of these stay:".to_owned()];
        let each = shown.left_out.iter();
        lines.extend(each.map(|it| format!("  {}: {}", it.weight, it.reason)));
        parts.push(lines.join("\n"));
    }
    parts.join("\n\n")
}
