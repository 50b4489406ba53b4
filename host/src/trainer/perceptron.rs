//! Training and evaluating perceptrons without autograd, at the survivors where a layer is sparse.

use kernels::shim::ShimError;
use kernels::{Lanes, Layer, Norm, Perceptron, Rows, Samples, Survivors, break_even};
use tch::{Device, Kind, Tensor};

use super::targets::Targets;
use super::{Layout, On, TrainError, Trainer};
use crate::data::{Dataset, Inputs, Split};
use crate::experiment::{Precision, TrainLoss};
use crate::model::{Network, Operation};

/// Density from which on a layer is computed dense without measuring what is faster.
const DENSE: f64 = 0.8;

/// Products of a weight and an input in one forward pass of a step, of all lanes, below which threads wait
/// longer for each other than they save: a step takes half a millisecond and has a dozen parallel loops.
/// On two quiet cores the second thread saves an eighth of the time for half as much processor time again;
/// beside another program it takes half as long again.
const WORTH_THREADS: i64 = 16_000_000;

/// What a trainer knows of a network that is a perceptron.
pub(super) struct Plan {
    layers: Vec<Layer>,
    /// Whether it is trained without autograd, too, not evaluated alone.
    pub trains: bool,
    /// What each byte of an input stands for, where inputs are bytes.
    table: Option<Tensor>,
    /// Whether sparse layers are computed at their survivors.
    pub sparse: bool,
}

impl Plan {
    /// The plan of a network that is a perceptron on the CPU, in full precision.
    pub fn of(
        network: &dyn Network,
        layout: &Layout,
        data: &Dataset,
        device: Device,
        precision: Precision,
    ) -> Option<Self> {
        let is_one_each = data.target_shape.is_empty();
        if device != Device::Cpu || precision == Precision::Bf16 || !is_one_each {
            return None;
        }
        Some(Self {
            layers: layers(network, layout)?,
            table: data.train.byte_table(data.input_shape[0]),
            trains: !network.drops_out(),
            sparse: true,
        })
    }

    /// Its layers, from input to output.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What each byte of an input stands for, where inputs are bytes.
    pub fn table(&self) -> Option<&Tensor> {
        self.table.as_ref()
    }

    /// The same for a loss: none where the kernels do not know the targets, and for evaluation alone where
    /// a teacher is asked in training.
    pub fn for_loss(mut self, loss: &TrainLoss, targets: Targets) -> Option<Self> {
        self.trains &= loss.distillation().is_none();
        matches!(targets, Targets::Classes | Targets::Numbers).then_some(self)
    }

    /// Where the weights of one lane `[width]` that are not 0 are, for each layer; none of a layer
    /// that is faster dense.
    fn survivors(&self, flat: &Tensor) -> Vec<Option<Survivors>> {
        let of_layer = |layer: &Layer| {
            let count = layer.inputs * layer.outputs;
            let weights = flat.narrow(0, layer.weight, count);
            let kept = || weights.count_nonzero(None).int64_value(&[]);
            if !self.sparse || kept() as f64 >= DENSE * count as f64 {
                return None;
            }
            let values = Vec::<f32>::try_from(&weights).ok()?;
            let most = break_even(layer.outputs, layer.inputs) * count as f64;
            Survivors::of(&values, layer.inputs as usize, most as usize)
        };
        self.layers.iter().map(of_layer).collect()
    }

    /// The split's samples as the kernels take them; none if they are files.
    fn samples<'a>(&'a self, split: &'a Split, rows: Rows<'a>) -> Option<Samples<'a>> {
        Some(Samples {
            inputs: split.inputs.tensor()?,
            table: self.table.as_ref(),
            targets: &split.labels,
            rows,
        })
    }
}

