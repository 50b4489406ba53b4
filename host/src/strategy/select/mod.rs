//! Exact selection: masks with exactly so many ones, at the weights of highest score, lower index
//! first among equals.
//!
//! On the CPU nothing is sorted: see `on_cpu`. On other devices by one stable sort there.

use plugin_api::{Among, Counts, Layer};
use tch::{Kind, Tensor};

use super::tensor::elements;

mod on_cpu;

/// Why nothing could be selected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// A score is not a number.
    #[error("layer `{layer}`: score number {index} is NaN; expected a number for every weight")]
    NotANumber {
        /// Layer's name.
        layer: String,
        /// Row-major index within the layer.
        index: usize,
    },
    /// Too few weights.
    #[error(
        "{place}: {asked} weights are to be chosen, but there are only {available} to choose from"
    )]
    TooFew {
        /// Layer's name, or all layers.
        place: String,
        /// Number to choose.
        asked: u64,
        /// Number there is.
        available: u64,
    },
    /// Lists of different lengths.
    #[error("{got} {what}, expected {expected}: one for each prunable layer")]
    Count {
        /// What the list holds.
        what: &'static str,
        /// Number given.
        got: usize,
        /// Number of layers.
        expected: usize,
    },
    /// A tensor that is no f32 tensor of the layer's shape.
    #[error("layer `{layer}`: scores are {got}, expected {expected}")]
    Shape {
        /// Layer's name.
        layer: String,
        /// Type and shape given.
        got: String,
        /// Type and shape expected.
        expected: String,
    },
}

/// Masks with ones at the chosen weights, and zeros elsewhere.
///
/// # Errors
/// If a candidate's score is NaN, there are too few candidates, or lists and shapes do not fit.
pub fn select(
    layers: &[Layer],
    scores: &[Tensor],
    masks: &[Tensor],
    among: Among,
    counts: &Counts,
) -> Result<Vec<Tensor>, SelectError> {
    if scores.len() != layers.len() {
        return Err(SelectError::Count {
            what: "score tensors",
            got: scores.len(),
            expected: layers.len(),
        });
    }
    for (layer, score) in layers.iter().zip(scores) {
        if score.size() != layer.shape || score.kind() != Kind::Float {
            return Err(SelectError::Shape {
                layer: layer.name.clone(),
                got: format!("{:?} {:?}", score.kind(), score.size()),
                expected: format!("{:?} {:?}", Kind::Float, layer.shape),
            });
        }
    }
    let candidates: Vec<Candidates> = layers
        .iter()
        .zip(scores)
        .zip(masks)
        .map(|((layer, score), mask)| Candidates::new(layer, score, mask, among))
        .collect();
    match counts {
        Counts::Total(total) => choose(&candidates, *total),
        Counts::PerLayer(counts) if counts.len() == layers.len() => {
            let mut chosen = Vec::with_capacity(layers.len());
            for (candidate, &count) in candidates.iter().zip(counts) {
                chosen.extend(choose(std::slice::from_ref(candidate), count)?);
            }
            Ok(chosen)
        }
        Counts::PerLayer(counts) => Err(SelectError::Count {
            what: "counts",
            got: counts.len(),
            expected: layers.len(),
        }),
    }
}

/// 1 at the `k` largest elements of one tensor, lower index first among equals.
///
/// # Errors
/// If an element is NaN or there are fewer than `k`.
pub fn top_k(scores: &Tensor, k: u64) -> Result<Tensor, SelectError> {
    let scores = scores.to_kind(Kind::Float);
    let layer = Layer::new("tensor", plugin_api::LayerKind::Linear, scores.size());
    let candidates = Candidates::new(&layer, &scores, &scores.ones_like(), Among::All);
    Ok(choose(&[candidates], k)?.remove(0))
}

/// One layer's scores, and which of them may be chosen.
struct Candidates<'a> {
    layer: &'a Layer,
    scores: Tensor,
    /// f32, 1 where the weight may be chosen.
    eligible: Tensor,
}

impl<'a> Candidates<'a> {
    fn new(layer: &'a Layer, scores: &Tensor, mask: &Tensor, among: Among) -> Self {
        let eligible = match among {
            Among::Survivors => mask.contiguous(),
            Among::Pruned => mask.eq(0.0).to_kind(Kind::Float),
            Among::All => mask.ones_like(),
        };
        Self {
            layer,
            scores: scores.contiguous(),
            eligible,
        }
    }
}

/// Chooses `total` among all candidates together.
fn choose(candidates: &[Candidates<'_>], total: u64) -> Result<Vec<Tensor>, SelectError> {
    on_cpu::choose(candidates, total).unwrap_or_else(|| choose_on_device(candidates, total))
}

fn choose_on_device(candidates: &[Candidates<'_>], total: u64) -> Result<Vec<Tensor>, SelectError> {
    for candidate in candidates {
        let nan = candidate.scores.isnan().to_kind(Kind::Float) * &candidate.eligible;
        if nan.sum(Kind::Float).double_value(&[]) > 0.0 {
            let index = nan.flatten(0, -1).argmax(0, false).int64_value(&[]) as usize;
            return Err(SelectError::NotANumber {
                layer: candidate.layer.name.clone(),
                index,
            });
        }
    }
    let flat = |pick: for<'c> fn(&'c Candidates<'_>) -> &'c Tensor| {
        let parts: Vec<Tensor> = candidates.iter().map(|c| pick(c).flatten(0, -1)).collect();
        Tensor::cat(&parts, 0)
    };
    let (scores, eligible) = (flat(|c| &c.scores), flat(|c| &c.eligible));
    let indices = eligible.nonzero().squeeze_dim(1);
    let available = indices.size()[0] as u64;
    if total > available {
        return Err(too_few(candidates, total, available));
    }
    let order = scores
        .index_select(0, &indices)
        .argsort_stable(true, 0, true);
    let chosen = indices.index_select(0, &order.narrow(0, 0, total as i64));
    let mask = scores.zeros_like().index_fill(0, &chosen, 1.0);
    let sizes: Vec<i64> = candidates.iter().map(|c| c.scores.numel() as i64).collect();
    Ok(mask
        .split_with_sizes(&sizes, 0)
        .iter()
        .zip(candidates)
        .map(|(part, candidate)| part.view(candidate.layer.shape.as_slice()).copy())
        .collect())
}

fn too_few(candidates: &[Candidates<'_>], asked: u64, available: u64) -> SelectError {
    let place = match candidates {
        [one] => format!("layer `{}`", one.layer.name),
        _ => "all layers".to_owned(),
    };
    SelectError::TooFew {
        place,
        asked,
        available,
    }
}

/// Number of ones of each mask, exactly.
pub fn survivors(masks: &[Tensor]) -> Vec<u64> {
    masks
        .iter()
        .map(|mask| match elements(mask) {
            Some(slice) => slice.iter().filter(|&&value| value != 0.0).count() as u64,
            None => mask.count_nonzero(None).int64_value(&[]) as u64,
        })
        .collect()
}

#[cfg(test)]
mod tests;
