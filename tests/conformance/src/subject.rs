//! A component as the rules see it. A host implements these traits.

use std::time::Duration;

use plugin_api::abi::wire::Facts;
use plugin_api::{Cadence, Experiment, Finding, Point, UnitRule};
use serde_json::{Map, Value};

/// One component of a loaded plugin.
pub trait Subject {
    /// Makes the component with these options, to be called on one of [`devices`](Self::devices).
    ///
    /// # Errors
    /// What it says against the options.
    fn make(
        &self,
        options: &Map<String, Value>,
        device: usize,
    ) -> Result<Box<dyn Component + '_>, Fault>;

    /// The devices that there are, the CPU first.
    fn devices(&self) -> Vec<String>;

    /// Memory that the process holds, in bytes, where that can be known.
    fn resident(&self) -> Option<u64>;
}

/// A component that was made.
pub trait Component {
    /// When masks change; none for components that are no mask update.
    ///
    /// # Errors
    /// If it fails.
    fn cadence(&self) -> Result<Option<Cadence>, Fault>;

    /// The rule by which its masks keep whole units; none for components that keep single weights, or are no mask
    /// update.
    ///
    /// # Errors
    /// If it fails.
    fn unit_rule(&mut self) -> Result<Option<UnitRule>, Fault> {
        Ok(None)
    }

    /// The stored points that it will ask for.
    ///
    /// # Errors
    /// If it fails.
    fn points(&self) -> Result<Vec<Point>, Fault>;

    /// What it has against an experiment.
    ///
    /// # Errors
    /// If it fails.
    fn review(&mut self, experiment: &Experiment) -> Result<Vec<Finding>, Fault>;

    /// Calls it in a scene, checks what it gives back, and that it changed nothing that it was given.
    ///
    /// # Errors
    /// Its own error, or the rule that it broke.
    fn call(&mut self, scene: &Scene) -> Result<Answer, Fault>;

    /// What it needs to go on after a restart.
    ///
    /// # Errors
    /// If it fails.
    fn save_state(&self) -> Result<Vec<u8>, Fault>;

    /// Goes on from a state.
    ///
    /// # Errors
    /// If it does not take the state.
    fn load_state(&mut self, state: &[u8]) -> Result<(), Fault>;

    /// Time that its calls have taken, with the checks of what they gave back.
    fn time_called(&self) -> Duration;

    /// The panic that ended the last `Drop` of a component of its plugin.
    fn take_drop_panic(&mut self) -> Option<String>;
}

/// Why a component gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It said so itself, by an error: it may refuse what it was not made for.
    Refused(String),
    /// It broke a rule.
    Broke(String),
}

impl Fault {
    /// The message.
    pub fn text(&self) -> &str {
        match self {
            Self::Refused(text) | Self::Broke(text) => text,
        }
    }
}

/// What masks must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskRule {
    /// Whether a pruned weight may come back.
    pub may_grow: bool,
    /// Fewest ones in all masks together.
    pub least: u64,
    /// Most ones in all masks together.
    pub most: u64,
}

/// Where a component is called. Lists hold one row-major list of numbers for each prunable layer.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What it is told.
    pub facts: Facts,
    /// Current weights; pruned ones are 0.
    pub weights: Vec<Vec<f32>>,
    /// Current masks of zeros and ones.
    pub masks: Vec<Vec<f32>>,
    /// Scores of this round.
    pub scores: Vec<Vec<f32>>,
    /// What its masks must satisfy.
    pub rule: MaskRule,
}

impl Scene {
    /// Weights in all.
    pub fn size(&self) -> u64 {
        self.facts.layers.iter().map(plugin_api::Layer::len).sum()
    }

    /// Survivors of the masks.
    pub fn survivors(&self) -> u64 {
        let ones = self.masks.iter().flatten().filter(|&&mask| mask != 0.0);
        ones.count() as u64
    }
}

/// What a component gave back, bit for bit.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One list for each layer: scores or masks.
    Tensors(Vec<Vec<f32>>),
    /// A rewind plan in words, the points that it goes back to, and the tensors that it brings.
    Plan {
        /// The plan without its tensors.
        text: String,
        /// Points that it goes back to.
        points: Vec<Point>,
        /// Its tensors, layer by layer.
        tensors: Vec<Vec<f32>>,
    },
}

impl Answer {
    /// The bits of all tensors, and the words.
    pub(crate) fn bits(&self) -> (Vec<u32>, &str) {
        let (tensors, text) = match self {
            Self::Tensors(tensors) => (tensors, ""),
            Self::Plan { text, tensors, .. } => (tensors, text.as_str()),
        };
        let bits = tensors.iter().flatten().map(|number| number.to_bits());
        (bits.collect(), text)
    }
}
