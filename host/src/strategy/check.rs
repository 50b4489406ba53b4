//! The host trusts nothing that a component hands back.

use plugin_api::Layer;
use plugin_api::abi::TensorBox;
use tch::{Device, Kind, Tensor};

use super::error::Violation;
use super::loan::Owner;
use super::{select, tensor};

/// The tensors behind a list of a component's handles: one for each layer, f32, of its shape and on
/// `device`.
///
/// # Errors
/// What is wrong, with the layer's name.
pub fn receive(
    what: &'static str,
    handles: &[TensorBox],
    layers: &[Layer],
    device: Device,
    owner: &Owner,
) -> Result<Vec<Tensor>, Violation> {
    if handles.len() != layers.len() {
        return Err(Violation::Count {
            what,
            got: handles.len(),
            expected: layers.len(),
        });
    }
    handles
        .iter()
        .zip(layers)
        .enumerate()
        .map(|(index, (handle, layer))| {
            let tensor =
                tensor::take(handle, owner).map_err(|refused| Violation::ForeignTensor {
                    what,
                    index,
                    refused,
                })?;
            let form = |kind: Kind, shape: &[i64], device: Device| {
                format!("{kind:?} {shape:?} on {device:?}")
            };
            let got = form(tensor.kind(), &tensor.size(), tensor.device());
            let expected = form(Kind::Float, &layer.shape, device);
            if got == expected {
                Ok(tensor.contiguous())
            } else {
                Err(Violation::Form {
                    what,
                    layer: layer.name.clone(),
                    got,
                    expected,
                })
            }
        })
        .collect()
}

/// Index and value of the first element for which `wrong` is not 0.
fn first(tensor: &Tensor, wrong: &Tensor) -> Option<(i64, f64)> {
    if wrong.any().int64_value(&[]) == 0 {
        return None;
    }
    let index = wrong
        .to_kind(Kind::Float)
        .flatten(0, -1)
        .argmax(0, false)
        .int64_value(&[]);
    Some((index, tensor.flatten(0, -1).double_value(&[index])))
}

/// Every element is a finite number.
///
/// # Errors
/// The first that is not.
pub fn finite(what: &'static str, tensors: &[Tensor], layers: &[Layer]) -> Result<(), Violation> {
    for (tensor, layer) in tensors.iter().zip(layers) {
        if let Some((index, value)) = first(tensor, &tensor.isfinite().logical_not()) {
            return Err(Violation::NotFinite {
                what,
                layer: layer.name.clone(),
                index,
                value,
            });
        }
    }
    Ok(())
}

/// What masks must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskRule {
    /// Whether a pruned weight may come back.
    pub may_grow: bool,
    /// Fewest ones in all masks together.
    pub least: u64,
    /// Most ones in all masks together.
    pub most: u64,
}

impl MaskRule {
    /// Nested masks with exactly so many ones.
    pub fn nested(target: u64) -> Self {
        Self {
            may_grow: false,
            least: target,
            most: target,
        }
    }
}

/// Masks hold only 0 and 1, are nested in `before` unless they may grow, and keep as many weights
/// as the rule says.
///
/// # Errors
/// The first rule that is broken, with the layer's name.
pub fn masks(
    masks: &[Tensor],
    before: &[Tensor],
    layers: &[Layer],
    rule: MaskRule,
) -> Result<(), Violation> {
    for ((mask, before), layer) in masks.iter().zip(before).zip(layers) {
        let binary = mask.eq(0.0).logical_or(&mask.eq(1.0));
        if let Some((index, value)) = first(mask, &binary.logical_not()) {
            return Err(Violation::NotBinary {
                layer: layer.name.clone(),
                index,
                value,
            });
        }
        let grows = mask.gt_tensor(before);
        if !rule.may_grow
            && let Some((index, _)) = first(mask, &grows)
        {
            let grown = grows.to_kind(Kind::Int64).sum(Kind::Int64).int64_value(&[]);
            return Err(Violation::Grows {
                layer: layer.name.clone(),
                grown,
                index,
            });
        }
    }
    let counts = select::survivors(masks);
    let got = counts.iter().sum();
    if !(rule.least..=rule.most).contains(&got) {
        let per_layer: Vec<String> = layers
            .iter()
            .zip(&counts)
            .map(|(layer, count)| format!("{} {count}", layer.name))
            .collect();
        let expected = match rule {
            MaskRule { least, most, .. } if least == most => format!("exactly {least}"),
            MaskRule { least, most, .. } => format!("{least} to {most}"),
        };
        return Err(Violation::Density {
            got,
            expected,
            per_layer: per_layer.join(", "),
        });
    }
    Ok(())
}