/// The layers of a network that is nothing but linear layers of the flattened input, each but the last
/// followed by a batch norm, or none, and a ReLU.
fn layers(network: &dyn Network, layout: &Layout) -> Option<Vec<Layer>> {
    let parameter = |layer: &str, part: &str| {
        let name = format!("{layer}.{part}");
        network.parameters().iter().position(|it| it.name == name)
    };
    let place = |layer: &str, part: &str| Some(layout.offset(parameter(layer, part)?));
    let statistic = |layer: &str, part: &str| {
        let name = format!("{layer}.{part}");
        network.buffers().iter().position(|it| it.name == name)
    };
    let graph = network.graph();
    let mut layers: Vec<Layer> = Vec::new();
    let (mut before, mut at) = (&Operation::Input, None);
    for (value, operation) in graph.operations() {
        if operation.reads().into_iter().next() != at {
            return None;
        }
        match (before, operation) {
            (_, Operation::Input) | (Operation::Input, Operation::Flatten(_)) => {}
            (
                Operation::Input | Operation::Flatten(_) | Operation::Relu(_),
                Operation::Linear {
                    layer, bias: true, ..
                },
            ) => {
                let shape = &network.parameters()[parameter(layer, "weight")?].shape;
                layers.push(Layer {
                    inputs: shape[1],
                    outputs: shape[0],
                    weight: place(layer, "weight")?,
                    bias: place(layer, "bias")?,
                    norm: None,
                });
            }
            (Operation::Linear { .. }, Operation::Norm { layer, .. }) => {
                layers.last_mut()?.norm = Some(Norm {
                    weight: place(layer, "weight")?,
                    bias: place(layer, "bias")?,
                    mean: statistic(layer, "running_mean")?,
                    variance: statistic(layer, "running_var")?,
                });
            }
            (Operation::Linear { .. } | Operation::Norm { .. }, Operation::Relu(_)) => {}
            _ => return None,
        }
        (before, at) = (operation, Some(value));
    }
    let ends_linear = matches!(before, Operation::Linear { .. });
    (ends_linear && network.trains_its_graph()).then_some(layers)
}

/// What a session of a perceptron keeps from step to step.
pub(super) struct Hand {
    perceptron: Perceptron,
    /// For each layer, for each lane.
    survivors: Vec<Vec<Option<Survivors>>>,
    /// Lanes whose survivors are not those of their masks.
    stale: Vec<bool>,
}

impl Hand {
    /// For these many lanes.
    pub fn new(plan: &Plan, lanes: usize) -> Self {
        Self {
            perceptron: Perceptron::new(plan.layers.clone()),
            survivors: vec![vec![None; lanes]; plan.layers.len()],
            stale: vec![true; lanes],
        }
    }

    /// Says that a lane has another mask.
    pub fn forget(&mut self, slot: usize) {
        self.stale[slot] = true;
    }

    /// The survivors for each layer, for each lane.
    pub fn survivors(&self) -> &[Vec<Option<Survivors>>] {
        &self.survivors
    }

    /// Takes the lane at `slot` out.
    pub fn remove(&mut self, slot: usize) {
        self.stale.remove(slot);
        for lanes in &mut self.survivors {
            lanes.remove(slot);
        }
    }

    /// The survivors that are due, after which gradients of pruned weights are 0.
    pub fn update(&mut self, plan: &Plan, mask: &Tensor, gradients: &mut Tensor) {
        for slot in 0..self.stale.len() {
            if !std::mem::take(&mut self.stale[slot]) {
                continue;
            }
            let _ = gradients.select(0, slot as i64).zero_();
            let found = plan.survivors(&mask.select(0, slot as i64));
            for (lanes, survivors) in self.survivors.iter_mut().zip(found) {
                lanes[slot] = survivors;
            }
        }
    }
}

/// One step's batch: rows of the training samples, or a batch made for it.
pub(super) enum Batch<'a> {
    /// `[lanes, batch]`.
    Rows(&'a Tensor),
    /// Inputs `[lanes, batch, ...]`, without the lanes if the network knows none, and targets `[lanes, batch]`.
    Made(Tensor, Tensor),
}

impl Trainer {
    /// Whether a step of so many seeds side by side is so little work that one thread does it best. Only of
    /// perceptrons, whose bytes do not depend on the number of threads, on data that need none to be decoded.
    pub fn suits_one_thread(&self, seeds: usize) -> bool {
        let Some(plan) = self.perceptron.as_ref().filter(|plan| plan.trains) else {
            return false;
        };
        let weights: i64 = plan.layers.iter().map(|it| it.inputs * it.outputs).sum();
        let samples =
            i64::try_from(self.step_samples).map_or(i64::MAX, |it| it.min(self.data.train.len()));
        let products = weights.saturating_mul(samples).saturating_mul(seeds as i64);
        self.data.train.inputs.tensor().is_some() && products < WORTH_THREADS
    }

