//! A seed that stands still: what a level loop would know of it, set by hand.

use std::cell::RefCell;

use plugin_api::abi::wire::Facts;
use plugin_api::{GradientRequest, Layer, LayerKind, Phase, Point, Units, UpdateForm};
use tch::{Device, Kind, Tensor};

use super::{MaskRule, Scene, ServiceError, Strategy, StrategyError};
use crate::rng::{Moment, Purpose, Stream};
use crate::update::{Given, Numbers};

/// Where a seed stands, with weights and masks on the CPU.
pub struct Still {
    /// What the components are told.
    pub facts: Facts,
    /// Current weights.
    pub weights: Vec<Tensor>,
    /// Current masks.
    pub masks: Vec<Tensor>,
    /// Stored points and their weights.
    pub points: Vec<(Point, Vec<Tensor>)>,
    /// Masks of other runs, by run and level.
    pub other_masks: Vec<(String, u64, Vec<Tensor>)>,
    /// The answer to every request for gradients.
    pub gradients: Vec<Tensor>,
    /// The units that can be removed whole.
    pub units: Units,
    /// Scale and shift of norms: name, at present, at first.
    pub norms: Vec<(String, Tensor, Tensor)>,
    /// The gradients of the norms.
    pub norm_gradients: Vec<Tensor>,
    /// The requests for gradients so far.
    pub requests: RefCell<Vec<GradientRequest>>,
}

impl Still {
    /// The end of level 0 of a network with these shapes and normal weights, most of which are
    /// small whole multiples of 1/8, so that many are equal in magnitude.
    pub fn new(shapes: &[&[i64]], seed: u64) -> Self {
        let layers: Vec<Layer> = shapes
            .iter()
            .enumerate()
            .map(|(i, &shape)| {
                let kind = match shape.len() {
                    2 => LayerKind::Linear,
                    3 => LayerKind::Conv1d,
                    _ => LayerKind::Conv2d,
                };
                Layer::new(format!("layer{i}.weight"), kind, shape)
            })
            .collect();
        let init = normal(&layers, seed, "init");
        let coarse = |weight: &Tensor| (weight * 8.0).round() / 8.0;
        Self {
            masks: layers
                .iter()
                .map(|layer| Tensor::ones(&layer.shape, (Kind::Float, Device::Cpu)))
                .collect(),
            weights: normal(&layers, seed, "trained")
                .iter()
                .map(coarse)
                .collect(),
            gradients: normal(&layers, seed, "gradients"),
            points: vec![(Point::Init, init)],
            other_masks: Vec::new(),
            units: Units::of_chain(&layers),
            norms: Vec::new(),
            norm_gradients: Vec::new(),
            requests: RefCell::default(),
            facts: Facts {
                target: layers.iter().map(Layer::len).sum(),
                layers,
                seed,
                level: 0,
                last_level: 10,
                step: 800,
                steps_per_epoch: 40,
                steps_per_level: 800,
                phase: Phase::BetweenLevels,
                density: 1.0,
            },
        }
    }

    /// Weights in all.
    pub fn len(&self) -> u64 {
        self.facts.layers.iter().map(Layer::len).sum()
    }

    /// Whether there is no weight.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Scores and updates the masks for `target` weights between this level and the next, and
    /// zeroes what is pruned.
    ///
    /// # Errors
    /// What a component did wrong.
    pub fn prune(&mut self, strategy: &mut Strategy, target: u64) -> Result<(), StrategyError> {
        self.facts.target = target;
        self.facts.density = target as f64 / self.len() as f64;
        let scores = strategy.score(self)?;
        let rule = MaskRule {
            may_grow: self.facts.phase == Phase::WithinLevel,
            ..MaskRule::nested(target)
        };
        self.masks = strategy.update(self, &scores, rule)?;
        self.weights = self
            .weights
            .iter()
            .zip(&self.masks)
            .map(|(weight, mask)| weight * mask)
            .collect();
        Ok(())
    }

