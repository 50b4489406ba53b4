//! Means over seeds with their uncertainty.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean with the half-width of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Mean of the values.
    pub mean: f64,
    /// Half-width of the interval; none for a single value.
    pub half_width: Option<f64>,
}

impl Interval {
    /// The mean of some values, with Student's t interval: t(0.975, n - 1) * s / sqrt(n). None
    /// without a value.
    pub fn of(values: &[f64]) -> Option<Self> {
        Self::to_quantile(values, 0.975)
    }

    /// The same with another confidence than 95 %, between 0 and 1.
    pub fn of_confidence(values: &[f64], confidence: f64) -> Option<Self> {
        Self::to_quantile(values, 0.5 + confidence / 2.0)
    }

    fn to_quantile(values: &[f64], quantile: f64) -> Option<Self> {
        let n = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let half_width = StudentsT::new(0.0, 1.0, n - 1.0)
            .ok()
            .map(|t| t.inverse_cdf(quantile) * (squares / (n - 1.0)).sqrt() / n.sqrt());
        Some(Self { mean, half_width })
    }
}

/// The two-sided p value of Student's test that the values' mean is 0: below 0.05 where the interval leaves 0 out. None
/// for fewer than two values.
pub fn p_value(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let error = (squares / (n - 1.0)).sqrt() / n.sqrt();
    match (mean == 0.0, error == 0.0) {
        (true, _) => Some(1.0),
        (_, true) => Some(0.0),
        _ => Some(2.0 * t.sf((mean / error).abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // t(0.975, 2) = 4.302653 (tables); s = 1, n = 3.
        let interval = Interval::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(interval.mean, 2.0);
        assert!((interval.half_width.unwrap() - 4.302_653 / 3f64.sqrt()).abs() < 1e-5);
    }

    #[test]
    fn the_p_value_is_students_and_agrees_with_the_interval() {
        // With 2 degrees of freedom p = 1 - t / sqrt(2 + t^2), here with t = 2 sqrt(3).
        let p = p_value(&[1.0, 2.0, 3.0]).unwrap();
        assert!((p - 0.074_179_900_227_448_54).abs() < 1e-9, "{p}");
        for values in [[1.0, 2.0, 9.0], [1.0, 1.1, 1.2], [-3.0, -2.9, -2.0]] {
            let interval = Interval::of(&values).unwrap();
            let holds_zero = interval.mean.abs() <= interval.half_width.unwrap();
            assert_eq!(p_value(&values).unwrap() >= 0.05, holds_zero);
        }
        assert_eq!(p_value(&[5.0]), None);
        assert_eq!(p_value(&[]), None);
        assert_eq!(
            (p_value(&[0.0, 0.0]), p_value(&[2.0, 2.0])),
            (Some(1.0), Some(0.0))
        );
    }

    #[test]
    fn one_value_has_no_interval_and_none_has_no_mean() {
        assert_eq!(
            Interval::of(&[5.0]),
            Some(Interval {
                mean: 5.0,
                half_width: None
            })
        );
        assert_eq!(Interval::of(&[]), None);
    }
}
