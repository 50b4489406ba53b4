//! The blocks that residual networks are made of.

use tch::Tensor;

use super::parts::{Assembly, Convolution, Norm, Pass};
use super::{Graph, Operation, Value};

/// A kind of block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Kernels of its convolutions.
    kernels: &'static [i64],
    /// Which of them has the block's stride.
    strided: usize,
    /// Channels of the output for each of the convolutions before the last.
    pub expansion: i64,
}

/// Two convolutions of 3x3.
pub(super) const BASIC: Kind = Kind {
    kernels: &[3, 3],
    strided: 0,
    expansion: 1,
};

/// A convolution of 3x3 between two of 1x1, the last of which widens.
pub(super) const BOTTLENECK: Kind = Kind {
    kernels: &[1, 3, 1],
    strided: 1,
    expansion: 4,
};

/// A convolution and its batch norm.
#[derive(Debug)]
pub(super) struct Unit {
    convolution: Convolution,
    norm: Norm,
}

impl Unit {
    /// The two in this order.
    pub(super) fn new(convolution: Convolution, norm: Norm) -> Self {
        Self { convolution, norm }
    }

    /// Its part in the description of what the network computes.
    pub(super) fn describe(&self, assembly: &Assembly, graph: &mut Graph, from: Value) -> Value {
        let convolved = self.convolution.describe(assembly, graph, from);
        self.norm.describe(assembly, graph, convolved)
    }

    /// `[batch, in, height, width]` to `[batch, out, ...]`.
    pub(super) fn forward(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        self.norm
            .forward(pass, self.convolution.forward(pass, input))
    }

    /// [`forward`](Unit::forward) and then a ReLU.
    pub(super) fn forward_relu(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        self.norm
            .forward_relu(pass, self.convolution.forward(pass, input))
    }

    /// [`forward`](Unit::forward), the addition of `shortcut`, and then a ReLU.
    fn join(&self, pass: Pass<'_>, input: &Tensor, shortcut: &Tensor) -> Tensor {
        let convolved = self.convolution.forward(pass, input);
        self.norm.join(pass, convolved, shortcut)
    }
}

/// Convolutions and a shortcut around them, which is a projection where the shape changes.
#[derive(Debug)]
pub(super) struct Block {
    first: Vec<Unit>,
    last: Unit,
    projection: Option<Unit>,
}

impl Block {
    /// The block called `name` from so many channels to so many within it.
    pub(super) fn new(
        assembly: &mut Assembly,
        name: &str,
        kind: Kind,
        [inputs, inner]: [i64; 2],
        stride: i64,
    ) -> Self {
        let outputs = inner * kind.expansion;
        let mut unit = |conv: &str, norm: &str, channels, kernel, stride| {
            Unit::new(
                assembly
                    .conv2d(&format!("{name}.{conv}"), channels, kernel)
                    .stride(stride),
                assembly.norm(&format!("{name}.{norm}"), channels[1]),
            )
        };
        let count = kind.kernels.len();
        let mut units = (1..=count).zip(kind.kernels).map(|(i, &kernel)| {
            let from = if i == 1 { inputs } else { inner };
            let to = if i == count { outputs } else { inner };
            let stride = if i == kind.strided + 1 { stride } else { 1 };
            unit(
                &format!("conv{i}"),
                &format!("bn{i}"),
                [from, to],
                kernel,
                stride,
            )
        });
        let first = units.by_ref().take(count - 1).collect();
        let last = units.next().expect("a kind has a last convolution");
        drop(units);
        let projection = (stride != 1 || inputs != outputs)
            .then(|| unit("downsample.0", "downsample.1", [inputs, outputs], 1, stride));
        Self {
            first,
            last,
            projection,
        }
    }

    /// The batch norm at the end of the residual branch.
    pub(super) fn last_norm(&self) -> &Norm {
        &self.last.norm
    }

    /// Its part in the description of what the network computes.
    pub(super) fn describe(&self, assembly: &Assembly, graph: &mut Graph, input: Value) -> Value {
        let mut branch = input;
        for unit in &self.first {
            branch = unit.describe(assembly, graph, branch);
            branch = graph.add(Operation::Relu(branch));
        }
        branch = self.last.describe(assembly, graph, branch);
        let shortcut = match &self.projection {
            Some(projection) => projection.describe(assembly, graph, input),
            None => input,
        };
        let sum = graph.add(Operation::Sum([branch, shortcut]));
        graph.add(Operation::Relu(sum))
    }

    /// `[batch, in, height, width]` to `[batch, out, ...]`.
    pub(super) fn forward(&self, pass: Pass<'_>, input: &Tensor) -> Tensor {
        let mut x = input.shallow_clone();
        for unit in &self.first {
            x = unit.forward_relu(pass, &x);
        }
        match &self.projection {
            Some(projection) => self.last.join(pass, &x, &projection.forward(pass, input)),
            None => self.last.join(pass, &x, input),
        }
    }
}
