//! Masks of whole units: which ones a rule keeps, and whether masks keep it.

mod check;
mod order;
mod select;

use plugin_api::{Layer, Measure, Units};
use tch::{Device, Kind, Tensor};

pub use check::{Fault, check, counted};
pub use select::select;

/// What whole units cannot do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum UnitError {
    /// No whole units come to so little.
    #[error(
        "{target} {} are to be kept at most, and whole units come to {least} at least{}: expected a higher density, \
         or a smaller `multiple`", measured(*.measure), and_next(*.next)
    )]
    Unreachable {
        /// What the units count.
        measure: Measure,
        /// The target.
        target: u64,
        /// The least that can be kept.
        least: u64,
        /// What comes next, if there is something.
        next: Option<u64>,
    },
    /// A rule without units.
    #[error("the rule keeps a multiple of 0 units, expected at least 1")]
    Multiple,
    /// The masks do not fit the rule.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// Lists of another length, or tensors of another shape.
    #[error(
        "{got} scores were given, expected {expected}: one for each prunable layer, of its shape"
    )]
    Form {
        /// How many fit.
        got: usize,
        /// How many layers there are.
        expected: usize,
    },
}

/// What a measure counts, in words.
pub fn measured(measure: Measure) -> &'static str {
    match measure {
        Measure::Weights => "weights",
        Measure::Units => "units",
        Measure::Macs => "multiply-adds",
    }
}

fn and_next(next: Option<u64>) -> String {
    next.map_or_else(String::new, |next| format!(", to {next} next"))
}

/// Of each set, which units have a weight left that makes them.
fn alive(units: &Units, masks: &[Vec<f32>], layers: &[Layer]) -> Vec<Vec<bool>> {
    let mut all = Vec::new();
    for set in &units.sets {
        let mut alive = vec![false; set.units as usize];
        for slice in set.slices.iter().filter(|it| it.makes) {
            let (layer, axis) = (slice.layer as usize, slice.axis as usize);
            let place = places(&layers[layer], axis);
            for (at, &kept) in masks[layer].iter().enumerate() {
                if kept != 0.0
                    && let Some(unit) = slice.units[place(at)]
                {
                    alive[unit as usize] = true;
                }
            }
        }
        all.push(alive);
    }
    all
}

/// The masks that keep these units and nothing else of any set.
fn masks_of(units: &Units, kept: &[Vec<bool>], layers: &[Layer]) -> Vec<Vec<f32>> {
    let mut masks: Vec<Vec<f32>> = layers
        .iter()
        .map(|it| vec![1.0; it.len() as usize])
        .collect();
    for (set, kept) in units.sets.iter().zip(kept) {
        if kept.iter().all(|it| *it) {
            continue;
        }
        for slice in &set.slices {
            let (layer, axis) = (slice.layer as usize, slice.axis as usize);
            let place = places(&layers[layer], axis);
            for (at, mask) in masks[layer].iter_mut().enumerate() {
                if slice.units[place(at)].is_some_and(|unit| !kept[unit as usize]) {
                    *mask = 0.0;
                }
            }
        }
    }
    masks
}

/// The place along a dimension of each of a layer's weights, row-major.
fn places(layer: &Layer, axis: usize) -> impl Fn(usize) -> usize {
    let behind: i64 = layer.shape[axis + 1..].iter().product();
    let (behind, size) = (behind.max(1) as usize, layer.shape[axis] as usize);
    move |at| at / behind % size
}

/// The numbers of each tensor, row-major, on the CPU: what is chosen by them is the same on every device.
pub fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    let of = |tensor: &Tensor| {
        let flat = tensor.to_device(Device::Cpu).to_kind(Kind::Float);
        let flat = flat.contiguous().view([-1]);
        let mut numbers = vec![0.0; flat.numel()];
        let count = numbers.len();
        flat.copy_data(&mut numbers, count);
        numbers
    };
    tensors.iter().map(of).collect()
}

#[cfg(test)]
mod tests;
