//! A neuron in training, by any update.

use super::descent::Start;
use super::gradient::{Kept, Neuron};
use super::update::{Update, Weight};
use super::{Method, Settings};

/// A neuron in training.
pub(super) struct Student {
    way: Way,
    step: f64,
    /// Steps after which inner scales are set anew.
    every: Option<u64>,
    done: u64,
}

enum Way {
    /// Gradient descent keeps the direction of the other input weights: three numbers follow it.
    Together { neuron: Neuron, kept: Kept },
    /// Other updates move each weight by its own size.
    Alone(Weights),
}

/// The weights of a neuron, one by one; those that are pruned are left out.
struct Weights {
    a: Weight,
    first: Option<Weight>,
    others: Vec<Weight>,
}

impl Student {
    fn new(way: Way, settings: &Settings) -> Self {
        let every = settings.update.every();
        Self {
            way,
            step: settings.step,
            every: every.map(|it| ((it / settings.step).round() as u64).max(1)),
            done: 0,
        }
    }

    /// The dense neuron before its training.
    pub(super) fn dense(start: &Start, settings: &Settings) -> Self {
        let way = match settings.update.is_gradient() {
            true => Way::Together {
                neuron: start.neuron(),
                kept: start.kept(),
            },
            false => Way::Alone(Weights::dense(start, &settings.update)),
        };
        Self::new(way, settings)
    }

    /// What the second training starts from, once the dense one has ended as this.
    pub(super) fn prune(&self, start: &Start, method: Method, settings: &Settings) -> Self {
        let way = match &self.way {
            Way::Together { neuron, .. } => {
                let (neuron, kept) = start.prune(*neuron, method);
                Way::Together { neuron, kept }
            }
            Way::Alone(weights) => Way::Alone(weights.prune(start, method, &settings.update)),
        };
        Self::new(way, settings)
    }

    /// The neuron as it is.
    pub(super) fn neuron(&self) -> Neuron {
        match &self.way {
            Way::Together { neuron, .. } => *neuron,
            Way::Alone(weights) => weights.neuron(),
        }
    }

    /// One step of training.
    pub(super) fn descend(&mut self) {
        self.done += 1;
        match &mut self.way {
            Way::Together { neuron, kept } => *neuron = neuron.descend(*kept, self.step),
            Way::Alone(weights) => {
                weights.descend(self.step);
                if self.every.is_some_and(|it| self.done.is_multiple_of(it)) {
                    weights.renew();
                }
            }
        }
    }

    /// The neuron after a whole training.
    pub(super) fn trained(mut self, settings: &Settings) -> Self {
        for _ in 0..settings.steps() {
            self.descend();
        }
        self
    }
}

impl Weights {
    fn dense(start: &Start, update: &Update) -> Self {
        let mut inputs = start.w.iter().map(|&w| update.w(w));
        Self {
            a: update.a(start.a),
            first: inputs.next(),
            others: inputs.collect(),
        }
    }

    /// The largest input weight alone, as [`Start::prune`] has it.
    fn prune(&self, start: &Start, method: Method, update: &Update) -> Self {
        let inputs: Vec<f64> = self.inputs().map(Weight::value).collect();
        let mut largest = 0;
        for (place, value) in inputs.iter().enumerate() {
            if value.abs() > inputs[largest].abs() {
                largest = place;
            }
        }
        let (a, w) = match method {
            Method::Imp => (start.a, &start.w),
            Method::Lrr => (self.a.value(), &inputs),
        };
        let kept = w.get(largest).map(|&w| update.w(w));
        let (first, others) = match largest {
            0 => (kept, None),
            _ => (None, kept),
        };
        Self {
            a: update.a(a),
            first,
            others: others.into_iter().collect(),
        }
    }

    fn inputs(&self) -> impl Iterator<Item = &Weight> {
        self.first.iter().chain(&self.others)
    }

    fn neuron(&self) -> Neuron {
        let square = |it: &Weight| it.value() * it.value();
        Neuron {
            a: self.a.value(),
            w1: self.first.map_or(0.0, |it| it.value()),
            rest: self.others.iter().map(square).sum::<f64>().sqrt(),
        }
    }

    /// A step: the slope of each other input weight is its share of their length's.
    fn descend(&mut self, step: f64) {
        let neuron = self.neuron();
        let [a, w1, rest] = neuron.gradient();
        let share = match neuron.rest == 0.0 {
            true => 0.0,
            false => rest / neuron.rest,
        };
        self.a = self.a.descend(a, step);
        self.first = self.first.map(|it| it.descend(w1, step));
        for it in &mut self.others {
            *it = it.descend(share * it.value(), step);
        }
    }

    fn renew(&mut self) {
        let all = self.first.iter_mut().chain(&mut self.others);
        for it in all.chain([&mut self.a]) {
            *it = it.renew();
        }
    }
}

#[cfg(test)]
mod tests;
