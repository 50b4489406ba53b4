//! A loaded component, as the rules see it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use conformance::{Answer, Component, Fault, Scene as Told, Subject};
use plugin_api::abi::wire::{ComponentKind, ComponentManifest};
use plugin_api::{Cadence, Experiment, Finding, OptimizerState, Point, Source, UnitRule};
use serde_json::{Map, Value};
use tch::{Device, Tensor};

use super::scene::{Laid, numbers, tensors};
use super::stepping::Stepping;
use crate::experiment::Part;
use crate::strategy::guard;
use crate::strategy::{
    MaskRule, PlacedMask, PlacedRewind, PlacedScore, PlacedUpdate, PlannedWeights, Plugin,
    RewindPlan, StrategyError, Violation,
};

/// One component of a loaded plugin.
pub struct Loaded {
    plugin: Rc<Plugin>,
    kind: ComponentKind,
    name: String,
    devices: Vec<Device>,
}

impl Loaded {
    /// This component of the plugin.
    pub fn new(plugin: Rc<Plugin>, component: &ComponentManifest) -> Self {
        let mut devices = vec![Device::Cpu];
        if tch::Cuda::is_available() {
            devices.push(Device::Cuda(0));
        }
        Self {
            name: format!("{}/{}", plugin.name, component.name),
            kind: component.kind,
            plugin,
            devices,
        }
    }
}

impl Subject for Loaded {
    fn make(
        &self,
        options: &Map<String, Value>,
        device: usize,
    ) -> Result<Box<dyn Component + '_>, Fault> {
        let part = Part {
            component: self.name.clone(),
            options: options.clone(),
        };
        let held = match self.kind {
            ComponentKind::Score => PlacedScore::new("score", &part, &self.plugin).map(Held::Score),
            ComponentKind::Mask => {
                PlacedMask::new("mask", &part, &self.plugin).and_then(|mut mask| {
                    let whole = mask.unit_rule()?;
                    Ok(Held::Mask(mask, whole))
                })
            }
            ComponentKind::Rewind => {
                PlacedRewind::new("rewind[0]", &part, &self.plugin).map(Held::Rewind)
            }
            ComponentKind::Update => PlacedUpdate::new("update[0]", &part, &self.plugin)
                .and_then(Stepping::new)
                .map(Held::Update),
        };
        Ok(Box::new(Instance {
            held: held.map_err(fault)?,
            device: self.devices[device],
            time_called: Duration::ZERO,
        }))
    }

    fn devices(&self) -> Vec<String> {
        self.devices
            .iter()
            .map(|device| format!("{device:?}"))
            .collect()
    }

    fn resident(&self) -> Option<u64> {
        guard::resident()
    }
}

enum Held {
    Score(PlacedScore),
    Mask(PlacedMask, Option<UnitRule>),
    Rewind(PlacedRewind),
    Update(Stepping),
}

struct Instance {
    held: Held,
    device: Device,
    time_called: Duration,
}

/// What a call gave, on the device.
enum Given {
    Tensors(Vec<Tensor>),
    Plan(RewindPlan),
}

/// A component's own error is a refusal; everything else breaks a rule.
fn fault(error: StrategyError) -> Fault {
    match error.violation {
        Violation::Failed(_) | Violation::BadOptions(_) => Fault::Refused(error.to_string()),
        _ => Fault::Broke(error.to_string()),
    }
}

/// The same method of whatever is held.
macro_rules! each {
    ($held:expr, $object:ident => $call:expr) => {
        match $held {
            Held::Score($object) => $call,
            Held::Mask($object, _) => $call,
            Held::Rewind($object) => $call,
            Held::Update(Stepping {
                update: $object, ..
            }) => $call,
        }
    };
}

impl Component for Instance {
    fn cadence(&self) -> Result<Option<Cadence>, Fault> {
        match &self.held {
            Held::Mask(mask, _) => mask.cadence().map(Some).map_err(fault),
            _ => Ok(None),
        }
    }

