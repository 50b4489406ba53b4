//! A component called as a run calls it: level after level, each call on what the one before left.

use plugin_api::abi::wire::{ComponentKind, Facts};
use plugin_api::{Cadence, Phase};

use crate::cases::{Network, Values, largest};
use crate::subject::{Answer, Component, Fault, MaskRule, Scene};

const STEPS_PER_EPOCH: u64 = 20;
const STEPS_PER_LEVEL: u64 = 120;

/// How a network is pruned: which weights it has, and how many survive each level.
#[derive(Clone)]
pub struct Course {
    /// The network.
    pub network: &'static Network,
    /// Its weights.
    pub values: Values,
    /// What the targets are, for people.
    pub name: &'static str,
    /// Weights to keep at level 1, 2, ...
    pub targets: Vec<u64>,
}

impl Course {
    /// What it is, for people.
    pub fn describe(&self) -> String {
        let (network, values) = (self.network.name, self.values.name());
        format!("{network}, {values}, {}", self.name)
    }

    /// The courses of a network with these weights.
    pub fn of(network: &'static Network, values: Values) -> Vec<Self> {
        let size: u64 = network.layers().iter().map(plugin_api::Layer::len).sum();
        let course = |name, targets: Vec<u64>| Self {
            network,
            values,
            name,
            targets,
        };
        let shares = [0.8, 0.64, 0.5, 0.3, 0.1, 0.03];
        let mut falling: Vec<u64> = shares.map(|share| (share * size as f64) as u64).to_vec();
        falling.retain(|&target| target > 1);
        falling.push(1);
        let mut courses = vec![
            course("down to one weight", falling),
            course("the same count again", vec![size / 2; 3]),
            course("nothing pruned", vec![size; 2]),
        ];
        if size.is_multiple_of(8) {
            courses.push(course("halves", vec![size / 2, size / 4, size / 8]));
        }
        if size <= 32 {
            courses.push(course("one by one", (1..size).rev().collect()));
        }
        courses
    }
}

/// One call.
#[derive(Clone, Debug)]
struct Call {
    level: u64,
    phase: Phase,
    step: u64,
    target: u64,
    may_grow: bool,
    /// Most ones; as many as there are if not given.
    most: Option<u64>,
}

/// A course under way.
#[derive(Clone)]
pub struct Walk {
    kind: ComponentKind,
    values: Values,
    seed: u64,
    calls: std::vec::IntoIter<Call>,
    made: u64,
    scene: Scene,
}

impl Walk {
    /// The course for a component of this kind, with this seed.
    pub fn new(course: &Course, kind: ComponentKind, cadence: Option<&Cadence>, seed: u64) -> Self {
        let layers = course.network.layers();
        let size: u64 = layers.iter().map(plugin_api::Layer::len).sum();
        let weights = course.values.draw(&layers, seed);
        let calls = match cadence {
            Some(cadence) => updates(cadence, size, &course.targets),
            None if kind == ComponentKind::Update => steps(&course.targets),
            None => plain(&course.targets),
        };
        let facts = Facts {
            seed,
            level: 0,
            last_level: course.targets.len() as u64,
            step: STEPS_PER_LEVEL,
            steps_per_epoch: STEPS_PER_EPOCH,
            steps_per_level: STEPS_PER_LEVEL,
            phase: Phase::BetweenLevels,
            target: size,
            density: 1.0,
            layers,
        };
        let scene = Scene {
            masks: weights.iter().map(|list| vec![1.0; list.len()]).collect(),
            scores: Vec::new(),
            rule: MaskRule {
                may_grow: false,
                least: size,
                most: size,
            },
            weights,
            facts,
        };
        Self {
            kind,
            values: course.values,
            seed,
            calls: calls.into_iter(),
            made: 0,
            scene,
        }
    }

    /// Where the last call was, for people.
    pub fn place(&self) -> String {
        let facts = &self.scene.facts;
        let phase = match facts.phase {
            Phase::BeforeTraining { round, rounds } => format!("round {round} of {rounds} before"),
            Phase::WithinLevel => format!("step {} of", facts.step),
            _ => "after".to_owned(),
        };
        let (target, size) = (facts.target, self.scene.size());
        format!(
            "call {}, {phase} level {}, target {target} of {size}",
            self.made, facts.level
        )
    }

    /// What the last call was to keep.
    pub fn target(&self) -> u64 {
        self.scene.facts.target
    }

    /// The next call; none at the end.
    pub fn next(&mut self, component: &mut dyn Component) -> Option<Result<Answer, Fault>> {
        let call = self.calls.next()?;
        self.made += 1;
        let size = self.scene.size();
        let facts = &mut self.scene.facts;
        (facts.level, facts.phase, facts.step) = (call.level, call.phase, call.step);
        (facts.target, facts.density) = (call.target, call.target as f64 / size as f64);
        self.scene.rule = MaskRule {
            may_grow: call.may_grow,
            least: call.target,
            most: call.most.unwrap_or_else(|| self.scene.survivors()),
        };
        let magnitude = |list: &Vec<f32>| list.iter().map(|weight| weight.abs()).collect();
        self.scene.scores = self.scene.weights.iter().map(magnitude).collect();
        let answer = component.call(&self.scene);
        if let Ok(answer) = &answer {
            self.go_on(answer);
        }
        Some(answer)
    }

