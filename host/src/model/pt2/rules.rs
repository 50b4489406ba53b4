//! What each of libtorch's operations does with units.

use ::pt2::{Argument, Node, ValueId};
use tch::Tensor;

use super::names::{BOTH, EACH, POOLS};
use super::topology::{ints, same};
use super::units::Walk;
use super::views;
use crate::model::units::Channels;

impl Walk<'_> {
    /// Follows a node that computes; whether it is one that is known, with arguments that are.
    pub(super) fn follow(&mut self, node: &Node) -> bool {
        let Some(name) = views::name(node) else {
            return false;
        };
        let Some(made) = node.makes().next() else {
            // Nothing comes of it, such as of a check of sizes.
            return name.starts_with("_assert") || name.starts_with("sym_constrain");
        };
        self.computed(node, name.trim_end_matches('_'), made)
            .is_some_and(|units| self.put(made, units).is_ok())
    }

    fn computed(&mut self, node: &Node, name: &str, made: ValueId) -> Option<Tensor> {
        let first = views::first(node)?;
        match name {
            "linear" | "conv1d" | "conv2d" | "conv3d" | "convolution" => {
                let value = self.values.get(&first)?.shallow_clone();
                match name {
                    "linear" => self.linear(node, &value),
                    _ => self.convolution(node, &value, made),
                }
            }
            "addmm" | "mm" | "matmul" | "bmm" => self.product(node, name, made),
            "scaled_dot_product_attention" => self.attention(node, made),
            "batch_norm" => {
                let value = self.values.get(&first)?.shallow_clone();
                let features = self.trace.along(&value, 1, &node.name);
                for part in ["weight", "bias", "running_mean", "running_var"] {
                    if let Some(tensor) =
                        views::tensor(node, part).and_then(|it| self.names.get(&it))
                    {
                        self.trace.follow(tensor, 0, &features);
                    }
                }
                Some(value)
            }
            "layer_norm" | "rms_norm" => {
                let value = self.values.get(&first)?.shallow_clone();
                let last = ints(node, "normalized_shape")?.len();
                self.trace
                    .normalise(&value, last, &self.named(node, "weight"));
                Some(value)
            }
            "group_norm" => {
                let value = self.values.get(&first)?.shallow_clone();
                let groups = ints(node, "num_groups")?.first().copied()?;
                let parts = value.reshape([groups, -1]);
                let weight = self.named(node, "weight");
                self.trace.normalise(&parts, 1, &weight);
                Some(value)
            }
            "softmax" | "log_softmax" | "_softmax" => {
                let value = self.values.get(&first)?.shallow_clone();
                let axis = ints(node, "dim")?.first().copied()?;
                let moved = value.movedim_int(axis, -1);
                self.trace.normalise(&moved, 1, name);
                Some(value)
            }
            "mean" | "sum" | "amax" | "amin" | "linalg_vector_norm" => {
                let value = self.values.get(&first)?.shallow_clone();
                let axes = ints(node, "dim").or_else(|| {
                    let all = matches!(node.argument("dim"), None | Some(Argument::None));
                    all.then(|| (0..value.dim() as i64).collect())
                })?;
                let kept = self.trace.reduce(&value, &axes, name);
                Some(kept.reshape(self.shape(made)?))
            }
            "glu" => {
                let value = self.values.get(&first)?.shallow_clone();
                let axis = same(node, "dim", -1)?;
                let parts = value.chunk(2, axis);
                Some(self.trace.combine(&parts[0], &parts[1]))
            }
            "embedding" => {
                let weight = self.names.get(&views::tensor(node, "weight")?)?.clone();
                let shape = self.shape(made)?;
                let size = *shape.last()?;
                Some(self.trace.embedding(&weight, size, &shape))
            }
            _ if POOLS.contains(&name) => {
                let value = self.values.get(&first)?.shallow_clone();
                let shape = self.shape(made)?;
                // Of a list of results the others are places.
                (shape.get(1) == value.size().get(1))
                    .then(|| self.trace.pool(&value, &shape[2..], name))
            }
            _ if EACH.contains(&name) => {
                let value = self.values.get(&first)?.shallow_clone();
                let shape = self.shape(made)?;
                (value.size() == shape).then_some(value)
            }
            _ if BOTH.contains(&name) => self.both(node, name, first, made),
            _ => None,
        }
    }

    /// How messages call the layer of a node: by the tensor of this argument, if it is a parameter.
    fn named(&self, node: &Node, argument: &str) -> String {
        let tensor = views::tensor(node, argument).and_then(|it| self.names.get(&it));
        let layer = tensor.map(|it| it.trim_end_matches(&format!(".{argument}")).to_owned());
        layer.unwrap_or_else(|| node.name.clone())
    }

    fn weight(&self, value: ValueId) -> Option<(String, Vec<i64>)> {
        let name = self.names.get(&value)?;
        let own = self.state.parameters.iter().find(|it| it.name == *name)?;
        Some((name.clone(), own.shape.clone()))
    }

    /// A layer's bias: none if it has none.
    fn bias(&self, node: &Node) -> Option<Option<String>> {
        match views::tensor(node, "bias") {
            None => Some(None),
            Some(bias) => Some(Some(self.names.get(&bias)?.clone())),
        }
    }

    fn linear(&mut self, node: &Node, value: &Tensor) -> Option<Tensor> {
        let (weight, shape) = self.weight(views::tensor(node, "weight")?)?;
        let bias = self.bias(node)?;
        let names = (weight.as_str(), bias.as_deref());
        let &[out, inner] = &shape[..] else {
            return None;
        };
        Some(self.trace.linear(names, [0, 1], [out, inner], value))
    }

    fn convolution(&mut self, node: &Node, value: &Tensor, made: ValueId) -> Option<Tensor> {
        let transposed = node.argument("transposed") == Some(&Argument::Bool(true));
        let (weight, shape) = self.weight(views::tensor(node, "weight")?)?;
        let bias = self.bias(node)?;
        let groups = same(node, "groups", 1)?;
        let places = self.shape(made)?;
        if transposed || value.dim() != shape.len() || groups < 1 {
            return None;
        }
        let channels = Channels {
            weight: &weight,
            bias: bias.as_deref(),
            sizes: [shape[0], shape[1]],
            groups,
        };
        Some(self.trace.convolution(&channels, value, &places[2..]))
    }

    /// A product of matrices: a layer, if the second one is a parameter, `[in, out]`; else of values.
    fn product(&mut self, node: &Node, name: &str, made: ValueId) -> Option<Tensor> {
        let [one, other] = match name {
            "addmm" => [views::tensor(node, "mat1")?, views::tensor(node, "mat2")?],
            "matmul" => [views::first(node)?, views::tensor(node, "other")?],
            _ => [views::first(node)?, views::tensor(node, "mat2")?],
        };
        let value = self.values.get(&one)?.shallow_clone();
        if let Some((weight, shape)) = self.weight(other) {
            let bias = match name {
                "addmm" => Some(self.names.get(&views::first(node)?)?.clone()),
                _ => None,
            };
            let &[inner, out] = &shape[..] else {
                return None;
            };
            let names = (weight.as_str(), bias.as_deref());
            return Some(self.trace.linear(names, [1, 0], [out, inner], &value));
        }
        let other = self.values.get(&other)?.shallow_clone();
        let (size, shape) = (value.size(), self.shape(made)?);
        let leading = size.len().checked_sub(2)?;
        let fits = name != "addmm" && other.size().get(..leading) == size.get(..leading);
        let fits = fits && shape.get(..leading) == size.get(..leading);
        fits.then(|| self.trace.attend(&[&value, &other], leading, &shape))
    }

    fn attention(&mut self, node: &Node, made: ValueId) -> Option<Tensor> {
        let mask = views::tensor(node, "attn_mask");
        if mask.is_some_and(|it| self.values.contains_key(&it)) {
            return None;
        }
        let mut parts = Vec::new();
        for part in ["query", "key", "value"] {
            let value = views::tensor(node, part)?;
            parts.push(self.values.get(&value)?.shallow_clone());
        }
        let leading = parts[0].dim().checked_sub(2)?;
        let same = |it: &Tensor| it.size().get(..leading) == parts[0].size().get(..leading);
        let shape = self.shape(made)?;
        let fits = parts.iter().all(same) && shape.get(..leading) == parts[0].size().get(..leading);
        let parts: Vec<&Tensor> = parts.iter().collect();
        fits.then(|| self.trace.attend(&parts, leading, &shape))
    }

    /// A sum, a product and the like of two: of two values, or of a value and what does not depend on the input.
    fn both(&mut self, node: &Node, name: &str, first: ValueId, made: ValueId) -> Option<Tensor> {
        let argument = if name == "prelu" { "weight" } else { "other" };
        let second = views::tensor(node, argument).or_else(|| views::tensor(node, "exponent"));
        let Some(second) = second else {
            // A number.
            let value = self.values.get(&first)?.shallow_clone();
            return (value.size() == self.shape(made)?).then_some(value);
        };
        let units = |it: ValueId| self.values.get(&it).map(Tensor::shallow_clone);
        match (units(first), units(second)) {
            // What is divided by a unit without values is none.
            (_, Some(_)) if name == "div" => None,
            (Some(one), Some(other)) => Some(self.trace.combine(&one, &other)),
            (Some(value), None) => self.with_constant(value, second, made),
            (None, Some(value)) => self.with_constant(value, first, made),
            (None, None) => None,
        }
    }

    /// A value with a constant added or multiplied, which follows the units if it is a parameter.
    fn with_constant(&mut self, value: Tensor, constant: ValueId, made: ValueId) -> Option<Tensor> {
        let shape = self.shape(made)?;
        let value = value.expand(&shape[..], false);
        if let (Some(name), Some(own)) = (self.names.get(&constant).cloned(), self.shape(constant))
        {
            for (axis, &size) in own.iter().enumerate() {
                let place = axis as i64 - own.len() as i64;
                if size > 1 && shape[(place + shape.len() as i64) as usize] == size {
                    let units = self.trace.alone(&value, place);
                    if let Some(units) = units {
                        self.trace.follow(&name, axis, &units);
                    }
                }
            }
        }
        Some(value)
    }
}
