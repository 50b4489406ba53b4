//! Each rule is kept by components that behave and broken by one that does not.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use plugin_api::abi::wire::{ComponentKind, ComponentManifest, Manifest};
use plugin_api::{Cadence, Experiment, Finding, Measure, Point, Scope, Step, UnitRule};
use serde_json::{Map, Value, json};

use super::{RULES, Rule, Trial};
use crate::cases::largest;
use crate::report::{Failure, Verdict};
use crate::subject::{Answer, Component, Fault, Scene, Subject};

/// What a fake does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whim {
    None,
    /// No doc comment.
    Undocumented,
    /// Refuses to be made without options.
    NoDefault,
    /// Refuses its own default.
    RefusesItsDefault,
    /// Takes any option.
    TakesAnything,
    /// A cadence without any call.
    NeverCalled,
    /// Panics when it is asked about an experiment.
    PanicsInReview,
    /// Finds something at an option that it does not have.
    FindsAtNoOption,
    /// Finds something without saying what.
    FindsNothing,
    /// Finds something else in every instance.
    FindsByChance,
    /// Breaks the host's rules at its third call.
    BreaksARule,
    /// Refuses every call.
    RefusesAll,
    /// Goes back to a point that it did not declare.
    UndeclaredPoint,
    /// Gives something else in every instance.
    CountsInstances,
    /// Gives something else for odd seeds only.
    SometimesRandom,
    /// Depends on the number of its calls, and does not save it.
    ForgetsItsState,
    /// Saves another state every time.
    RestlessState,
    /// Panics at a state that is not its own.
    PanicsAtForeignState,
    /// Its end panics.
    PanicsInDrop,
    /// Gives other masks on the second device.
    OtherOnOtherDevices,
    /// Cannot take many weights.
    OnlySmall,
    /// Keeps a little of every call.
    Leaks,
    /// Says that it keeps whole units, and keeps single weights.
    PartsOfUnits,
    /// Has another rule of whole units in every instance.
    OtherUnits,
}

struct Fake {
    kind: ComponentKind,
    whim: Whim,
    instances: Cell<u64>,
    resident: Cell<u64>,
    dropped: RefCell<Option<String>>,
    devices: usize,
}

struct Instance<'a> {
    fake: &'a Fake,
    number: u64,
    calls: u64,
    states: Cell<u64>,
    device: usize,
    time: Duration,
}

impl Fake {
    fn new(kind: ComponentKind, whim: Whim) -> Self {
        Self {
            kind,
            whim,
            instances: Cell::new(0),
            resident: Cell::new(1 << 30),
            dropped: RefCell::default(),
            devices: 2,
        }
    }

    fn is(&self, whim: Whim) -> bool {
        self.whim == whim
    }
}

impl Subject for Fake {
    fn make(
        &self,
        options: &Map<String, Value>,
        device: usize,
    ) -> Result<Box<dyn Component + '_>, Fault> {
        for (name, value) in options {
            if name != "power" && !self.is(Whim::TakesAnything) {
                return Err(Fault::Refused(format!("unknown field `{name}`")));
            }
            if *value == json!(2.0) && self.is(Whim::RefusesItsDefault) {
                return Err(Fault::Refused("power is 2, expected less".to_owned()));
            }
        }
        if options.is_empty() && self.is(Whim::NoDefault) {
            return Err(Fault::Refused("power is missing".to_owned()));
        }
        let number = self.instances.get();
        self.instances.set(number + 1);
        Ok(Box::new(Instance {
            fake: self,
            number,
            calls: 0,
            states: Cell::new(0),
            device,
            time: Duration::ZERO,
        }))
    }

    fn devices(&self) -> Vec<String> {
        (0..self.devices).map(|it| format!("device {it}")).collect()
    }

    fn resident(&self) -> Option<u64> {
        Some(self.resident.get())
    }
}

