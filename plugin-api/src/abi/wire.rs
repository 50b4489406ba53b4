//! JSON that crosses the boundary. Fields are only ever added, each with a default that is not
//! written.
//!
//! What the host says of the run may hold more than an older plugin knows, which ignores it. What a
//! plugin asks for may not: an older host that ignored a part of it would do something else than
//! was asked, so it refuses.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{BatchNorm, DataOrder, Distribution, Layer, OptimizerState, Phase, Point, Schedule};

/// What kind of component a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentKind {
    /// A [`Scorer`](crate::Scorer).
    Score,
    /// A [`MaskUpdate`](crate::MaskUpdate).
    Mask,
    /// A [`Rewind`](crate::Rewind).
    Rewind,
}

impl ComponentKind {
    /// The word that the experiment file uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Mask => "mask",
            Self::Rewind => "rewind",
        }
    }
}

/// What a plugin says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Name under which the experiment file uses it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is, in a sentence.
    #[serde(default)]
    pub summary: String,
    /// Its components.
    pub components: Vec<ComponentManifest>,
    /// The trio that its name alone stands for.
    #[serde(default)]
    pub default: Option<DefaultStrategy>,
}

/// What a plugin says of one component.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComponentManifest {
    /// Kind.
    pub kind: ComponentKind,
    /// Name behind the slash.
    pub name: String,
    /// JSON Schema of its options; its description is the component's.
    pub schema: Value,
}

/// The components that a plugin's name alone stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DefaultStrategy {
    /// `plugin/component`.
    pub score: String,
    /// `plugin/component`.
    pub mask: String,
    /// `plugin/component`, in order.
    pub rewind: Vec<String>,
}

/// Where a component is called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// Prunable layers.
    pub layers: Vec<Layer>,
    /// Seed of this repetition.
    pub seed: u64,
    /// Level that was trained last; 0 is dense.
    pub level: u64,
    /// Number of the last level.
    pub last_level: u64,
    /// Steps trained within the level.
    pub step: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps of a level.
    pub steps_per_level: u64,
    /// When in the run.
    #[serde(deserialize_with = "known_phase")]
    pub phase: Phase,
    /// Weights to keep.
    pub target: u64,
    /// Density of the level that `target` leads to, as the experiment asks.
    pub density: f64,
}

/// A later host's phase must not keep an older component from working in it.
fn known_phase<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Phase, D::Error> {
    let phase = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(phase).unwrap_or(Phase::Other))
}

/// Asks for the number of weights to keep per layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountsRequest {
    /// How they are spread.
    pub distribution: Distribution,
    /// In all; the phase's target if not given.
    #[serde(default)]
    pub total: Option<u64>,
    /// Whether a layer may hold more than its survivors.
    #[serde(default)]
    pub may_grow: bool,
}

/// Asks for masks chosen from scores.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectRequest {
    /// Which weights may be chosen.
    pub among: crate::Among,
    /// How many.
    pub counts: crate::Counts,
}

/// Asks for stored masks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MasksRequest {
    /// Folder of another run; this run if not given.
    #[serde(default)]
    pub run: Option<String>,
    /// Level.
    pub level: u64,
}

/// A [`RewindPlan`](crate::RewindPlan) whose tensors travel beside it, one for each prunable layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Weights and biases.
    pub weights: PlanWeights,
    /// Batch norm.
    pub batch_norm: BatchNorm,
    /// Optimizer state.
    pub optimizer: OptimizerState,
    /// Learning-rate schedule.
    pub schedule: Schedule,
    /// Order of the training samples.
    pub data_order: DataOrder,
    /// Points whose weights are replaced, each by the next tensors beside the plan.
    pub redefine: Vec<Point>,
}

/// [`Weights`](crate::Weights) with its tensors beside the plan, before those of `redefine`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanWeights {
    /// As they are.
    Keep,
    /// From a point.
    From(Point),
    /// Magnitudes of one source and signs of another; none is what they are now.
    Mixed {
        /// Where magnitudes come from.
        magnitudes: Option<Point>,
        /// Where signs come from.
        signs: Option<Point>,
    },
    /// The tensors beside the plan.
    Tensors,
}
