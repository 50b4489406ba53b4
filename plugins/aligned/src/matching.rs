//! Which unit of one network is which of another.

use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;
use plugin_api::{Layer, UnitSet, UnitSlice, Units};

/// Rounds over all sets of units at most; a handful is enough.
const ROUNDS: usize = 50;

/// Similarities are compared as whole multiples of this share of the largest.
const STEPS: f64 = (1u64 << 40) as f64;

/// For each layer and each of its axes: the place that the first network's numbers at a place of the second come
/// from.
pub struct Permuted<'a> {
    layers: &'a [Layer],
    axes: Vec<Vec<Vec<usize>>>,
}

/// Finds, for each set of units, which unit of `from` stands for each of `to`: the permutation of all sets under which
/// the weights have the largest inner product. One set after the other is assigned the best with the others as
/// they are, until none changes.
///
/// # Shapes
/// `from`, `to`: the elements of each layer, row-major.
pub fn matched<'a>(
    layers: &'a [Layer],
    units: &Units,
    from: &[Vec<f32>],
    to: &[Vec<f32>],
) -> Permuted<'a> {
    let mut permuted = Permuted {
        layers,
        axes: layers.iter().map(straight).collect(),
    };
    let mut orders: Vec<Vec<usize>> = (units.sets.iter())
        .map(|set| (0..set.units as usize).collect())
        .collect();
    for _ in 0..ROUNDS {
        let mut changed = false;
        for (set, order) in units.sets.iter().zip(&mut orders) {
            let similar = permuted.similarities(set, from, to);
            let best = assigned(&similar, order.len());
            let total = |order: &[usize]| -> f64 {
                let pairs = order.iter().enumerate();
                pairs
                    .map(|(own, other)| similar[own * order.len() + other])
                    .sum()
            };
            // The same but for rounding is no change.
            if total(&best) > total(order) + 1e-9 * total(order).abs() {
                *order = best;
                permuted.take(set, order);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    permuted
}

/// The assignment of largest sum of an `n` by `n` matrix: the column of each row.
fn assigned(similar: &[f64], n: usize) -> Vec<usize> {
    let largest = similar.iter().fold(0.0f64, |most, it| most.max(it.abs()));
    if largest == 0.0 {
        return (0..n).collect();
    }
    let whole = |it: &f64| (it / largest * STEPS).round() as i64;
    match Matrix::from_vec(n, n, similar.iter().map(whole).collect()) {
        Ok(matrix) => kuhn_munkres(&matrix).1,
        Err(_) => (0..n).collect(),
    }
}

impl Permuted<'_> {
    /// The elements of a layer of the first network at the places of the second.
    pub fn elements(&self, layer: usize, of: &[f32]) -> Vec<f32> {
        let shape = &self.layers[layer].shape;
        let axes: Vec<&[usize]> = self.axes[layer].iter().map(Vec::as_slice).collect();
        let places = row_major(shape, &axes);
        places.into_iter().map(|place| of[place]).collect()
    }

    /// How alike each unit of the second network is to each of the first, with all other sets as they are: rows are the
    /// second's.
    fn similarities(&self, set: &UnitSet, from: &[Vec<f32>], to: &[Vec<f32>]) -> Vec<f64> {
        let n = set.units as usize;
        let mut similar = vec![0.0; n * n];
        for slice in &set.slices {
            let layer = slice.layer as usize;
            let own = rows(slice, n, &to[layer], self.layers, None);
            let other = rows(slice, n, &from[layer], self.layers, Some(&self.axes[layer]));
            for (row, own) in own.iter().enumerate() {
                for (column, other) in other.iter().enumerate() {
                    let products = own.iter().zip(other);
                    let product: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    similar[row * n + column] += product;
                }
            }
        }
        similar
    }

    /// Has the units of a set stand in this order.
    fn take(&mut self, set: &UnitSet, order: &[usize]) {
        for slice in &set.slices {
            let places = places(slice, order.len());
            let axis = &mut self.axes[slice.layer as usize][slice.axis as usize];
            for (own, &other) in order.iter().enumerate() {
                for (to, from) in places[own].iter().zip(&places[other]) {
                    axis[*to] = *from;
                }
            }
        }
    }
}

/// The places along each axis of a layer, in their own order.
fn straight(layer: &Layer) -> Vec<Vec<usize>> {
    let axis = |&size: &i64| (0..size as usize).collect();
    layer.shape.iter().map(axis).collect()
}

/// The places of each unit along a slice's axis.
fn places(slice: &UnitSlice, units: usize) -> Vec<Vec<usize>> {
    let mut places = vec![Vec::new(); units];
    for (place, unit) in slice.units.iter().enumerate() {
        if let Some(unit) = unit {
            places[*unit as usize].push(place);
        }
    }
    places
}

/// The numbers of each unit along a slice's axis, with the other axes in the order of `axes`.
fn rows(
    slice: &UnitSlice,
    units: usize,
    elements: &[f32],
    layers: &[Layer],
    axes: Option<&Vec<Vec<usize>>>,
) -> Vec<Vec<f32>> {
    let layer = &layers[slice.layer as usize];
    let own = straight(layer);
    let axes = axes.unwrap_or(&own);
    let row = |places: &Vec<usize>| {
        let mut own: Vec<&[usize]> = axes.iter().map(Vec::as_slice).collect();
        own[slice.axis as usize] = places;
        let all = row_major(&layer.shape, &own).into_iter();
        all.map(|place| elements[place]).collect()
    };
    places(slice, units).iter().map(row).collect()
}

/// The places of a tensor of this shape at these places along each axis, in row-major order of the latter.
fn row_major(shape: &[i64], axes: &[&[usize]]) -> Vec<usize> {
    let mut all = vec![0];
    for (&axis, &size) in axes.iter().zip(shape) {
        let mut further = Vec::with_capacity(all.len() * axis.len());
        for start in all {
            further.extend(axis.iter().map(|place| start * size as usize + place));
        }
        all = further;
    }
    all
}
