//! A batch norm by the kernels' forms, and in double precision.

use tch::{Kind, Tensor, kind};

use super::super::super::passes::{
    NormGradients, norm_by_channel_backward, norm_by_channel_forward,
};
use super::super::{OnCpu, copy, randn};
use super::{EPSILON, MOMENTUM};
use crate::BatchNorm;

/// What a norm is computed of, `[outer, channels, inner]`, and the gradient of its result.
pub struct Case {
    pub input: Tensor,
    pub added: Option<Tensor>,
    pub scale: Tensor,
    pub shift: Tensor,
    pub running: [Tensor; 2],
    pub relu: bool,
    pub slope: Tensor,
}

/// Results by their names, in one order.
pub type Named = Vec<(&'static str, Tensor)>;

impl Case {
    pub fn new(shape: [i64; 3], kind: Kind, [adds, relu]: [bool; 2]) -> Self {
        let random = || randn(&shape);
        let channels = shape[1];
        Self {
            input: (random() * 2.0 + 3.0).to_kind(kind),
            added: adds.then(|| random().to_kind(kind)),
            scale: randn(&[channels]),
            shift: randn(&[channels]),
            running: [randn(&[channels]), randn(&[channels]).abs() + 0.5],
            relu,
            slope: random().to_kind(kind),
        }
    }

    /// The same of some of its channels.
    pub fn channels(&self, index: &[i64]) -> Self {
        let index = Tensor::from_slice(index);
        let all = |it: &Tensor| it.index_select(1, &index);
        let each = |it: &Tensor| it.index_select(0, &index);
        Self {
            input: all(&self.input),
            added: self.added.as_ref().map(all),
            scale: each(&self.scale),
            shift: each(&self.shift),
            running: self.running.each_ref().map(each),
            relu: self.relu,
            slope: all(&self.slope),
        }
    }

    pub fn ours(&self, trains: bool) -> Named {
        let running = self.running.each_ref().map(copy);
        let norm = BatchNorm {
            scale: &self.scale,
            shift: &self.shift,
            running: running.each_ref(),
            trains,
            epsilon: EPSILON,
            momentum: MOMENTUM,
        };
        let statistics = Tensor::zeros([2, self.scale.size()[0]], kind::FLOAT_CPU);
        let out = self.input.zeros_like();
        let added = self.added.as_ref();
        norm_by_channel_forward(
            &OnCpu,
            &norm,
            &self.input,
            added,
            self.relu,
            &statistics,
            &out,
        )
        .unwrap();
        let mut found = vec![("out", copy(&out))];
        if trains {
            let [of_input, of_added] = [(); 2].map(|()| self.input.zeros_like());
            let [of_scale, of_shift] = [(); 2].map(|()| self.scale.zeros_like());
            let through = self.relu && added.is_some();
            let gradients = NormGradients {
                input: &of_input,
                added: through.then_some(&of_added),
                scale: &of_scale,
                shift: &of_shift,
            };
            let made = self.relu.then_some(&out);
            let (scale, slope, input) = (&self.scale, &self.slope, &self.input);
            norm_by_channel_backward(&OnCpu, scale, slope, input, made, &statistics, gradients)
                .unwrap();
            found.extend([
                ("mean", statistics.get(0)),
                ("inverse deviation", statistics.get(1)),
                ("input's gradient", of_input),
                ("scale's gradient", of_scale),
                ("shift's gradient", of_shift),
            ]);
            if through {
                found.push(("added's gradient", of_added));
            }
        }
        let [mean, variance] = running;
        found.extend([("running mean", mean), ("running variance", variance)]);
        found
    }

    /// The same by operations of libtorch in f64, and next to each number by how much rounding in f32 may move it. The
    /// ReLU's sides are those of `out`, our result: which one a value lies on is rounding where it is nearly 0.
    pub fn expected(&self, trains: bool, out: &Tensor) -> Vec<(&'static str, Tensor, Tensor)> {
        const ULP: f64 = 1.0 / (1 << 24) as f64;
        let wide = |it: &Tensor| it.to_kind(Kind::Double);
        let along = |it: &Tensor| wide(it).view([1, -1, 1]);
        let (input, slope) = (wide(&self.input), wide(&self.slope));
        let count = (input.numel() / self.scale.numel()) as f64;
        let total = |it: &Tensor| it.sum_dim_intlist([0i64, 2].as_slice(), true, Kind::Double);
        let known = self.running.each_ref().map(along);
        let (mean, variance) = match trains {
            true => {
                let mean = total(&input) / count;
                let centred = &input - &mean;
                let variance = total(&(&centred * &centred)) / count;
                (mean, variance)
            }
            false => (known[0].shallow_clone(), known[1].shallow_clone()),
        };
        let (scale, shift) = (along(&self.scale), along(&self.shift));
        let inverse = (&variance + EPSILON).rsqrt();
        let centred = &input - &mean;
        let mut sum = &centred * &inverse * &scale + &shift;
        // The mean, the distance, the factor and the result are rounded once each.
        let sizes = (&input.abs() + mean.abs()) * (&inverse * &scale).abs();
        let mut bound = (sizes + sum.abs() * 2.0 + shift.abs()) * (4.0 * ULP);
        if let Some(added) = &self.added {
            sum += wide(added);
            bound += sum.abs() * (2.0 * ULP);
        }
        if self.relu {
            sum = sum.relu();
        }
        // Halves of bf16's last place, where the result is rounded to it.
        let stored = |value: &Tensor| match self.input.kind() {
            Kind::BFloat16 => value.abs() * (1.0 / 256.0),
            _ => value.abs() * ULP,
        };
        let bound = bound + stored(&sum);
        let mut found = vec![("out", sum, bound)];
        if trains {
            let passed = match self.relu {
                true => &slope * wide(&out.gt(0.0)),
                false => slope,
            };
            let normal = &centred * &inverse;
            let (all, product) = (total(&passed), total(&(&passed * &normal)));
            let factor = &scale * &inverse;
            let of_input = &factor * (&passed - &all / count - &normal * &product / count);
            // A mean that is rounded moves every distance, and with it the products.
            let off = (&input.abs() + mean.abs()) * &inverse * (2.0 * ULP);
            let of_product = total(&(passed.abs() * (&off + normal.abs() * (2.0 * ULP))));
            let bound_product = &of_product + product.abs() * (2.0 * ULP);
            let each = passed.abs() + all.abs() / count + (&normal * &product).abs() / count;
            let by_product = (&off * product.abs() + normal.abs() * &bound_product) / count;
            let bound = factor.abs() * (each * (8.0 * ULP) + by_product) + stored(&of_input);
            found.extend([
                ("mean", mean.shallow_clone(), mean.abs() * ULP),
                (
                    "inverse deviation",
                    inverse.shallow_clone(),
                    &inverse * (2.0 * ULP),
                ),
                ("input's gradient", of_input, bound),
                ("scale's gradient", product.shallow_clone(), bound_product),
                (
                    "shift's gradient",
                    all.shallow_clone(),
                    all.abs() * (2.0 * ULP),
                ),
            ]);
            if self.relu && self.added.is_some() {
                let none = passed.zeros_like();
                found.push(("added's gradient", passed, none));
            }
        }
        let [mut known_mean, mut known_variance] = known;
        if trains {
            let follow = |known: Tensor, seen: Tensor| known * (1.0 - MOMENTUM) + seen * MOMENTUM;
            known_mean = follow(known_mean, mean);
            known_variance = follow(known_variance, variance * (count / (count - 1.0)));
        }
        for (name, it) in [
            ("running mean", known_mean),
            ("running variance", known_variance),
        ] {
            let bound = it.abs() * (2.0 * ULP);
            found.push((name, it, bound));
        }
        found
    }
}
