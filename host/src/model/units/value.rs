//! Units of values as tensors.

use tch::{Device, Kind, Tensor};

use super::tie::{Id, NOBODY};

/// These units, row-major in a shape of their own, in all of a value.
pub fn whole(units: &[Id], own: &[i64], shape: &[i64]) -> Tensor {
    Tensor::from_slice(units).view(own).expand(shape, false)
}

/// Values of one shape without the dimensions along which they all repeat, which become 1.
pub fn once(values: &[&Tensor]) -> Vec<Tensor> {
    let strides: Vec<Vec<i64>> = values.iter().map(|it| it.stride()).collect();
    let mut few: Vec<Tensor> = values.iter().map(|it| it.shallow_clone()).collect();
    for (axis, size) in values[0].size().into_iter().enumerate() {
        if size > 1 && strides.iter().all(|own| own[axis] == 0) {
            few = few.iter().map(|it| it.narrow(axis as i64, 0, 1)).collect();
        }
    }
    few
}

/// The units of a value, row-major.
pub fn numbers(value: &Tensor) -> Vec<Id> {
    let flat = value.to_device(Device::Cpu).to_kind(Kind::Int64);
    let flat = flat.contiguous().view([-1]);
    let mut ids = vec![NOBODY; flat.numel()];
    let count = ids.len();
    flat.copy_data(&mut ids, count);
    ids
}

/// The units of a value, each once.
pub fn different(value: &Tensor) -> Vec<Id> {
    different_of(&numbers(value))
}

/// The units among these, each once.
pub fn different_of(ids: &[Id]) -> Vec<Id> {
    let mut different: Vec<Id> = ids.iter().copied().filter(|id| *id != NOBODY).collect();
    different.dedup();
    different.sort_unstable();
    different.dedup();
    different
}
