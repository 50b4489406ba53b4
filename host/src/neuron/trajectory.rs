//! A few inits on their way, for plots.

use super::descent::{Start, outcomes};
use super::simulation::QUADRANTS;
use super::student::Student;
use super::{Method, Settings, Trajectory};

/// Points of each of a trajectory's two trainings, beside its first.
const POINTS: u64 = 100;

/// Dimensions whose trajectories are kept: alone, as few others as possible, many others.
const DIMENSIONS: [u64; 3] = [1, 2, 10];

/// The first init of each quadrant, by both methods, in the dimensions of [`DIMENSIONS`] that are
/// simulated, or in the first that is.
pub(super) fn trajectories(settings: &Settings) -> Vec<Trajectory> {
    let simulated = |dimension: &u64| settings.dimensions.contains(dimension);
    let mut dimensions: Vec<u64> = DIMENSIONS.into_iter().filter(simulated).collect();
    if dimensions.is_empty() {
        dimensions.extend(settings.dimensions.first());
    }
    let mut all = Vec::new();
    for dimension in dimensions {
        for signs in QUADRANTS {
            let draw = |init| {
                let seed = settings.seed_of(dimension, init);
                (init, Start::draw(dimension, settings.scale, seed))
            };
            let first = (0..settings.inits)
                .map(draw)
                .find(|(_, start)| start.signs() == signs);
            if let Some((init, start)) = first {
                all.extend(trace(dimension, init, &start, settings));
            }
        }
    }
    all
}

fn trace(dimension: u64, init: u64, start: &Start, settings: &Settings) -> [Trajectory; 2] {
    outcomes(start, settings).map(|outcome| {
        let mut trajectory = Trajectory {
            dimension,
            method: outcome.method,
            init,
            success: outcome.is_success(),
            time: Vec::new(),
            pruned: Vec::new(),
            a: Vec::new(),
            w1: Vec::new(),
            loss: Vec::new(),
        };
        let trained = trajectory.train(Student::dense(start, settings), false, settings);
        let pruned = trained.prune(start, outcome.method, settings);
        trajectory.train(pruned, true, settings);
        trajectory
    })
}

impl Trajectory {
    fn train(&mut self, mut student: Student, pruned: bool, settings: &Settings) -> Student {
        let steps = settings.steps();
        let every = steps.div_ceil(POINTS).max(1);
        let begin = if pruned { steps } else { 0 };
        for step in 0..=steps {
            if step.is_multiple_of(every) || step == steps {
                let neuron = student.neuron();
                self.time.push(settings.step * (begin + step) as f64);
                self.pruned.push(pruned);
                self.a.push(neuron.a);
                self.w1.push(neuron.w1);
                self.loss.push(neuron.loss());
            }
            if step < steps {
                student.descend();
            }
        }
        student
    }
}

impl Method {
    /// Both, in the order of tables.
    pub const BOTH: [Self; 2] = [Self::Imp, Self::Lrr];

    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imp => "imp",
            Self::Lrr => "lrr",
        }
    }
}
