//! Networks that are computed without the units that were pruned whole.
//!
//! A unit without a surviving weight that makes it, and without one that reads it, changes nothing: nor do the rows and
//! columns of other tensors that go with it. So a step takes what is left of each tensor, and gives the gradients back
//! to where they belong; everybody else sees tensors of the full shape, and 0 where a unit was. The running statistics
//! of a unit that is left out stand still.

use std::collections::BTreeMap;

use kernels::shim;
use tch::{Device, Kind, Tensor};

use super::{TrainError, Trainer};
use crate::model::{Parameter, Side, indices, places};

/// Dimensions of a tensor, each with the places along it that are left.
type Picks = Vec<(i64, Tensor)>;

/// What a step takes and writes: leaves of autograd, their gradients, running statistics.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a> {
    pub leaves: &'a [Tensor],
    pub slopes: &'a [Tensor],
    pub statistics: &'a [Tensor],
}

/// Does a step's work with what is left of its tensors, and writes what comes of it to where it belongs.
///
/// # Errors
/// Those of the work, and libtorch's.
pub(super) fn around(
    compact: Option<&Compact>,
    full: Tensors<'_>,
    work: impl FnOnce(Tensors<'_>) -> Result<(), TrainError>,
) -> Result<(), TrainError> {
    let Some(compact) = compact else {
        return work(full);
    };
    let leaves = compact.leaves(full.leaves)?;
    let _no_grad = tch::no_grad_guard();
    let slopes = compact.slopes(&leaves, full.slopes);
    let statistics = compact.statistics(full.statistics);
    work(Tensors {
        leaves: &leaves,
        slopes: &slopes,
        statistics: &statistics,
    })?;
    compact.give_back(&slopes, full.slopes);
    compact.give_statistics_back(&statistics, full.statistics);
    Ok(())
}

/// What is left of a network's tensors.
pub(super) struct Compact {
    parameters: Vec<Picks>,
    statistics: Vec<Picks>,
    channels_last: bool,
}

impl Trainer {
    /// What is left of the network in one lane of masks or weights, `[width]`, where the experiment wants it to be
    /// computed so and a unit is gone: what is not 0 survives.
    pub(super) fn compact(&self, flat: &Tensor) -> Option<Compact> {
        if !self.compact || self.lanes() {
            return None;
        }
        let kept = self.kept_places(flat);
        let picks = |name: &str| -> Picks {
            let own = kept.iter().filter(|((tensor, _), _)| *tensor == name);
            own.map(|((_, axis), kept)| (*axis as i64, indices(kept).to_device(self.device)))
                .collect()
        };
        let compact = Compact {
            parameters: (self.layout.parameters().map(|it| picks(&it.name))).collect(),
            statistics: (self.layout.buffers().iter().map(|it| picks(&it.name))).collect(),
            channels_last: self.channels_last,
        };
        (!kept.is_empty()).then_some(compact)
    }

    /// For each tensor and dimension of which something goes: whether each place along it is left.
    fn kept_places(&self, flat: &Tensor) -> BTreeMap<(&str, usize), Vec<bool>> {
        let views = self.layout.lane(flat);
        let names = self.layout.parameters().map(|it| it.name.as_str());
        let view_of: BTreeMap<&str, &Tensor> = names.zip(&views).collect();
        let sets = self.unit_sets().0;
        let mut all = Vec::new();
        for set in sets {
            let mut survives = vec![false; set.units];
            for slice in set.slices.iter().filter(|it| it.side != Side::Follows) {
                let Some(view) = view_of.get(slice.tensor.as_str()) else {
                    continue;
                };
                for (unit, any) in slice.units.iter().zip(survivors_along(view, slice.axis)) {
                    if let (Some(unit), true) = (unit, any) {
                        survives[*unit] = true;
                    }
                }
            }
            if !survives.contains(&true) {
                // A tensor without numbers is none that every operation takes.
                survives[0] = true;
            }
            all.push(survives);
        }
        places(sets, &all)
    }

    /// Whether the network computes the same without half of its units.
    fn takes_half_of_its_units(&self) -> Result<(), String> {
        let sets = self.unit_sets().0;
        let half = |units: usize| (0..units).map(|unit| unit < units.div_ceil(2)).collect();
        let half: Vec<Vec<bool>> = sets.iter().map(|set| half(set.units)).collect();
        let places = places(sets, &half);
        let left = |it: &Parameter| -> Vec<i64> {
            let size = |(axis, full): (usize, &i64)| match places.get(&(it.name.as_str(), axis)) {
                Some(kept) => kept.iter().filter(|it| **it).count() as i64,
                None => *full,
            };
            it.shape.iter().enumerate().map(size).collect()
        };
        let shapes: Vec<Vec<i64>> = self.layout.parameters().map(left).collect();
        self.network.takes(&shapes)
    }

    /// The same trainer, unless the network cannot be computed without its units though the experiment asks for it.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn checked_for_units(self) -> Result<Self, TrainError> {
        let reason = if !self.compact {
            return Ok(self);
        } else if self.lanes() {
            "networks of linear layers alone are computed at their surviving weights anyway: leave it out"
                .into()
        } else if self.sparse_below > 0.0 {
            "it does not go together with train.sparse_below: choose one of them".into()
        } else if self.unit_sets().0.is_empty() {
            "no unit of this network can be removed: leave it out".into()
        } else if let Err(reason) = self.takes_half_of_its_units() {
            format!("this network cannot be computed without its units: {reason}; leave it out")
                .into()
        } else {
            return Ok(self);
        };
        Err(TrainError::NotCompact(reason))
    }
}