    /// A step of the level that is under way, for an update with states of 0.
    pub fn step(&self, form: &UpdateForm, step: u64) -> Given {
        let zeros = || self.weights.iter().map(Tensor::zeros_like).collect();
        Given {
            weights: copies(&self.weights),
            gradients: copies(&self.gradients),
            masks: copies(&self.masks),
            states: form.states.iter().map(|it| (it.clone(), zeros())).collect(),
            norms: (self.norms.iter())
                .map(|(name, present, _)| (name.clone(), present.shallow_clone()))
                .collect(),
            norm_gradients: copies(&self.norm_gradients),
            numbers: Numbers {
                lr: 0.1,
                step,
                steps: self.facts.steps_per_level,
                age: step,
            },
        }
    }

    /// The masks' ones per layer.
    pub fn survivors(&self) -> Vec<u64> {
        let ones = |mask: &Tensor| mask.sum(Kind::Double).double_value(&[]) as u64;
        self.masks.iter().map(ones).collect()
    }
}

/// Standard normal numbers for each layer.
pub fn normal(layers: &[Layer], seed: u64, name: &str) -> Vec<Tensor> {
    let mut stream = Stream::new(seed, Purpose::Init(name), Moment::default());
    layers
        .iter()
        .map(|layer| {
            let numbers: Vec<f32> = (0..layer.len()).map(|_| stream.normal()).collect();
            Tensor::from_slice(&numbers).view(layer.shape.as_slice())
        })
        .collect()
}

/// The elements of all layers one after the other, row-major.
pub fn flat(tensors: &[Tensor]) -> Vec<f32> {
    tensors
        .iter()
        .flat_map(|tensor| Vec::<f32>::try_from(&tensor.flatten(0, -1)).expect("it holds floats"))
        .collect()
}

fn copies(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::shallow_clone).collect()
}

impl Scene for Still {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn weights(&self) -> Vec<Tensor> {
        copies(&self.weights)
    }

    fn masks(&self) -> Vec<Tensor> {
        copies(&self.masks)
    }

    fn point_weights(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        let point = &point.at_level(self.facts.level + 1);
        let stored = self.points.iter().find(|(own, _)| own == point);
        stored
            .map(|(_, weights)| copies(weights))
            .ok_or_else(|| ServiceError::Missing(format!("the point `{point}` is not stored")))
    }

    fn points(&self) -> Vec<Point> {
        self.points.iter().map(|(point, _)| point.clone()).collect()
    }

    fn stored_masks(&self, run: Option<&str>, level: u64) -> Result<Vec<Tensor>, ServiceError> {
        let named = |(own, number, _): &&(String, u64, Vec<Tensor>)| {
            Some(own.as_str()) == run && *number == level
        };
        let stored = self.other_masks.iter().find(named);
        stored
            .map(|(_, _, masks)| copies(masks))
            .ok_or_else(|| ServiceError::Missing(format!("no masks of level {level}")))
    }

    fn units(&self) -> Result<&Units, ServiceError> {
        Ok(&self.units)
    }

    fn unit_scales(&self) -> Result<Vec<Tensor>, ServiceError> {
        let of = |units: u64| Tensor::arange(units as i64, (Kind::Float, Device::Cpu)) + 1.0;
        Ok(self.units.sets.iter().map(|set| of(set.units)).collect())
    }

    fn norms_at(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        match point {
            Point::Init => Ok((self.norms.iter())
                .map(|(_, _, first)| first.shallow_clone())
                .collect()),
            _ => Err(ServiceError::Missing(format!(
                "the point `{point}` is not stored"
            ))),
        }
    }

    fn gradients(
        &self,
        request: &GradientRequest,
        _stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        self.requests.borrow_mut().push(request.clone());
        Ok(copies(&self.gradients))
    }

    fn hessian_vector(
        &self,
        vectors: &[Tensor],
        _request: &GradientRequest,
        _stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        Ok(copies(vectors))
    }
}
