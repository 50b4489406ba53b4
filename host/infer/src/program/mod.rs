//! A network as steps on values in memory, for so many samples side by side.
//!
//! ```text
//! operations -> build (layers, tokens, windows, layout, pack) -> steps -> memory -> run, of which some steps are measured
//! ```

mod build;
mod layers;
mod layout;
mod memory;
mod pack;
mod run;
mod step;
mod tokens;
mod windows;

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::kernels::Kernels;
use crate::network::Network;
use crate::pool::Pool;
use crate::shape::Shape;
use build::Builder;
use layout::Layout;
pub use memory::Memory;
use memory::Plan;
#[cfg(test)]
pub(crate) use pack::Weight;
use run::Runner;
use step::{Run, Slot, Step, runs};

/// A network for so many samples side by side.
#[derive(Debug)]
pub struct Program {
    /// How many.
    pub lanes: usize,
    steps: Vec<Step>,
    layouts: Vec<Layout>,
    /// Of each slot the places of a row that stay 0.
    pads: Vec<Vec<(u32, u32)>>,
    plan: Plan,
    input: Slot,
    /// How the numbers of a sample go into the input.
    loads: Vec<Run>,
    output: Slot,
    /// Where the numbers of the output lie, those of the first sample.
    gives: Vec<usize>,
}

/// Times that a candidate is computed; the shortest counts.
const TIMES: usize = 3;
/// What a candidate has to be computed in, all times together, to be computed so often.
const LONG: Duration = Duration::from_millis(2);

/// Bytes of a value of this shape with what stands around it.
pub fn bytes_of(shape: Shape, lanes: usize) -> u64 {
    let numbers = Layout::of(shape, lanes).numbers();
    numbers.map_or(u64::MAX, |it| 4 * it as u64)
}

impl Program {
    /// Makes the steps.
    ///
    /// # Errors
    /// If the values take too much memory.
    pub fn new(network: &Network, lanes: usize, kernels: &Kernels) -> Result<Self> {
        let mut builder = Builder::new(network, lanes, kernels.segments.is_some());
        let [input, output] = builder.build()?;
        let layouts: Vec<Layout> = builder.rooms.iter().map(|it| it.layout).collect();
        let plan = Plan::new(&builder.rooms, &builder.steps, output)?;
        let [first, last] = [network.shapes.first(), network.shapes.last()];
        let places = layouts[input].places(first.copied().unwrap_or(network.shapes[0]));
        let in_order: Vec<usize> = (0..places.len()).map(|it| it * lanes).collect();
        let mut loads = runs(&in_order, &places, lanes);
        // In numbers of one sample.
        for run in &mut loads {
            run.from /= lanes as u32;
        }
        let gives = layouts[output].places(last.copied().unwrap_or(network.shapes[0]));
        Ok(Self {
            lanes,
            steps: builder.steps,
            pads: layouts.iter().map(Layout::pads).collect(),
            layouts,
            plan,
            input,
            loads,
            output,
            gives,
        })
    }

    /// Room for a pass.
    ///
    /// # Errors
    /// If the system does not have it.
    pub fn memory(&self) -> Result<Memory> {
        Memory::new(&self.plan)
    }

    /// What its steps are, and how they are computed.
    pub fn describe(&self) -> Vec<String> {
        self.steps.iter().map(Step::describe).collect()
    }

    /// Leaves of each step the candidate that is the fastest here. All of them give the same numbers.
    pub fn measure(&mut self, kernels: &Kernels, pool: &Pool, memory: &mut Memory) {
        for at in 0..self.steps.len() {
            let candidates = self.steps[at].candidates();
            if candidates < 2 {
                continue;
            }
            let runner = Runner::new(self, kernels, pool, memory);
            let time = |candidate| {
                let mut least = Duration::MAX;
                let start = Instant::now();
                for _ in 0..TIMES {
                    let before = Instant::now();
                    runner.candidate(&self.steps[at], candidate);
                    least = least.min(before.elapsed());
                    if start.elapsed() > LONG {
                        break;
                    }
                }
                least
            };
            let best = (0..candidates).min_by_key(|&candidate| time(candidate));
            self.steps[at].keep(best.unwrap_or(0));
        }
    }

    /// Computes the outputs of up to as many samples as there are lanes.
    ///
    /// # Shapes
    /// `input`: `[samples, ...]`; `output`: `[samples, ...]`.
    pub fn run(
        &self,
        kernels: &Kernels,
        pool: &Pool,
        memory: &mut Memory,
        input: &[f32],
        output: &mut [f32],
    ) {
        let samples = output.len() / self.gives.len().max(1);
        let runner = Runner::new(self, kernels, pool, memory);
        runner.load(input, samples);
        for step in &self.steps {
            runner.step(step);
        }
        let before = self.layouts[self.output].before;
        let room = memory.room(self.plan.of_slot[self.output]);
        for (at, &place) in self.gives.iter().enumerate() {
            for sample in 0..samples {
                output[sample * self.gives.len() + at] = room[before + place + sample];
            }
        }
    }
}
