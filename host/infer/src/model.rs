//! A model that is loaded, and runs.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::chunks::{Chunk, chunks};
use crate::error::{Error, Result};
use crate::kernels::{self, Kernels};
use crate::network::Network;
use crate::pool::Pool;
use crate::program::{Memory, Program, bytes_of};
use crate::shape::Shape;

/// How a model is computed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads, the caller's included; 1 if 0. No result depends on them.
    pub threads: usize,
    /// Kernels by their name, of [`kernels`](available_kernels); the fastest that the processor has if not given.
    pub kernels: Option<String>,
}

/// A model of an exported file.
///
/// It may be run by several threads at the same time; one of them uses the model's own threads.
pub struct Model {
    network: Network,
    kernels: &'static Kernels,
    pool: Pool,
    /// Programs by their number of lanes, and memory that is not in use.
    programs: Mutex<HashMap<usize, Arc<Ready>>>,
}

/// A program whose steps were measured.
struct Ready {
    program: Program,
    memories: Mutex<Vec<Memory>>,
}

/// Names of the kernels that this processor can run, the fastest first.
pub fn available_kernels() -> Vec<&'static str> {
    kernels::all().iter().map(|it| it.name).collect()
}

impl Model {
    /// Loads a file that `host export --format rewind` wrote, with one thread.
    ///
    /// # Errors
    /// A file that cannot be read, is cut short or no model; the message names it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &Options::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// As [`load`](Self::load); kernels that are not known.
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        Self::new(Network::read(path.as_ref())?, options)
    }

    /// The model of a file's bytes.
    ///
    /// # Errors
    /// As [`load_with`](Self::load_with), without a file's name.
    pub fn of_bytes(bytes: &[u8], options: &Options) -> Result<Self> {
        Self::new(Network::of_bytes(bytes)?, options)
    }

    fn new(network: Network, options: &Options) -> Result<Self> {
        let all = kernels::all();
        let kernels = match &options.kernels {
            None => all.first(),
            Some(name) => all.iter().find(|it| it.name == name),
        };
        let kernels = *kernels.ok_or_else(|| Error::Kernels {
            got: options.kernels.clone().unwrap_or_default(),
            known: available_kernels().join(", "),
        })?;
        Ok(Self {
            network,
            kernels,
            pool: Pool::new(options.threads.max(1)),
            programs: Mutex::default(),
        })
    }

    /// Shape of one input.
    pub fn input_shape(&self) -> &[usize] {
        &self.network.graph.input_shape
    }

    /// Shape of one output: `[classes]` of the networks that are trained here.
    pub fn output_shape(&self) -> &[usize] {
        self.network.shapes.last().map_or(&[], Shape::sizes)
    }

    /// What the file says of the model: where it comes from, how its inputs are made.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.network.metadata
    }

    /// Name of the kernels that compute.
    pub fn kernels(&self) -> &'static str {
        self.kernels.name
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Multiply-adds of a sample if every weight counts, and without weights of 0.
    pub fn multiplications(&self) -> [u64; 2] {
        self.network.multiplications()
    }

    /// Bytes that a pass of such a batch takes for its values, at most, without what windows with a stride take.
    pub fn bytes_of_a_pass(&self, batch: usize) -> u64 {
        let shapes = &self.network.shapes;
        let lanes = chunks(shapes, batch).first().map_or(1, |it| it.lanes);
        let bytes = shapes.iter().map(|&shape| bytes_of(shape, lanes));
        bytes.fold(0, u64::saturating_add)
    }

    /// What a pass of one sample does, step by step.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn steps(&self, batch: usize) -> Result<Vec<String>> {
        let lanes = chunks(&self.network.shapes, batch)
            .first()
            .map_or(1, |it| it.lanes);
        Ok(self.ready(lanes)?.program.describe())
    }

    /// The outputs of a batch. The first call with a batch size measures which layers are faster with their zeros.
    ///
    /// # Shapes
    /// `input`: `[batch, ...input_shape]`, result: `[batch, ...output_shape]`, row-major.
    ///
    /// # Errors
    /// An input of another length, a batch that takes more memory than there is.
    pub fn run(&self, input: &[f32], batch: usize) -> Result<Vec<f32>> {
        let mut output = vec![0.0; self.lengths(input, batch)?];
        self.run_into(input, batch, &mut output)?;
        Ok(output)
    }

    /// The same into numbers that are there already.
    ///
    /// # Errors
    /// As [`run`](Self::run); an output of another length.
    pub fn run_into(&self, input: &[f32], batch: usize, output: &mut [f32]) -> Result<()> {
        let expected = self.lengths(input, batch)?;
        if output.len() != expected {
            return Err(Error::Input {
                got: output.len(),
                expected,
                samples: batch,
                shape: self.output_shape().to_vec(),
            });
        }
        if batch == 0 {
            return Ok(());
        }
        let chunks = chunks(&self.network.shapes, batch);
        let (inputs, outputs) = (input.len() / batch, output.len() / batch);
        if chunks.len() < self.pool.threads() || self.pool.threads() == 1 {
            for chunk in chunks {
                let own = chunk.first..chunk.first + chunk.samples;
                let input = &input[own.start * inputs..own.end * inputs];
                let output = &mut output[own.start * outputs..own.end * outputs];
                self.pass(chunk.lanes, &self.pool, input, output)?;
            }
            return Ok(());
        }
        self.side_by_side(&chunks, input, output, [inputs, outputs])
    }

    /// Computes chunks on one thread each.
    fn side_by_side(
        &self,
        chunks: &[Chunk],
        input: &[f32],
        output: &mut [f32],
        [inputs, outputs]: [usize; 2],
    ) -> Result<()> {
        let mut rest = output;
        let mut work = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            // Programs are made before they are shared.
            self.ready(chunk.lanes)?;
            let (own, others) = rest.split_at_mut(chunk.samples * outputs);
            rest = others;
            let end = (chunk.first + chunk.samples) * inputs;
            work.push(Mutex::new((
                chunk.lanes,
                &input[chunk.first * inputs..end],
                own,
                Ok(()),
            )));
        }
        let alone = Pool::new(1);
        self.pool.share(work.len(), &|part| {
            let mut own = work[part].lock().unwrap_or_else(PoisonError::into_inner);
            let (lanes, input, output, result) = &mut *own;
            *result = self.pass(*lanes, &alone, input, output);
        });
        (work.into_iter())
            .try_for_each(|it| it.into_inner().unwrap_or_else(PoisonError::into_inner).3)
    }

    fn pass(&self, lanes: usize, pool: &Pool, input: &[f32], output: &mut [f32]) -> Result<()> {
        let ready = self.ready(lanes)?;
        let memories = || {
            ready
                .memories
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let own = memories().pop();
        let mut memory = match own {
            Some(memory) => memory,
            None => ready.program.memory()?,
        };
        (ready.program).run(self.kernels, pool, &mut memory, input, output);
        memories().push(memory);
        Ok(())
    }

    /// The program of so many lanes, made and measured if it is not there.
    fn ready(&self, lanes: usize) -> Result<Arc<Ready>> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = programs.get(&lanes) {
            return Ok(ready.clone());
        }
        let mut program = Program::new(&self.network, lanes, self.kernels)?;
        let mut memory = program.memory()?;
        program.measure(self.kernels, &self.pool, &mut memory);
        let ready = Arc::new(Ready {
            program,
            memories: Mutex::new(vec![memory]),
        });
        programs.insert(lanes, ready.clone());
        Ok(ready)
    }

    /// Numbers of the output.
    fn lengths(&self, input: &[f32], batch: usize) -> Result<usize> {
        let product =
            |shape: &[usize]| (shape.iter()).try_fold(batch, |all, &size| all.checked_mul(size));
        let expected = product(self.input_shape()).unwrap_or(usize::MAX);
        match input.len() == expected {
            true => Ok(product(self.output_shape()).unwrap_or(usize::MAX)),
            false => Err(Error::Input {
                got: input.len(),
                expected,
                samples: batch,
                shape: self.input_shape().to_vec(),
            }),
        }
    }
}
