//! What is left of tensors and values where some units of each set are gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use tch::Tensor;

use super::tie::{Id, NOBODY};
use super::trace::Trace;
use super::value::{different_of, numbers, once};
use super::{Side, UnitSet};

/// For each tensor and dimension of which something goes: whether each place along it is left.
///
/// `survives` says it of each unit of each set.
pub fn places<'a>(
    sets: &'a [UnitSet],
    survives: &[Vec<bool>],
) -> BTreeMap<(&'a str, usize), Vec<bool>> {
    let mut kept: BTreeMap<(&str, usize), Vec<bool>> = BTreeMap::new();
    for (set, survives) in sets.iter().zip(survives) {
        if !survives.contains(&false) {
            continue;
        }
        for slice in &set.slices {
            let own = (kept.entry((&slice.tensor, slice.axis)))
                .or_insert_with(|| vec![true; slice.units.len()]);
            for (is_kept, unit) in own.iter_mut().zip(&slice.units) {
                *is_kept &= unit.is_none_or(|unit| survives[unit]);
            }
        }
    }
    kept
}

/// The places that are left along a dimension, `[left]`, int64.
pub fn indices(left: &[bool]) -> Tensor {
    let left = (0i64..).zip(left).filter(|(_, is_left)| **is_left);
    Tensor::from_slice(&left.map(|(place, _)| place).collect::<Vec<_>>())
}

/// Which units of each set are left where its first ones are, by the shapes of a network's tensors.
///
/// # Errors
/// If no number of units gives these shapes.
pub fn first_of(
    sets: &[UnitSet],
    full: &BTreeMap<&str, &[i64]>,
    left: &BTreeMap<&str, &[i64]>,
) -> Result<Vec<Vec<bool>>, String> {
    let sizes = |(tensor, axis): (&str, usize)| {
        let of = |all: &BTreeMap<&str, &[i64]>| all.get(tensor)?.get(axis).copied();
        Some((of(full)?, of(left)?))
    };
    let mut known: Vec<Option<usize>> = vec![None; sets.len()];
    // A dimension with units of several sets says how many are left of the last that is not known.
    let mut axes: BTreeMap<(&str, usize), Vec<(usize, i64)>> = BTreeMap::new();
    for (at, set) in sets.iter().enumerate() {
        for slice in set.slices.iter().filter(|it| it.side == Side::Makes) {
            let own = slice.units.iter().flatten().count() / set.units;
            let sets = axes.entry((&slice.tensor, slice.axis)).or_default();
            sets.push((at, own as i64));
        }
    }
    let mut solved = true;
    while std::mem::take(&mut solved) {
        for (axis, own) in &axes {
            let mut unknown = own.iter().filter(|(at, _)| known[*at].is_none());
            let (Some((at, each)), None) = (unknown.next(), unknown.next()) else {
                continue;
            };
            let Some((full, left)) = sizes(*axis) else {
                continue;
            };
            let others = own.iter().filter(|(other, _)| other != at);
            let gone = |&(other, each): &(usize, i64)| {
                (sets[other].units - known[other].unwrap_or_default()) as i64 * each
            };
            let gone = full - left - others.map(gone).sum::<i64>();
            let count = sets[*at].units as i64 - gone / each;
            known[*at] = usize::try_from(count.clamp(0, sets[*at].units as i64)).ok();
            solved = true;
        }
    }
    let survives: Vec<Vec<bool>> = (sets.iter().zip(known))
        .map(|(set, count)| (0..set.units).map(|it| it < count.unwrap_or(0)).collect())
        .collect();
    let places = places(sets, &survives);
    for (name, shape) in left {
        for (axis, &size) in shape.iter().enumerate() {
            let kept = places.get(&(*name, axis));
            let expected = kept.map_or_else(
                || full.get(name).and_then(|it| it.get(axis)).copied(),
                |kept| Some(kept.iter().filter(|it| **it).count() as i64),
            );
            if expected != Some(size) {
                return Err(format!(
                    "dimension {axis} of `{name}` has size {size}, which no number of units leaves"
                ));
            }
        }
    }
    Ok(survives)
}

/// Who of a network's units is left.
pub struct Left {
    /// Of each unit that can go its set and place there, by the id that stands for it.
    units: HashMap<Id, (usize, usize)>,
    survives: Vec<Vec<bool>>,
}

impl Left {
    /// Who is left of the sets of a trace.
    pub fn of(trace: &mut Trace, sets: &[UnitSet], survives: Vec<Vec<bool>>) -> Self {
        let mut units = HashMap::new();
        for (at, set) in sets.iter().enumerate() {
            for slice in &set.slices {
                let Some(axis) = trace.axes.get(&(slice.tensor.clone(), slice.axis)) else {
                    continue;
                };
                for (&id, unit) in axis.ids.iter().zip(&slice.units) {
                    if let Some(unit) = unit {
                        units.insert(trace.ties.root(id), (at, *unit));
                    }
                }
            }
        }
        Self { units, survives }
    }

