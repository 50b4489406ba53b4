//! What holds of masks, weights and optimizer state at every moment: checked where they are read
//! from disk, while they are trained, and once more by `host verify`.

use tch::{Kind, Tensor};

use crate::strategy::select::survivors;
use crate::strategy::units::Fault;

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Broken {
    /// A mask that is none.
    #[error("{what}: the mask of `{layer}` is {value} at index {index}, expected 0 or 1")]
    NotBinary {
        /// Where it was found.
        what: String,
        /// The layer.
        layer: String,
        /// Row-major index in PyTorch's layout.
        index: i64,
        /// What is there.
        value: f64,
    },
    /// Too many or too few survivors.
    #[error("{what}: the masks keep {got} weights, expected {expected} ({per_layer})")]
    Count {
        /// Where it was found.
        what: String,
        /// Ones in all masks.
        got: u64,
        /// How many there should be.
        expected: String,
        /// Ones in each mask.
        per_layer: String,
    },
    /// Masks of something else than whole units, or of too many.
    #[error("{what}: {reason}")]
    Units {
        /// Where it was found.
        what: String,
        /// What is kept, and what was expected.
        reason: String,
    },
    /// A pruned weight that came back where it must not.
    #[error(
        "{what}: the mask of `{layer}` keeps {grown} weights that were pruned before, the first at index {index}; expected only weights that were kept"
    )]
    Grown {
        /// Where it was found.
        what: String,
        /// The layer.
        layer: String,
        /// How many.
        grown: i64,
        /// The first, row-major.
        index: i64,
    },
    /// A pruned weight, or its optimizer state, that is not exactly +0.
    #[error(
        "{what}: {tensor} of `{layer}` is {value:e} at index {index} although its mask is 0: expected exactly +0"
    )]
    Alive {
        /// Where it was found.
        what: String,
        /// `weight`, or the name of the optimizer's state.
        tensor: String,
        /// The layer.
        layer: String,
        /// Row-major index in PyTorch's layout.
        index: i64,
        /// What is there.
        value: f64,
    },
    /// Not a number, or without bound.
    #[error("{what}: `{name}` is {value} at index {index}, expected finite numbers")]
    NotFinite {
        /// Where it was found.
        what: String,
        /// The tensor.
        name: String,
        /// Row-major index.
        index: i64,
        /// What is there.
        value: f64,
    },
    /// A tensor that is not there, or of another shape.
    #[error("{what}: {reason}")]
    Misfit {
        /// Where it was found.
        what: String,
        /// What is missing or of another shape.
        reason: String,
    },
    /// A level of another seed or of another place in the run.
    #[error(
        "{what}: it is of seed {got_seed}, level {got_level}, expected seed {seed}, level {level}"
    )]
    Elsewhere {
        /// Where it was found.
        what: String,
        /// Its seed.
        got_seed: u64,
        /// Its level.
        got_level: u64,
        /// The seed of the folder.
        seed: u64,
        /// The level of the folder.
        level: u64,
    },
}

impl Broken {
    /// Masks that are not of whole units.
    pub fn units(what: &str, fault: &Fault) -> Self {
        Self::Units {
            what: what.to_owned(),
            reason: fault.to_string(),
        }
    }
}

/// Index and value of the first element for which `wrong` holds.
fn first(tensor: &Tensor, wrong: &Tensor) -> Option<(i64, f64)> {
    if wrong.any().int64_value(&[]) == 0 {
        return None;
    }
    let index = wrong.reshape([-1]).nonzero().int64_value(&[0, 0]);
    Some((index, tensor.reshape([-1]).double_value(&[index])))
}

/// Masks hold only 0 and 1.
///
/// # Errors
/// The first value that is neither.
pub fn binary<N: AsRef<str>>(what: &str, names: &[N], masks: &[Tensor]) -> Result<(), Broken> {
    for (layer, mask) in names.iter().zip(masks) {
        let other = mask.ne(0.0).logical_and(&mask.ne(1.0));
        if let Some((index, value)) = first(mask, &other) {
            return Err(Broken::NotBinary {
                what: what.to_owned(),
                layer: layer.as_ref().to_owned(),
                index,
                value,
            });
        }
    }
    Ok(())
}