    /// Takes the new masks, and trains a little.
    fn go_on(&mut self, answer: &Answer) {
        match (self.kind, answer) {
            (ComponentKind::Mask, Answer::Tensors(masks)) => self.scene.masks.clone_from(masks),
            (kind, answer) => {
                if let (ComponentKind::Update, Answer::Tensors(weights)) = (kind, answer) {
                    // The gradients are no function's: weights may run away with them, and begin anew then.
                    let runs_away = |weight: &f32| weight.abs() > 1e3;
                    if !weights.iter().flatten().any(runs_away) {
                        self.scene.weights.clone_from(weights);
                    }
                }
                let (weights, masks) = (&self.scene.weights, &self.scene.masks);
                let kept = self.scene.facts.target.min(self.scene.survivors());
                self.scene.masks = largest(weights, masks, kept);
            }
        }
        let moves = matches!(self.values, Values::Normal) && self.kind != ComponentKind::Update;
        let drift = Values::Normal.draw(&self.scene.facts.layers, self.seed ^ (self.made << 32));
        let lists = self
            .scene
            .weights
            .iter_mut()
            .zip(&self.scene.masks)
            .zip(&drift);
        for ((weights, masks), drift) in lists {
            for ((weight, mask), drift) in weights.iter_mut().zip(masks).zip(drift) {
                if *mask == 0.0 {
                    *weight = 0.0;
                } else if moves {
                    *weight += 0.1 * drift;
                }
            }
        }
    }
}

/// The calls of a score or a rewind policy: after each level, and a score also before and within one.
fn plain(targets: &[u64]) -> Vec<Call> {
    let between = |(level, &target): (usize, &u64)| Call {
        level: level as u64,
        phase: Phase::BetweenLevels,
        step: STEPS_PER_LEVEL,
        target,
        may_grow: false,
        most: Some(target),
    };
    targets.iter().enumerate().map(between).collect()
}

/// The calls of an update: at the first steps of each level, in its middle and at its end.
fn steps(targets: &[u64]) -> Vec<Call> {
    let calls = targets.iter().enumerate().flat_map(|(before, &target)| {
        let at = |step| Call {
            level: before as u64 + 1,
            phase: Phase::WithinLevel,
            step,
            target,
            may_grow: false,
            most: Some(target),
        };
        [0, 1, 2, STEPS_PER_EPOCH - 1, STEPS_PER_LEVEL - 1].map(at)
    });
    calls.collect()
}

/// The calls of a mask update, as the level loop makes them.
fn updates(cadence: &Cadence, size: u64, targets: &[u64]) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut survivors = size;
    for (before, &target) in targets.iter().enumerate() {
        let before = before as u64;
        let exact = |phase, target| Call {
            level: before,
            phase,
            step: STEPS_PER_LEVEL,
            target,
            may_grow: false,
            most: Some(target),
        };
        if cadence.between_levels {
            calls.push(exact(Phase::BetweenLevels, target));
            survivors = target;
        }
        let rounds = cadence.rounds_before_training;
        for round in 0..rounds {
            let phase = Phase::BeforeTraining { round, rounds };
            calls.push(exact(
                phase,
                geometric(survivors, target, round + 1, rounds),
            ));
        }
        let Some(interval) = &cadence.within_level else {
            survivors = target;
            continue;
        };
        let is_gradual = !cadence.between_levels && rounds == 0;
        let last = interval.last_call(STEPS_PER_EPOCH, STEPS_PER_LEVEL);
        for step in 1..STEPS_PER_LEVEL {
            if interval.is_due(step, STEPS_PER_EPOCH, STEPS_PER_LEVEL) {
                calls.push(Call {
                    level: before + 1,
                    phase: Phase::WithinLevel,
                    step,
                    target,
                    may_grow: true,
                    most: (!is_gradual || last == Some(step)).then_some(target),
                });
            }
        }
        survivors = target;
    }
    calls
}

/// `from^(1 - t) * to^t` at t = round / rounds, rounded; what a round before training keeps.
///
/// # Source
/// [`Cadence::rounds_before_training`].
fn geometric(from: u64, to: u64, round: u64, rounds: u64) -> u64 {
    if round == rounds {
        return to;
    }
    let t = round as f64 / rounds as f64;
    let between = (from as f64).powf(1.0 - t) * (to as f64).powf(t);
    (between.round() as u64).clamp(to, from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_api::Step;

    fn counts(cadence: &Cadence, targets: &[u64]) -> Vec<(u64, u64, Option<u64>)> {
        let calls = updates(cadence, 1000, targets);
        calls
            .iter()
            .map(|call| (call.level, call.target, call.most))
            .collect()
    }

    #[test]
    fn calls_are_those_of_the_cadence() {
        let between = Cadence::between_levels();
        assert_eq!(
            counts(&between, &[800, 640]),
            [(0, 800, Some(800)), (1, 640, Some(640))]
        );
        assert_eq!(
            counts(&Cadence::before_training(2), &[10]),
            [(0, 100, Some(100)), (0, 10, Some(10))]
        );
        let gradual = Cadence::default().and_every(Step::Epochs(2), None);
        assert_eq!(
            counts(&gradual, &[500]),
            [(1, 500, None), (1, 500, Some(500))]
        );
        let exchange = between.and_every(Step::Epochs(3), None);
        assert_eq!(
            counts(&exchange, &[500]),
            [(0, 500, Some(500)), (1, 500, Some(500))]
        );
    }
}
