//! Sign-In: a weight as the product of two factors, each trained by gradient descent.
//!
//! # Source
//! Gadhikar, Jacobs, Zhou & Burkholz, NeurIPS 2025 (arXiv:2504.12801).

/// A weight `m w`, whose inner scale `m^2 - w^2` is `scale` at first and when it is set anew.
///
/// With slope g the factors flow by `dm/dt = -w g` and `dw/dt = -m g`. That keeps the inner scale and
/// moves the weight by `-(m^2 + w^2) g = -sqrt(4 theta^2 + scale^2) g`: at 0, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Product {
    m: f64,
    w: f64,
    scale: f64,
}

impl Product {
    /// The factors of a weight: `m = sqrt((scale + sqrt(scale^2 + 4 theta^2)) / 2)`, `w = theta / m`.
    ///
    /// `m` is positive, so that `w` has the weight's sign.
    pub fn split(theta: f64, scale: f64) -> Self {
        let m = (0.5 * (scale + scale.hypot(2.0 * theta))).sqrt();
        Self {
            m,
            w: theta / m,
            scale,
        }
    }

    /// The weight.
    pub fn value(&self) -> f64 {
        self.m * self.w
    }

    /// Its factors for the same weight and the inner scale of the beginning, which a step shrinks by
    /// `1 - step^2 slope^2`.
    pub fn renew(self) -> Self {
        Self::split(self.value(), self.scale)
    }

    /// A step of gradient descent on both factors.
    pub fn descend(self, slope: f64, step: f64) -> Self {
        Self {
            m: self.m - step * slope * self.w,
            w: self.w - step * slope * self.m,
            ..self
        }
    }

    /// `sqrt(4 theta^2 + scale^2)`.
    pub fn speed(&self) -> f64 {
        self.scale.hypot(2.0 * self.value())
    }

    /// `(sqrt(4 theta^2 + scale^2) - scale) / 4`.
    pub fn potential(&self) -> f64 {
        let theta = self.value();
        // As it stands, the difference would lose the digits of a small weight.
        theta * theta / (self.speed() + self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_have_the_weight_as_product_and_the_inner_scale() {
        for (theta, scale) in [(0.3, 1.0), (-0.3, 1.0), (0.0, 1.0), (2.0, 0.01)] {
            let it = Product::split(theta, scale);
            assert!((it.value() - theta).abs() < 1e-15);
            assert!((it.m * it.m - it.w * it.w - scale).abs() < 1e-13);
            assert!(it.m >= scale.sqrt());
            assert!((it.speed() - (it.m * it.m + it.w * it.w)).abs() < 1e-13);
        }
    }

    #[test]
    fn a_step_shrinks_the_inner_scale_by_what_the_step_says_and_setting_it_anew_keeps_the_weight() {
        let (theta, scale, slope, step) = (-0.4, 0.7, 1.3, 0.1);
        let before = Product::split(theta, scale);
        let after = before.descend(slope, step);
        let by = step * slope;
        let expected = theta * (1.0 + by * by) - by * before.speed();
        assert!((after.value() - expected).abs() < 1e-15);
        let inner = after.m * after.m - after.w * after.w;
        assert!((inner - scale * (1.0 - by * by)).abs() < 1e-15);
        let anew = after.renew();
        assert!((anew.value() - after.value()).abs() < 1e-15);
        assert!((anew.m * anew.m - anew.w * anew.w - scale).abs() < 1e-15);
    }

    #[test]
    fn under_a_constant_slope_a_weight_follows_the_hyperbolic_sine_through_zero() {
        // theta_t = (scale / 2) sinh(arcsinh(2 theta_0 / scale) - 2 slope t).
        let (theta, scale, slope, time) = (-0.44f64, 1.05f64, -0.7, 1.7);
        let exact = 0.5 * scale * ((2.0 * theta / scale).asinh() - 2.0 * slope * time).sinh();
        assert!(exact > 1.0);
        let error = |steps: u32| {
            let mut it = Product::split(theta, scale);
            let step = time / f64::from(steps);
            for number in 1..=steps {
                it = it.descend(slope, step);
                if number % 10 == 0 {
                    it = it.renew();
                }
            }
            (it.value() - exact).abs()
        };
        assert!(error(100_000) < 1e-4, "{}", error(100_000));
        // Euler's method: half the step, half the error.
        let ratio = error(2_000) / error(4_000);
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
    }

    #[test]
    fn the_potential_is_the_integral_of_the_weight_over_its_speed() {
        for (theta, scale) in [(0.8f64, 0.5), (-0.8, 0.5), (1e-3, 1.0)] {
            let count = 10_000;
            let width = theta / f64::from(count);
            let sum: f64 = (0..count)
                .map(|i| width * (f64::from(i) + 0.5))
                .map(|x| x / Product::split(x, scale).speed() * width)
                .sum();
            let potential = Product::split(theta, scale).potential();
            assert!((potential / sum - 1.0).abs() < 1e-7, "{potential}, {sum}");
        }
    }
}
