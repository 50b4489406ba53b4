//! A scene of plain numbers, laid out on a device.

use conformance::Scene as Told;
use plugin_api::abi::wire::Facts;
use plugin_api::{Batches, GradientRequest, Layer, Phase, Point, Units};
use tch::{Device, Kind, Tensor};

use crate::rng::{Moment, Purpose, Stream};
use crate::strategy::select::select;
use crate::strategy::{Scene, ServiceError};

/// The scene as a component sees it. What the numbers of a scene do not say is drawn: gradients,
/// products with the Hessian and stored weights are the same whenever they are asked for.
pub struct Laid {
    facts: Facts,
    device: Device,
    pub(super) weights: Vec<Tensor>,
    pub(super) masks: Vec<Tensor>,
    points: Vec<Point>,
    units: Units,
}

impl Laid {
    /// The scene on a device, for a component that declared these points.
    pub fn new(told: &Told, device: Device, points: Vec<Point>) -> Self {
        let layers = &told.facts.layers;
        Self {
            weights: tensors(&told.weights, layers, device),
            masks: tensors(&told.masks, layers, device),
            facts: told.facts.clone(),
            device,
            points,
            units: Units::of_chain(layers),
        }
    }

    /// Scale and shift of two norms.
    pub(super) fn norms(&self) -> Vec<(String, Tensor)> {
        let mut stream = Stream::new(self.facts.seed, Purpose::Init("norms"), Moment::default());
        let names = ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"];
        let tensor = |stream: &mut Stream| {
            let numbers: Vec<f32> = (0..5).map(|_| stream.normal()).collect();
            Tensor::from_slice(&numbers).to_device(self.device)
        };
        names
            .map(|name| (name.to_owned(), tensor(&mut stream)))
            .into()
    }

    /// The gradients of the norms.
    pub(super) fn norm_gradients(&self) -> Vec<Tensor> {
        self.norms().iter().map(|(_, norm)| norm * 0.5).collect()
    }

    /// Normal numbers for each layer, by a name.
    pub(super) fn drawn(&self, name: &str) -> Vec<Tensor> {
        let moment = Moment {
            level: self.facts.level,
            epoch: 0,
            step: self.facts.step,
        };
        let mut stream = Stream::new(self.facts.seed, Purpose::Init(name), moment);
        self.draw(&mut stream)
    }

    fn draw(&self, stream: &mut Stream) -> Vec<Tensor> {
        let list = |layer: &Layer| (0..layer.len()).map(|_| stream.normal()).collect();
        let lists: Vec<Vec<f32>> = self.facts.layers.iter().map(list).collect();
        tensors(&lists, &self.facts.layers, self.device)
    }

    fn missing(&self, what: impl std::fmt::Display) -> ServiceError {
        ServiceError::Missing(format!("{what} is not stored"))
    }
}

impl Scene for Laid {
    fn facts(&self) -> Facts {
        self.facts.clone()
    }

    fn device(&self) -> Device {
        self.device
    }

    fn weights(&self) -> Vec<Tensor> {
        copies(&self.weights)
    }

    fn masks(&self) -> Vec<Tensor> {
        copies(&self.masks)
    }

    fn point_weights(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        let later = |level: u64| level > self.facts.level;
        let is_stored = match point {
            Point::Step(_) | Point::Run { .. } => self.points.contains(point),
            Point::LevelStart(level) | Point::LevelEnd(level) => !later(*level),
            Point::SameLevelStart | Point::SameLevelEnd => false,
            _ => true,
        };
        match is_stored {
            true => Ok(self.drawn(&point.to_string())),
            false => Err(self.missing(format!("the point `{point}`"))),
        }
    }

    fn points(&self) -> Vec<Point> {
        let mut points = self.points.clone();
        if !points.contains(&Point::Init) {
            points.insert(0, Point::Init);
        }
        points
    }

