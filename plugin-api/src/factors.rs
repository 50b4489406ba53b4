//! What methods share that train each weight as a product of two factors.

use crate::error::Result;
use crate::{Experiment, Finding, StepNumber, Tensor, UpdateContext, Updated};

/// Weights theta that are trained as products m w of two factors, each by stochastic gradient descent.
///
/// The gradients are dL/dm = w dL/dtheta and dL/dw = m dL/dtheta. The difference m^2 - w^2, the inner scale, sets
/// how fast a weight moves: by sqrt(4 theta^2 + scale^2) times its gradient, also where it is 0, so that it
/// crosses zero. Descent and decay shrink the scale; it is set anew with theta as it is.
///
/// # Source
/// Gadhikar, Jacobs, Zhou & Burkholz, NeurIPS 2025 (arXiv:2504.12801); Jacobs & Burkholz, ICLR 2025
/// (arXiv:2408.09966).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// The inner scale m^2 - w^2 that factors start with, above 0.
    pub scale: f64,
    /// Share of its momentum that a factor keeps.
    pub momentum: f64,
    /// Whether a step looks ahead along the momentum.
    pub nesterov: bool,
    /// What the learning rate is multiplied with.
    pub lr_factor: f64,
}

impl Factors {
    /// Names of the states: the factors, and their momenta if there are any.
    pub fn states(&self) -> Vec<&'static str> {
        match self.momentum {
            0.0 => vec!["m", "w"],
            _ => vec!["m", "w", "momentum-m", "momentum-w"],
        }
    }

    /// A step of both factors of every weight. Their gradients get `decay` times the factor, a tensor without
    /// dimensions. The scale is set anew before a step where `anew`, a tensor without dimensions, is 1; and always
    /// where the factors' product is not the weight: at first, after a rewind, and where a weight grew.
    ///
    /// # Errors
    /// What the host says.
    pub fn step(
        &self,
        ctx: &mut UpdateContext<'_>,
        decay: &Tensor,
        anew: &Tensor,
    ) -> Result<Updated> {
        let lr = ctx.lr()? * self.lr_factor;
        let (weights, gradients, masks) = (ctx.weights()?, ctx.gradients()?, ctx.masks()?);
        let (old_m, old_w) = (ctx.state("m")?, ctx.state("w")?);
        let has_momentum = self.momentum != 0.0;
        let (old_moved_m, old_moved_w) = match has_momentum {
            true => (ctx.state("momentum-m")?, ctx.state("momentum-w")?),
            false => (Vec::new(), Vec::new()),
        };
        let mut products = Vec::new();
        let (mut all_m, mut all_w) = (Vec::new(), Vec::new());
        let (mut all_moved_m, mut all_moved_w) = (Vec::new(), Vec::new());
        for (layer, theta) in weights.iter().enumerate() {
            let is_product = (&old_m[layer] * &old_w[layer]).eq(theta);
            // Factors of 0 make a product of 0, and would stay there.
            let moves = old_m[layer]
                .abs()
                .maximum(&old_w[layer].abs())
                .gt_scalar(0.0);
            let goes_on = is_product * moves * (anew * -1.0 + 1.0);
            let (new_m, new_w) = self.split(theta);
            let m = goes_on.choose(&old_m[layer], &new_m);
            let w = goes_on.choose(&old_w[layer], &new_w);
            let (gradient, mask) = (&gradients[layer], &masks[layer]);
            let slope_m = gradient * &w + &m * decay;
            let slope_w = gradient * &m + &w * decay;
            let (step_m, step_w) = match has_momentum {
                false => (slope_m, slope_w),
                true => {
                    let (moved_m, along_m) = self.moved(&old_moved_m[layer], slope_m);
                    let (moved_w, along_w) = self.moved(&old_moved_w[layer], slope_w);
                    all_moved_m.push(moved_m * mask);
                    all_moved_w.push(moved_w * mask);
                    (along_m, along_w)
                }
            };
            let m = (m - step_m * &lr) * mask;
            let w = (w - step_w * &lr) * mask;
            products.push(&m * &w);
            all_m.push(m);
            all_w.push(w);
        }
        let updated = Updated::new(products).with("m", all_m).with("w", all_w);
        Ok(match has_momentum {
            false => updated,
            true => updated
                .with("momentum-m", all_moved_m)
                .with("momentum-w", all_moved_w),
        })
    }

    /// The factors of weights: m = sqrt((scale + sqrt(scale^2 + 4 theta^2)) / 2), w = theta / m.
    fn split(&self, theta: &Tensor) -> (Tensor, Tensor) {
        let root = (theta.square() * 4.0 + self.scale * self.scale).sqrt();
        let m = ((root + self.scale) * 0.5).sqrt();
        let w = theta / &m;
        (m, w)
    }

    /// The momentum after a step, and along what the factor moves.
    fn moved(&self, momentum: &Tensor, slope: Tensor) -> (Tensor, Tensor) {
        let moved = momentum * self.momentum + &slope;
        let along = match self.nesterov {
            true => slope + &moved * self.momentum,
            false => moved.clone(),
        };
        (moved, along)
    }

    /// What there is against training factors in an experiment: they are trained by SGD, and an optimizer of another
    /// kind trains biases and norms beside them otherwise. The first two name the component's options.
    pub fn review(
        &self,
        momentum_option: &str,
        nesterov_option: &str,
        experiment: &Experiment,
    ) -> Vec<Finding> {
        let Some(optimizer) = &experiment.optimizer else {
            return Vec::new();
        };
        if optimizer.name != "sgd" {
            let message = format!(
                "factors are trained by SGD, and train.optimizer is `{}`, whose learning rates mean something else",
                optimizer.name
            );
            return vec![Finding::impossible(message).advise("train with `sgd`")];
        }
        let momentum = optimizer.number("momentum").unwrap_or(0.9);
        let nesterov = optimizer.options.get("nesterov") == Some(&true.into());
        let mut findings = Vec::new();
        if momentum != self.momentum {
            let message = format!(
                "the factors' momentum is {}, that of train.optimizer, for biases and norms, {momentum}",
                self.momentum
            );
            findings.push(Finding::pointless(message).at_option(momentum_option));
        }
        if nesterov != self.nesterov {
            let message = format!(
                "nesterov is {} for the factors and {nesterov} in train.optimizer",
                self.nesterov
            );
            findings.push(Finding::pointless(message).at_option(nesterov_option));
        }
        findings
    }

    /// A tensor without dimensions that is 1 at each so manieth step of a level, and 0 else.
    ///
    /// # Errors
    /// What the host says.
    pub fn due(ctx: &mut UpdateContext<'_>, every: crate::Step) -> Result<Tensor> {
        let steps = every.steps(ctx.steps_per_epoch());
        ctx.number(StepNumber::Due(steps))
    }
}
