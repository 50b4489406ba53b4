//! Exact selection on the CPU, without a sort of all scores.
//!
//! A sample says between which two scores the threshold almost certainly lies. One pass counts what
//! lies above and collects what lies between; the threshold is found among these few. Should it not
//! be there, or where a sample is not worth its while, two histograms of the floats' bits find it.
//! A last pass writes the masks. Several threads share each pass.

use std::thread;

use tch::{Device, Kind, Tensor};

use super::{Candidates, SelectError, too_few};
use crate::strategy::tensor::{elements, elements_mut};

/// Candidates below which a second thread is not worth starting.
const GRAIN: usize = 1 << 18;
/// Candidates for each that is sampled, and the fewest and most that are.
const EVERY: usize = 128;
const SAMPLED: [usize; 2] = [512, 1 << 16];
/// Scores that are compared together.
const TOGETHER: usize = 32;

/// A piece of one layer: scores, eligibility and, once it is written, the mask.
struct Piece<'a> {
    layer: usize,
    /// Index of the first element in its layer.
    first: usize,
    scores: &'a [f32],
    eligible: &'a [f32],
    mask: &'a mut [f32],
}

/// Chooses `total` of the candidates, whose scores and eligibility are the slices.
pub(super) fn choose(
    candidates: &[Candidates<'_>],
    total: u64,
) -> Option<Result<Vec<Tensor>, SelectError>> {
    let slice = |candidate: &'_ Candidates<'_>| -> Option<()> {
        elements(&candidate.scores)?;
        elements(&candidate.eligible)?;
        Some(())
    };
    candidates.iter().try_for_each(slice)?;
    let slices: Vec<(&[f32], &[f32])> = candidates
        .iter()
        .filter_map(|it| Some((elements(&it.scores)?, elements(&it.eligible)?)))
        .collect();
    let empty =
        |it: &Candidates<'_>| Tensor::empty(&it.layer.shape[..], (Kind::Float, Device::Cpu));
    let mut masks: Vec<Tensor> = candidates.iter().map(empty).collect();
    let chosen = {
        let masks: Vec<&mut [f32]> = masks.iter_mut().filter_map(elements_mut).collect();
        let all: usize = masks.iter().map(|mask| mask.len()).sum();
        let threads = (all / GRAIN).clamp(1, tch::get_num_threads().max(1) as usize);
        write(candidates, &mut cut(&slices, masks, threads), total)
    };
    Some(chosen.map(|()| masks))
}

/// Writes the masks of all pieces.
fn write(
    candidates: &[Candidates<'_>],
    shares: &mut [Vec<Piece<'_>>],
    total: u64,
) -> Result<(), SelectError> {
    let threshold = match sampled(shares, total) {
        Some(threshold) => Some(threshold),
        None => counted(candidates, shares, total)?,
    };
    let Some(Threshold { score, ties, of }) = threshold else {
        each(shares, |share| {
            share.iter_mut().for_each(|it| it.mask.fill(0.0))
        });
        return Ok(());
    };
    let surplus = (of - ties) as usize;
    // Places of the scores that equal the threshold, where not all of them are chosen.
    let equal = each(shares, |share| {
        let mut equal = Vec::new();
        for (place, piece) in share.iter_mut().enumerate() {
            let pairs = piece.scores.iter().zip(piece.eligible);
            for (mask, (&it, &eligible)) in piece.mask.iter_mut().zip(pairs) {
                *mask = f32::from(u8::from((eligible != 0.0) & (it >= score)));
            }
            if surplus > 0 {
                let pairs = piece.scores.iter().zip(piece.eligible).enumerate();
                let ties = pairs.filter(|(_, (it, eligible))| **it == score && **eligible != 0.0);
                equal.extend(ties.map(|(index, _)| (place, index)));
            }
        }
        equal
    });
    // The last are too many: lower indices come first.
    let places = equal.iter().enumerate();
    let places = places.flat_map(|(share, equal)| equal.iter().map(move |it| (share, it)));
    let places: Vec<_> = places.collect();
    for &(share, &(piece, index)) in places.iter().rev().take(surplus) {
        shares[share][piece].mask[index] = 0.0;
    }
    Ok(())
}

/// The smallest score that is chosen.
struct Threshold {
    score: f32,
    /// How many candidates with exactly this score are chosen.
    ties: u64,
    /// How many there are.
    of: u64,
}

/// What one share has to say of a pair of bounds.
#[derive(Default)]
struct Seen {
    above: u64,
    between: Vec<f32>,
    eligible: u64,
    not_a_number: bool,
}

/// The threshold by a sample; none if it does not show it, or the histograms have to find what is wrong.
fn sampled(shares: &mut [Vec<Piece<'_>>], total: u64) -> Option<Threshold> {
    let all: usize = shares.iter().flatten().map(|it| it.scores.len()).sum();
    let size = (all / EVERY).min(SAMPLED[1]);
    if size < SAMPLED[0] || total == 0 {
        return None;
    }
    let [low, high] = bounds(shares, all, size, total)?;
    let seen = each(shares, |share| {
        let mut seen = Seen::default();
        share.iter().for_each(|piece| seen.look(piece, low, high));
        seen
    });
    let above: u64 = seen.iter().map(|it| it.above).sum();
    let eligible: u64 = seen.iter().map(|it| it.eligible).sum();
    let mut between: Vec<f32> = seen.iter().flat_map(|it| &it.between).copied().collect();
    if seen.iter().any(|it| it.not_a_number)
        || total > eligible
        || total <= above
        || total > above + between.len() as u64
    {
        return None;
    }
    let place = (total - above - 1) as usize;
    // -0 and 0 are equal here and in every comparison.
    let descending = |a: &f32, b: &f32| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal);
    let score = *between.select_nth_unstable_by(place, descending).1;
    let larger = between.iter().filter(|it| **it > score).count() as u64;
    Some(Threshold {
        score,
        ties: total - above - larger,
        of: between.iter().filter(|it| **it == score).count() as u64,
    })
}

/// Two scores between which the `total`-th largest lies, to all likelihood.
fn bounds(shares: &[Vec<Piece<'_>>], all: usize, size: usize, total: u64) -> Option<[f32; 2]> {
    let step = all / size;
    let mut sample = Vec::with_capacity(size);
    let (mut looked_at, mut next) = (0usize, 0);
    for piece in shares.iter().flatten() {
        while next < piece.scores.len() {
            looked_at += 1;
            if piece.eligible[next] != 0.0 {
                sample.push(piece.scores[next]);
            }
            // Not in step with the rows of a layer.
            next += step - step / 4 + (looked_at * 7919) % (step / 2 + 1);
        }
        next -= piece.scores.len();
    }
    let candidates = all as f64 * sample.len() as f64 / looked_at as f64;
    let share = total as f64 / candidates;
    let count = sample.len() as f64;
    let middle = share * count;
    // Five standard deviations of the place in the sample.
    let margin = 5.0 * (count * share * (1.0 - share).max(0.0)).sqrt() + 8.0;
    sample.sort_unstable_by(|a, b| b.total_cmp(a));
    let at = |place: f64, beyond: f32| match place {
        place if place < 0.0 || place >= count => beyond,
        place => sample[place as usize],
    };
    let pair = [
        at(middle + margin, f32::NEG_INFINITY),
        at(middle - margin, f32::INFINITY),
    ];
    // More between them than there is to gain from.
    (margin < 0.1 * count && pair.iter().all(|it| !it.is_nan())).then_some(pair)
}

impl Seen {
    fn look(&mut self, piece: &Piece<'_>, low: f32, high: f32) {
        let scores = piece.scores.chunks(TOGETHER);
        for (scores, eligible) in scores.zip(piece.eligible.chunks(TOGETHER)) {
            let (mut above, mut of, mut inside, mut unordered) = (0u32, 0u32, 0u32, 0u32);
            for (&score, &eligible) in scores.iter().zip(eligible) {
                let counts = u32::from(eligible != 0.0);
                above += counts & u32::from(score > high);
                inside |= counts & u32::from(score >= low) & u32::from(score <= high);
                unordered |= counts & u32::from(score.is_nan());
                of += counts;
            }
            self.above += u64::from(above);
            self.eligible += u64::from(of);
            self.not_a_number |= unordered != 0;
            if inside != 0 {
                let pairs = scores.iter().zip(eligible);
                let inside =
                    pairs.filter(|(it, eligible)| **eligible != 0.0 && **it >= low && **it <= high);
                self.between.extend(inside.map(|(it, _)| *it));
            }
        }
    }
}

/// The threshold by histograms; none where nothing is chosen.
fn counted(
    candidates: &[Candidates<'_>],
    shares: &mut [Vec<Piece<'_>>],
    total: u64,
) -> Result<Option<Threshold>, SelectError> {
    let counts = each(shares, |share| {
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
    if let Some((layer, index)) = counts.iter().find_map(|(_, nan)| *nan) {
        return Err(SelectError::NotANumber {
            layer: candidates[layer].layer.name.clone(),
            index,
        });
    }
    let bins: Vec<Histogram> = counts.into_iter().map(|(bins, _)| bins).collect();
    let high = add(&bins);
    let available = high.iter().sum();
    if total > available {
        return Err(too_few(candidates, total, available));
    }
    let Some((upper, left)) = descend(&high, total) else {
        return Ok(None);
    };
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
    Ok(descend(&low, left).map(|(lower, ties)| Threshold {
        score: score_of(((upper as u32) << 16) | lower as u32),
        ties,
        of: low[lower],
    }))
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

/// The float of a key.
fn score_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 {
        key & 0x7fff_ffff
    } else {
        !key
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

/// The layers cut into pieces for `threads` threads, each with about as many elements.
fn cut<'a>(
    slices: &[(&'a [f32], &'a [f32])],
    masks: Vec<&'a mut [f32]>,
    threads: usize,
) -> Vec<Vec<Piece<'a>>> {
    let all: usize = slices.iter().map(|(scores, _)| scores.len()).sum();
    let share = all.div_ceil(threads).max(1);
    let mut shares: Vec<Vec<Piece<'a>>> = (0..threads).map(|_| Vec::new()).collect();
    let mut at = 0;
    for (layer, ((scores, eligible), mut rest)) in slices.iter().zip(masks).enumerate() {
        let mut first = 0;
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
    let Some((own, others)) = shares.split_first_mut() else {
        return Vec::new();
    };
    thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = (others.iter_mut())
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let mut made = vec![work(own)];
        made.extend(others.into_iter().map(|it| match it.join() {
            Ok(it) => it,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        made
    })
}

#[cfg(test)]
mod tests;