/// Whether any number is not 0 at each place along a dimension.
fn survivors_along(view: &Tensor, axis: usize) -> Vec<bool> {
    let first = view.ne(0.0).transpose(0, axis as i64);
    let first = first.reshape([first.size()[0], -1]);
    let any = first.any_dim(1, false).to_device(Device::Cpu);
    // As numbers, which are copied at once.
    let any = any.to_kind(Kind::Uint8);
    let numbers: Vec<u8> = Vec::try_from(&any).unwrap_or_else(|error| panic!("{error}"));
    numbers.into_iter().map(|it| it != 0).collect()
}

impl Compact {
    /// What is left of the parameters.
    ///
    /// # Errors
    /// Libtorch's.
    pub fn parameters(&self, full: &[Tensor]) -> Result<Vec<Tensor>, TrainError> {
        let each = full.iter().zip(&self.parameters);
        each.map(
            |(full, picks)| match (picks.is_empty(), self.channels_last) {
                (false, true) if full.dim() == 4 => Ok(shim::channels_last(&pick(full, picks))?),
                _ => Ok(pick(full, picks)),
            },
        )
        .collect()
    }

    /// The same as leaves of autograd: those that lose nothing are the full ones.
    ///
    /// # Errors
    /// Libtorch's.
    pub fn leaves(&self, full: &[Tensor]) -> Result<Vec<Tensor>, TrainError> {
        let _no_grad = tch::no_grad_guard();
        let left = self.parameters(full)?.into_iter().zip(&self.parameters);
        let leaf = |(left, picks): (Tensor, &Picks)| match picks.is_empty() {
            true => left,
            false => left.detach().set_requires_grad(true),
        };
        Ok(left.map(leaf).collect())
    }

    /// Room for the gradients of these leaves: views of the full gradients where nothing is lost.
    pub fn slopes(&self, leaves: &[Tensor], full: &[Tensor]) -> Vec<Tensor> {
        let each = leaves.iter().zip(full).zip(&self.parameters);
        each.map(|((leaf, full), picks)| match picks.is_empty() {
            true => full.shallow_clone(),
            false => leaf.detach().zeros_like(),
        })
        .collect()
    }

    /// Writes gradients to where they belong, and 0 elsewhere.
    pub fn give_back(&self, slopes: &[Tensor], full: &[Tensor]) {
        for ((left, full), picks) in slopes.iter().zip(full).zip(&self.parameters) {
            if !picks.is_empty() {
                spread(left, full, picks);
            }
        }
    }

    /// What is left of the running statistics; those that lose nothing are the full ones.
    pub fn statistics(&self, full: &[Tensor]) -> Vec<Tensor> {
        let each = full.iter().zip(&self.statistics);
        each.map(|(full, picks)| pick(full, picks)).collect()
    }

    /// Writes running statistics back. Those of units that are left out stay.
    pub fn give_statistics_back(&self, left: &[Tensor], full: &[Tensor]) {
        for ((left, full), picks) in left.iter().zip(full).zip(&self.statistics) {
            if let [(axis, places)] = &picks[..] {
                let _ = full.shallow_clone().index_copy_(*axis, places, left);
            }
        }
    }
}

/// A tensor's numbers at these places; the tensor itself, if there are none.
fn pick(full: &Tensor, picks: &Picks) -> Tensor {
    let all = full.shallow_clone();
    (picks.iter()).fold(all, |left, (axis, places)| left.index_select(*axis, places))
}

/// Writes what is left of a tensor to its places, and 0 elsewhere.
fn spread(left: &Tensor, full: &Tensor, picks: &[(i64, Tensor)]) {
    let Some(((axis, places), rest)) = picks.split_first() else {
        return full.shallow_clone().copy_(left);
    };
    let mut full = full.shallow_clone();
    if rest.is_empty() {
        let _ = full.zero_();
        let _ = full.index_copy_(*axis, places, left);
        return;
    }
    let along = full.index_select(*axis, places);
    spread(left, &along, rest);
    let _ = full.zero_();
    let _ = full.index_copy_(*axis, places, &along);
}

#[cfg(test)]
mod tests;
