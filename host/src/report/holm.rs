//! Several claims at once: the chance that one of them looks visible by accident.

use super::verdict::Judged;

/// Adjusts p values for their number: whatever is below 0.05 then is so for a family in which, were all differences 0, one
/// or more would be with a probability of at most 0.05.
///
/// # Source
/// Holm 1979, *A simple sequentially rejective multiple test procedure*: with the values in ascending order,
/// `max over j <= i of min(1, (m - j + 1) p_j)`.
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut adjusted = vec![1.0; values.len()];
    let mut most = 0.0f64;
    for (place, &at) in order.iter().enumerate() {
        let left = (values.len() - place) as f64;
        most = most.max((left * values[at]).min(1.0));
        adjusted[at] = most;
    }
    adjusted
}

/// Adjusts the p values of a report's claims, which are one family.
pub fn correct(parts: &mut [Vec<Judged>]) {
    let all = || parts.iter().flatten();
    let values: Vec<f64> = all().filter_map(|it| it.p).collect();
    let mut adjusted = holm(&values).into_iter();
    for judged in parts.iter_mut().flatten().filter(|it| it.p.is_some()) {
        judged.p_holm = adjusted.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_multiplied_by_how_many_are_left_and_none_is_less_than_a_smaller_one() {
        // 4 x 0.005, 3 x 0.01, 2 x 0.03; 0.04 would be less than that.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (got, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((got - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.7, 0.6]), [1.0, 1.0]);
        assert_eq!(holm(&[0.2]), [0.2]);
        assert!(holm(&[]).is_empty());
    }
}