    /// A step up to the gradients, without autograd.
    pub(super) fn step_by_hand(
        &self,
        plan: &Plan,
        hand: &mut Hand,
        buffers: &mut crate::optimizer::Buffers,
        statistics: &[Tensor],
        batch: Batch<'_>,
        results: [&Tensor; 2],
    ) -> Result<(), TrainError> {
        hand.update(plan, &buffers.mask, &mut buffers.gradients);
        let lanes = Lanes {
            weights: &buffers.weights,
            statistics: &self.lane_by_lane(statistics),
            survivors: &hand.survivors,
        };
        let (inputs, targets);
        let samples = match batch {
            Batch::Rows(index) => plan.samples(&self.data.train, Rows::Listed(index)),
            Batch::Made(made, of) => {
                let count = of.size()[1];
                let rows = match self.lanes() {
                    true => made.flatten(0, 1),
                    false => made,
                };
                (inputs, targets) = (rows.contiguous(), of.reshape([-1]));
                Some(Samples {
                    inputs: &inputs,
                    table: None,
                    targets: &targets,
                    rows: Rows::Own(count),
                })
            }
        };
        let Some(samples) = samples else {
            return Err(ShimError::new("samples in files reached the kernels".to_owned()).into());
        };
        let loss = self.objective().by_hand(self.label_smoothing);
        let gradients = &mut buffers.gradients;
        Ok(hand
            .perceptron
            .step(lanes, gradients, samples, loss, results)?)
    }

    /// Evaluates `count` samples from `first` on, without autograd; false if this network or its
    /// samples need it.
    ///
    /// # Shapes
    /// `flat`: `[lanes, width]`; results: `[lanes]`, f64 losses and i64 right answers; `outputs`, if they are
    /// wanted: `[lanes, count, outputs]`.
    pub(super) fn evaluate_by_hand(
        &self,
        survivors: &[Vec<Option<Survivors>>],
        flat: &Tensor,
        statistics: &[Tensor],
        on: On,
        (first, count): (i64, i64),
        (results, outputs): ([&Tensor; 2], Option<&Tensor>),
    ) -> Result<bool, TrainError> {
        let Some(plan) = &self.perceptron else {
            return Ok(false);
        };
        let split = self.split(on)?;
        let (inputs, targets);
        let samples = match &split.inputs {
            // The same numbers as from memory, by the same kernels: where samples lie changes no bit.
            Inputs::Stored(_) => {
                let index = Tensor::arange_start(first, first + count, (Kind::Int64, Device::Cpu));
                (inputs, targets) = split.gather(&index)?;
                Some(Samples {
                    inputs: &inputs,
                    table: None,
                    targets: &targets,
                    rows: Rows::Shared(0, count),
                })
            }
            _ => plan.samples(split, Rows::Shared(first, count)),
        };
        let Some(samples) = samples else {
            return Ok(false);
        };
        let lanes = Lanes {
            weights: flat,
            statistics: &self.lane_by_lane(statistics),
            survivors,
        };
        let loss = self.objective().by_hand(0.0);
        let perceptron = Perceptron::new(plan.layers.clone());
        perceptron.evaluate(lanes, samples, loss, results, outputs)?;
        Ok(true)
    }

    /// The survivors of all lanes `[lanes, width]`, for each layer; nothing of other networks.
    pub(super) fn survivors_of(&self, flat: &Tensor) -> Vec<Vec<Option<Survivors>>> {
        let Some(plan) = &self.perceptron else {
            return Vec::new();
        };
        let lanes = 0..flat.size()[0];
        let of_lanes: Vec<_> = lanes
            .map(|lane| plan.survivors(&flat.select(0, lane)))
            .collect();
        let of_layer = |layer: usize| of_lanes.iter().map(|lane| lane[layer].clone()).collect();
        (0..plan.layers.len()).map(of_layer).collect()
    }

    /// Running statistics `[lanes, features]`, also of a network that knows no lanes.
    fn lane_by_lane(&self, statistics: &[Tensor]) -> Vec<Tensor> {
        let of_one = |it: &Tensor| match self.lanes() {
            true => it.shallow_clone(),
            false => it.unsqueeze(0),
        };
        statistics.iter().map(of_one).collect()
    }
}
