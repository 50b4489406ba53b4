//! Where the parameters of a network lie in the flat buffer, and the way to and from named tensors.

use plugin_api::{Layer, LayerKind};
use tch::{Device, Kind, Tensor};

use super::{Snapshot, TrainError};
use crate::model::{Buffer, Given, Init, Network, Parameter, Role, names};

/// Offsets are multiples of this many elements (64 bytes), as is the width of the buffer: every
/// parameter of every lane is aligned alike, so that kernels that look at the alignment round alike.
const ALIGNMENT: i64 = 16;

/// Where the parameters of a network lie in a flat buffer `[lanes, width]`.
///
/// Parameters lie in the network's order, each one dense, with zeros between them up to the
/// alignment. Outside of the buffer, tensors are row-major with PyTorch's names and shapes.
#[derive(Clone, Debug)]
pub struct Layout {
    places: Vec<Place>,
    buffers: Vec<Buffer>,
    layers: Vec<Layer>,
    /// Indices of the prunable layers' places.
    prunable: Vec<usize>,
    width: i64,
    lanes: bool,
}

/// Where one parameter lies.
#[derive(Clone, Debug)]
struct Place {
    parameter: Parameter,
    offset: i64,
    len: i64,
    /// Whether it is stored `[out, height, width, in]`.
    channels_last: bool,
}

impl Layout {
    /// The layout of a network, with four-dimensional weights in `channels_last` order or without.
    pub fn new(network: &dyn Network, channels_last: bool) -> Self {
        let mut layout = Self {
            places: Vec::new(),
            buffers: network.buffers().to_vec(),
            layers: Vec::new(),
            prunable: Vec::new(),
            width: 0,
            lanes: network.lanes(),
        };
        for (i, parameter) in network.parameters().iter().enumerate() {
            if let Role::Weight(kind) = parameter.role {
                let shape = parameter.shape.clone();
                layout.layers.push(Layer::new(&parameter.name, kind, shape));
                layout.prunable.push(i);
            }
            let len = parameter.shape.iter().product();
            layout.places.push(Place {
                parameter: parameter.clone(),
                offset: layout.width,
                len,
                channels_last: channels_last && parameter.shape.len() == 4,
            });
            layout.width += (len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        layout
    }

    /// Has parameters and running statistics start at these values.
    pub fn start_at(&mut self, given: Given) {
        for (place, values) in self.places.iter_mut().zip(given.parameters) {
            if let Some(values) = values {
                place.parameter.init = Init::Values(values);
            }
        }
        for (buffer, values) in self.buffers.iter_mut().zip(given.buffers) {
            if values.is_some() {
                buffer.values = values;
            }
        }
    }

    /// Puts parameters with these names, or that these patterns fit, among the prunable layers, whatever they are
    /// for. Those that are no layer's weight are of the kind [`LayerKind::Other`], and are rewound as before.
    ///
    /// # Errors
    /// If one fits no parameter, or a single number.
    pub fn include(&mut self, patterns: &[String]) -> Result<(), TrainError> {
        let names: Vec<&str> = self.parameters().map(|it| it.name.as_str()).collect();
        let included = names::chosen(patterns, &names).map_err(TrainError::not_included)?;
        let is_prunable = |at: &usize| included[*at] || self.prunable.contains(at);
        let prunable: Vec<usize> = (0..self.places.len()).filter(is_prunable).collect();
        let layer = |&at: &usize| {
            let Parameter {
                name, shape, role, ..
            } = &self.places[at].parameter;
            let kind = match role {
                Role::Weight(kind) => *kind,
                _ => LayerKind::Other,
            };
            match shape.is_empty() {
                true => Err(TrainError::SingleNumber { name: name.clone() }),
                false => Ok(Layer::new(name, kind, shape.clone())),
            }
        };
        self.layers = prunable.iter().map(layer).collect::<Result<_, _>>()?;
        self.prunable = prunable;
        Ok(())
    }

    /// Takes weights with these names, or that these patterns fit, out of the prunable layers.
    ///
    /// # Errors
    /// If one fits no prunable layer.
    pub fn exclude(&mut self, patterns: &[String]) -> Result<(), TrainError> {
        let names: Vec<&str> = self.layers.iter().map(|it| it.name.as_str()).collect();
        let excluded = names::chosen(patterns, &names).map_err(TrainError::not_excluded)?;
        let mut kept = excluded.iter().map(|it| !it);
        self.layers.retain(|_| kept.next().unwrap_or(true));
        let mut kept = excluded.iter().map(|it| !it);
        self.prunable.retain(|_| kept.next().unwrap_or(true));
        Ok(())
    }

    /// The prunable layers, in the network's order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Elements of one lane, alignment included.
    pub fn width(&self) -> i64 {
        self.width
    }

    /// First element of a parameter in a lane, by its position.
    pub(super) fn offset(&self, parameter: usize) -> i64 {
        self.places[parameter].offset
    }

    /// Names of the parameters and what they are for, in the network's order.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.places.iter().map(|place| &place.parameter)
    }

    /// Names of the buffers (running statistics), in the network's order.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// Views of the flat buffer as the network's forward pass takes its parameters.
    pub fn views(&self, flat: &Tensor) -> Vec<Tensor> {
        // Of a network that knows no lanes there is one.
        if !self.lanes {
            return self.lane(&flat.select(0, 0));
        }
        let lanes = flat.size()[0];
        self.places
            .iter()
            .map(|place| place.shaped(&flat.narrow(1, place.offset, place.len), Some(lanes)))
            .collect()
    }

    /// Views of one lane `[width]` in PyTorch's shapes.
    pub fn lane(&self, flat: &Tensor) -> Vec<Tensor> {
        self.places
            .iter()
            .map(|place| place.shaped(&flat.narrow(0, place.offset, place.len), None))
            .collect()
    }

    /// Views of the prunable layers of one lane `[width]` in PyTorch's shapes.
    pub fn prunable(&self, flat: &Tensor) -> Vec<Tensor> {
        let views = self.lane(flat);
        self.prunable
            .iter()
            .map(|&i| views[i].shallow_clone())
            .collect()
    }

    /// Positions of the prunable layers among the parameters.
    pub(super) fn prunable_indices(&self) -> &[usize] {
        &self.prunable
    }

    /// Row-major copies of one lane's parameters with their names.
    pub fn unpack(&self, flat: &Tensor) -> Vec<(String, Tensor)> {
        self.places
            .iter()
            .zip(self.lane(flat))
            .map(|(place, view)| (place.parameter.name.clone(), row_major(&view)))
            .collect()
    }

    /// Writes a tensor for each parameter, found by `tensor_of` its name, to one lane `[width]`.
    ///
    /// # Errors
    /// If one is missing or its shape is another.
    pub fn pack<'a>(
        &self,
        flat: &Tensor,
        mut tensor_of: impl FnMut(&str) -> Option<&'a Tensor>,
    ) -> Result<(), TrainError> {
        for (place, view) in self.places.iter().zip(self.lane(flat)) {
            let parameter = &place.parameter;
            let tensor = tensor_of(&parameter.name).ok_or_else(|| TrainError::Missing {
                name: parameter.name.clone(),
            })?;
            write(&view, &parameter.name, tensor)?;
        }
        Ok(())
    }

