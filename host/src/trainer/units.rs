//! The units that can be removed of the layers that are pruned.

use plugin_api::{Layer, UnitSet, UnitSlice, Units};
use tch::{Kind, Tensor};

use super::{Snapshot, Trainer};
use crate::model::{self, LeftOut, Role, Side};

/// The units of a network, and what of them strategies can prune.
#[derive(Debug)]
pub(super) struct Known {
    /// Those of the network whose makers are pruned, in the order of `offered`.
    all: Vec<model::UnitSet>,
    offered: Units,
    left_out: Vec<LeftOut>,
}

impl Trainer {
    /// The units that can be removed whole, with the parts of prunable layers that go with each.
    pub fn units(&self) -> &Units {
        &self.known_units().offered
    }

    /// The same sets with all that goes with their units, whether it is pruned or not, and the weights whose units
    /// stay.
    pub fn unit_sets(&self) -> (&[model::UnitSet], &[LeftOut]) {
        let known = self.known_units();
        (&known.all, &known.left_out)
    }

    /// For each set of units the mean magnitude of the norms' scales of each, `[units]`.
    ///
    /// # Errors
    /// The first set that no norm scales.
    pub fn unit_scales(&self, point: &Snapshot) -> Result<Vec<Tensor>, String> {
        let of = |set: &model::UnitSet| {
            let mut sums = vec![(0.0f64, 0u64); set.units];
            for slice in self.scales(set) {
                let scale = point.get(&slice.tensor);
                let scale = scale.ok_or_else(|| format!("`{}` is missing", slice.tensor))?;
                let numbers = scale
                    .abs()
                    .to_kind(Kind::Double)
                    .to_device(tch::Device::Cpu);
                let numbers: Vec<f64> =
                    Vec::try_from(&numbers).map_err(|error: tch::TchError| error.to_string())?;
                for (number, unit) in numbers.into_iter().zip(&slice.units) {
                    if let Some(unit) = unit {
                        sums[*unit] = (sums[*unit].0 + number, sums[*unit].1 + 1);
                    }
                }
            }
            let mean = |&(sum, count): &(f64, u64)| (sum / count as f64) as f32;
            match sums.iter().all(|it| it.1 > 0) {
                true => {
                    let means: Vec<f32> = sums.iter().map(mean).collect();
                    Ok(Tensor::from_slice(&means).to_device(self.device))
                }
                false => Err(format!("no norm scales the units of `{}`", set.name)),
            }
        };
        self.known_units().all.iter().map(of).collect()
    }

    /// What scales a set's units in norms.
    fn scales<'a>(&self, set: &'a model::UnitSet) -> impl Iterator<Item = &'a model::Slice> {
        let norms = self.network.parameters().iter();
        let norms: Vec<String> = norms
            .filter(|it| it.role == Role::NormWeight)
            .map(|it| it.name.clone())
            .collect();
        let slices = set.slices.iter();
        slices.filter(move |it| it.side == Side::Follows && norms.contains(&it.tensor))
    }

    fn known_units(&self) -> &Known {
        self.units.get_or_init(|| {
            let layers = self.layers();
            let input = &self.data.input_shape;
            let model::Units { sets, mut left_out } = self.network.units(input);
            let place = |name: &str| layers.iter().position(|it| it.name == name);
            let (mut all, mut offered) = (Vec::new(), Vec::new());
            for set in sets {
                let makers = set.slices.iter().filter(|it| it.side == Side::Makes);
                let stays: Vec<&str> = (makers.map(|it| it.tensor.as_str()))
                    .filter(|name| place(name).is_none())
                    .collect();
                if let Some(first) = stays.first() {
                    let reason = format!("`{first}` is not pruned");
                    let makers = set.slices.iter().filter(|it| it.side == Side::Makes);
                    left_out.extend(makers.filter(|it| place(&it.tensor).is_some()).map(|it| {
                        LeftOut {
                            weight: it.tensor.clone(),
                            reason: reason.clone(),
                        }
                    }));
                    continue;
                }
                let slices = set.slices.iter().filter_map(|it| {
                    let units = it.units.iter().map(|unit| unit.map(|it| it as u64));
                    let makes = it.side == Side::Makes;
                    let layer = place(&it.tensor)? as u64;
                    Some(UnitSlice::new(
                        layer,
                        it.axis as u64,
                        makes,
                        units.collect(),
                    ))
                });
                let scaled = self.scales(&set).next().is_some();
                let own = UnitSet::new(set.name.clone(), set.units as u64, slices.collect());
                offered.push(own.scaled(scaled));
                all.push(set);
            }
            let products = self.network.multiply_adds(input);
            let each = |layer: &Layer| {
                let own = products
                    .iter()
                    .filter(|(name, _)| name.as_deref() == Some(&layer.name));
                own.map(|(_, count)| count).sum::<u64>() / layer.len().max(1)
            };
            Known {
                offered: Units::new(offered, layers.iter().map(each).collect()),
                all,
                left_out,
            }
        })
    }
}