impl Component for Instance<'_> {
    fn cadence(&self) -> Result<Option<Cadence>, Fault> {
        Ok(match self.fake.kind {
            ComponentKind::Mask if self.fake.is(Whim::NeverCalled) => Some(Cadence::default()),
            ComponentKind::Mask => Some(Cadence::between_levels()),
            _ => None,
        })
    }

    fn unit_rule(&mut self) -> Result<Option<UnitRule>, Fault> {
        let multiple = match self.fake.whim {
            Whim::PartsOfUnits => 1,
            Whim::OtherUnits => self.number + 1,
            _ => return Ok(None),
        };
        Ok(Some(UnitRule {
            measure: Measure::Weights,
            scope: Scope::Global,
            multiple,
        }))
    }

    fn points(&self) -> Result<Vec<Point>, Fault> {
        Ok(vec![Point::Step(Step::Epochs(1))])
    }

    fn review(&mut self, experiment: &Experiment) -> Result<Vec<Finding>, Fault> {
        let said = |text: &str, option: &str| Ok(vec![Finding::pointless(text).at_option(option)]);
        match self.fake.whim {
            Whim::PanicsInReview if experiment.last_level() == 0 => {
                Err(Fault::Broke("panicked: index out of bounds".to_owned()))
            }
            Whim::FindsAtNoOption => said("too much", "pover"),
            Whim::FindsNothing => said(" ", "power"),
            Whim::FindsByChance => said(&format!("instance {}", self.number), "power"),
            _ => said("it does nothing", "power.0"),
        }
    }

    fn call(&mut self, scene: &Scene) -> Result<Answer, Fault> {
        let fake = self.fake;
        self.calls += 1;
        self.time += Duration::from_millis(10);
        match fake.whim {
            Whim::BreaksARule if self.calls == 3 => {
                return Err(Fault::Broke("gave 3 masks, expected 2".to_owned()));
            }
            Whim::RefusesAll => return Err(Fault::Refused("not today".to_owned())),
            Whim::OnlySmall if scene.size() > 1_000_000 => {
                return Err(Fault::Broke("index out of bounds".to_owned()));
            }
            Whim::Leaks => fake.resident.set(fake.resident.get() + (16 << 10)),
            _ => {}
        }
        let seed = scene.facts.seed;
        let shift = match fake.whim {
            Whim::CountsInstances => self.number as f32,
            Whim::ForgetsItsState => self.calls as f32,
            Whim::SometimesRandom => (seed % 2) as f32,
            _ => 0.0,
        };
        Ok(match fake.kind {
            ComponentKind::Update => Answer::Tensors(scene.weights.clone()),
            ComponentKind::Score => {
                let one = |list: &Vec<f32>| list.iter().map(|it| it.abs() + shift).collect();
                Answer::Tensors(scene.weights.iter().map(one).collect())
            }
            ComponentKind::Mask => {
                let mut scores = scene.scores.clone();
                if fake.is(Whim::OtherOnOtherDevices) && self.device > 0 {
                    let flip = |it: &mut f32| *it = -*it;
                    scores.iter_mut().flatten().for_each(flip);
                    // Magnitudes decide: only another order gives other masks.
                    scores.iter_mut().for_each(|list| list.reverse());
                }
                Answer::Tensors(largest(&scores, &scene.masks, scene.facts.target))
            }
            ComponentKind::Rewind => {
                let epochs = if fake.is(Whim::UndeclaredPoint) { 7 } else { 1 };
                Answer::Plan {
                    text: "weights".to_owned(),
                    points: vec![Point::Init, Point::Step(Step::Epochs(epochs))],
                    tensors: Vec::new(),
                }
            }
        })
    }

    fn save_state(&self) -> Result<Vec<u8>, Fault> {
        let fake = self.fake;
        if fake.is(Whim::RestlessState) {
            self.states.set(self.states.get() + 1);
            return Ok(vec![self.states.get() as u8]);
        }
        Ok(match fake.is(Whim::ForgetsItsState) {
            true => Vec::new(),
            false => self.calls.to_le_bytes().to_vec(),
        })
    }

    fn load_state(&mut self, state: &[u8]) -> Result<(), Fault> {
        match state.try_into() {
            Ok(bytes) => self.calls = u64::from_le_bytes(bytes),
            Err(_) if self.fake.is(Whim::PanicsAtForeignState) => {
                return Err(Fault::Broke("panicked: eight bytes".to_owned()));
            }
            Err(_) => return Err(Fault::Refused("not a state of mine".to_owned())),
        }
        Ok(())
    }

    fn time_called(&self) -> Duration {
        self.time
    }

    fn take_drop_panic(&mut self) -> Option<String> {
        self.fake.dropped.borrow_mut().take()
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        if self.fake.is(Whim::PanicsInDrop) && self.calls > 0 {
            *self.fake.dropped.borrow_mut() = Some("panicked: no end today".to_owned());
        }
    }
}

