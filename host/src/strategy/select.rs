//! Exact selection: masks with exactly so many ones, at the weights of highest score, lower index
//! first among equals.
//!
//! On the CPU by a histogram over the floats' bits: two passes find the threshold, a third writes
//! the masks, several threads share each, and nothing is sorted. On other devices by one stable sort
//! there.

use plugin_api::{Among, Counts, Layer};
use tch::{Kind, Tensor};

use super::tensor::elements;

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
    let slices: Option<Vec<(&[f32], &[f32])>> = candidates
        .iter()
        .map(|candidate| Some((elements(&candidate.scores)?, elements(&candidate.eligible)?)))
        .collect();
    match slices {
        Some(slices) => choose_on_cpu(candidates, &slices, total),
        None => choose_on_device(candidates, total),
    }
}

/// A number with the order of the float's: larger floats have larger keys, -0 and 0 the same.
fn key(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 0x8000_0000
    }
}

/// Candidates below which a second thread is not worth starting.
const GRAIN: usize = 1 << 18;

/// A piece of one layer: scores, eligibility and, once it is written, the mask.
struct Piece<'a> {
    layer: usize,
    /// Index of the first element in its layer.
    first: usize,
    scores: &'a [f32],
    eligible: &'a [f32],
    mask: &'a mut [f32],
}

/// The layers cut into pieces for `threads` threads, each with about as many elements.
fn cut<'a>(
    slices: &[(&'a [f32], &'a [f32])],
    masks: &'a mut [Vec<f32>],
    threads: usize,
) -> Vec<Vec<Piece<'a>>> {
    let all: usize = slices.iter().map(|(scores, _)| scores.len()).sum();
    let share = all.div_ceil(threads).max(1);
    let mut shares: Vec<Vec<Piece<'a>>> = (0..threads).map(|_| Vec::new()).collect();
    let mut at = 0;
    for (layer, ((scores, eligible), mask)) in slices.iter().zip(masks).enumerate() {
        let (mut first, mut rest) = (0, mask.as_mut_slice());
        while first < scores.len() {
            let len = (share - at % share).min(scores.len() - first);
            let (mask, after) = rest.split_at_mut(len);
            shares[at / share].push(Piece {
                layer,
                first,
                scores: &scores[first..first + len],
                eligible: &eligible[first..first + len],
                mask,
            });
            (first, rest, at) = (first + len, after, at + len);
        }
    }
    shares
}

/// What `work` makes of each share, on a thread of its own where there are several.
fn each<'a, T: Send>(
    shares: &mut [Vec<Piece<'a>>],
    work: impl Fn(&mut [Piece<'a>]) -> T + Sync,
) -> Vec<T> {
    let (own, others) = match shares {
        [] => return Vec::new(),
        [own, others @ ..] => (own, others),
    };
    std::thread::scope(|scope| {
        let work = &work;
        let spawn = |share| scope.spawn(move || work(share));
        let others: Vec<_> = others
            .iter_mut()
            .map(|share: &mut Vec<Piece<'a>>| spawn(share.as_mut_slice()))
            .collect();
        let mut made = vec![work(own)];
        made.extend(others.into_iter().map(|it| match it.join() {
            Ok(it) => it,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        made
    })
}

/// How many candidates have each value of some 16 bits of their keys.
type Histogram = Vec<u32>;

fn add(histograms: &[Histogram]) -> Vec<u64> {
    let mut sum = vec![0; 1 << 16];
    for histogram in histograms {
        for (sum, &count) in sum.iter_mut().zip(histogram) {
            *sum += u64::from(count);
        }
    }
    sum
}

fn choose_on_cpu(
    candidates: &[Candidates<'_>],
    slices: &[(&[f32], &[f32])],
    total: u64,
) -> Result<Vec<Tensor>, SelectError> {
    let mut masks: Vec<Vec<f32>> = slices.iter().map(|(it, _)| vec![0.0; it.len()]).collect();
    let all: usize = masks.iter().map(Vec::len).sum();
    let threads = (all / GRAIN).clamp(1, tch::get_num_threads().max(1) as usize);
    let mut shares = cut(slices, &mut masks, threads);
    let counted = each(&mut shares, |share| {
        let mut bins: Histogram = vec![0; 1 << 16];
        let mut nan = None;
        for piece in share {
            let pairs = piece.scores.iter().zip(piece.eligible);
            for (index, (&score, &eligible)) in pairs.enumerate() {
                if eligible != 0.0 {
                    bins[(key(score) >> 16) as usize] += 1;
                    if score.is_nan() {
                        nan.get_or_insert((piece.layer, piece.first + index));
                    }
                }
            }
        }
        (bins, nan)
    });
    if let Some((layer, index)) = counted.iter().find_map(|(_, nan)| *nan) {
        return Err(SelectError::NotANumber {
            layer: candidates[layer].layer.name.clone(),
            index,
        });
    }
    let bins: Vec<Histogram> = counted.into_iter().map(|(bins, _)| bins).collect();
    let high = add(&bins);
    let available = high.iter().sum();
    if total > available {
        return Err(too_few(candidates, total, available));
    }
    if let Some(Threshold {
        key: least,
        ties,
        of,
    }) = threshold(&mut shares, &high, total)
    {
        each(&mut shares, |share| {
            for piece in share {
                let pairs = piece.scores.iter().zip(piece.eligible);
                for (mask, (&score, &eligible)) in piece.mask.iter_mut().zip(pairs) {
                    let kept = eligible != 0.0 && key(score) >= least;
                    *mask = f32::from(u8::from(kept));
                }
            }
        });
        let mut surplus = of - ties;
        // The last of those that are equal to the threshold are too many.
        for piece in shares.iter_mut().flatten().rev() {
            if surplus == 0 {
                break;
            }
            for (mask, &score) in piece.mask.iter_mut().zip(piece.scores).rev() {
                if surplus > 0 && *mask != 0.0 && key(score) == least {
                    *mask = 0.0;
                    surplus -= 1;
                }
            }
        }
    }
    drop(shares);
    let tensor = |(mask, candidate): (&Vec<f32>, &Candidates<'_>)| {
        Tensor::from_slice(mask).view(candidate.layer.shape.as_slice())
    };
    Ok(masks.iter().zip(candidates).map(tensor).collect())
}

/// The smallest key that is chosen.
struct Threshold {
    key: u32,
    /// How many candidates with exactly this key are chosen.
    ties: u64,
    /// How many there are.
    of: u64,
}

/// The threshold; none where nothing is chosen.
fn threshold(shares: &mut [Vec<Piece<'_>>], high: &[u64], total: u64) -> Option<Threshold> {
    let (upper, left) = descend(high, total)?;
    let bins = each(shares, |share| {
        let mut bins: Histogram = vec![0; 1 << 16];
        for piece in share {
            for (&score, &eligible) in piece.scores.iter().zip(piece.eligible) {
                let key = key(score);
                if (key >> 16) as usize == upper && eligible != 0.0 {
                    bins[(key & 0xffff) as usize] += 1;
                }
            }
        }
        bins
    });
    let low = add(&bins);
    let (lower, ties) = descend(&low, left)?;
    Some(Threshold {
        key: ((upper as u32) << 16) | lower as u32,
        ties,
        of: low[lower],
    })
}

/// The bin in which the `total`-th largest lies, and how many of that bin are needed.
fn descend(bins: &[u64], total: u64) -> Option<(usize, u64)> {
    let mut left = total;
    for (bin, &count) in bins.iter().enumerate().rev() {
        if left == 0 {
            return None;
        }
        if count >= left {
            return Some((bin, left));
        }
        left -= count;
    }
    None
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
