//! What an experiment file says, as typed values. Its JSON Schema is derived from these structs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use plugin_api::Step;
use plugin_api::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use super::loss::{Metric, TrainLoss};
use crate::registry::Options;

/// Characters that a name may have. A file's name has at most 255 bytes, and the longest that is made of it,
/// of an export on its way, ends in `-01234567-seed-18446744073709551615-level-10000.csr.safetensors.0badcafe.tmp`.
pub(super) const MOST_NAME: u64 = 175;

/// One experiment: everything that decides its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name of the run's folder.
    #[schemars(regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$"), length(max = MOST_NAME))]
    pub name: String,
    /// Seeds; each is a whole repetition with its own initial weights and data order.
    #[schemars(length(min = 1, max = 10_000), extend("uniqueItems" = true))]
    pub seeds: Vec<u64>,
    /// Dataset and its options.
    pub data: Named,
    /// Network and its options.
    pub model: Named,
    /// How one level is trained.
    pub train: Train,
    /// How far the network is pruned.
    pub prune: Prune,
    /// Who decides what is pruned and what is rewound.
    #[schemars(with = "form::StrategyForm")]
    pub strategy: Strategy,
    /// Plugins that are not shipped with the host, by the name under which the strategy uses them.
    #[serde(default)]
    pub plugins: BTreeMap<String, PluginSource>,
}

/// `{ name = "...", ...options }`: one of the host's registered components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    /// Name in the registry.
    pub name: String,
    /// Its options.
    #[serde(flatten)]
    pub options: Options,
}

/// How one level is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Epochs of a level.
    #[schemars(range(min = 1))]
    pub epochs: u64,
    /// Samples of a batch; the last batch of an epoch holds what is left.
    #[schemars(range(min = 1))]
    pub batch_size: u64,
    /// Batches whose gradients make one step of the optimizer, that of their mean loss.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub accumulate: u64,
    /// Optimizer and its options.
    pub optimizer: Named,
    /// Learning-rate schedule and its options.
    #[serde(default = "constant")]
    pub schedule: Named,
    /// What is made small.
    #[serde(default)]
    pub loss: TrainLoss,
    /// Share of the target probability spread over all classes.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub label_smoothing: f64,
    /// Largest allowed L2 norm of all gradients together; larger ones are scaled down to it.
    #[serde(default)]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub clip_norm: Option<f64>,
    /// Arithmetic of the forward and backward pass; weights and the optimizer stay in fp32.
    #[serde(default)]
    pub precision: Precision,
    /// Memory layout of convolution nets.
    #[serde(default = "yes")]
    pub channels_last: bool,
    /// Parts that every batch is cut into, each of which is computed by itself. As many processes as divide it
    /// train together, and on any number of them the result is the same.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub shards: u64,
    /// Whether batch norms see the whole batch instead of their shard.
    #[serde(default)]
    pub sync_batch_norm: bool,
    /// Density of all prunable weights below which residual nets compute their convolutions at the
    /// surviving weights, on the CPU in fp32: faster where it is small, and rounded differently.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sparse_below: f64,
    /// Whether networks are computed without the channels, hidden units and heads that were pruned whole: faster,
    /// and rounded differently.
    #[serde(default)]
    pub compact: bool,
    /// Time between two evaluations on the test samples within a level, at epochs' ends; the level's
    /// end is always evaluated.
    #[serde(default)]
    pub evaluate_every: Option<Step>,
    /// What is measured of the test samples at each level's end, beside loss and accuracy.
    #[serde(default)]
    #[schemars(extend("uniqueItems" = true))]
    pub metrics: Vec<Metric>,
}

/// Arithmetic of the forward and backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// Products and convolutions in bfloat16 (autocast).
    Bf16,
    /// 32-bit floats, whose products and convolutions may round what they read to 10 bits on GPUs that gain by it
    /// (TensorFloat-32). Elsewhere as `fp32`.
    Tf32,
}

impl Train {
    /// Samples of one step of the optimizer.
    pub fn samples_of_a_step(&self) -> u64 {
        self.batch_size.saturating_mul(self.accumulate)
    }
}

