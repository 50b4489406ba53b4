//! How many weights each layer keeps, when layer densities are fixed in advance.

use plugin_api::{Distribution, Layer};

/// Why the weights cannot be spread.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} weights are to be kept, but the layers have room for {room} only")]
pub struct NoRoom {
    /// Weights to keep.
    pub asked: u64,
    /// Weights that the layers may keep at most.
    pub room: u64,
}

/// Weights to keep in each layer: `total` in all, to the weight, and no layer above its capacity
/// (its size, or its survivors where masks are nested).
///
/// Each layer's share of the total follows the distribution; a layer whose share exceeds its
/// capacity is full and the rest is spread over the others again, until all fit. Fractions are
/// rounded by largest remainder, the lower index first among equals.
///
/// # Source
/// ERK: a layer's density is proportional to the sum of its dimensions over their product (Evci et
/// al. 2020, arXiv:1911.11134, section 3), so its share is proportional to the sum. Balanced and
/// uniform: Gadhikar et al. 2023 (arXiv:2210.02412).
///
/// # Errors
/// If the capacities together hold less than `total`.
pub fn spread(
    distribution: Distribution,
    layers: &[Layer],
    capacities: &[u64],
    total: u64,
) -> Result<Vec<u64>, NoRoom> {
    let room = capacities.iter().sum();
    if total > room {
        return Err(NoRoom { asked: total, room });
    }
    let shares: Vec<f64> = layers
        .iter()
        .map(|layer| match distribution {
            Distribution::Uniform => layer.len() as f64,
            Distribution::Balanced => 1.0,
            Distribution::Erk => layer.shape.iter().sum::<i64>() as f64,
        })
        .collect();
    Ok(round(
        &quotas(&shares, capacities, total),
        capacities,
        total,
    ))
}

/// The exact shares of the total, with full layers at their capacity.
fn quotas(shares: &[f64], capacities: &[u64], total: u64) -> Vec<f64> {
    let mut full = vec![false; shares.len()];
    loop {
        let sum = |want_full: bool, value: &dyn Fn(usize) -> f64| -> f64 {
            (0..shares.len())
                .filter(|&i| full[i] == want_full)
                .map(value)
                .sum()
        };
        let left = total as f64 - sum(true, &|i| capacities[i] as f64);
        let open = sum(false, &|i| shares[i]);
        let quota = |i: usize| match full[i] {
            true => capacities[i] as f64,
            false => left * shares[i] / open,
        };
        let over: Vec<usize> = (0..shares.len())
            .filter(|&i| !full[i] && quota(i) > capacities[i] as f64)
            .collect();
        if over.is_empty() {
            return (0..shares.len()).map(quota).collect();
        }
        for i in over {
            full[i] = true;
        }
    }
}