    /// The number of places that are left of these along a dimension of a value, which is the same whichever units
    /// of a set are left.
    ///
    /// # Errors
    /// If it is not.
    pub fn count(
        &self,
        trace: &mut Trace,
        value: &Tensor,
        axis: i64,
        among: Range<i64>,
    ) -> Result<i64, String> {
        let rows = once(&[&value.movedim_int(axis, 0)]).swap_remove(0);
        let ids = numbers(&rows);
        let count = rows.size()[0].max(1) as usize;
        let each = (ids.len() / count).max(1);
        let chosen: Vec<&[Id]> = match count as i64 == value.size()[axis as usize] {
            true => (ids.chunks(each))
                .skip(among.start as usize)
                .take((among.end - among.start).max(0) as usize)
                .collect(),
            // All places along it are the same, which has been left out.
            false => (among.start..among.end)
                .map(|_| &ids[..each.min(ids.len())])
                .collect(),
        };
        let mut left = 0;
        let mut shares: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for place in chosen {
            match self.owner(trace, place)? {
                None => left += 1,
                Some((set, unit)) => {
                    let shares =
                        (shares.entry(set)).or_insert_with(|| vec![0; self.survives[set].len()]);
                    shares[unit] += 1;
                    left += i64::from(self.survives[set][unit]);
                }
            }
        }
        let differ = |share: &Vec<usize>| share.iter().any(|it| it != &share[0]);
        match shares.values().any(differ) {
            true => Err("how much is left depends on which units are".to_owned()),
            false => Ok(left),
        }
    }

    /// The unit that a place is gone with; none if it stays.
    fn owner(&self, trace: &mut Trace, ids: &[Id]) -> Result<Option<(usize, usize)>, String> {
        let several = different_of(ids);
        let roots: BTreeSet<Id> = several.iter().map(|id| trace.ties.root(*id)).collect();
        let mut owners = BTreeSet::new();
        for root in roots.iter().filter(|root| **root != NOBODY) {
            match self.units.get(root) {
                Some(unit) => owners.insert(*unit),
                None => return Ok(None),
            };
        }
        let mut all = owners.iter();
        match (all.next(), all.next()) {
            (None, _) => Ok(None),
            (Some(only), None) => Ok(Some(*only)),
            // One of each set stays.
            (Some((set, _)), Some(_))
                if owners.iter().filter(|it| it.0 == *set).count() == self.survives[*set].len() =>
            {
                Ok(None)
            }
            _ => Err("it mixes some units of a set".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::whole;
    use super::super::{Init, Parameter, Role};
    use super::*;

    /// Four units between two layers.
    fn two_layers() -> (Trace, Vec<UnitSet>, Vec<Id>) {
        let mut trace = Trace::new();
        let made = trace.axis("a.weight", 0, 4, Side::Makes);
        let read = trace.axis("b.weight", 1, 4, Side::Reads);
        for (made, read) in made.iter().zip(&read) {
            trace.ties.tie(*made, *read);
        }
        let parameter = |name: &str, shape: [i64; 2]| Parameter {
            name: name.to_owned(),
            shape: shape.to_vec(),
            role: Role::FixedWeight,
            init: Init::Constant(0.0),
        };
        let parameters = [parameter("a.weight", [4, 2]), parameter("b.weight", [3, 4])];
        let sets = trace.clone().sets(&parameters, &[]).sets;
        assert_eq!(sets.len(), 1);
        (trace, sets, made)
    }

    #[test]
    fn shapes_say_how_many_units_are_left_or_are_refused() {
        let (_, sets, _) = two_layers();
        let full = BTreeMap::from([("a.weight", &[4, 2][..]), ("b.weight", &[3, 4])]);
        let of = |a: &[i64], b: &[i64]| {
            first_of(
                &sets,
                &full,
                &BTreeMap::from([("a.weight", a), ("b.weight", b)]),
            )
        };
        assert_eq!(
            of(&[3, 2], &[3, 3]),
            Ok(vec![vec![true, true, true, false]])
        );
        let said = of(&[2, 2], &[3, 3]).unwrap_err();
        assert!(
            said.contains("dimension 1 of `b.weight` has size 3"),
            "{said}"
        );
    }

    #[test]
    fn sizes_that_depend_on_which_units_are_left_are_none() {
        let (mut trace, sets, made) = two_layers();
        let survives = vec![vec![true, false, true, false]];
        let left = Left::of(&mut trace, &sets, survives);
        let mut count = |units: Tensor, among| left.count(&mut trace, &units, 1, among);
        let once = || whole(&made, &[1, 4], &[1, 4]);
        assert_eq!(count(once(), 0..4), Ok(2));
        assert!(count(once(), 0..2).is_err());
        // Each of them at two places, one behind the other and one after all others.
        let twice = whole(&made, &[1, 4, 1], &[1, 4, 2]).reshape([1, 8]);
        assert_eq!(count(twice, 0..8), Ok(4));
        let halves = Tensor::cat(&[once(), once()], 1);
        assert_eq!(count(halves, 0..4), Ok(2));
        // At each place all of them.
        assert_eq!(count(once().view([1, 1, 4]), 0..1), Ok(1));
    }
}