/// All masks together keep `least` to `most` weights.
///
/// # Errors
/// The counts, if they do not.
pub fn counted<N: AsRef<str>>(
    what: &str,
    names: &[N],
    masks: &[Tensor],
    (least, most): (u64, u64),
) -> Result<(), Broken> {
    let counts = survivors(masks);
    let got = counts.iter().sum();
    if (least..=most).contains(&got) {
        return Ok(());
    }
    let each = names.iter().zip(&counts);
    let each: Vec<String> = each
        .map(|(name, count)| format!("{} {count}", name.as_ref()))
        .collect();
    Err(Broken::Count {
        what: what.to_owned(),
        got,
        expected: match least == most {
            true => format!("exactly {least}"),
            false => format!("{least} to {most}"),
        },
        per_layer: each.join(", "),
    })
}

/// Masks keep only what the masks before kept.
///
/// # Errors
/// The first layer that keeps more.
pub fn nested<N: AsRef<str>>(
    what: &str,
    names: &[N],
    masks: &[Tensor],
    before: &[Tensor],
) -> Result<(), Broken> {
    for ((layer, mask), before) in names.iter().zip(masks).zip(before) {
        let grown = mask.ne(0.0).logical_and(&before.eq(0.0));
        if let Some((index, _)) = first(mask, &grown) {
            return Err(Broken::Grown {
                what: what.to_owned(),
                layer: layer.as_ref().to_owned(),
                grown: grown.count_nonzero(None).int64_value(&[]),
                index,
            });
        }
    }
    Ok(())
}

/// Where masks are 0, these tensors are exactly +0. `tensor` is what they are of each layer.
///
/// # Errors
/// The first element that is not.
pub fn dead<N: AsRef<str>>(
    what: &str,
    tensor: &str,
    names: &[N],
    tensors: &[Tensor],
    masks: &[Tensor],
) -> Result<(), Broken> {
    for ((layer, values), mask) in names.iter().zip(tensors).zip(masks) {
        // Bits, so that neither -0 nor NaN passes.
        let alive = values.contiguous().view_dtype(Kind::Int).ne(0);
        if let Some((index, value)) = first(values, &alive.logical_and(&mask.eq(0.0))) {
            return Err(Broken::Alive {
                what: what.to_owned(),
                tensor: tensor.to_owned(),
                layer: layer.as_ref().to_owned(),
                index,
                value,
            });
        }
    }
    Ok(())
}

/// Every element is a finite number.
///
/// # Errors
/// The first that is not.
pub fn finite(what: &str, tensors: &[(String, Tensor)]) -> Result<(), Broken> {
    for (name, tensor) in tensors {
        if !tensor.is_floating_point() {
            continue;
        }
        if let Some((index, value)) = first(tensor, &tensor.isfinite().logical_not()) {
            return Err(Broken::NotFinite {
                what: what.to_owned(),
                name: name.clone(),
                index,
                value,
            });
        }
    }
    Ok(())
}

/// The tensors of these names, each of its shape, out of stored ones; `prefix` stands before each
/// name there.
///
/// # Errors
/// The first that is missing or of another shape.
pub fn tensors_of<N: AsRef<str>>(
    what: &str,
    names: &[N],
    shapes: &[Vec<i64>],
    prefix: &str,
    stored: &[(String, Tensor)],
) -> Result<Vec<Tensor>, Broken> {
    let find = |(name, shape): (&N, &Vec<i64>)| {
        let name = format!("{prefix}{}", name.as_ref());
        let found = stored.iter().find(|(other, _)| *other == name);
        let reason = match found {
            Some((_, tensor)) if tensor.size() == *shape => return Ok(tensor.shallow_clone()),
            Some((_, tensor)) => {
                format!("`{name}` has shape {:?}, expected {shape:?}", tensor.size())
            }
            None => format!("`{name}` is missing"),
        };
        Err(Broken::Misfit {
            what: what.to_owned(),
            reason,
        })
    };
    names.iter().zip(shapes).map(find).collect()
}

#[cfg(test)]
mod tests;
