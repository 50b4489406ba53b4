//! What a program does, step by step, on values of known layouts.

use crate::kernels::{Groups, Rows, Segments};

/// A value, or room that a step needs for itself.
pub type Slot = usize;

/// Numbers that lie side by side where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where they come from.
    pub from: u32,
    /// Where they go.
    pub to: u32,
    /// How many, each of all lanes.
    pub count: u32,
    /// From one to the next where they come from, in lanes.
    pub step: u32,
}

/// The runs of numbers that go from some places to others, where they lie in the same order.
pub fn runs(from: &[usize], to: &[usize], lanes: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (&from, &to) in from.iter().zip(to) {
        let [from, to] = [from as u32, to as u32];
        let lanes = lanes as u32;
        match runs.last_mut() {
            Some(run)
                if to == run.to + run.count * lanes && from == run.from + run.count * lanes =>
            {
                run.count += 1;
            }
            _ => runs.push(Run {
                from,
                to,
                count: 1,
                step: 1,
            }),
        }
    }
    runs
}

/// Copies numbers between layouts.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What is read.
    pub from: Slot,
    /// What is written.
    pub to: Slot,
    /// The numbers.
    pub runs: Vec<Run>,
}

/// What follows a product.
#[derive(Clone, Copy, Debug)]
pub struct After {
    /// A value that is added.
    pub other: Option<Slot>,
    /// Whether what is negative becomes 0.
    pub relu: bool,
}

/// How a product with one column is computed.
#[derive(Debug)]
pub enum Single {
    /// At the survivors.
    Sparse(Groups),
    /// The same, by numbers that are looked up.
    Segments(Segments),
    /// In full: numbers, length of a row, biases.
    Full(Vec<f32>, usize, Vec<f32>),
}

/// How a product of all positions is computed.
#[derive(Debug)]
pub enum Packed {
    /// Rows in blocks of some size, which share what they read.
    Blocks(Rows),
    /// Rows in groups, each of which reads for itself.
    Groups(Groups),
}

/// One step.
#[derive(Debug)]
pub enum Step {
    /// Moves numbers.
    Copy(Copy),
    /// Writes numbers that are always the same to these places.
    Put(Slot, Vec<(u32, f32)>),
    /// A product of all positions. Its candidates give the same numbers; one is left when it was measured.
    Product {
        /// What is read.
        from: Slot,
        /// What is written.
        to: Slot,
        /// Number of rows.
        rows: usize,
        /// The weight.
        candidates: Vec<Packed>,
        /// What follows.
        after: After,
    },
    /// A product with one column.
    Single {
        /// What is read.
        from: Slot,
        /// What is written.
        to: Slot,
        /// Number of rows.
        rows: usize,
        /// The weight.
        by: Single,
        /// What follows.
        after: After,
    },
    /// The greatest numbers that each position sees.
    Greatest {
        /// What is read.
        from: Slot,
        /// From a row that is read to the next.
        stride: usize,
        /// What is written.
        to: Slot,
        /// How far what is seen lies from the position.
        offsets: Vec<i32>,
    },
    /// The means over an image, or over tokens.
    Mean(Slot, Slot),
    /// The sum of two values of one layout, and its ReLU.
    Add([Slot; 2], Slot, bool),
    /// A value plus numbers that are always the same, of the same layout.
    Shift(Slot, Slot, Vec<f32>),
    /// ReLU.
    Relu(Slot, Slot),
    /// GELU.
    Gelu(Slot, Slot),
    /// Scale and shift of each row, and the ReLU.
    Scale(Slot, Slot, Vec<[f32; 2]>, bool),
    /// A layer norm.
    LayerNorm {
        /// What is read.
        from: Slot,
        /// What is written.
        to: Slot,
        /// One a row.
        weight: Vec<f32>,
        /// One a row.
        bias: Vec<f32>,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Attention of so many heads.
    Attention(Slot, Slot, usize),
}

impl Step {
    /// In how many ways it can be computed.
    pub fn candidates(&self) -> usize {
        match self {
            Self::Product { candidates, .. } => candidates.len(),
            _ => 1,
        }
    }

    /// Leaves one of the ways.
    pub fn keep(&mut self, candidate: usize) {
        if let Self::Product { candidates, .. } = self {
            *candidates = vec![candidates.swap_remove(candidate)];
        }
    }

    /// What it is, and how it is computed.
    pub fn describe(&self) -> String {
        match self {
            Self::Copy(_) => "copy".to_owned(),
            Self::Put(..) => "put".to_owned(),
            Self::Product {
                rows, candidates, ..
            } => match candidates.first() {
                Some(Packed::Blocks(packed)) => {
                    format!("product by {} rows of {rows}", packed.block)
                }
                Some(Packed::Groups(_)) => format!("product by groups of {rows} rows"),
                None => "product".to_owned(),
            },
            Self::Single { by, .. } => match by {
                Single::Sparse(_) => "single product at the survivors".to_owned(),
                Single::Segments(_) => "single product at the survivors, looked up".to_owned(),
                Single::Full(..) => "single product in full".to_owned(),
            },
            Self::Greatest { .. } => "greatest of windows".to_owned(),
            Self::Mean(..) => "mean".to_owned(),
            Self::Add(..) => "sum".to_owned(),
            Self::Shift(..) => "shift".to_owned(),
            Self::Relu(..) => "relu".to_owned(),
            Self::Gelu(..) => "gelu".to_owned(),
            Self::Scale(..) => "scale".to_owned(),
            Self::LayerNorm { .. } => "layer norm".to_owned(),
            Self::Attention(..) => "attention".to_owned(),
        }
    }

    /// The slots that it reads, and the one that it writes.
    pub fn slots(&self) -> (Vec<Slot>, Slot) {
        match self {
            Self::Copy(copy) => (vec![copy.from], copy.to),
            Self::Put(to, _) => (vec![*to], *to),
            Self::Product {
                from, to, after, ..
            }
            | Self::Single {
                from, to, after, ..
            } => (vec![*from, after.other.unwrap_or(*from)], *to),
            Self::Greatest { from, to, .. }
            | Self::Mean(from, to)
            | Self::Shift(from, to, _)
            | Self::Relu(from, to)
            | Self::Gelu(from, to)
            | Self::Scale(from, to, ..)
            | Self::LayerNorm { from, to, .. }
            | Self::Attention(from, to, _) => (vec![*from], *to),
            Self::Add(from, to, _) => (from.to_vec(), *to),
        }
    }
}
