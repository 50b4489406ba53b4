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
    /// An [`Update`](crate::Update), from 1.1 on.
    Update,
}

impl ComponentKind {
    /// The word that the experiment file uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Mask => "mask",
            Self::Rewind => "rewind",
            Self::Update => "update",
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
    /// Steps of the level that was trained last.
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

/// What the user lets a call of a plugin cost before the host ends it, with itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallLimits {
    /// Seconds; none if it may take any time.
    #[serde(default)]
    pub time: Option<f64>,
    /// Bytes by which the host's process may grow; none if by any number.
    #[serde(default)]
    pub memory: Option<u64>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Among, Batches, Counts, GradientRequest, LayerKind, Loss, Measure, Scope, Source, Step,
        UnitRule, UnitSet, UnitSlice, Units,
    };
    use serde::de::DeserializeOwned;
    use serde_json::json;

    /// Every 1.x reads what 1.0 wrote: these texts are frozen.
    fn is_frozen<T: Serialize + DeserializeOwned>(value: &T, text: Value) {
        assert_eq!(serde_json::to_value(value).unwrap(), text);
        let read: T = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), text);
    }

    #[test]
    fn requests_are_frozen() {
        let counts = CountsRequest {
            distribution: Distribution::Erk,
            total: None,
            may_grow: false,
        };
        is_frozen(
            &counts,
            json!({"distribution": "erk", "total": null, "may_grow": false}),
        );
        is_frozen(
            &[Distribution::Uniform, Distribution::Balanced],
            json!(["uniform", "balanced"]),
        );
        let select = SelectRequest {
            among: Among::Survivors,
            counts: Counts::PerLayer(vec![3, 0]),
        };
        is_frozen(
            &select,
            json!({"among": "survivors", "counts": {"per-layer": [3, 0]}}),
        );
        is_frozen(
            &(Among::Pruned, Among::All, Counts::Total(7)),
            json!(["pruned", "all", {"total": 7}]),
        );
        let masks = MasksRequest {
            run: Some("runs/lrr".into()),
            level: 2,
        };
        is_frozen(&masks, json!({"run": "runs/lrr", "level": 2}));
        let limits = CallLimits {
            time: Some(1.5),
            memory: None,
        };
        is_frozen(&limits, json!({"time": 1.5, "memory": null}));
        is_frozen(
            &GradientRequest::new(Loss::SumOfOutputs, Batches::Ones)
                .in_eval_mode()
                .in_double_precision(),
            json!({
                "loss": "sum-of-outputs", "batches": "ones",
                "on_absolute_weights": false, "eval_mode": true,
                "temperature": 1.0, "double_precision": true,
            }),
        );
        is_frozen(
            &(
                Loss::CrossEntropy,
                [
                    Batches::Random(4),
                    Batches::Next,
                    Batches::All,
                    Batches::Same,
                ],
            ),
            json!(["cross-entropy", [{"random": 4}, "next", "all", "same"]]),
        );
    }

    #[test]
    fn units_are_frozen() {
        let rule = UnitRule {
            measure: Measure::Macs,
            scope: Scope::Layer,
            multiple: 16,
        };
        is_frozen(
            &rule,
            json!({"measure": "macs", "scope": "layer", "multiple": 16}),
        );
        is_frozen(
            &(Measure::Weights, Measure::Units, Scope::Global),
            json!(["weights", "units", "global"]),
        );
        let slice = UnitSlice::new(1, 0, true, vec![Some(0), None, Some(1)]);
        let set = UnitSet::new("conv1", 2, vec![slice]).scaled(true);
        is_frozen(
            &Units::new(vec![set], vec![784, 1]),
            json!({
                "sets": [{
                    "name": "conv1", "units": 2, "scaled": true,
                    "slices": [{"layer": 1, "axis": 0, "makes": true, "units": [0, null, 1]}],
                }],
                "multiply_adds": [784, 1],
            }),
        );
    }

    #[test]
    fn plans_are_frozen() {
        let point = Point::Step(Step::Epochs(4));
        let plan = Plan {
            weights: PlanWeights::Mixed {
                magnitudes: Some(point.clone()),
                signs: None,
            },
            batch_norm: BatchNorm {
                affine: Source::From(Point::Init),
                statistics: Source::Keep,
            },
            optimizer: OptimizerState::From(point.clone()),
            schedule: Schedule::From(Step::Iterations(500)),
            data_order: DataOrder::OfLevel(0),
            redefine: vec![Point::LevelEnd(3)],
        };
        is_frozen(
            &plan,
            json!({
                "weights": {"mixed": {"magnitudes": "4ep", "signs": null}},
                "batch_norm": {"affine": "init", "statistics": "keep"},
                "optimizer": {"from": "4ep"},
                "schedule": {"from": "500it"},
                "data_order": {"of-level": 0},
                "redefine": ["level-3-end"],
            }),
        );
        is_frozen(
            &[
                PlanWeights::Keep,
                PlanWeights::From(point),
                PlanWeights::Tensors,
            ],
            json!(["keep", {"from": "4ep"}, "tensors"]),
        );
        is_frozen(
            &(
                [OptimizerState::Keep, OptimizerState::Clear],
                [Schedule::Keep, Schedule::Restart, Schedule::Hold],
                [DataOrder::Keep, DataOrder::Draw(1)],
            ),
            json!([["keep", "clear"], ["keep", "restart", "hold"], ["keep", {"draw": 1}]]),
        );
    }

    #[test]
    fn cadences_and_manifests_are_frozen() {
        is_frozen(
            &crate::Cadence::between_levels().and_every(Step::Iterations(50), None),
            json!({
                "rounds_before_training": 0,
                "between_levels": true,
                "within_level": {"every": "50it", "from": "50it", "until": null},
            }),
        );
        let manifest = Manifest {
            name: "imp".into(),
            version: "0.1.0".into(),
            summary: String::new(),
            components: vec![ComponentManifest {
                kind: ComponentKind::Rewind,
                name: "weights".into(),
                schema: json!({}),
            }],
            default: Some(DefaultStrategy {
                score: "imp/magnitude".into(),
                mask: "imp/global".into(),
                rewind: vec![],
            }),
        };
        is_frozen(
            &manifest,
            json!({
                "name": "imp",
                "version": "0.1.0",
                "summary": "",
                "components": [{"kind": "rewind", "name": "weights", "schema": {}}],
                "default": {"score": "imp/magnitude", "mask": "imp/global", "rewind": []},
            }),
        );
        is_frozen(
            &[ComponentKind::Score, ComponentKind::Mask],
            json!(["score", "mask"]),
        );
    }

    fn facts() -> Value {
        json!({
            "layers": [{"name": "fc.weight", "kind": "linear", "shape": [10, 64]}],
            "seed": 1, "level": 2, "last_level": 14, "step": 3,
            "steps_per_epoch": 40, "steps_per_level": 800,
            "phase": {"before-training": {"round": 0, "rounds": 100}},
            "target": 409, "density": 0.64,
        })
    }

    #[test]
    fn facts_are_frozen() {
        let read: Facts = serde_json::from_value(facts()).unwrap();
        assert_eq!(read.layers[0].kind, LayerKind::Linear);
        is_frozen(&read, facts());
        is_frozen(
            &(
                [LayerKind::Conv1d, LayerKind::Conv2d],
                [Phase::BetweenLevels, Phase::WithinLevel],
            ),
            json!([["conv1d", "conv2d"], ["between-levels", "within-level"]]),
        );
    }

    #[test]
    fn facts_of_a_later_host_are_read_as_far_as_they_are_known() {
        let mut later = facts();
        later["temperature"] = json!(0.5);
        later["layers"][0]["kind"] = json!("conv3d");
        later["layers"][0]["groups"] = json!(2);
        for phase in [json!("at-night"), json!({"before-dawn": {"hours": 1}})] {
            later["phase"] = phase;
            let read: Facts = serde_json::from_value(later.clone()).unwrap();
            assert_eq!(read.phase, Phase::Other);
            assert_eq!(read.layers[0].kind, LayerKind::Other);
            assert_eq!(read.target, 409);
        }
    }

    #[test]
    fn a_request_or_plan_of_a_later_plugin_is_refused_rather_than_half_understood() {
        fn refuses<T: Serialize + DeserializeOwned>(value: &T) {
            let mut text = serde_json::to_value(value).unwrap();
            text["later"] = json!(true);
            assert!(serde_json::from_value::<T>(text).is_err());
        }
        refuses(&GradientRequest::default());
        refuses(&crate::Cadence::between_levels());
        refuses(&BatchNorm::default());
        refuses(&MasksRequest {
            run: None,
            level: 0,
        });
        refuses(&CountsRequest {
            distribution: Distribution::Erk,
            total: None,
            may_grow: true,
        });
        refuses(&SelectRequest {
            among: Among::All,
            counts: Counts::Total(0),
        });
    }
}
