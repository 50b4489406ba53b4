//! Ways to compute a model, each of which is timed.

use std::collections::BTreeMap;
use std::time::Instant;

use tch::{TchError, Tensor};

use crate::export::forward::forward;
use crate::export::onnx_runtime::OnnxRuntime;
use crate::export::runtime::Runtime;
use crate::export::{Csr, Model};
use crate::model::{Mode, Network};

/// A way to compute a model.
pub trait Way {
    /// Takes the samples that the passes from now on are of.
    fn give(&mut self, input: &Tensor) -> Result<(), String>;

    /// Their outputs, `[batch, ...]`.
    fn outputs(&mut self) -> Result<Tensor, String>;

    /// Milliseconds of a pass.
    fn milliseconds(&mut self) -> Result<f64, String> {
        let before = Instant::now();
        let outputs = self.outputs()?;
        let passed = before.elapsed();
        drop(outputs);
        Ok(passed.as_secs_f64() * 1e3)
    }
}

/// The network's own forward pass on a model's tensors.
pub struct Own<'a> {
    network: &'a dyn Network,
    parameters: Vec<Tensor>,
    buffers: Vec<Tensor>,
    input: Tensor,
}

impl<'a> Own<'a> {
    pub fn new(network: &'a dyn Network, model: &Model) -> Self {
        let of = |name: &String| {
            let tensor = model.tensors[name].contiguous();
            match network.lanes() {
                true => tensor.unsqueeze(0),
                // Stored in memory as it is trained.
                false if network.channels_last() && tensor.dim() == 4 => {
                    let last = tensor.permute([0, 2, 3, 1]).contiguous();
                    last.permute([0, 3, 1, 2])
                }
                false => tensor,
            }
        };
        Self {
            network,
            parameters: network.parameters().iter().map(|it| of(&it.name)).collect(),
            buffers: network.buffers().iter().map(|it| of(&it.name)).collect(),
            input: Tensor::new(),
        }
    }
}

impl Way for Own<'_> {
    fn give(&mut self, input: &Tensor) -> Result<(), String> {
        self.input = match self.network.lanes() {
            true => input.unsqueeze(0),
            false => input.shallow_clone(),
        };
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensor, String> {
        let (parameters, buffers) = (&self.parameters, &self.buffers);
        let outputs = (self.network).forward(parameters, buffers, &self.input, Mode::Eval);
        Ok(match self.network.lanes() {
            true => outputs.squeeze_dim(0),
            false => outputs,
        })
    }
}

/// Libtorch's product of sparse rows, for the weights for which these are smaller.
pub struct InRows<'a> {
    model: &'a Model,
    rows: BTreeMap<String, Tensor>,
    input: Tensor,
}

impl<'a> InRows<'a> {
    /// # Errors
    /// If this libtorch has no such product.
    pub fn new(model: &'a Model) -> Result<Self, String> {
        let mut rows = BTreeMap::new();
        for name in &model.prunable {
            if let Some(csr) = Csr::of(&model.tensors[name]) {
                let tensor = csr.tensor().map_err(|error| first_line(&error))?;
                rows.insert(name.clone(), tensor);
            }
        }
        let input = Tensor::new();
        Ok(Self { model, rows, input })
    }
}

impl Way for InRows<'_> {
    fn give(&mut self, input: &Tensor) -> Result<(), String> {
        self.input = input.shallow_clone();
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensor, String> {
        let outputs = forward(self.model, &self.rows, &self.input);
        outputs.map_err(|error| first_line(&error))
    }
}

/// The runtime, `rewind-infer`.
pub struct AtSurvivors {
    pub runtime: Runtime,
    pub batch: i64,
}

impl Way for AtSurvivors {
    fn give(&mut self, input: &Tensor) -> Result<(), String> {
        self.runtime.give(input);
        self.batch = input.size()[0];
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensor, String> {
        let outputs = self.runtime.forward(self.batch);
        outputs.map_err(|error| first_line(&error))
    }

    /// Without making a tensor of the outputs, which nobody needs who has no libtorch.
    fn milliseconds(&mut self) -> Result<f64, String> {
        let before = Instant::now();
        let outputs = self.runtime.run(self.batch);
        let passed = before.elapsed();
        outputs.map_err(|error| first_line(&error))?;
        Ok(passed.as_secs_f64() * 1e3)
    }
}

/// ONNX Runtime, which measures its time itself: what goes between the processes is no part of it.
pub struct InOnnx {
    pub runtime: OnnxRuntime,
    pub batch: i64,
}

impl Way for InOnnx {
    fn give(&mut self, input: &Tensor) -> Result<(), String> {
        self.batch = input.size()[0];
        self.runtime.give(input)
    }

    fn outputs(&mut self) -> Result<Tensor, String> {
        self.runtime.outputs(self.batch)
    }

    fn milliseconds(&mut self) -> Result<f64, String> {
        self.runtime.milliseconds()
    }
}

fn first_line(error: &TchError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
