//! Loss and gradient of the neuron over all inputs, in closed form.

use std::f64::consts::{PI, TAU};

/// A neuron `a relu(w . x)` in the coordinates that decide its loss.
///
/// The target sees `x_1` alone, and the inputs look the same from all sides. So nothing depends on
/// the other input weights but their length, and the gradient changes them along themselves: their
/// direction stays. Three numbers follow a network of any dimension exactly, Euler steps included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neuron {
    /// Output weight.
    pub a: f64,
    /// Weight of the input that the target sees.
    pub w1: f64,
    /// L2 norm of the other input weights.
    pub rest: f64,
}

/// Which input weights are trained; the others are pruned, and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The first.
    pub w1: bool,
    /// The others, or one of them.
    pub rest: bool,
}

impl Kept {
    /// All of them.
    pub const ALL: Self = Self {
        w1: true,
        rest: true,
    };
}

impl Neuron {
    /// Angle between the input weights and the target's, from 0 to pi; 0 without input weights.
    fn angle(self) -> f64 {
        match self.rest == 0.0 {
            true if self.w1 < 0.0 => PI,
            true => 0.0,
            false => self.rest.atan2(self.w1),
        }
    }

    /// Half the mean squared distance from the target over standard normal inputs.
    ///
    /// With `t` the angle between `w` and the target's weights `e_1`,
    /// `E relu(w.x) relu(e_1.x) = |w| (sin t + (pi - t) cos t) / 2 pi` and `E relu(w.x)^2 = |w|^2 / 2`,
    /// so that the loss is `a^2 |w|^2 / 4 - a (|rest| + (pi - t) w_1) / 2 pi + 1/4`.
    ///
    /// # Source
    /// Cho & Saul 2009, the arc-cosine kernel of order 1 (equations 4 and 6), for the first.
    pub fn loss(self) -> f64 {
        let Self { a, w1, rest } = self;
        let overlap = (rest + (PI - self.angle()) * w1) / TAU;
        // Rounding could leave less than nothing.
        (0.25 * a * a * (w1 * w1 + rest * rest) - a * overlap + 0.25).max(0.0)
    }

    /// The loss's gradient in (`a`, `w1`, `rest`). Without input weights it is 0, as libtorch's is:
    /// there relu has no derivative, and its left one is taken.
    ///
    /// With `t' = -rest / |w|^2` along `w1` and `w1 / |w|^2` along `rest`, the overlap
    /// `rest + (pi - t) w1` has the derivatives `pi - t + sin t cos t` and `sin^2 t`.
    pub fn gradient(self) -> [f64; 3] {
        let Self { a, w1, rest } = self;
        let square = w1 * w1 + rest * rest;
        if square == 0.0 {
            return [0.0; 3];
        }
        let open = PI - self.angle();
        let (along, across) = (rest * w1 / square, rest * rest / square);
        [
            0.5 * a * square - (rest + open * w1) / TAU,
            0.5 * a * a * w1 - a * (open + along) / TAU,
            0.5 * a * a * rest - a * across / TAU,
        ]
    }

