//! Why an archive cannot be used.

use std::io;
use std::path::PathBuf;

use crate::tensor::Dtype;

/// Why an archive could not be opened, read or written. Says the file, what is wrong where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct ArchiveError {
    /// The archive.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file is out of reach.
    #[error("failed to read it: {0}")]
    Read(io::Error),
    /// A copy is out of reach.
    #[error("failed to write a copy: {0}")]
    Write(io::Error),
    /// It is another kind of file.
    #[error(
        "it is no zip archive, expected what `rewind_export(model, example, \"net.pt2\")` writes"
    )]
    NotZip,
    /// It is not whole.
    #[error("it is cut short ({0}); copy it once more, or export the network again")]
    Short(String),
    /// It is not what it says.
    #[error("it is damaged: {place}: {reason}; copy it once more, or export the network again")]
    Damaged {
        /// A record of the zip, or a graph with a node or value.
        place: String,
        /// How.
        reason: String,
    },
    /// A record is larger than anything of its kind.
    #[error("its record {record} has {bytes} bytes, expected at most {limit}")]
    Large {
        /// The record.
        record: String,
        /// Its length.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// Of another version.
    #[error(
        "its {what} is {got}, expected {expected}; export the network with another PyTorch (2.13 does)"
    )]
    Version {
        /// Version of what.
        what: &'static str,
        /// The archive's.
        got: String,
        /// What is understood.
        expected: &'static str,
    },
    /// It holds other graphs than expected.
    #[error(
        "it holds the graphs {}, expected `train` and `eval`, or `model`; write it with `rewind_export(model, example, \"net.pt2\")`",
        .found.join(", ")
    )]
    Graphs {
        /// Their names.
        found: Vec<String>,
    },
    /// The other file of a pair is not there.
    #[error(
        "its other half {missing} is not there; put both beside each other, or export the network again"
    )]
    Half {
        /// The file.
        missing: PathBuf,
    },
    /// One graph cannot stand for both modes.
    #[error(
        "it holds one graph, and in that the nodes {} depend on the mode of the network; write both graphs with `rewind_export(model, example, \"net.pt2\")`",
        .nodes.join(", ")
    )]
    Mode {
        /// Some of the nodes, each with what it calls.
        nodes: Vec<String>,
    },
    /// The two graphs are not of one network.
    #[error(
        "its graphs `train` and `eval` differ in {name}: {how}; export both from one model, one after the other, with `rewind_export(model, example, \"net.pt2\")`"
    )]
    Differ {
        /// Of a parameter, a buffer, or `the input`.
        name: String,
        /// How.
        how: String,
    },
    /// Control flow or a block with a context.
    #[error(
        "graph `{graph}`, node {node}: {operator} runs a graph within the graph; take `torch.no_grad`, `torch.autocast` and `torch.cond` out of the network's forward (`x.detach()` stops gradients, too)"
    )]
    HigherOrder {
        /// Which graph.
        graph: String,
        /// Its node.
        node: String,
        /// What the node calls.
        operator: String,
    },
    /// A size that follows from the numbers in a tensor.
    #[error(
        "graph `{graph}`, {place}: the size {symbol} depends on the numbers in a tensor; take `.item()`, `.nonzero()` and indexing with masks out of the network's forward (`torch.where` keeps sizes)"
    )]
    DataDependent {
        /// Which graph.
        graph: String,
        /// A node or value.
        place: String,
        /// The size.
        symbol: String,
    },
    /// An operator that is not libtorch's.
    #[error(
        "graph `{graph}`, node {node} calls {target}, which is no operator of libtorch; write the layer with functions of `torch` and `torch.nn.functional`"
    )]
    Operator {
        /// Which graph.
        graph: String,
        /// Its node.
        node: String,
        /// What the node calls.
        target: String,
    },
    /// An argument or result of a kind that cannot be kept.
    #[error(
        "graph `{graph}`, node {node}: {name} is {kind}, expected tensors, numbers and texts; write the layer with real numbers and dense tensors"
    )]
    Kind {
        /// Which graph.
        graph: String,
        /// Its node.
        node: String,
        /// Of the argument or result.
        name: String,
        /// What it is.
        kind: String,
    },
    /// A type of elements that nothing here computes with.
    #[error("the element type {} is not supported; make it real and dense: `model.float()`", name(*number))]
    Dtype {
        /// In the archive's format.
        number: u32,
    },
    /// Parameters in another precision.
    #[error(
        "the parameter {name} is {dtype}, expected float32; export `model.float()`, and say in the experiment in which precision to train"
    )]
    Precision {
        /// The parameter.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// A tensor that only its own class can read.
    #[error(
        "the tensor {name} is pickled, expected a plain one; export a network whose tensors are of no class of their own"
    )]
    Pickled {
        /// The tensor.
        name: String,
    },
    /// The batch has a fixed size.
    #[error(
        "graph `{graph}`: the {what} {value} has the shape {shape}, expected a batch of any size as its first dimension alone; export with an example of two or more samples and `dynamic_shapes=({{0: torch.export.Dim(\"batch\", min=1)}},)`, and fold no samples into the batch"
    )]
    Batch {
        /// Which graph.
        graph: String,
        /// `input` or `output`.
        what: &'static str,
        /// Its name.
        value: String,
        /// Its shape.
        shape: String,
    },
    /// Not one tensor goes in.
    #[error(
        "graph `{graph}` has the inputs {}, expected one tensor; export a module whose `forward(self, x)` takes the samples alone",
        .found.join(", ")
    )]
    Inputs {
        /// Which graph.
        graph: String,
        /// What they are.
        found: Vec<String>,
    },
    /// Not one tensor comes out.
    #[error(
        "graph `{graph}` has the outputs {}, expected one tensor of float32; export a module whose `forward(self, x)` returns the logits alone",
        .found.join(", ")
    )]
    Outputs {
        /// Which graph.
        graph: String,
        /// What they are.
        found: Vec<String>,
    },
    /// Two tensors share a part of their memory.
    #[error(
        "{first} and {second} share a part of their memory, and would not be trained as in PyTorch; give each its own: `model.{second}.data = model.{second}.data.clone()`"
    )]
    Shared {
        /// A state_dict name.
        first: String,
        /// Another one.
        second: String,
    },
    /// New values that do not fit.
    #[error("the new value of {name} {reason}")]
    NewValue {
        /// The state_dict name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Fault {
    /// With the file that it is about.
    pub(crate) fn of(self, path: &std::path::Path) -> ArchiveError {
        ArchiveError {
            path: path.to_owned(),
            fault: self,
        }
    }

    pub(crate) fn damaged(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Damaged {
            place: place.into(),
            reason: reason.into(),
        }
    }
}

/// PyTorch's names of the types that are refused.
fn name(number: u32) -> String {
    let known = match number {
        9 => "complex32",
        10 => "complex64",
        11 => "complex128",
        28 => "uint16",
        29 => "float8_e4m3fn",
        30 => "float8_e5m2",
        31 => "float8_e4m3fnuz",
        32 => "float8_e5m2fnuz",
        33 => "float8_e8m0fnu",
        34 => "uint32",
        35 => "uint64",
        _ => return format!("number {number}"),
    };
    known.to_owned()
}
