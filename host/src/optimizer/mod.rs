//! Optimizers: one fused step over the flat buffers of all lanes.

use kernels::cuda::passes::{clip_factors, clip_pieces};
use kernels::cuda::{CudaError, Kernels};
use kernels::shim::{Kept, Piece, ShimError};
use tch::{Device, Kind, Tensor};

use crate::registry::{Entry, Options};

mod adamw;
mod sgd;

pub use adamw::AdamwOptions;
pub use sgd::SgdOptions;

/// The optimizers that an experiment file can name.
pub static OPTIMIZERS: &[Entry<Build>] = &[sgd::ENTRY, adamw::ENTRY];

/// Makes an optimizer from its options.
pub type Build = fn(&Options) -> Result<Box<dyn Optimizer>, serde_json::Error>;

/// Share of the elements up to which a list of them is walked faster than all.
const FEW: f64 = 0.15;

/// The flat buffers of all lanes, each contiguous f32 `[lanes, elements]`.
#[derive(Debug)]
pub struct Buffers {
    /// Weights.
    pub weights: Tensor,
    /// Gradients of the last batch.
    pub gradients: Tensor,
    /// 1 where an element is trained, 0 where it is pruned.
    pub mask: Tensor,
    /// The elements that are not pruned, where they are few: see [`find_kept`](Buffers::find_kept).
    pub kept: Option<Kept>,
    /// The optimizer's state, in the order of [`Optimizer::state_names`].
    pub state: Vec<Tensor>,
    /// What acts beside the optimizer keeps: its states, in its order. The optimizer leaves them alone.
    pub beside: Vec<Tensor>,
}

impl Buffers {
    /// Buffers of zeros of the weights' shape around these weights and this mask.
    pub fn new(weights: Tensor, mask: Tensor, states: usize) -> Self {
        Self {
            gradients: weights.zeros_like(),
            state: (0..states).map(|_| weights.zeros_like()).collect(),
            weights,
            mask,
            kept: None,
            beside: Vec::new(),
        }
    }

    /// The same with so many states that are not the optimizer's.
    pub fn with_beside(mut self, states: usize) -> Self {
        self.beside = (0..states).map(|_| self.weights.zeros_like()).collect();
        self
    }

    /// The same memory once more.
    pub fn share(&self) -> Self {
        let share = |all: &[Tensor]| all.iter().map(Tensor::shallow_clone).collect();
        Self {
            weights: self.weights.shallow_clone(),
            gradients: self.gradients.shallow_clone(),
            mask: self.mask.shallow_clone(),
            kept: self.kept.clone(),
            state: share(&self.state),
            beside: share(&self.beside),
        }
    }

    /// Has steps look at the elements alone that are not pruned, where these are few; to be called
    /// whenever the mask was changed, or lanes taken out.
    pub fn find_kept(&mut self) {
        self.kept = Kept::of(&self.mask, FEW);
    }

    /// Sets weights and all state of one lane to exactly +0 where its mask is 0.
    pub fn clear_pruned(&mut self, lane: i64) {
        let off = self.mask.select(0, lane).eq(0.0);
        let weights = std::iter::once(&self.weights);
        for tensor in weights.chain(&self.state).chain(&self.beside) {
            let _ = tensor.select(0, lane).masked_fill_(&off, 0.0);
        }
    }

    /// Scales every lane's gradients down to an L2 norm of at most `largest`; pruned weights do not count.
    pub fn clip(&mut self, largest: f64) {
        let _ = self.gradients.masked_fill_(&self.mask.eq(0.0), 0.0);
        // In which order a GPU adds up depends on how many sums it is asked for at once.
        let at_once = match self.gradients.device() {
            Device::Cpu => self.gradients.size()[0],
            _ => 1,
        };
        let lanes = self.gradients.split(at_once, 0);
        let norms = lanes
            .iter()
            .map(|it| it.norm_scalaropt_dim(2.0, [1i64].as_slice(), true));
        let norm = Tensor::cat(&norms.collect::<Vec<_>>(), 0);
        // torch.nn.utils.clip_grad_norm_ adds the same small number to the norm.
        let factor = (largest / (norm + 1e-6)).clamp_max(1.0);
        let _ = self.gradients.g_mul_(&factor.to_kind(Kind::Float));
    }
}