    /// One step of gradient descent.
    ///
    /// # Units
    /// `step`: time of the gradient flow, which is the learning rate.
    pub fn descend(self, kept: Kept, step: f64) -> Self {
        let [a, w1, rest] = self.gradient();
        let change =
            |value: f64, slope: f64, kept: bool| if kept { value - step * slope } else { 0.0 };
        Self {
            a: self.a - step * a,
            w1: change(self.w1, w1, kept.w1),
            // Beyond 0 the weights point the other way; their length is what counts.
            rest: change(self.rest, rest, kept.rest).abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Moment, Purpose, Stream};

    const NEURONS: [Neuron; 6] = [
        Neuron {
            a: 0.7,
            w1: 0.3,
            rest: 0.5,
        },
        Neuron {
            a: -0.4,
            w1: 0.6,
            rest: 0.2,
        },
        Neuron {
            a: 1.1,
            w1: -0.8,
            rest: 0.3,
        },
        Neuron {
            a: -0.9,
            w1: -0.2,
            rest: 1.2,
        },
        Neuron {
            a: 0.5,
            w1: 0.9,
            rest: 0.0,
        },
        Neuron {
            a: 0.8,
            w1: -0.4,
            rest: 0.0,
        },
    ];

    #[test]
    fn the_loss_is_the_mean_over_drawn_inputs() {
        for neuron in NEURONS {
            let mut stream = Stream::new(1, Purpose::Samples("loss"), Moment::default());
            let draws: Vec<f64> = (0..200_000)
                .map(|_| {
                    let (x, y) = (f64::from(stream.normal()), f64::from(stream.normal()));
                    let output = neuron.a * (neuron.w1 * x + neuron.rest * y).max(0.0);
                    0.5 * (output - x.max(0.0)).powi(2)
                })
                .collect();
            let count = draws.len() as f64;
            let mean = draws.iter().sum::<f64>() / count;
            let variance = draws.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / count;
            let error = (mean - neuron.loss()).abs();
            // Five standard errors.
            assert!(
                error < 5.0 * (variance / count).sqrt() + 1e-12,
                "{neuron:?}: {error}"
            );
        }
    }

    #[test]
    fn the_gradient_is_the_loss_differences() {
        let h = 1e-6;
        for neuron in NEURONS {
            let Neuron { a, w1, rest } = neuron;
            let shifted = |by: [f64; 3]| Neuron {
                a: a + by[0],
                w1: w1 + by[1],
                rest: (rest + by[2]).abs(),
            };
            // Where there are no other weights, their length has a kink and cannot be differentiated.
            let axes = if rest == 0.0 { 2 } else { 3 };
            for axis in 0..axes {
                let mut by = [0.0; 3];
                by[axis] = h;
                let difference =
                    (shifted(by).loss() - shifted(by.map(|it| -it)).loss()) / (2.0 * h);
                let error = (difference - neuron.gradient()[axis]).abs();
                assert!(error < 1e-8, "{neuron:?}, axis {axis}: {error}");
            }
        }
    }

    #[test]
    fn a_step_is_one_on_every_coordinate_with_the_gradient_taken_over_drawn_inputs() {
        // Five input weights, none of them 0; the step on each from samples.
        let (a, w) = (0.6, [0.3, -0.2, 0.5, 0.1, -0.4]);
        let mut stream = Stream::new(2, Purpose::Samples("step"), Moment::default());
        let (count, mut slopes, mut slope_a) = (400_000, [0.0; 5], 0.0);
        for _ in 0..count {
            let x: [f64; 5] = std::array::from_fn(|_| f64::from(stream.normal()));
            let before: f64 = x.iter().zip(w).map(|(x, w)| x * w).sum();
            let distance = a * before.max(0.0) - x[0].max(0.0);
            slope_a += distance * before.max(0.0) / f64::from(count);
            if before > 0.0 {
                for (slope, x) in slopes.iter_mut().zip(x) {
                    *slope += distance * a * x / f64::from(count);
                }
            }
        }
        let step = 0.5;
        let after: Vec<f64> = w
            .iter()
            .zip(slopes)
            .map(|(w, slope)| w - step * slope)
            .collect();
        let length = |w: &[f64]| w.iter().map(|it| it * it).sum::<f64>().sqrt();
        let neuron = Neuron {
            a,
            w1: w[0],
            rest: length(&w[1..]),
        };
        let got = neuron.descend(Kept::ALL, step);
        for (got, expected) in [
            (got.a, a - step * slope_a),
            (got.w1, after[0]),
            (got.rest, length(&after[1..])),
        ] {
            assert!((got - expected).abs() < 5e-3, "{got}, not {expected}");
        }
        // The others keep their proportions.
        for (before, after) in w[1..].iter().zip(&after[1..]) {
            assert!((after / before - got.rest / neuron.rest).abs() < 3e-2);
        }
    }

    #[test]
    fn a_neuron_without_input_weights_stays_as_it_is() {
        let neuron = Neuron {
            a: 0.5,
            w1: 0.0,
            rest: 0.0,
        };
        assert_eq!(neuron.descend(Kept::ALL, 0.1), neuron);
    }
}
