//! HAM: after each step of gradient descent, one that multiplies the weight.
//!
//! # Source
//! Jacobs, Gadhikar, Rubio-Madrigal & Burkholz, ICLR 2026 (arXiv:2506.02630), algorithm 1.

/// The exponent of a step lies between minus this and this, as in the published code.
const LARGEST_EXPONENT: f64 = 5.0;

/// A weight that a step first moves and then multiplies.
///
/// With slope g it flows by `d theta / dt = -(1 + alpha |theta|) g - beta theta`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaled {
    /// The weight.
    pub value: f64,
    /// Strength of the multiplying step.
    pub alpha: f64,
    /// Rate of decay.
    pub beta: f64,
}

impl Scaled {
    /// A step of gradient descent to a weight `half`, then `half exp(step (-alpha sign(half) slope - beta))`
    /// with the slope that the first took.
    pub fn descend(self, slope: f64, step: f64) -> Self {
        let half = self.value - step * slope;
        let exponent = step * (-self.alpha * half.signum() * slope - self.beta);
        let exponent = exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT);
        Self {
            value: half * exponent.exp(),
            ..self
        }
    }

    /// `1 + alpha |theta|`, decay aside.
    pub fn speed(&self) -> f64 {
        1.0 + self.alpha * self.value.abs()
    }

    /// `|theta| / alpha - ln(1 + alpha |theta|) / alpha^2`; `theta^2 / 2` at strength 0.
    pub fn potential(&self) -> f64 {
        let (alpha, size) = (self.alpha, self.value.abs());
        let by = alpha * size;
        // The difference loses the digits of a small product; there its series is exact.
        match by < 1e-4 {
            true => size * size * (0.5 - by / 3.0 + 0.25 * by * by),
            false => (by - by.ln_1p()) / (alpha * alpha),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(mut it: Scaled, slope: f64, time: f64, steps: u32) -> f64 {
        for _ in 0..steps {
            it = it.descend(slope, time / f64::from(steps));
        }
        it.value
    }

    #[test]
    fn a_step_moves_and_then_multiplies_by_the_sign_it_has_come_to() {
        let it = Scaled {
            value: 0.1,
            alpha: 3.0,
            beta: 0.5,
        };
        // Through 0, so that the sign is the new one.
        let expected = (0.1 - 0.2) * (0.1f64 * (3.0 * 2.0 - 0.5)).exp();
        assert!((it.descend(2.0, 0.1).value - expected).abs() < 1e-15);
        let far = Scaled { alpha: 1e6, ..it }.descend(-2.0, 0.1).value;
        assert!((far / (0.3 * 5.0f64.exp()) - 1.0).abs() < 1e-14, "{far}");
    }

    #[test]
    fn under_a_constant_slope_a_weight_without_decay_follows_its_potential_through_zero() {
        // y = sign(theta) ln(1 + alpha |theta|) / alpha falls by slope t.
        let (theta, alpha, slope, time) = (0.3f64, 4.0f64, 0.5, 1.5);
        let y = (alpha * theta).ln_1p() / alpha - slope * time;
        let exact = y.signum() * (alpha * y.abs()).exp_m1() / alpha;
        assert!((exact + 2.0324474).abs() < 1e-7);
        let it = Scaled {
            value: theta,
            alpha,
            beta: 0.0,
        };
        let error = |steps| (follow(it, slope, time, steps) - exact).abs();
        assert!(error(100_000) < 1e-3, "{}", error(100_000));
        assert!(
            error(20_000) > 1.8 * error(40_000),
            "the error falls with the step"
        );
    }

    #[test]
    fn with_decay_it_follows_the_exponential_and_comes_to_rest_where_decay_is_stronger() {
        // theta_t = (theta_0 + g / r) exp(-r t) - g / r with r = beta + alpha sign(theta) g.
        let cases = [(-0.3, 0.5, 4.0, 0.2, 0.4), (0.3, -0.5, 2.0, 1.5, 5.0)];
        for (theta, slope, alpha, beta, time) in cases {
            let it = Scaled {
                value: theta,
                alpha,
                beta,
            };
            let rate: f64 = beta + alpha * theta.signum() * slope;
            let exact = (theta + slope / rate) * (-rate * time).exp() - slope / rate;
            let got = follow(it, slope, time, 100_000);
            assert!((got - exact).abs() < 1e-4, "{got}, not {exact}");
        }
        let it = Scaled {
            value: 0.3,
            alpha: 2.0,
            beta: 1.5,
        };
        // -g / (beta - alpha |g|).
        assert!((follow(it, -0.5, 60.0, 100_000) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn the_potential_is_the_integral_of_the_weight_over_its_speed() {
        for (theta, alpha) in [
            (0.8, 4.0),
            (-0.8, 4.0),
            (1e-3, 0.09),
            (0.3, 0.0),
            (0.1, 200.0),
        ] {
            let at = |value| Scaled {
                value,
                alpha,
                beta: 0.0,
            };
            let count = 10_000;
            let width = theta / f64::from(count);
            let sum: f64 = (0..count)
                .map(|i| width * (f64::from(i) + 0.5))
                .map(|x| x / at(x).speed() * width)
                .sum();
            let potential = at(theta).potential();
            assert!((potential / sum - 1.0).abs() < 1e-6, "{potential}, {sum}");
        }
    }
}
