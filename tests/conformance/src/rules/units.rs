//! Masks of whole units.

use plugin_api::abi::wire::ComponentKind;
use plugin_api::{Layer, Measure, UnitRule, Units};

use super::Trial;
use crate::report::Verdict;
use crate::subject::{Answer, Fault};

pub fn units(trial: &Trial<'_>) -> Result<Verdict, Fault> {
    if !trial.is(ComponentKind::Mask) {
        return Ok(Verdict::KEPT);
    }
    let Some(rule) = trial.make()?.unit_rule()? else {
        return Ok(Verdict::Kept {
            note: Some("it keeps single weights".to_owned()),
        });
    };
    let mut answered = 0u64;
    for course in trial.courses() {
        let mut component = trial.make()?;
        let again = component.unit_rule()?;
        if again != Some(rule) {
            return Ok(Verdict::broken(
                "another instance",
                format!("{again:?}"),
                format!("{rule:?}, as before"),
            ));
        }
        let cadence = component.cadence()?;
        let mut walk = trial.walk(&course, cadence.as_ref(), trial.seed);
        let layers = course.network.layers();
        let known = Units::of_chain(&layers);
        // What it breaks otherwise or refuses is for another rule.
        while let Some(Ok(Answer::Tensors(masks))) = walk.next(component.as_mut()) {
            answered += 1;
            if let Some(got) = wrong(&known, &rule, &layers, &masks, walk.target()) {
                let case = format!("{}: {}", course.describe(), walk.place());
                return Ok(Verdict::broken(case, got, "whole units, by the rule"));
            }
        }
    }
    Ok(Verdict::Kept {
        note: Some(format!("{answered} masks of whole units")),
    })
}

/// What is wrong with masks of whole units, if anything is, counted unit by unit.
fn wrong(
    known: &Units,
    rule: &UnitRule,
    layers: &[Layer],
    masks: &[Vec<f32>],
    target: u64,
) -> Option<String> {
    let mut kept = Vec::new();
    for set in &known.sets {
        let mut own = vec![false; set.units as usize];
        for slice in set.slices.iter().filter(|it| it.makes) {
            let layer = slice.layer as usize;
            let each = masks[layer].len() / slice.units.len().max(1);
            // Rows are the first dimension.
            for (place, unit) in slice.units.iter().enumerate() {
                let row = &masks[layer][place * each..][..each];
                if let Some(unit) = unit {
                    own[*unit as usize] |= row.iter().any(|it| *it != 0.0);
                }
            }
        }
        let count = own.iter().filter(|it| **it).count() as u64;
        let fits = count > 0 && count.is_multiple_of(rule.multiple.max(1));
        if !fits && count != set.units {
            return Some(format!("{count} of {} units of `{}`", set.units, set.name));
        }
        kept.push(own);
    }
    let expected = known.survivors(layers, &kept);
    let of = |mask: &Vec<f32>| mask.iter().filter(|it| **it != 0.0).count() as u64;
    let counts: Vec<u64> = masks.iter().map(of).collect();
    if counts != expected {
        return Some(format!(
            "{counts:?} weights of the layers, whole units have {expected:?}"
        ));
    }
    let got = known.count(rule.measure, layers, &kept);
    let measure = match rule.measure {
        Measure::Weights => "weights",
        Measure::Units => "units",
        Measure::Macs => "multiply-adds",
    };
    (got > target).then(|| format!("{got} {measure}, of a target of {target}"))
}