fn manifest(fake: &Fake) -> Manifest {
    let mut schema = json!({
        "type": "object",
        "description": "Scores a weight.",
        "properties": {"power": {"description": "Power.", "default": 2.0}},
    });
    if fake.is(Whim::Undocumented) {
        schema["properties"]["power"]["description"] = json!(" ");
    }
    Manifest {
        name: "fake".to_owned(),
        version: "0.1.0".to_owned(),
        summary: "A fake".to_owned(),
        components: vec![ComponentManifest {
            kind: fake.kind,
            name: "own".to_owned(),
            schema,
        }],
        default: None,
    }
}

/// What becomes of each rule.
fn verdicts(fake: &Fake, rules: &[&str]) -> BTreeMap<&'static str, Verdict> {
    let manifest = manifest(fake);
    let trial = Trial {
        subject: fake,
        manifest: &manifest,
        component: &manifest.components[0],
        seed: 0,
        quick: true,
    };
    let asked = |name: &str| rules.is_empty() || rules.contains(&name);
    let rules = RULES.iter().filter(|rule| asked(rule.name));
    rules.map(|rule| (rule.name, rule.check(&trial))).collect()
}

fn failure(verdict: &Verdict) -> &Failure {
    match verdict {
        Verdict::Broken { failures } => &failures[0],
        other => panic!("{other:?} is not broken"),
    }
}

const KINDS: [ComponentKind; 4] = [
    ComponentKind::Score,
    ComponentKind::Mask,
    ComponentKind::Rewind,
    ComponentKind::Update,
];

#[test]
fn a_component_that_behaves_breaks_none() {
    for kind in KINDS {
        // The slow ones look at a score as at the others.
        let asked = |rule: &&Rule| !rule.slow || kind == ComponentKind::Score;
        let rules: Vec<&str> = RULES.iter().filter(asked).map(|rule| rule.name).collect();
        for (name, verdict) in verdicts(&Fake::new(kind, Whim::None), &rules) {
            let broken = matches!(verdict, Verdict::Broken { .. });
            assert!(!broken, "{kind:?}, {name}: {verdict:?}");
        }
    }
}

