//! Units of which nothing is left: neither a weight that makes nor one that reads them.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Kind, Tensor};

use super::{Tensors, staying};
use crate::export::Model;
use crate::model::{Graph, Operation, Side, Slice, UnitSet, units_of};

/// Removes whole units that were pruned with all that goes with them, those of shortcuts and heads, too, but for those
/// that fill up a multiple; the layers that made some of them, and the features of the widest set.
pub fn remove(model: &mut Model, multiple: usize) -> (BTreeSet<String>, usize) {
    if !model.graph.opaque().is_empty() {
        return (BTreeSet::new(), 0);
    }
    let shapes: BTreeMap<String, Vec<i64>> = (model.tensors.iter())
        .map(|(name, tensor)| (name.clone(), tensor.size()))
        .collect();
    let (mut lost, mut widest) = (BTreeSet::new(), 0);
    for set in units_of(&model.graph, &shapes, &model.input_shape).sets {
        let used = used(&set, &model.tensors);
        let features = features(&set);
        widest = widest.max(features * set.units);
        let kept = staying(&used, multiple / common(multiple, features));
        if !kept.contains(&false) {
            continue;
        }
        for slice in &set.slices {
            let stays = (0i64..)
                .zip(&slice.units)
                .filter(|(_, unit)| unit.is_none_or(|it| kept[it]));
            let stays: Vec<i64> = stays.map(|(place, _)| place).collect();
            if let Some(tensor) = model.tensors.get_mut(&slice.tensor) {
                *tensor = tensor.index_select(slice.axis as i64, &Tensor::from_slice(&stays));
            }
            if slice.side == Side::Makes {
                let layer = slice.tensor.strip_suffix(".weight");
                lost.insert(layer.unwrap_or(&slice.tensor).to_owned());
            }
        }
    }
    model.graph = with_heads_left(&model.graph, &model.tensors);
    (lost, widest)
}

/// Features of a unit: a head has several.
fn features(set: &UnitSet) -> usize {
    let places = |slice: &Slice| slice.units.iter().filter(|it| **it == Some(0)).count();
    set.slices.iter().map(places).fold(0, common)
}

/// The greatest common divisor.
fn common(one: usize, other: usize) -> usize {
    match other {
        0 => one,
        _ => common(other, one % other),
    }
}

/// Which units of a set have a weight left.
fn used(set: &UnitSet, tensors: &Tensors) -> Vec<bool> {
    let mut used = vec![false; set.units];
    let weights = set.slices.iter().filter(|it| it.side != Side::Follows);
    for slice in weights {
        let Some(tensor) = tensors.get(&slice.tensor) else {
            continue;
        };
        let places = tensor.movedim_int(slice.axis as i64, 0);
        let places = places.reshape([slice.units.len() as i64, -1]);
        let any = places.ne(0.0).any_dim(1, false).to_kind(Kind::Int64);
        for (place, unit) in slice.units.iter().enumerate() {
            if let Some(unit) = unit {
                used[*unit] |= any.int64_value(&[place as i64]) != 0;
            }
        }
    }
    used
}

/// The graph with as many heads as the weights have.
fn with_heads_left(graph: &Graph, tensors: &Tensors) -> Graph {
    let (mut new, _) = Graph::of_input();
    for (_, operation) in graph.operations().skip(1) {
        let mut own = operation.clone();
        if let Operation::Attention {
            heads,
            of_head,
            from,
        } = &mut own
            && let Operation::Linear { layer, .. } = graph.operation(*from)
            && let Some(weight) = tensors.get(&format!("{layer}.weight"))
        {
            *heads = weight.size()[0] / (3 * *of_head);
        }
        new.add(own);
    }
    new
}