/// Whole numbers next to the quotas that sum to `total`.
fn round(quotas: &[f64], capacities: &[u64], total: u64) -> Vec<u64> {
    let mut counts: Vec<u64> = quotas
        .iter()
        .zip(capacities)
        .map(|(quota, &room)| (quota.floor() as u64).min(room))
        .collect();
    let mut order: Vec<usize> = (0..quotas.len()).collect();
    order.sort_by(|&a, &b| {
        let remainder = |i: usize| quotas[i] - counts[i] as f64;
        remainder(b).total_cmp(&remainder(a)).then(a.cmp(&b))
    });
    let mut missing = total - counts.iter().sum::<u64>().min(total);
    // One round is enough but for floating-point error in the quotas of very large layers.
    while missing > 0 {
        for &i in &order {
            if missing > 0 && counts[i] < capacities[i] {
                counts[i] += 1;
                missing -= 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::LayerKind;
    use proptest::prelude::*;

    fn layers(shapes: &[Vec<i64>]) -> Vec<Layer> {
        shapes
            .iter()
            .enumerate()
            .map(|(i, shape)| Layer::new(format!("l{i}"), LayerKind::Linear, shape.clone()))
            .collect()
    }

    fn sizes(layers: &[Layer]) -> Vec<u64> {
        layers.iter().map(Layer::len).collect()
    }

    #[test]
    fn balanced_fills_small_layers_and_spreads_the_rest() {
        let layers = layers(&[vec![2, 5], vec![10, 10], vec![20, 10]]);
        let counts = spread(Distribution::Balanced, &layers, &sizes(&layers), 90).unwrap();
        assert_eq!(counts, [10, 40, 40]);
    }

    #[test]
    fn erk_densities_are_proportional_to_sum_over_product() {
        let layers = layers(&[vec![64, 64, 3, 3], vec![128, 64, 3, 3], vec![100, 300]]);
        let counts = spread(Distribution::Erk, &layers, &sizes(&layers), 5_000).unwrap();
        // Shares 134, 198 and 400 of 732.
        assert_eq!(counts, [915, 1353, 2732]);
        assert_eq!(counts.iter().sum::<u64>(), 5_000);
    }

    #[test]
    fn uniform_gives_every_layer_the_same_density() {
        let layers = layers(&[vec![10, 10], vec![10, 30], vec![10, 60]]);
        let counts = spread(Distribution::Uniform, &layers, &sizes(&layers), 500).unwrap();
        assert_eq!(counts, [50, 150, 300]);
    }

    #[test]
    fn more_than_the_layers_hold_is_refused() {
        let layers = layers(&[vec![2, 2]]);
        let error = spread(Distribution::Uniform, &layers, &[3], 4).unwrap_err();
        assert_eq!(error, NoRoom { asked: 4, room: 3 });
    }

    /// The same in whole numbers: how many of `total` each layer keeps, and whether two remainders are
    /// equal, where floating point may tell them apart.
    fn exact(shares: &[u128], capacities: &[u64], total: u64) -> (Vec<u64>, bool) {
        let mut full = vec![false; shares.len()];
        let (left, open) = loop {
            let of_full = (0..shares.len()).filter(|&i| full[i]);
            let left = u128::from(total) - of_full.map(|i| u128::from(capacities[i])).sum::<u128>();
            let open: u128 = (0..shares.len())
                .filter(|&i| !full[i])
                .map(|i| shares[i])
                .sum();
            let over: Vec<usize> = (0..shares.len())
                .filter(|&i| !full[i] && left * shares[i] > u128::from(capacities[i]) * open)
                .collect();
            if over.is_empty() {
                break (left, open);
            }
            over.into_iter().for_each(|i| full[i] = true);
        };
        let mut counts = Vec::new();
        let mut remainders = Vec::new();
        for i in 0..shares.len() {
            let exact = left * shares[i];
            match full[i] || open == 0 {
                true => counts.push(if full[i] { capacities[i] } else { 0 }),
                false => {
                    counts.push((exact / open) as u64);
                    remainders.push((std::cmp::Reverse(exact % open), i));
                }
            }
        }
        remainders.sort_unstable();
        let missing = (total - counts.iter().sum::<u64>()) as usize;
        for &(_, i) in &remainders[..missing] {
            counts[i] += 1;
        }
        let tie = remainders.windows(2).any(|pair| pair[0].0 == pair[1].0);
        (counts, tie)
    }

    fn any_distribution() -> impl Strategy<Value = Distribution> {
        prop::sample::select(vec![
            Distribution::Uniform,
            Distribution::Balanced,
            Distribution::Erk,
        ])
    }

    proptest! {
        #[test]
        fn counts_are_the_largest_remainders_of_exact_fractions(
            shapes in prop::collection::vec(prop::collection::vec(1i64..40, 2..5), 1..8),
            survive in prop::collection::vec(0.0f64..=1.0, 8),
            share in 0.0f64..=1.0,
            distribution in any_distribution(),
        ) {
            let layers = layers(&shapes);
            let capacities: Vec<u64> = sizes(&layers).iter().zip(&survive)
                .map(|(&size, share)| (size as f64 * share) as u64).collect();
            let total = (share * capacities.iter().sum::<u64>() as f64) as u64;
            let shares: Vec<u128> = layers.iter().map(|layer| match distribution {
                Distribution::Uniform => u128::from(layer.len()),
                Distribution::Balanced => 1,
                Distribution::Erk => layer.shape.iter().sum::<i64>() as u128,
            }).collect();
            let counts = spread(distribution, &layers, &capacities, total).unwrap();
            let (expected, tie) = exact(&shares, &capacities, total);
            prop_assert_eq!(counts.iter().sum::<u64>(), total);
            match tie {
                false => prop_assert_eq!(counts, expected),
                // Among equals, the one or the other gets the last weight.
                true => for (count, expected) in counts.iter().zip(&expected) {
                    prop_assert!(count.abs_diff(*expected) <= 1);
                }
            }
        }

        /// Largest remainders are not monotone (the Alabama paradox), but nearly: a layer loses at most
        /// one weight where the total grows by one.
        #[test]
        fn one_weight_more_in_all_takes_at_most_one_from_a_layer(
            shapes in prop::collection::vec(prop::collection::vec(1i64..12, 2..5), 1..6),
            share in 0.0f64..1.0,
            distribution in any_distribution(),
        ) {
            let layers = layers(&shapes);
            let capacities = sizes(&layers);
            let total = (share * capacities.iter().sum::<u64>() as f64) as u64;
            let fewer = spread(distribution, &layers, &capacities, total).unwrap();
            let more = spread(distribution, &layers, &capacities, total + 1).unwrap();
            for (fewer, more) in fewer.iter().zip(&more) {
                prop_assert!(more + 1 >= *fewer, "{fewer:?} {more:?}");
            }
        }

        #[test]
        fn counts_sum_exactly_and_no_layer_is_over_full(
            shapes in prop::collection::vec(prop::collection::vec(1i64..40, 2..5), 1..8),
            share in 0.0f64..=1.0,
            which in 0usize..3,
        ) {
            let layers = layers(&shapes);
            let capacities = sizes(&layers);
            let total = (share * capacities.iter().sum::<u64>() as f64) as u64;
            let distribution = [Distribution::Uniform, Distribution::Balanced, Distribution::Erk][which];
            let counts = spread(distribution, &layers, &capacities, total).unwrap();
            prop_assert_eq!(counts.iter().sum::<u64>(), total);
            for (count, capacity) in counts.iter().zip(&capacities) {
                prop_assert!(count <= capacity);
            }
        }

        #[test]
        fn nested_counts_never_exceed_the_survivors(
            shapes in prop::collection::vec(prop::collection::vec(1i64..12, 2..5), 1..6),
            which in 0usize..3,
        ) {
            let layers = layers(&shapes);
            let distribution = [Distribution::Uniform, Distribution::Balanced, Distribution::Erk][which];
            let mut survivors = sizes(&layers);
            while survivors.iter().sum::<u64>() > 1 {
                let total = survivors.iter().sum::<u64>() * 4 / 5;
                let next = spread(distribution, &layers, &survivors, total).unwrap();
                prop_assert!(next.iter().zip(&survivors).all(|(a, b)| a <= b));
                prop_assert_eq!(next.iter().sum::<u64>(), total);
                survivors = next;
            }
        }
    }
}
