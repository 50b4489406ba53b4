//! One layer: rows are its units, and of a row the same number of weights survives as of every other.

use std::cmp::Ordering;

/// What an exchange knows of a layer, row after row.
pub struct Layer<'a> {
    /// Inputs of a unit.
    pub inputs: usize,
    /// Whether a weight survives.
    pub mask: &'a [bool],
    /// Magnitudes of the weights.
    pub magnitudes: &'a [f32],
    /// Magnitudes of the gradients.
    pub slopes: &'a [f32],
}

impl Layer<'_> {
    /// The mask after an exchange of so many weights, with as many survivors. A unit of which fewer weights are salient than
    /// the share `least` of its fan-in has none.
    pub fn exchange(&self, exchanged: usize, least: f64) -> Vec<bool> {
        let survivors = count(self.mask);
        let all = 0..self.mask.len();
        let mut kept = vec![false; self.mask.len()];
        let own = all.clone().filter(|&at| self.mask[at]);
        keep(&mut kept, best(own, self.magnitudes, survivors - exchanged));
        let steep = best(all, self.slopes, exchanged);
        let mut salient: Vec<usize> = kept.chunks(self.inputs).map(count).collect();
        for at in steep {
            salient[at / self.inputs] += usize::from(!kept[at]);
        }
        let active = self
            .mask
            .chunks(self.inputs)
            .filter(|row| row.contains(&true));
        let fan_in = survivors / active.count().max(1);
        let quotas = self.quotas(&salient, survivors, least_salient(least, fan_in));
        let mut next = vec![false; self.mask.len()];
        for (unit, quota) in quotas.into_iter().enumerate() {
            let row = unit * self.inputs..(unit + 1) * self.inputs;
            let stay = best(row.clone().filter(|&at| kept[at]), self.magnitudes, quota);
            let missing = quota - stay.len();
            keep(&mut next, stay);
            let free = row.filter(|&at| !kept[at]);
            keep(&mut next, best(free, self.slopes, missing));
        }
        next
    }

    /// How many weights each unit has after an exchange.
    fn quotas(&self, salient: &[usize], survivors: usize, least: usize) -> Vec<usize> {
        // Whoever has most comes first, the lower index among equals.
        let mut order: Vec<usize> = (0..salient.len()).collect();
        order.sort_by_key(|&unit| std::cmp::Reverse(salient[unit]));
        let enough = order
            .iter()
            .take_while(|&&unit| salient[unit] >= least)
            .count();
        // Those that are left have to have room for all.
        let units = enough.max(survivors.div_ceil(self.inputs));
        let mut quotas = vec![0; salient.len()];
        for (place, &unit) in order.iter().take(units).enumerate() {
            quotas[unit] = survivors / units + usize::from(place < survivors % units);
        }
        quotas
    }
}

/// The mask of the weights of highest score among some: `target` in all, and of each row as many as of every other, as far
/// as it has so many. What does not divide goes, one each, to the rows whose next weight has the highest score.
pub fn constant_fan_in(scores: &[f32], among: &[bool], inputs: usize, target: usize) -> Vec<bool> {
    let rows = among.len() / inputs;
    let row = |unit: usize| (unit * inputs..(unit + 1) * inputs).filter(|&at| among[at]);
    let room: Vec<usize> = (0..rows).map(|unit| row(unit).count()).collect();
    let fan_in = fan_in(&room, target);
    let mut next = vec![false; among.len()];
    let mut more = Vec::new();
    for unit in 0..rows {
        let mut order: Vec<usize> = row(unit).collect();
        order.sort_by(|&a, &b| descending(scores, a, b));
        keep(&mut next, order.iter().copied().take(fan_in));
        more.extend(order.get(fan_in));
    }
    let missing = target - count(&next);
    keep(&mut next, best(more.into_iter(), scores, missing));
    next
}

/// The largest number of weights that every row can have, or all that it has room for, with no more than `target` in all.
fn fan_in(room: &[usize], target: usize) -> usize {
    let mut fan_in = 0;
    let most = room.iter().max().copied().unwrap_or_default();
    while fan_in < most && room.iter().map(|it| (fan_in + 1).min(*it)).sum::<usize>() <= target {
        fan_in += 1;
    }
    fan_in
}

/// Salient weights that a unit needs: a share of its fan-in, rounded down, but one at least unless the share is 0.
fn least_salient(share: f64, fan_in: usize) -> usize {
    match share > 0.0 {
        true => ((share * fan_in as f64) as usize).max(1),
        false => 0,
    }
}

fn count(mask: &[bool]) -> usize {
    mask.iter().filter(|it| **it).count()
}

fn keep(mask: &mut [bool], places: impl IntoIterator<Item = usize>) {
    for at in places {
        mask[at] = true;
    }
}

/// Higher first, the lower index first among equals.
fn descending(key: &[f32], a: usize, b: usize) -> Ordering {
    key[b].total_cmp(&key[a]).then(a.cmp(&b))
}

