//! Units that are alike, once all operations were followed.

use std::collections::{BTreeMap, BTreeSet};

use super::tie::{Id, NOBODY};
use super::{LeftOut, Side, Slice, Trace, UnitSet, Units};
use crate::model::{Buffer, Parameter, Role};

/// One place of a tensor along a dimension: the tensor's place among all, the dimension, the place.
type Place = (usize, usize, usize);
/// All that goes with a unit.
type Group = Vec<(Place, Side)>;
/// Of how many places of which dimensions of which tensors a unit is.
type Kind = Vec<(usize, usize, usize)>;

impl Trace {
    /// The sets of a network with these tensors.
    pub fn sets(mut self, parameters: &[Parameter], buffers: &[Buffer]) -> Units {
        let tensors: Vec<&str> = (parameters.iter().map(|it| it.name.as_str()))
            .chain(buffers.iter().map(|it| it.name.as_str()))
            .collect();
        let tensors = &tensors[..];
        let weights = (parameters.iter()).filter(|it| matches!(it.role, Role::Weight(_)));
        let weights = weights.map(|it| it.name.as_str());
        let mut groups: BTreeMap<Id, Group> = BTreeMap::new();
        let axes = std::mem::take(&mut self.axes);
        for ((tensor, axis), own) in &axes {
            let Some(at) = tensors.iter().position(|it| it == tensor) else {
                continue;
            };
            for (place, &id) in own.ids.iter().enumerate() {
                let group = groups.entry(self.ties.root(id)).or_default();
                group.push(((at, *axis, place), own.side));
            }
        }
        groups.remove(&NOBODY);
        // Units are alike if they have as much of the same dimensions.
        let mut alike: BTreeMap<Kind, Vec<Group>> = BTreeMap::new();
        let mut listed: BTreeSet<Id> = BTreeSet::new();
        for (root, mut group) in groups {
            group.sort_unstable();
            let has = |side| group.iter().any(|it| it.1 == side);
            if !has(Side::Makes) || self.ties.reason(root).is_some() {
                continue;
            }
            if !has(Side::Reads) {
                self.ties.keep(root, "no layer reads them");
                continue;
            }
            let mut kind = Kind::new();
            for ((tensor, axis, _), _) in &group {
                match kind.last_mut() {
                    Some(last) if (last.0, last.1) == (*tensor, *axis) => last.2 += 1,
                    _ => kind.push((*tensor, *axis, 1)),
                }
            }
            listed.insert(root);
            alike.entry(kind).or_default().push(group);
        }
        let mut sets: Vec<(Place, UnitSet)> = Vec::new();
        for groups in alike.into_values() {
            if let [only] = &groups[..] {
                let ((tensor, axis, place), _) = only[0];
                let id = axes[&(tensors[tensor].to_owned(), axis)].ids[place];
                self.ties.keep(id, "they are a single unit");
                listed.remove(&self.ties.root(id));
                continue;
            }
            sets.push(set_of(groups, tensors, &|tensor, axis| {
                let own = &axes[&(tensors[tensor].to_owned(), axis)];
                (own.side, own.ids.len())
            }));
        }
        sets.sort_by_key(|(first, _)| *first);
        let mut named: Vec<UnitSet> = Vec::new();
        for (_, mut set) in sets {
            let same = named.iter().filter(|it| {
                let first = it.name.split(" (").next();
                first == Some(set.name.as_str())
            });
            match same.count() {
                0 => {}
                before => set.name = format!("{} ({})", set.name, before + 1),
            }
            named.push(set);
        }
        let mut left_out = Vec::new();
        for weight in weights {
            let makers = axes
                .iter()
                .find(|((name, _), own)| name.as_str() == weight && own.side == Side::Makes);
            let ids = makers.map_or(&[][..], |(_, own)| &own.ids);
            let mut reason = match makers {
                Some(_) => None,
                None => Some("no operation that is known makes units with it".to_owned()),
            };
            let mut stays = makers.is_none();
            for &id in ids {
                if !listed.contains(&self.ties.root(id)) {
                    stays = true;
                    let own = self.ties.reason(id).map(str::to_owned);
                    reason = reason.or(own);
                }
            }
            if stays {
                left_out.push(LeftOut {
                    weight: weight.to_owned(),
                    reason: reason.unwrap_or_else(|| "no layer reads them".to_owned()),
                });
            }
        }
        Units {
            sets: named,
            left_out,
        }
    }
}

/// The set of these units, with the place of what makes its first one.
fn set_of(
    mut groups: Vec<Group>,
    tensors: &[&str],
    of: &dyn Fn(usize, usize) -> (Side, usize),
) -> (Place, UnitSet) {
    let made = |group: &Group| {
        let makers = group.iter().filter(|it| it.1 == Side::Makes);
        makers.map(|it| it.0).min().unwrap_or_default()
    };
    groups.sort_by_key(made);
    let mut slices: BTreeMap<(usize, usize), Vec<Option<usize>>> = BTreeMap::new();
    for (unit, group) in groups.iter().enumerate() {
        for ((tensor, axis, place), _) in group {
            let size = of(*tensor, *axis).1;
            let own = slices
                .entry((*tensor, *axis))
                .or_insert_with(|| vec![None; size]);
            own[*place] = Some(unit);
        }
    }
    let first = made(&groups[0]);
    let name = tensors[first.0];
    let set = UnitSet {
        name: name.strip_suffix(".weight").unwrap_or(name).to_owned(),
        units: groups.len(),
        slices: (slices.into_iter())
            .map(|((tensor, axis), units)| Slice {
                tensor: tensors[tensor].to_owned(),
                axis,
                side: of(tensor, axis).0,
                units,
            })
            .collect(),
    };
    (first, set)
}