impl Buffers {
    /// By how much every lane's gradients are scaled to an L2 norm of at most `largest`, `[lanes]`; pruned weights do
    /// not count.
    ///
    /// # Errors
    /// Those of a launch.
    pub fn clip_factors(&self, kernels: &Kernels, largest: f64) -> Result<Tensor, CudaError> {
        let (lanes, device) = (self.mask.size()[0], self.mask.device());
        let sums = Tensor::empty(
            [lanes, clip_pieces(self.mask.size()[1])],
            (Kind::Double, device),
        );
        let factors = Tensor::empty([lanes], (Kind::Float, device));
        let (gradients, mask) = (&self.gradients, &self.mask);
        clip_factors(&**kernels, gradients, mask, largest, &sums, &factors)?;
        Ok(factors)
    }
}

/// Moves weights along their gradients.
pub trait Optimizer: Send + Sync {
    /// Names of its state tensors, such as `momentum`.
    fn state_names(&self) -> &[&'static str];

    /// Learning rate, which the schedule scales.
    fn lr(&self) -> f64;

    /// What of a lane's step depends on its learning rate, which the schedule has scaled, and on the number of steps
    /// that its state has seen, this one included: as many numbers at each.
    fn rates(&self, lr: f64, step: i64) -> Vec<f32>;

    /// One step of all lanes, after which pruned weights and their state are exactly +0.
    ///
    /// # Shapes
    /// `rates`: `[numbers, lanes]` contiguous f32, where the buffers are: those of each lane.
    ///
    /// # Errors
    /// If the buffers and the rates are not of one number of lanes and on one device.
    fn step(&self, buffers: &mut Buffers, rates: &Tensor) -> Result<(), ShimError>;

    /// The same by kernels on the buffers' device, with gradients that are multiplied by these `factors` first.
    ///
    /// # Shapes
    /// `rates`: as in [`step`](Optimizer::step); `factors`: `[lanes]` f32.
    ///
    /// # Errors
    /// As [`step`](Optimizer::step), and those of a launch.
    fn step_by(
        &self,
        kernels: &Kernels,
        buffers: &mut Buffers,
        rates: &Tensor,
        factors: Option<&Tensor>,
    ) -> Result<(), CudaError>;

    /// The same of some elements of a lane, to the bit, on the thread that calls it; `states` are these elements
    /// of the state, in the order of [`state_names`](Optimizer::state_names).
    ///
    /// # Panics
    /// If the slices are not of one length, or not one for each state.
    fn step_of(&self, piece: Piece<'_>, states: &mut [&mut [f32]], lr: f64, step: i64);
}

/// The [rates](Optimizer::rates) of each lane, `[numbers, lanes]`, on the CPU.
pub fn rates_of_lanes(optimizer: &dyn Optimizer, lr: &[f64], steps: &[i64]) -> Tensor {
    let each = lr.iter().zip(steps);
    let each: Vec<Vec<f32>> = each.map(|(lr, step)| optimizer.rates(*lr, *step)).collect();
    let numbers = each.first().map_or(0, Vec::len);
    let by_number = (0..numbers).flat_map(|number| each.iter().map(move |of| of[number]));
    let all: Vec<f32> = by_number.collect();
    Tensor::from_slice(&all).view([numbers as i64, -1])
}

#[cfg(test)]
pub(crate) mod tests_support {
    use super::*;

    /// Random weights, gradients and a mask with element 3 pruned and about half of the rest.
    pub fn buffers(shape: &[i64; 2], states: usize) -> Buffers {
        let options = tch::kind::FLOAT_CPU;
        let mask = Tensor::rand(shape, options).gt(0.5).to_kind(Kind::Float);
        let _ = mask.select(1, 3).zero_();
        let weights = Tensor::randn(shape, options) * &mask;
        let mut buffers = Buffers::new(weights, mask, states);
        buffers.gradients = Tensor::randn(shape, options);
        buffers
    }

    pub fn assert_close(got: &Tensor, expected: &Tensor, tolerance: f64) {
        let worst = ((got - expected).abs() / (expected.abs() + 1.0))
            .max()
            .double_value(&[]);
        assert!(worst <= tolerance, "relative error {worst}");
    }

    #[test]
    fn a_step_of_the_kept_elements_alone_has_the_same_bits() {
        for (name, options) in [
            (
                "sgd",
                r#"{"momentum": 0.9, "weight_decay": 0.01, "nesterov": true}"#,
            ),
            ("sgd", r#"{"momentum": 0.9}"#),
            ("sgd", r#"{"momentum": 0.0, "weight_decay": 0.01}"#),
            ("adamw", r#"{"weight_decay": 0.01}"#),
        ] {
            let options: Options = serde_json::from_str(options).unwrap();
            let build = crate::registry::find(OPTIMIZERS, name).unwrap().build;
            let optimizer = build(&options).unwrap();
            let shape = [2, 70_001];
            let mask = Tensor::rand(shape, tch::kind::FLOAT_CPU).gt(0.9);
            let mask = mask.to_kind(Kind::Float);
            let weights = Tensor::randn(shape, tch::kind::FLOAT_CPU);
            let weights = weights.masked_fill(&mask.eq(0.0), 0.0);
            let states = optimizer.state_names().len();
            let [mut all, mut few] =
                [0; 2].map(|_| Buffers::new(weights.copy(), mask.copy(), states));
            few.find_kept();
            assert!(few.kept.is_some() && all.kept.is_none());
            for step in 1..4 {
                let gradients = Tensor::randn(shape, tch::kind::FLOAT_CPU);
                for buffers in [&mut all, &mut few] {
                    buffers.gradients = gradients.copy();
                    let lr = [0.1, 0.2];
                    let rates = rates_of_lanes(&*optimizer, &lr, &[step; 2]);
                    optimizer.step(buffers, &rates).unwrap();
                }
            }
            let pairs = std::iter::once((&all.weights, &few.weights));
            for (all, few) in pairs.chain(all.state.iter().zip(&few.state)) {
                let bits = |tensor: &Tensor| tensor.view_dtype(Kind::Int);
                assert_eq!(bits(all), bits(few), "{name}");
            }
        }
    }

    #[test]
    fn a_step_of_some_elements_has_the_bits_of_the_step_of_all() {
        for (name, options) in [
            (
                "sgd",
                r#"{"momentum": 0.9, "weight_decay": 0.01, "nesterov": true}"#,
            ),
            ("sgd", r#"{"momentum": 0.0, "weight_decay": 0.01}"#),
            ("adamw", r#"{"weight_decay": 0.01}"#),
        ] {
            let options: Options = serde_json::from_str(options).unwrap();
            let build = crate::registry::find(OPTIMIZERS, name).unwrap().build;
            let optimizer = build(&options).unwrap();
            let mut all = buffers(&[1, 4099], optimizer.state_names().len());
            let mut weights = flat(&all.weights);
            let (gradients, mask) = (flat(&all.gradients), flat(&all.mask));
            let mut states: Vec<Vec<f32>> = all.state.iter().map(flat).collect();
            for step in 1..4 {
                let rates = rates_of_lanes(&*optimizer, &[0.1], &[step]);
                optimizer.step(&mut all, &rates).unwrap();
                for at in [0..1, 1..1000, 1000..4099] {
                    let piece = Piece {
                        weights: &mut weights[at.clone()],
                        gradients: &gradients[at.clone()],
                        mask: &mask[at.clone()],
                    };
                    let states = states.iter_mut().map(|state| &mut state[at.clone()]);
                    optimizer.step_of(piece, &mut states.collect::<Vec<_>>(), 0.1, step);
                }
                let bits =
                    |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&weights), bits(&flat(&all.weights)), "{name}");
                for (state, all) in states.iter().zip(&all.state) {
                    assert_eq!(bits(state), bits(&flat(all)), "{name}");
                }
            }
        }
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor.reshape([-1])).unwrap()
    }

    /// Compares bits: neither -0 nor NaN passes.
    pub fn is_positive_zero_where_pruned(buffers: &Buffers) {
        let off = buffers.mask.eq(0.0);
        for tensor in std::iter::once(&buffers.weights).chain(&buffers.state) {
            let bits = tensor.view_dtype(Kind::Int).masked_select(&off);
            assert!(bits.numel() > 0);
            assert_eq!(bits.count_nonzero(None).int64_value(&[]), 0);
        }
    }

    #[test]
    fn clipping_scales_each_lane_alone_to_the_largest_norm() {
        let mut buffers = Buffers::new(
            Tensor::zeros([2, 3], tch::kind::FLOAT_CPU),
            Tensor::from_slice2(&[[1f32, 1.0, 0.0], [1.0, 1.0, 1.0]]),
            0,
        );
        buffers.gradients = Tensor::from_slice2(&[[3f32, 4.0, f32::NAN], [0.3, 0.4, 0.0]]);
        buffers.clip(1.0);
        let expected = Tensor::from_slice2(&[[0.6f32, 0.8, 0.0], [0.3, 0.4, 0.0]]);
        assert_close(&buffers.gradients, &expected, 1e-6);
    }
}