/// How far the network is pruned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// Number of the last level; level 0 is dense. Not together with `densities`.
    #[serde(default)]
    #[schemars(range(max = 10_000))]
    pub levels: Option<u64>,
    /// Share of the survivors that each level prunes.
    #[serde(default = "fifth")]
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub rate: f64,
    /// Density of levels 1, 2, ..., none above the one before, instead of `levels` and `rate`.
    #[serde(default)]
    #[schemars(
        length(min = 1, max = 10_000),
        extend("items" = { "type": "number", "exclusiveMinimum": 0.0, "maximum": 1.0 })
    )]
    pub densities: Option<Vec<f64>>,
    /// Names of parameters, or patterns such as `embedding.*`, that are pruned although they are no weights of
    /// layers; `*` stands for any run of characters, dots included.
    #[serde(default)]
    #[schemars(extend("uniqueItems" = true))]
    pub include: Vec<String>,
    /// Names of weights that are never pruned, such as `fc.weight`, or patterns; also of what is included.
    #[serde(default)]
    #[schemars(extend("uniqueItems" = true))]
    pub exclude: Vec<String>,
    /// What to do when a layer has no survivor left.
    #[serde(default)]
    pub collapse: Collapse,
    /// When a level after the dense one ends.
    #[serde(default)]
    pub level_end: LevelEnd,
}

/// What to do when a layer has no survivor left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Collapse {
    /// Say so and go on.
    #[default]
    Warn,
    /// Stop that seed.
    Error,
}

/// When a level after the dense one ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LevelEnd {
    /// After `train.epochs`.
    #[default]
    Epochs,
    /// Where its schedule does: after what is left of one that goes on from a time of it, after
    /// `train.epochs` of one that restarts or is held.
    Schedule,
}

impl LevelEnd {
    /// Optimizer steps of a level whose schedule, of `whole` steps, starts at step `start` or is held.
    pub fn steps(self, whole: u64, start: u64, hold: Option<f64>) -> u64 {
        match (self, hold) {
            (Self::Schedule, None) => whole.saturating_sub(start),
            _ => whole,
        }
    }
}

/// Who decides what is pruned and what is rewound. In the file also a plugin's name alone, which
/// stands for the trio that the plugin names as its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// Which weights matter.
    pub score: Part,
    /// Which weights survive.
    pub mask: Part,
    /// What is reset before training goes on; each policy works on what the one before it left.
    #[serde(default)]
    pub rewind: Vec<Part>,
    /// What becomes of the weights at each step, of level 0 too; each works on what the one before it left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub update: Vec<Part>,
}

/// `"plugin/component"` or `{ use = "plugin/component", ...options }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// `plugin/component`.
    #[serde(rename = "use")]
    pub component: String,
    /// Options of the component.
    #[serde(flatten)]
    pub options: Options,
}

impl Part {
    /// The plugin's name and the component's, the two sides of the slash.
    pub fn names(&self) -> (&str, &str) {
        self.component
            .split_once('/')
            .unwrap_or((&self.component, ""))
    }
}

/// Where a plugin that is not shipped lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginSource {
    /// The dynamic library; a relative path starts at the experiment file's folder.
    #[schemars(length(min = 1))]
    pub path: PathBuf,
    /// BLAKE3 digest of the file in hexadecimal; a file with another digest is refused.
    #[serde(default)]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub blake3: Option<String>,
}

/// The short forms that a strategy can have in the file, for its schema.
mod form {
    #![allow(dead_code, reason = "only their schemas are used")]

    use super::{JsonSchema, Part, schemars};

    #[derive(JsonSchema)]
    #[schemars(untagged)]
    pub enum StrategyForm {
        /// A plugin's name: the trio that it names as its default.
        Plugin(String),
        Parts(Parts),
    }

    #[derive(JsonSchema)]
    #[schemars(deny_unknown_fields)]
    pub struct Parts {
        /// Which weights matter.
        score: PartForm,
        /// Which weights survive.
        mask: PartForm,
        /// What is reset before training goes on; each policy works on what the one before it left.
        rewind: Option<PartsForm>,
        /// What becomes of the weights at each step, of level 0 too; each works on what the one before it left.
        update: Option<PartsForm>,
    }

    #[derive(JsonSchema)]
    #[schemars(untagged)]
    pub enum PartForm {
        /// `plugin/component`.
        Name(String),
        Table(Part),
    }

    #[derive(JsonSchema)]
    #[schemars(untagged)]
    pub enum PartsForm {
        One(PartForm),
        List(Vec<PartForm>),
    }
}

fn yes() -> bool {
    true
}

fn one() -> u64 {
    1
}

fn fifth() -> f64 {
    0.2
}

fn constant() -> Named {
    Named {
        name: "constant".to_owned(),
        options: Options::new(),
    }
}
