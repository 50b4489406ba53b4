//! A model's file: operations and weights, checked against each other before anything is made of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::graph::{Graph, Operation};
use crate::shape::{self, Shape};

/// The metadata's entry that holds the operations.
pub const GRAPH: &str = "graph";
/// Bytes of a model's file at most.
const MOST_BYTES: u64 = 16 << 30;

/// A tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub numbers: Vec<f32>,
}

/// A model as its file says it.
#[derive(Clone, Debug)]
pub struct Network {
    /// What it computes.
    pub graph: Graph,
    /// Shape of the value of each operation.
    pub shapes: Vec<Shape>,
    /// The tensors that the operations name.
    pub tensors: BTreeMap<String, Tensor>,
    /// What the file says of itself.
    pub metadata: BTreeMap<String, String>,
}

/// Reads a file whole, if it is no longer than a model may be.
pub fn read_file(path: &Path, most: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(failed(std::io::Error::other("it is no plain file")));
    }
    let mut bytes = Vec::new();
    let too_large = |got: u64| {
        let error = Error::TooLarge {
            what: "the file's length in bytes".to_owned(),
            got: got.to_string(),
            most,
        };
        Err(error.within(path))
    };
    if about.len() > most {
        return too_large(about.len());
    }
    bytes
        .try_reserve_exact(about.len() as usize)
        .map_err(|error| failed(std::io::Error::other(error)))?;
    // A file may grow while it is read.
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    match bytes.len() as u64 > most {
        true => too_large(bytes.len() as u64),
        false => Ok(bytes),
    }
}

impl Network {
    /// Reads a model's file.
    ///
    /// # Errors
    /// A file that cannot be read, and all that [`of_bytes`](Self::of_bytes) refuses, with the file's name.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_file(path, MOST_BYTES)?;
        Self::of_bytes(&bytes).map_err(|error| error.within(path))
    }

    /// Reads a model from the bytes of its file. Nothing is allocated by what they claim.
    ///
    /// # Errors
    /// What is no whole safetensors file, has no operations, or operations and tensors that do not fit each other.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self> {
        let container = |error: safetensors::SafeTensorError| Error::Container(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(container)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let metadata: BTreeMap<String, String> = metadata.into_iter().collect();
        let graph = Graph::parse(metadata.get(GRAPH).ok_or(Error::NoGraph(GRAPH))?)?;
        let file = SafeTensors::deserialize(bytes).map_err(container)?;
        let shape_of = |name: &str| -> Result<Vec<usize>> {
            let view = file.tensor(name);
            let view = view.map_err(|_| Error::tensor(name, "the file does not have it"))?;
            match view.dtype() {
                Dtype::F32 => Ok(view.shape().to_vec()),
                other => Err(Error::tensor(
                    name,
                    format!("it has type {other:?}, expected F32"),
                )),
            }
        };
        let (shapes, used) = shape::shapes(&graph, &shape_of)?;
        let mut tensors = BTreeMap::new();
        for name in used {
            let view = file.tensor(&name);
            let view = view.map_err(|error| Error::tensor(&name, error.to_string()))?;
            let (numbers, _) = view.data().as_chunks();
            let tensor = Tensor {
                shape: view.shape().to_vec(),
                numbers: numbers.iter().map(|it| f32::from_le_bytes(*it)).collect(),
            };
            tensors.insert(name, tensor);
        }
        Ok(Self {
            graph,
            shapes,
            tensors,
            metadata: metadata.into_iter().filter(|it| it.0 != GRAPH).collect(),
        })
    }

    /// The numbers of a tensor that an operation names: they were checked to be there.
    pub(crate) fn numbers(&self, name: &str) -> &[f32] {
        self.tensors.get(name).map_or(&[], |it| &it.numbers)
    }

    /// Multiply-adds of one sample by weights, of all and of those that are not 0; attention's own are in both.
    pub fn multiplications(&self) -> [u64; 2] {
        let mut total = [0u64; 2];
        for (place, operation) in self.graph.operations.iter().enumerate() {
            let shape = self.shapes[place];
            let times = match (operation, shape) {
                (Operation::Attention { .. }, Shape::Tokens([tokens, features])) => {
                    let own = 2 * (tokens as u64).pow(2) * features as u64;
                    total = total.map(|it| it.saturating_add(own));
                    continue;
                }
                (Operation::Linear { .. }, Shape::Tokens([tokens, _])) => tokens,
                (Operation::Linear { .. }, _) => 1,
                (Operation::Convolution { .. }, shape) => {
                    shape.image().map_or(1, |[_, height, width]| height * width)
                }
                _ => continue,
            };
            let (Operation::Linear { layer, .. } | Operation::Convolution { layer, .. }) =
                operation
            else {
                continue;
            };
            let weights = self.numbers(&format!("{layer}.weight"));
            let alive = weights.iter().filter(|&&it| it != 0.0).count();
            for (total, count) in total.iter_mut().zip([weights.len(), alive]) {
                *total = total.saturating_add((count as u64).saturating_mul(times as u64));
            }
        }
        total
    }
}