/// The `most` candidates of highest key, in no order.
fn best(candidates: impl Iterator<Item = usize>, key: &[f32], most: usize) -> Vec<usize> {
    let mut all: Vec<usize> = candidates.collect();
    if most < all.len() {
        if most > 0 {
            all.select_nth_unstable_by(most - 1, |&a, &b| descending(key, a, b));
        }
        all.truncate(most);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, some of them equal.
    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 33) % 50) as f32 / 10.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn per_row(mask: &[bool], inputs: usize) -> Vec<usize> {
        mask.chunks(inputs).map(count).collect()
    }

    #[test]
    fn a_level_starts_with_the_same_fan_in_everywhere_and_the_exact_count() {
        let scores = numbers(6 * 10, 3);
        for target in 0..=60 {
            let mask = constant_fan_in(&scores, &[true; 60], 10, target);
            let rows = per_row(&mask, 10);
            assert_eq!(rows.iter().sum::<usize>(), target);
            let (least, most) = (rows.iter().min().unwrap(), rows.iter().max().unwrap());
            assert!(most - least <= 1, "{rows:?}");
            // No weight of a row that is left out has a higher score than one that is kept.
            for (row, kept) in scores.chunks(10).zip(mask.chunks(10)) {
                let worst = row
                    .iter()
                    .zip(kept)
                    .filter(|it| *it.1)
                    .map(|it| *it.0)
                    .fold(f32::MAX, f32::min);
                assert!(
                    row.iter()
                        .zip(kept)
                        .all(|(score, kept)| *kept || *score <= worst)
                );
            }
        }
        // A row with fewer survivors keeps what it has, and one without stays without.
        let among: Vec<bool> = (0..30).map(|at| at >= 13).collect();
        let mask = constant_fan_in(&numbers(30, 1), &among, 10, 15);
        assert_eq!(per_row(&mask, 10).iter().sum::<usize>(), 15);
        assert_eq!(per_row(&mask, 10)[0], 0);
        assert!((0..30).all(|at| !mask[at] || among[at]));
    }

    #[test]
    fn an_exchange_by_hand() {
        // Two units of four inputs with two weights each.
        let layer = Layer {
            inputs: 4,
            mask: &[true, true, false, false, true, true, false, false],
            magnitudes: &[5.0, 4.0, 0.0, 0.0, 3.0, 0.1, 0.0, 0.0],
            slopes: &[0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 9.0, 8.0],
        };
        // The smallest weight goes; each unit is filled up where its gradient is largest.
        let next = layer.exchange(1, 0.0);
        assert_eq!(next, [true, true, false, false, true, false, true, false]);
        // Of the first unit one weight is salient, half of its fan-in: with a share of 1 it is ablated.
        let weak = Layer {
            magnitudes: &[0.2, 0.3, 0.0, 0.0, 3.0, 0.1, 0.0, 0.0],
            ..layer
        };
        let next = weak.exchange(2, 1.0);
        // Kept are 3.0 and 0.3, steepest 9.0 and 8.0: one salient weight, and three.
        assert_eq!(per_row(&next, 4), [0, 4]);
        // Without a threshold both have two.
        assert_eq!(per_row(&weak.exchange(2, 0.0), 4), [2, 2]);
    }

    #[test]
    fn an_ablated_unit_comes_back_when_its_gradients_are_salient() {
        let layer = Layer {
            inputs: 3,
            mask: &[false, false, false, true, true, true],
            magnitudes: &[0.0, 0.0, 0.0, 3.0, 2.0, 1.0],
            slopes: &[7.0, 8.0, 9.0, 0.0, 0.0, 0.0],
        };
        assert_eq!(
            layer.exchange(1, 0.3),
            [false, false, true, true, true, false]
        );
    }

    #[test]
    fn every_exchange_keeps_the_count_and_one_fan_in_of_the_units_that_are_left() {
        for seed in 0..200 {
            let (rows, inputs) = (1 + seed as usize % 7, 1 + seed as usize % 5);
            let size = rows * inputs;
            let survivors = 1 + seed as usize * 13 % size;
            let magnitudes = numbers(size, seed);
            let slopes = numbers(size, seed + 1000);
            let mut mask = constant_fan_in(&magnitudes, &vec![true; size], inputs, survivors);
            for round in 0..4 {
                let layer = Layer {
                    inputs,
                    mask: &mask,
                    magnitudes: &magnitudes,
                    slopes: &slopes,
                };
                let exchanged = (survivors / 3).min(size - survivors);
                let next = layer.exchange(exchanged, 0.3 * f64::from(round));
                let filled: Vec<usize> = per_row(&next, inputs)
                    .into_iter()
                    .filter(|it| *it > 0)
                    .collect();
                assert_eq!(filled.iter().sum::<usize>(), survivors);
                let (least, most) = (filled.iter().min().unwrap(), filled.iter().max().unwrap());
                assert!(most - least <= 1, "{filled:?}");
                mask = next;
            }
        }
    }
}