    fn stored_masks(&self, run: Option<&str>, level: u64) -> Result<Vec<Tensor>, ServiceError> {
        match run {
            None if level <= self.facts.level => Ok(self.masks()),
            // Another run's: of as many weights as are to be kept.
            Some(_) if level <= self.facts.last_level => {
                let magnitudes: Vec<Tensor> = self.weights.iter().map(Tensor::abs).collect();
                let counts = plugin_api::Counts::Total(self.facts.target);
                let among = plugin_api::Among::Survivors;
                let kept = select(&self.facts.layers, &magnitudes, &self.masks, among, &counts);
                Ok(kept?)
            }
            _ => Err(self.missing(format!("the mask of level {level}"))),
        }
    }

    fn units(&self) -> Result<&Units, ServiceError> {
        Ok(&self.units)
    }

    fn unit_scales(&self) -> Result<Vec<Tensor>, ServiceError> {
        let mut all = Vec::new();
        for set in &self.units.sets {
            let moment = Moment {
                level: self.facts.level,
                epoch: 0,
                step: self.facts.step,
            };
            let mut stream = Stream::new(self.facts.seed, Purpose::Init(&set.name), moment);
            let scales: Vec<f32> = (0..set.units).map(|_| stream.uniform()).collect();
            all.push(Tensor::from_slice(&scales).to_device(self.device));
        }
        Ok(all)
    }

    fn norms_at(&self, point: &Point) -> Result<Vec<Tensor>, ServiceError> {
        self.point_weights(point)?;
        let norms = self.norms().into_iter();
        Ok(norms.map(|(_, norm)| norm.ones_like()).collect())
    }

    fn update_state(&self, component: &str, state: &str) -> Result<Vec<Tensor>, ServiceError> {
        Ok(self.drawn(&format!("{component}.{state}")))
    }

    fn gradients(
        &self,
        request: &GradientRequest,
        stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        let slopes = match request.batches {
            Batches::Random(_) => self.draw(stream),
            Batches::Next if self.facts.phase != Phase::WithinLevel => {
                return Err(ServiceError::Other(
                    "the next batch is only known within a level".to_owned(),
                ));
            }
            _ => self.drawn("gradients"),
        };
        // Outputs grow with absolute weights.
        let slopes = match request.on_absolute_weights {
            true => slopes.iter().map(Tensor::abs).collect(),
            false => slopes,
        };
        Ok(in_precision(request, slopes))
    }

    fn hessian_vector(
        &self,
        vectors: &[Tensor],
        request: &GradientRequest,
        _stream: &mut Stream,
    ) -> Result<Vec<Tensor>, ServiceError> {
        let diagonal = self.drawn("hessian");
        if vectors.len() != diagonal.len() {
            return Err(ServiceError::Other(format!(
                "{} vectors, expected {}: one for each prunable layer",
                vectors.len(),
                diagonal.len()
            )));
        }
        let products = vectors.iter().zip(&diagonal).map(|(vector, own)| {
            vector
                .f_mul(own)
                .map_err(|error| ServiceError::Other(crate::strategy::tensor::message(&error)))
        });
        Ok(in_precision(request, products.collect::<Result<_, _>>()?))
    }
}

/// As the request wants them: f64 or f32.
fn in_precision(request: &GradientRequest, tensors: Vec<Tensor>) -> Vec<Tensor> {
    let kind = match request.double_precision {
        true => Kind::Double,
        false => Kind::Float,
    };
    tensors.iter().map(|tensor| tensor.to_kind(kind)).collect()
}

fn copies(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::shallow_clone).collect()
}

/// One tensor for each layer.
pub fn tensors(lists: &[Vec<f32>], layers: &[Layer], device: Device) -> Vec<Tensor> {
    let pairs = lists.iter().zip(layers);
    pairs
        .map(|(list, layer)| {
            Tensor::from_slice(list)
                .view(&layer.shape[..])
                .to_device(device)
        })
        .collect()
}

/// The numbers of each tensor, row-major.
pub fn numbers(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    let list = |tensor: &Tensor| {
        let flat = tensor
            .to_device(Device::Cpu)
            .to_kind(Kind::Float)
            .contiguous();
        let mut numbers = vec![0.0; flat.numel()];
        let count = numbers.len();
        flat.copy_data(&mut numbers, count);
        numbers
    };
    tensors.iter().map(list).collect()
}