    /// Writes a tensor for each prunable layer, found by `tensor_of` its name, to one lane `[width]`.
    ///
    /// # Errors
    /// If one is missing or its shape is another.
    pub fn pack_prunable<'a>(
        &self,
        flat: &Tensor,
        mut tensor_of: impl FnMut(&str) -> Option<&'a Tensor>,
    ) -> Result<(), TrainError> {
        for (layer, view) in self.layers.iter().zip(self.prunable(flat)) {
            let tensor = tensor_of(&layer.name).ok_or_else(|| TrainError::Missing {
                name: layer.name.clone(),
            })?;
            write(&view, &layer.name, tensor)?;
        }
        Ok(())
    }

    /// Where the prunable layers lie in a lane: first element and length of each.
    pub(super) fn prunable_places(&self) -> impl Iterator<Item = (i64, i64)> {
        let places = self.prunable.iter().map(|&at| &self.places[at]);
        places.map(|place| (place.offset, place.len))
    }

    /// Views of scale and shift of every norm of one lane `[width]`, with their names.
    pub(super) fn norms(&self, flat: &Tensor) -> Vec<(String, Tensor)> {
        let is_norm =
            |place: &&Place| matches!(place.parameter.role, Role::NormWeight | Role::NormBias);
        let norms = self.places.iter().filter(is_norm);
        norms
            .map(|place| {
                let view = place.shaped(&flat.narrow(0, place.offset, place.len), None);
                (place.parameter.name.clone(), view)
            })
            .collect()
    }

    /// Writes one mask for each prunable layer to one lane `[width]`; all other parameters are trained.
    ///
    /// # Errors
    /// If their number or a shape is another, or a value is neither 0 nor 1.
    pub fn pack_masks(&self, flat: &Tensor, masks: &[Tensor]) -> Result<(), TrainError> {
        if masks.len() != self.layers.len() {
            return Err(TrainError::MaskCount {
                got: masks.len(),
                expected: self.layers.len(),
            });
        }
        let _ = flat.shallow_clone().zero_();
        for view in self.lane(flat) {
            let _ = view.shallow_clone().fill_(1.0);
        }
        for ((layer, view), mask) in self.layers.iter().zip(self.prunable(flat)).zip(masks) {
            write(&view, &layer.name, mask)?;
            let binary = view.eq(0.0).logical_or(&view.eq(1.0));
            if binary.all().int64_value(&[]) == 0 {
                return Err(TrainError::MaskValue {
                    layer: layer.name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Fresh tensors of the running statistics for `lanes` lanes: `[lanes, features]`, without the lanes for one of a
    /// network that knows none.
    pub(super) fn new_statistics(&self, lanes: i64, device: Device) -> Vec<Tensor> {
        let fresh = |buffer: &Buffer| {
            let of_lane = match &buffer.values {
                Some(values) => Tensor::from_slice(values).to_device(device),
                None => {
                    let initial = f64::from(buffer.initial);
                    Tensor::full([buffer.features], initial, (Kind::Float, device))
                }
            };
            match self.lanes || lanes > 1 {
                true => of_lane.repeat([lanes, 1]),
                false => of_lane,
            }
        };
        self.buffers.iter().map(fresh).collect()
    }

    /// Views of one lane's running statistics.
    pub(super) fn lane_statistics(&self, statistics: &[Tensor], lane: i64) -> Vec<Tensor> {
        let view = |tensor: &Tensor| match tensor.dim() {
            1 => tensor.shallow_clone(),
            _ => tensor.select(0, lane),
        };
        statistics.iter().map(view).collect()
    }

    /// Writes a snapshot's parameters to one lane `[width]` and its running statistics to views of them.
    pub(super) fn load(
        &self,
        snapshot: &Snapshot,
        flat: &Tensor,
        statistics: &[Tensor],
    ) -> Result<(), TrainError> {
        self.pack(flat, |name| snapshot.get(name))?;
        for (buffer, view) in self.buffers.iter().zip(statistics) {
            let tensor = snapshot
                .get(&buffer.name)
                .ok_or_else(|| TrainError::Missing {
                    name: buffer.name.clone(),
                })?;
            write(view, &buffer.name, tensor)?;
        }
        Ok(())
    }

    /// Copies of one lane's parameters and running statistics.
    pub(super) fn store(&self, flat: &Tensor, statistics: &[Tensor]) -> Snapshot {
        let mut tensors = self.unpack(flat);
        for (buffer, view) in self.buffers.iter().zip(statistics) {
            tensors.push((buffer.name.clone(), row_major(view)));
        }
        Snapshot { tensors }
    }
}

impl Place {
    /// A flat piece in PyTorch's shape, behind the lanes if there are any.
    fn shaped(&self, piece: &Tensor, lanes: Option<i64>) -> Tensor {
        let lead: Vec<i64> = lanes.into_iter().collect();
        let shape = &self.parameter.shape;
        if self.channels_last {
            let stored = [&lead[..], &[shape[0], shape[2], shape[3], shape[1]]].concat();
            let n = lead.len() as i64;
            let order: Vec<i64> = (0..n).chain([n, n + 3, n + 1, n + 2]).collect();
            piece.view(&stored[..]).permute(&order[..])
        } else {
            piece.view(&[&lead[..], shape].concat()[..])
        }
    }
}

/// A row-major copy that shares no memory and no history.
pub(super) fn row_major(view: &Tensor) -> Tensor {
    tch::no_grad(|| {
        let mut copy = Tensor::empty(view.size(), (view.kind(), view.device()));
        copy.copy_(view);
        copy
    })
}

/// Copies a tensor into a view of the same shape.
fn write(view: &Tensor, name: &str, tensor: &Tensor) -> Result<(), TrainError> {
    if tensor.size() != view.size() {
        return Err(TrainError::Shape {
            name: name.to_owned(),
            got: tensor.size(),
            expected: view.size(),
        });
    }
    tch::no_grad(|| view.shallow_clone().copy_(tensor));
    Ok(())
}

#[cfg(test)]
mod tests;
