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
mod tests {
    use super::*;
    use crate::rng::{Moment, Purpose, Stream};
    use plugin_api::LayerKind;
    use proptest::prelude::*;

    fn layers(sizes: &[usize]) -> Vec<Layer> {
        sizes
            .iter()
            .enumerate()
            .map(|(i, &n)| Layer::new(format!("fc{i}.weight"), LayerKind::Linear, [1, n as i64]))
            .collect()
    }

    fn tensors(layers: &[Layer], values: &[f32]) -> Vec<Tensor> {
        let mut rest = values;
        layers
            .iter()
            .map(|layer| {
                let (own, others) = rest.split_at(layer.len() as usize);
                rest = others;
                Tensor::from_slice(own).view(layer.shape.as_slice())
            })
            .collect()
    }

    fn flat(masks: &[Tensor]) -> Vec<f32> {
        masks
            .iter()
            .flat_map(|m| elements(m).unwrap().to_vec())
            .collect()
    }

    /// The definition: sort candidates by (score descending, index), keep the first `total`.
    fn sorted_reference(scores: &[f32], eligible: &[bool], total: usize) -> Vec<f32> {
        let mut order: Vec<usize> = (0..scores.len()).filter(|&i| eligible[i]).collect();
        order.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap().then(a.cmp(&b)));
        let mut mask = vec![0.0; scores.len()];
        for &i in &order[..total] {
            mask[i] = 1.0;
        }
        mask
    }

    fn awkward_score() -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => -2.0f32..2.0,
            2 => prop::sample::select(vec![
                0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE,
                1e-45, -1e-45, f32::MAX, f32::MIN,
            ]),
            2 => (0i8..4).prop_map(f32::from),
        ]
    }

    proptest! {
        #[test]
        fn chooses_what_a_plain_sort_chooses_with_ties_infinities_and_signed_zeros(
            scores in prop::collection::vec(awkward_score(), 1..60),
            bits in prop::collection::vec(any::<bool>(), 60),
            share in 0.0f64..=1.0,
            split in 0.0f64..=1.0,
        ) {
            let cut = (split * scores.len() as f64) as usize;
            let layers = layers(&[cut, scores.len() - cut]);
            let eligible = &bits[..scores.len()];
            let available = eligible.iter().filter(|&&b| b).count();
            let total = (share * available as f64) as usize;
            let mask: Vec<f32> = eligible.iter().map(|&b| f32::from(u8::from(b))).collect();
            let score_tensors = tensors(&layers, &scores);
            let mask_tensors = tensors(&layers, &mask);
            let got = select(&layers, &score_tensors, &mask_tensors, Among::Survivors, &Counts::Total(total as u64)).unwrap();
            let expected = sorted_reference(&scores, eligible, total);
            prop_assert_eq!(flat(&got), expected.clone());
            let candidates: Vec<_> = layers.iter().zip(&score_tensors).zip(&mask_tensors)
                .map(|((l, s), m)| Candidates::new(l, s, m, Among::Survivors)).collect();
            prop_assert_eq!(flat(&choose_on_device(&candidates, total as u64).unwrap()), expected);
        }
    }

    /// Enough of them for a sample to say where the threshold is.
    #[test]
    fn of_many_scores_it_chooses_what_a_plain_sort_chooses_too() {
        let layers = layers(&[90_000, 1, 250_003]);
        let all = 340_004;
        let mut stream = Stream::new(3, Purpose::Strategy("scores"), Moment::default());
        type Draw = fn(&mut Stream, usize) -> f32;
        let draws: [Draw; 6] = [
            |stream, _| stream.normal(),
            |stream, _| stream.normal().abs(),
            // Ties everywhere, at two values, and among zeros of both signs.
            |stream, _| (stream.normal() * 4.0).round(),
            |stream, _| f32::from(u8::from(stream.uniform() < 0.3)),
            |stream, at| {
                if at % 2 == 0 {
                    0.0
                } else {
                    stream.normal().min(-0.0)
                }
            },
            // In order, so that a sample of every n-th sees each.
            |_, at| at as f32,
        ];
        for (kind, draw) in draws.into_iter().enumerate() {
            let scores: Vec<f32> = (0..all).map(|at| draw(&mut stream, at)).collect();
            let eligible: Vec<bool> = (0..all).map(|_| stream.uniform() < 0.8).collect();
            let mask: Vec<f32> = eligible.iter().map(|&b| f32::from(u8::from(b))).collect();
            let available = eligible.iter().filter(|&&b| b).count();
            let (scores_of, masks_of) = (tensors(&layers, &scores), tensors(&layers, &mask));
            let among = |total: usize| {
                let counts = Counts::Total(total as u64);
                select(&layers, &scores_of, &masks_of, Among::Survivors, &counts)
            };
            for total in [
                0,
                1,
                available / 50,
                available / 2,
                available * 4 / 5,
                available,
            ] {
                let expected = sorted_reference(&scores, &eligible, total);
                assert!(flat(&among(total).unwrap()) == expected, "{kind}, {total}");
            }
            assert!(matches!(
                among(available + 1),
                Err(SelectError::TooFew { .. })
            ));
            let mut broken = scores.clone();
            let at = eligible.iter().rposition(|&it| it).unwrap();
            broken[at] = f32::NAN;
            let counts = Counts::Total(5);
            let broken = tensors(&layers, &broken);
            let error = select(&layers, &broken, &masks_of, Among::Survivors, &counts);
            let index = at - 90_001;
            let layer = "fc2.weight".to_owned();
            assert_eq!(error.unwrap_err(), SelectError::NotANumber { layer, index });
        }
    }

    proptest! {
        #[test]
        fn who_keeps_more_keeps_all_that_who_keeps_fewer_keeps(
            scores in prop::collection::vec(awkward_score(), 2..60),
            fewer in 0usize..60,
            more in 0usize..60,
        ) {
            let layers = layers(&[scores.len() / 2, scores.len() - scores.len() / 2]);
            let [fewer, more] = [fewer.min(more), fewer.max(more)].map(|it| it.min(scores.len()));
            let (scores, ones) = (tensors(&layers, &scores), tensors(&layers, &vec![1.0; scores.len()]));
            let chosen = |total: usize| {
                let counts = Counts::Total(total as u64);
                flat(&select(&layers, &scores, &ones, Among::All, &counts).unwrap())
            };
            let (small, large) = (chosen(fewer), chosen(more));
            prop_assert_eq!(small.iter().sum::<f32>() as usize, fewer);
            prop_assert!(small.iter().zip(&large).all(|(small, large)| small <= large));
        }

        #[test]
        fn counts_for_each_layer_choose_in_each_what_a_sort_chooses_there(
            first in prop::collection::vec(awkward_score(), 1..30),
            second in prop::collection::vec(awkward_score(), 1..30),
            shares in (0.0f64..=1.0, 0.0f64..=1.0),
        ) {
            let layers = layers(&[first.len(), second.len()]);
            let all = [&first[..], &second[..]].concat();
            let ones = tensors(&layers, &vec![1.0; all.len()]);
            let scores = tensors(&layers, &all);
            let counts = [(shares.0 * first.len() as f64) as usize, (shares.1 * second.len() as f64) as usize];
            let per_layer = Counts::PerLayer(counts.map(|it| it as u64).to_vec());
            let got = select(&layers, &scores, &ones, Among::Survivors, &per_layer).unwrap();
            let expected = [
                sorted_reference(&first, &vec![true; first.len()], counts[0]),
                sorted_reference(&second, &vec![true; second.len()], counts[1]),
            ];
            prop_assert_eq!(flat(&got), expected.concat());
        }

        #[test]
        fn nan_is_refused_wherever_it_stands_and_whatever_its_bits(
            mut scores in prop::collection::vec(awkward_score(), 1..40),
            at in any::<prop::sample::Index>(),
            payload in 1u32..0x40_0000,
            negative: bool,
        ) {
            let at = at.index(scores.len());
            scores[at] = f32::from_bits(0x7f80_0000 | payload | u32::from(negative) << 31);
            let layers = layers(&[scores.len()]);
            let ones = tensors(&layers, &vec![1.0; scores.len()]);
            let error = select(&layers, &tensors(&layers, &scores), &ones, Among::All, &Counts::Total(1));
            let is_named = matches!(error, Err(SelectError::NotANumber { index, .. }) if index == at);
            prop_assert!(is_named);
        }
    }

    #[test]
    fn equal_scores_are_chosen_by_lower_index() {
        let layers = layers(&[2, 3]);
        let scores = tensors(&layers, &[1.0; 5]);
        let masks = tensors(&layers, &[1.0; 5]);
        let chosen = select(&layers, &scores, &masks, Among::All, &Counts::Total(3)).unwrap();
        assert_eq!(flat(&chosen), [1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_score_that_is_not_a_number_is_refused_with_its_layer() {
        let layers = layers(&[1, 2]);
        let scores = tensors(&layers, &[1.0, 0.0, f32::NAN]);
        let masks = tensors(&layers, &[1.0; 3]);
        let error = select(&layers, &scores, &masks, Among::All, &Counts::Total(1)).unwrap_err();
        assert_eq!(
            error,
            SelectError::NotANumber {
                layer: "fc1.weight".into(),
                index: 1
            }
        );
        let pruned = tensors(&layers, &[1.0, 1.0, 0.0]);
        assert!(
            select(
                &layers,
                &scores,
                &pruned,
                Among::Survivors,
                &Counts::Total(1)
            )
            .is_ok()
        );
    }

    #[test]
    fn more_than_there_is_cannot_be_chosen() {
        let layers = layers(&[3]);
        let scores = tensors(&layers, &[1.0; 3]);
        let masks = tensors(&layers, &[1.0, 0.0, 1.0]);
        let error = select(
            &layers,
            &scores,
            &masks,
            Among::Survivors,
            &Counts::PerLayer(vec![3]),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "layer `fc0.weight`: 3 weights are to be chosen, but there are only 2 to choose from"
        );
    }
}
