//! What is known of the neuron without simulating it.

use std::f64::consts::{FRAC_PI_4, TAU};

/// `a w` of a one-dimensional neuron at this time, from `a = w = scale > 0`.
///
/// There `a = w = s` throughout and `ds/dt = C s (1 - s^2)` with `C = E x^2 1(x > 0) = 1/2`, so that
/// `s^2 = 1 / (1 + (1/scale^2 - 1) exp(-2 C t))`.
///
/// # Source
/// Gadhikar & Burkholz 2024 (arXiv:2402.19262), section 2.
pub fn logistic(scale: f64, time: f64) -> f64 {
    1.0 / (1.0 + (scale.powi(-2) - 1.0) * (-time).exp())
}

/// Time until a balanced neuron (`a = |w| > 0`) of more than one input, whose weights start at the
/// angle `pi - gap` from the target's, has turned to `pi/4`, where in two dimensions the first
/// weight becomes the largest.
///
/// The gradient turns `w` by `dt/dtime = -(a / |w|) sin t (pi - t) / 2 pi`, whatever its length. With
/// `a = |w|`, which the flow keeps, the gap grows by `gap sin(gap) / 2 pi`: it takes
/// the integral of `2 pi / (g sin g)` over g from `gap` to `3 pi / 4`, about `2 pi / gap`.
pub fn turning_time(gap: f64) -> f64 {
    let (from, to) = (gap, 3.0 * FRAC_PI_4);
    if from >= to {
        return 0.0;
    }
    // Simpson's rule in 1/g, where the integrand 2 pi g / sin g is smooth and tame.
    let (from, to) = (1.0 / to, 1.0 / from);
    let intervals = 2_000;
    let width = (to - from) / f64::from(intervals);
    let value = |i: u32| {
        let g = 1.0 / (from + width * f64::from(i));
        TAU * g / g.sin()
    };
    let weight = |i: u32| match i {
        0 => 1.0,
        i if i == intervals => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    (0..=intervals).map(|i| weight(i) * value(i)).sum::<f64>() * width / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neuron::{Method, Settings, Start, outcomes};

    #[test]
    fn the_logistic_curve_starts_at_the_scale_solves_its_equation_and_ends_at_one() {
        assert!((logistic(0.1, 0.0) - 0.01).abs() < 1e-15);
        assert!((logistic(0.1, 40.0) - 1.0).abs() < 1e-12);
        for time in [0.5, 3.0, 4.6, 9.0] {
            let h = 1e-5;
            let slope = (logistic(0.1, time + h) - logistic(0.1, time - h)) / (2.0 * h);
            let square = logistic(0.1, time);
            // d(s^2)/dt = 2 s ds/dt = 2 C s^2 (1 - s^2).
            assert!((slope - square * (1.0 - square)).abs() < 1e-9);
        }
    }

    #[test]
    fn the_turning_time_is_the_plain_sum_and_nears_two_pi_over_the_gap() {
        let gap = 0.5;
        let count = 2_000_000;
        let width = (3.0 * FRAC_PI_4 - gap) / f64::from(count);
        let sum: f64 = (0..count)
            .map(|i| gap + width * (f64::from(i) + 0.5))
            .map(|g| TAU / (g * g.sin()) * width)
            .sum();
        assert!((turning_time(gap) - sum).abs() < 1e-6, "{sum}");
        assert!((turning_time(1e-3) / (TAU / 1e-3) - 1.0).abs() < 2e-3);
        assert_eq!(turning_time(3.0), 0.0);
    }

    #[test]
    fn two_inputs_are_lost_on_lrr_exactly_where_turning_takes_longer_than_the_training() {
        let settings = Settings::default();
        let lrr = |gap: f64| {
            let (sin, cos) = gap.sin_cos();
            let w = vec![-settings.scale * cos, settings.scale * sin];
            let start = Start {
                a: settings.scale,
                w,
            };
            let [_, lrr] = outcomes(&start, &settings);
            assert_eq!(lrr.method, Method::Lrr);
            lrr.is_success()
        };
        // The gap whose turning time is the training's, by bisection.
        let (mut low, mut high) = (1e-2, 1.0);
        while high - low > 1e-9 {
            let middle = 0.5 * (low + high);
            match turning_time(middle) > settings.time {
                true => low = middle,
                false => high = middle,
            }
        }
        assert!((0.1..0.25).contains(&low), "{low}");
        assert!(!lrr(0.98 * low), "{low}");
        assert!(lrr(1.02 * low), "{low}");
    }
}