    fn unit_rule(&mut self) -> Result<Option<UnitRule>, Fault> {
        match &mut self.held {
            Held::Mask(mask, _) => mask.unit_rule().map_err(fault),
            _ => Ok(None),
        }
    }

    fn points(&self) -> Result<Vec<Point>, Fault> {
        each!(&self.held, it => it.points()).map_err(fault)
    }

    fn review(&mut self, experiment: &Experiment) -> Result<Vec<Finding>, Fault> {
        each!(&mut self.held, it => it.review(experiment)).map_err(fault)
    }

    fn call(&mut self, told: &Told) -> Result<Answer, Fault> {
        let scene = Laid::new(told, self.device, self.points()?);
        let scores = tensors(&told.scores, &told.facts.layers, self.device);
        let start = Instant::now();
        let given = match &mut self.held {
            Held::Score(score) => score.score(&scene).map(Given::Tensors),
            Held::Mask(mask, whole) => {
                let rule = MaskRule {
                    may_grow: told.rule.may_grow,
                    least: told.rule.least,
                    most: told.rule.most,
                };
                mask.update(&scene, &scores, rule, whole.as_ref())
                    .map(Given::Tensors)
            }
            Held::Rewind(policy) => policy.plan(&scene).map(Given::Plan),
            Held::Update(update) => {
                let stepped = update.step(&scene, fault);
                self.time_called += start.elapsed();
                return Ok(Answer::Tensors(numbers(&stepped?)));
            }
        };
        self.time_called += start.elapsed();
        match given.map_err(fault)? {
            Given::Tensors(tensors) => Ok(Answer::Tensors(numbers(&tensors))),
            Given::Plan(given) => Ok(plan(given)),
        }
    }

    fn save_state(&self) -> Result<Vec<u8>, Fault> {
        match &self.held {
            Held::Score(score) => score.save_state().map_err(fault),
            Held::Mask(mask, _) => mask.save_state().map_err(fault),
            Held::Rewind(policy) => policy.save_state().map_err(fault),
            Held::Update(update) => Ok(update.save()),
        }
    }

    fn load_state(&mut self, state: &[u8]) -> Result<(), Fault> {
        match &mut self.held {
            Held::Score(score) => score.load_state(state).map_err(fault),
            Held::Mask(mask, _) => mask.load_state(state).map_err(fault),
            Held::Rewind(policy) => policy.load_state(state).map_err(fault),
            Held::Update(update) => update.load(state),
        }
    }

    fn time_called(&self) -> Duration {
        self.time_called
    }

    fn take_drop_panic(&mut self) -> Option<String> {
        each!(&mut self.held, it => it.take_drop_panic())
    }
}

fn plan(plan: RewindPlan) -> Answer {
    let mut points = Vec::new();
    let mut brought = Vec::new();
    let weights = match plan.weights {
        PlannedWeights::Keep => "keep".to_owned(),
        PlannedWeights::From(point) => {
            let text = format!("from {point}");
            points.push(point);
            text
        }
        PlannedWeights::Mixed { magnitudes, signs } => {
            let text = format!("magnitudes {magnitudes:?}, signs {signs:?}");
            points.extend(magnitudes);
            points.extend(signs);
            text
        }
        PlannedWeights::Tensors(tensors) => {
            brought.extend(tensors);
            "tensors".to_owned()
        }
    };
    for source in [&plan.batch_norm.affine, &plan.batch_norm.statistics] {
        if let Source::From(point) = source {
            points.push(point.clone());
        }
    }
    if let OptimizerState::From(point) = &plan.optimizer {
        points.push(point.clone());
    }
    let redefined: Vec<String> = plan.redefine.iter().map(|(it, _)| it.to_string()).collect();
    let text = format!(
        "weights {weights}; {:?}; optimizer {:?}; schedule {:?}; order {:?}; redefines {redefined:?}",
        plan.batch_norm, plan.optimizer, plan.schedule, plan.data_order
    );
    brought.extend(plan.redefine.into_iter().flat_map(|(_, tensors)| tensors));
    Answer::Plan {
        text,
        points,
        tensors: numbers(&brought),
    }
}
