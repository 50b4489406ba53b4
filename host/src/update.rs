//! The words for what acts inside a training step: a session says what a step is, a strategy's update what
//! becomes of it.

use kernels::elementwise::Program;
use plugin_api::{StepNumber, UpdateForm};
use tch::Tensor;

/// An update of a strategy, as a trainer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// `plugin/component`.
    pub component: String,
    /// What it says of itself.
    pub form: UpdateForm,
}

impl Known {
    /// How its state is called beside the optimizer's.
    pub fn state_name(&self, state: &str) -> String {
        state_name(&self.component, state)
    }
}

/// How a state of an update is called beside the optimizer's: without a dot, as theirs.
pub fn state_name(component: &str, state: &str) -> String {
    format!("{component}/{state}")
}

/// The numbers of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// Learning rate.
    pub lr: f64,
    /// This step of the level, from 1.
    pub step: u64,
    /// Steps of the level.
    pub steps: u64,
    /// Steps since state and optimizer were cleared, this one included.
    pub age: u64,
}

impl Numbers {
    /// One of them; none that this host does not know.
    pub fn get(&self, number: StepNumber) -> Option<f32> {
        Some(match number {
            StepNumber::Lr => self.lr as f32,
            StepNumber::Progress => (self.step as f64 / self.steps.max(1) as f64) as f32,
            StepNumber::Age => self.age as f32,
            StepNumber::Due(every) => {
                f32::from(u8::from(every > 0 && self.step.is_multiple_of(every)))
            }
            _ => return None,
        })
    }
}

/// What an update sees of one lane at a step. Lists hold one tensor for each prunable layer, in PyTorch's shapes.
pub struct Given {
    /// Weights.
    pub weights: Vec<Tensor>,
    /// Gradients of the weights.
    pub gradients: Vec<Tensor>,
    /// Masks, f32.
    pub masks: Vec<Tensor>,
    /// The update's own states with their names.
    pub states: Vec<(String, Vec<Tensor>)>,
    /// Scale and shift of every norm, with the parameters' names.
    pub norms: Vec<(String, Tensor)>,
    /// Their gradients.
    pub norm_gradients: Vec<Tensor>,
    /// The step's numbers.
    pub numbers: Numbers,
}

/// What an update made of a step.
pub struct Made {
    /// Weights, or gradients of an update that acts before the optimizer, of each prunable layer.
    pub tensors: Vec<Tensor>,
    /// Its states, in the order of its form.
    pub states: Vec<Vec<Tensor>>,
    /// For each prunable layer how the same is made of the next step, where that is known.
    pub fused: Option<Vec<Fused>>,
}

/// Arrays of a [`Fused`] before the update's states.
pub const ARRAYS: usize = 2;
/// The weights among the arrays of a [`Fused`].
pub const WEIGHTS: usize = 0;
/// The gradients among them.
pub const GRADIENTS: usize = 1;

/// What an update does to the elements of a layer: of the arrays [`WEIGHTS`], [`GRADIENTS`] and its states.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    /// What is computed.
    pub program: Program,
    /// The numbers of the step that it takes.
    pub numbers: Vec<StepNumber>,
}

/// Parameters, or gradients, that an update gives for one pass.
#[derive(Default)]
pub struct Replaced {
    /// Of each prunable layer, or none.
    pub weights: Vec<Tensor>,
    /// Of each parameter of a norm, or none.
    pub norms: Vec<Tensor>,
}

/// An update failed; who knows it says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// The updates of all lanes of a session.
pub trait Updates {
    /// What an update makes of a lane's step.
    ///
    /// # Errors
    /// If it fails, or does what it may not.
    fn act(&mut self, lane: usize, update: usize, given: Given) -> Result<Made, Failed>;

    /// The parameters that take the place of a lane's for the pass of a step. Only asked of an update that replaces
    /// any.
    ///
    /// # Errors
    /// If it fails, or does what it may not.
    fn replace(&mut self, _lane: usize, _update: usize, _given: Given) -> Result<Replaced, Failed> {
        Err(Failed)
    }

    /// The gradients of a lane's parameters, of those at what took their place. Only asked of an update that replaces
    /// any.
    ///
    /// # Errors
    /// If it fails, or does what it may not.
    fn give_back(
        &mut self,
        _lane: usize,
        _update: usize,
        _given: Given,
    ) -> Result<Replaced, Failed> {
        Err(Failed)
    }

    /// Notes that an update that says that it is pure did other operations at one step than at another.
    fn differs(&mut self, _lane: usize, _update: usize) -> Failed {
        Failed
    }
}
