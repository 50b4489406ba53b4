//! A model in the runtime `rewind-infer`, to be timed beside libtorch.

use std::cell::RefCell;

use tch::{TchError, Tensor};

use super::{Model, fold, rewind};

/// A model that the runtime has loaded, with its batch norms folded as an export has them.
pub struct Runtime {
    model: rewind_infer::Model,
    /// Of the samples that were given last, so that a pass does not hold their copy against the runtime.
    input: RefCell<Vec<f32>>,
}

impl Runtime {
    /// Loads it, for so many threads.
    ///
    /// # Errors
    /// Operations that the runtime does not have, in words.
    pub fn new(model: &Model, threads: usize) -> Result<Self, String> {
        let mut model = model.copied();
        fold(&mut model);
        let bytes = rewind(&model).map_err(|error| error.to_string())?;
        let options = rewind_infer::Options {
            threads,
            kernels: None,
        };
        let model = rewind_infer::Model::of_bytes(&bytes, &options);
        Ok(Self {
            model: model.map_err(|error| error.to_string())?,
            input: RefCell::default(),
        })
    }

    /// Takes the samples that the passes from now on are of.
    pub fn give(&self, input: &Tensor) {
        *self.input.borrow_mut() = super::safetensors::values(input);
    }

    /// A pass of the samples that were given, as a program of Rust calls it: `[batch, outputs]`, row-major.
    pub fn run(&self, batch: i64) -> Result<Vec<f32>, TchError> {
        let output = self.model.run(&self.input.borrow(), batch as usize);
        output.map_err(|error| TchError::Torch(error.to_string()))
    }

    /// Its outputs as a tensor.
    pub fn forward(&self, batch: i64) -> Result<Tensor, TchError> {
        Ok(Tensor::from_slice(&self.run(batch)?).view([batch, -1]))
    }
}