/// Kind, what it does wrong, the rule that finds it, and parts of what is said of it.
const BREAKERS: &[(ComponentKind, Whim, &str, &str, &str)] = &[
    (
        ComponentKind::Score,
        Whim::Undocumented,
        "metadata",
        "it lacks a doc comment of the option `power`",
        "the plugin's manifest",
    ),
    (
        ComponentKind::Score,
        Whim::NoDefault,
        "defaults",
        "power is missing",
        "options {}",
    ),
    (
        ComponentKind::Score,
        Whim::RefusesItsDefault,
        "defaults",
        "power is 2, expected less",
        "options {\"power\":2.0}",
    ),
    (
        ComponentKind::Score,
        Whim::TakesAnything,
        "unknown-option",
        "a component",
        "no-such-option",
    ),
    (
        ComponentKind::Score,
        Whim::PanicsInReview,
        "review",
        "panicked: index out of bounds",
        "one linear layer, 6 epochs of 20 steps, densities []",
    ),
    (
        ComponentKind::Mask,
        Whim::FindsAtNoOption,
        "review",
        "a finding at the option `pover`",
        "one linear layer",
    ),
    (
        ComponentKind::Rewind,
        Whim::FindsNothing,
        "review",
        "message: \" \"",
        "one linear layer",
    ),
    (
        ComponentKind::Score,
        Whim::FindsByChance,
        "review",
        "other findings, the second time",
        "one linear layer",
    ),
    (
        ComponentKind::Mask,
        Whim::NeverCalled,
        "cadence",
        "between_levels: false",
        "the default options",
    ),
    (
        ComponentKind::Mask,
        Whim::BreaksARule,
        "answers",
        "gave 3 masks, expected 2",
        "call 3, after level 2",
    ),
    (
        ComponentKind::Score,
        Whim::RefusesAll,
        "answers",
        "the first time: not today",
        "all networks and weights",
    ),
    (
        ComponentKind::Rewind,
        Whim::UndeclaredPoint,
        "answers",
        "a plan that goes back to `7ep`",
        "call 1",
    ),
    (
        ComponentKind::Score,
        Whim::CountsInstances,
        "repeats",
        "call 1, number 0: ",
        "one linear layer",
    ),
    (
        ComponentKind::Score,
        Whim::SometimesRandom,
        "streams",
        "only 2 of 4 other seeds",
        "seeds 0 to 4",
    ),
    (
        ComponentKind::Score,
        Whim::ForgetsItsState,
        "state",
        "other numbers than the instance that was not stopped",
        "saved after call 1",
    ),
    (
        ComponentKind::Score,
        Whim::RestlessState,
        "state",
        "two different states",
        "saved after call 0",
    ),
    (
        ComponentKind::Score,
        Whim::PanicsAtForeignState,
        "foreign-state",
        "panicked: eight bytes",
        "a state of 7 bytes",
    ),
    (
        ComponentKind::Score,
        Whim::PanicsInDrop,
        "drop",
        "panicked: no end today",
        "dropped after a call",
    ),
    (
        ComponentKind::Mask,
        Whim::OtherOnOtherDevices,
        "devices",
        "device 1 gives other masks than device 0",
        "one linear layer",
    ),
    (
        ComponentKind::Mask,
        Whim::PartsOfUnits,
        "units",
        "whole units have [24]",
        "one linear layer, normal weights",
    ),
    (
        ComponentKind::Mask,
        Whim::OtherUnits,
        "units",
        "multiple: ",
        "another instance",
    ),
    (
        ComponentKind::Score,
        Whim::OnlySmall,
        "large-layer",
        "index out of bounds",
        "10 million weights",
    ),
    (
        ComponentKind::Score,
        Whim::Leaks,
        "memory",
        "15.6 MiB more than before",
        "1000 calls",
    ),
];

#[test]
fn each_way_of_breaking_a_rule_is_found_by_it_with_case_got_and_expected() {
    for (kind, whim, rule, got, case) in BREAKERS {
        let verdicts = verdicts(&Fake::new(*kind, *whim), &[rule]);
        let failure = failure(&verdicts[rule]);
        assert!(failure.got.contains(got), "{whim:?}: {failure:?}");
        assert!(failure.case.contains(case), "{whim:?}: {failure:?}");
        assert!(!failure.expected.is_empty());
    }
}

#[test]
fn no_rule_is_without_somebody_who_breaks_it() {
    for rule in RULES {
        let broken = BREAKERS.iter().any(|(_, _, name, ..)| *name == rule.name);
        assert!(broken, "{}", rule.name);
    }
}

#[test]
fn what_cannot_be_made_is_said_once() {
    let all = verdicts(&Fake::new(ComponentKind::Mask, Whim::NoDefault), &[]);
    let broken = all
        .iter()
        .filter(|(_, it)| matches!(it, Verdict::Broken { .. }));
    let names: Vec<&str> = broken.map(|(name, _)| *name).collect();
    assert_eq!(names, ["defaults"]);
}

#[test]
fn an_example_stands_in_for_a_default_that_is_missing() {
    let fake = Fake::new(ComponentKind::Score, Whim::NoDefault);
    let mut manifest = manifest(&fake);
    manifest.components[0].schema["properties"]["power"] =
        json!({"description": "Power.", "examples": [3.0]});
    let trial = Trial {
        subject: &fake,
        manifest: &manifest,
        component: &manifest.components[0],
        seed: 0,
        quick: true,
    };
    let rule = RULES.iter().find(|rule| rule.name == "defaults").unwrap();
    let note = Some("made with {\"power\":3.0}".to_owned());
    assert_eq!(rule.check(&trial), Verdict::Kept { note });
}

#[test]
fn with_one_device_there_is_nothing_to_compare() {
    let mut fake = Fake::new(ComponentKind::Mask, Whim::OtherOnOtherDevices);
    fake.devices = 1;
    let why = "there is no CUDA device here".to_owned();
    assert_eq!(
        verdicts(&fake, &["devices"])["devices"],
        Verdict::Skipped { why }
    );
}
