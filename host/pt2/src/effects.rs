//! What a graph does besides computing its output: what it draws, what it changes, what its mode decides.

use std::collections::{HashMap, HashSet};

use crate::graph::{Argument, Graph, Node, Source, Target, ValueId};
use crate::views;

/// Operators that draw random numbers, each also in its form that changes a tensor in place.
const RANDOM: &[&str] = &[
    "bernoulli",
    "binomial",
    "cauchy",
    "exponential",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "geometric",
    "log_normal",
    "multinomial",
    "normal",
    "normal_functional",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "random",
    "randperm",
    "uniform",
    "_sample_dirichlet",
    "_standard_gamma",
    "_fused_dropout",
];

/// Dropouts, with the names of their probability and of their switch.
const DROPOUTS: &[&str] = &[
    "alpha_dropout",
    "dropout",
    "feature_alpha_dropout",
    "feature_dropout",
    "native_dropout",
];

/// Attention with a dropout in it.
const ATTENTION: &[&str] = &[
    "scaled_dot_product_attention",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
];

/// Batch norms with a switch between the batch's statistics and the running ones.
const BATCH_NORMS: &[&str] = &[
    "batch_norm",
    "cudnn_batch_norm",
    "instance_norm",
    "miopen_batch_norm",
    "native_batch_norm",
    "_batch_norm_impl_index",
    "_batch_norm_with_update",
    "_batch_norm_with_update_functional",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional",
    "_native_batch_norm_legit_no_training",
];

/// Shortcuts that PyTorch takes in evaluation alone, without gradients.
const EVALUATION: &[&str] = &[
    "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
];

/// Recurrent layers, which have a dropout and a switch.
const RECURRENT: &[&str] = &[
    "gru",
    "lstm",
    "quantized_gru",
    "quantized_lstm",
    "rnn_relu",
    "rnn_tanh",
];

/// The operator's name without the mark of the form in place, and whether it has that.
fn operator(node: &Node) -> Option<(&str, bool)> {
    let Target::Aten { name, .. } = &node.target else {
        return None;
    };
    match name.strip_suffix('_') {
        // `__and__` and its like have two underscores on both sides.
        Some(plain) if !plain.ends_with('_') => Some((plain, true)),
        _ => Some((name, false)),
    }
}

fn is_true(node: &Node, name: &str) -> bool {
    matches!(node.argument(name), Some(Argument::Bool(true)))
}

/// A probability; 1 where it is computed.
fn probability(node: &Node, name: &str) -> f64 {
    match node.argument(name) {
        None => 0.0,
        Some(Argument::Float(it)) => *it,
        Some(Argument::Int(it)) => *it as f64,
        Some(_) => 1.0,
    }
}

impl Node {
    /// Whether it draws random numbers, so that the generator has to be seeded before.
    pub fn draws(&self) -> bool {
        let Some((name, _)) = operator(self) else {
            return false;
        };
        match name {
            name if RANDOM.contains(&name) => true,
            name if DROPOUTS.contains(&name) => {
                let off = matches!(self.argument("train"), Some(Argument::Bool(false)));
                !off && probability(self, "p") != 0.0
            }
            name if ATTENTION.contains(&name) => probability(self, "dropout_p") != 0.0,
            name if RECURRENT.contains(&name) => {
                is_true(self, "train") && probability(self, "dropout") != 0.0
            }
            "rrelu" | "rrelu_with_noise" | "rrelu_with_noise_functional" => {
                is_true(self, "training")
            }
            _ => false,
        }
    }

    /// Whether a network in the other mode would do something else here.
    pub fn depends_on_mode(&self) -> bool {
        let Some((name, _)) = operator(self) else {
            return false;
        };
        match name {
            name if DROPOUTS.contains(&name) => probability(self, "p") != 0.0,
            name if RECURRENT.contains(&name) => probability(self, "dropout") != 0.0,
            name if BATCH_NORMS.contains(&name) => {
                // Without running statistics it always takes the batch's.
                matches!(self.argument("running_mean"), Some(Argument::Tensor(_)))
            }
            "rrelu" | "rrelu_with_noise" | "rrelu_with_noise_functional" => true,
            name => EVALUATION.contains(&name) || self.draws(),
        }
    }

    /// The tensor that it changes and gives back, such as `relu_` does.
    pub fn changes_in_place(&self) -> Option<ValueId> {
        match (operator(self)?, self.inputs.first()?) {
            ((_, true), (_, Argument::Tensor(value))) => Some(*value),
            _ => None,
        }
    }

    /// What it writes to in place.
    fn writes(&self) -> Vec<ValueId> {
        let mut written = Vec::new();
        let mut tensors = |argument: &Argument| match argument {
            Argument::Tensor(value) => written.push(*value),
            Argument::Tensors(values) => written.extend(values),
            _ => {}
        };
        let Some((name, in_place)) = operator(self) else {
            return written;
        };
        if in_place && let Some((_, argument)) = self.inputs.first() {
            tensors(argument);
        }
        if let Some(out) = self.argument("out") {
            tensors(out);
        }
        let updates = BATCH_NORMS.contains(&name) && !name.ends_with("functional");
        let updates = updates && (is_true(self, "training") || is_true(self, "use_input_stats"));
        if updates || name == "_batch_norm_with_update" {
            for name in ["running_mean", "running_var"] {
                self.argument(name).into_iter().for_each(&mut tensors);
            }
        }
        written
    }
}

impl Graph {
    /// What the graph is given and changes: in place, or by [`Graph::updates`]. Whoever passes the samples
    /// makes a copy if [`Source::Input`] is among them.
    pub fn changes(&self) -> Vec<Source> {
        let mut origins: HashMap<ValueId, Source> = HashMap::new();
        origins.extend(self.inputs.iter().map(|input| (input.value, input.source)));
        let mut changed: Vec<Source> = self.updates.iter().map(|update| update.target).collect();
        for node in &self.nodes {
            let written = node.writes();
            changed.extend(written.iter().filter_map(|value| origins.get(value)));
            let Some((name, in_place)) = operator(node) else {
                continue;
            };
            let same = in_place || views::is_view(name);
            if let Some((_, Argument::Tensor(value))) = node.inputs.first()
                && same
                && let Some(&origin) = origins.get(value)
            {
                origins.extend(node.makes().map(|made| (made, origin)));
            }
        }
        let mut seen = HashSet::new();
        changed.retain(|source| seen.insert(*source));
        changed
    }

    /// The nodes that would do something else in the network's other mode.
    pub fn nodes_of_mode(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.depends_on_mode())
    }

    /// Whether a pass draws random numbers.
    pub fn draws(&self) -> bool {
        self.nodes.iter().any(Node::draws)
    }
}
