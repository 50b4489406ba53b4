//! The interval of a success probability.

use statrs::distribution::{Beta, ContinuousCDF};

/// The exact 95 % interval of a success probability: it holds the true one in at least 95 % of
/// experiments.
///
/// # Source
/// Clopper & Pearson 1934, in terms of beta quantiles.
pub fn clopper_pearson(successes: u64, trials: u64) -> (f64, f64) {
    let (k, n) = (successes as f64, trials as f64);
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map(|beta| beta.inverse_cdf(p));
    // A shape of 0 has no distribution: there the interval reaches to the end.
    let low = quantile(k, n - k + 1.0, 0.025).unwrap_or(0.0);
    let high = quantile(k + 1.0, n - k, 0.975).unwrap_or(1.0);
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(at least `from` and at most `to` successes), summed term by term.
    fn probability(p: f64, n: u64, from: u64, to: u64) -> f64 {
        let mut term = (1.0 - p).powi(n as i32);
        let mut sum = 0.0;
        for k in 0..=n {
            if (from..=to).contains(&k) {
                sum += term;
            }
            term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        }
        sum
    }

    #[test]
    fn at_its_ends_what_was_seen_or_more_extreme_has_probability_one_in_forty() {
        for (k, n) in [(3, 10), (24, 100), (260, 1000)] {
            let (low, high) = clopper_pearson(k, n);
            assert!((probability(low, n, k, n) - 0.025).abs() < 1e-6, "{low}");
            assert!((probability(high, n, 0, k) - 0.025).abs() < 1e-6, "{high}");
        }
    }

    #[test]
    fn without_success_or_failure_it_reaches_to_the_end() {
        let (low, high) = clopper_pearson(0, 20);
        assert_eq!(low, 0.0);
        assert!((high - (1.0 - 0.025f64.powf(1.0 / 20.0))).abs() < 1e-9);
        let (low, high) = clopper_pearson(20, 20);
        assert!((low - 0.025f64.powf(1.0 / 20.0)).abs() < 1e-9);
        assert_eq!(high, 1.0);
        assert_eq!(clopper_pearson(0, 0), (0.0, 1.0));
    }
}
