//! The output layer of an imported network, and drawing it anew with another number of outputs.

use ::pt2::{Archive, Argument, Graph, Mode, Node, Scalar, Source, ValueId};

use super::{NAME, views};
use crate::model::{ModelError, ReplaceHead};

/// Operations that give as many channels as they get, whatever the number.
const KEEPING: &[&str] = &[
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "alias",
    "avg_pool2d",
    "clone",
    "contiguous",
    "detach",
    "dropout",
    "feature_dropout",
    "flatten",
    "log_softmax",
    "mean",
    "relu",
    "softmax",
    "squeeze",
];

/// Layers whose weight has an output in each of its first dimension's places.
const LAYERS: &[&str] = &["conv1d", "conv2d", "conv3d", "linear"];

/// The layer whose outputs are the logits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its weight's place among the archive's parameters.
    pub weight: usize,
    /// Its bias's.
    pub bias: Option<usize>,
}

/// What of an archive's state is drawn anew.
#[derive(Clone, Debug, Default)]
pub struct Renewed {
    /// Places among the archive's parameters.
    pub parameters: Vec<usize>,
    /// Places among its buffers.
    pub buffers: Vec<usize>,
    /// The output layer, with the number of outputs that it gets.
    pub resized: Option<(Head, i64)>,
}

impl Renewed {
    /// What is asked for, for this many classes.
    ///
    /// # Errors
    /// If a name is none of the archive's, or its output layer cannot be drawn anew.
    pub fn of(archive: &Archive, asked: &ReplaceHead, classes: i64) -> Result<Self, ModelError> {
        let path = || archive.parts().next().map(|(_, path)| path.to_owned());
        let refuse = |reason: String| ModelError::FixedHead {
            path: path().unwrap_or_default(),
            reason,
        };
        let mut renewed = Self::default();
        if !asked.is_asked() {
            return Ok(renewed);
        }
        if let ReplaceHead::Named(names) = asked {
            let parameters = archive.parameters().iter().map(|it| it.name.as_str());
            let buffers = archive.buffers().iter().map(|it| it.name.as_str());
            let tensors: Vec<&str> = parameters.chain(buffers).collect();
            let chosen =
                ReplaceHead::named(names, &tensors).map_err(|source| ModelError::Head {
                    model: NAME,
                    source,
                })?;
            let (parameters, buffers) = chosen.split_at(archive.parameters().len());
            let places = |chosen: &[bool]| {
                let all = chosen.iter().enumerate();
                all.filter(|(_, it)| **it).map(|(at, _)| at).collect()
            };
            (renewed.parameters, renewed.buffers) = (places(parameters), places(buffers));
        }
        let head = match (asked, find(archive)) {
            (_, Ok(head)) => head,
            // What is named has the right number of outputs, or is refused for another number later.
            (ReplaceHead::Named(_), Err(_)) => return Ok(renewed),
            (ReplaceHead::Found(_), Err(reason)) => return Err(refuse(reason)),
        };
        if let ReplaceHead::Found(_) = asked {
            renewed.parameters = [Some(head.weight), head.bias]
                .into_iter()
                .flatten()
                .collect();
        }
        let outputs = archive.parameters()[head.weight].shape[0] as i64;
        if outputs != classes && renewed.parameters.contains(&head.weight) {
            renewed.resized = Some((head, classes));
        }
        Ok(renewed)
    }

    /// The shape that a parameter gets.
    pub fn shape(&self, parameter: usize, mut shape: Vec<i64>) -> Vec<i64> {
        if let Some((head, outputs)) = &self.resized
            && (parameter == head.weight || Some(parameter) == head.bias)
        {
            shape[0] = *outputs;
        }
        shape
    }
}

/// The output layer of both graphs.
///
/// # Errors
/// What stands where it should, and which line of Python makes one.
pub fn find(archive: &Archive) -> Result<Head, String> {
    let [train, eval] = [Mode::Train, Mode::Eval].map(|mode| of_graph(archive.graph(mode)));
    let (train, eval) = (train.map_err(advise)?, eval.map_err(advise)?);
    if train != eval {
        return Err(advise(
            "its graphs for training and evaluation end with other layers".to_owned(),
        ));
    }
    let name = &archive.parameters()[train.weight].name;
    let is_shared = |it: &::pt2::Parameter| {
        it.tied_to == Some(train.weight) || (train.bias.is_some() && it.tied_to == train.bias)
    };
    if let Some(other) = archive.parameters().iter().find(|it| is_shared(it)) {
        return Err(advise(format!(
            "its output layer's `{name}` is `{}` as well",
            other.name
        )));
    }
    Ok(train)
}

fn advise(reason: String) -> String {
    format!(
        "{reason}, so that its output layer cannot be drawn anew here: give the module a new one, such as \
         `model.fc = torch.nn.Linear(model.fc.in_features, classes)`, and export it"
    )
}

fn of_graph(graph: &Graph) -> Result<Head, String> {
    let (sources, reads) = (views::sources(graph), views::reads(graph));
    let parameter = |value: ValueId| match sources.get(&value) {
        Some(Source::Parameter(at)) if reads.get(&value) == Some(&1) => Some(*at),
        _ => None,
    };
    let mut value = graph.output;
    loop {
        let Some(node) = graph
            .nodes
            .iter()
            .find(|it| it.makes().any(|made| made == value))
        else {
            return Err("it gives back what it is given".to_owned());
        };
        let at = || format!("its node `{}` is {}", node.name, node.target);
        if readers(graph, value) > 1 {
            return Err(format!("what {} makes is read twice", node.name));
        }
        let name = views::name(node).unwrap_or_default();
        if LAYERS.contains(&name) {
            let weight = views::tensor(node, "weight").and_then(parameter);
            let bias = views::tensor(node, "bias");
            let bias = bias.map(|it| parameter(it).ok_or_else(at)).transpose()?;
            return match weight.filter(|_| groups(node) == 1) {
                Some(weight) => Ok(Head { weight, bias }),
                None => Err(format!("{}, of no weight of its own", at())),
            };
        }
        let plain = name.strip_suffix('_').unwrap_or(name);
        match views::first(node).filter(|_| KEEPING.contains(&plain)) {
            Some(from) => value = from,
            // A view names the sizes, the number of outputs among them.
            None if node.gives_back_elements() => {
                return Err(format!(
                    "{} with sizes written out behind the last layer, where `x.flatten(1)` takes any",
                    at()
                ));
            }
            None => return Err(format!("{} and stands behind the last layer", at())),
        }
    }
}

/// How often a value is used, checks of types and sizes apart.
fn readers(graph: &Graph, value: ValueId) -> usize {
    let is_check = |node: &Node| views::name(node).is_some_and(|it| it.starts_with("_assert"));
    let nodes = graph.nodes.iter().filter(|it| !is_check(it));
    let reading = nodes.filter(|it| it.reads().contains(&value)).count();
    reading + usize::from(graph.output == value)
}

fn groups(node: &Node) -> i64 {
    match node.argument("groups") {
        Some(Argument::Int(groups) | Argument::SymInt(Scalar::Fixed(groups))) => *groups,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ::pt2::{Output, Target};

    use super::*;

    fn archive(name: &str) -> Archive {
        let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let path: PathBuf = format!("{top}/experiments/networks/{name}.pt2").into();
        Archive::open(&path).unwrap()
    }

    /// The graph with an operation behind its output.
    fn followed(graph: &Graph, operation: &str) -> Graph {
        let mut graph = graph.clone();
        let made = ValueId(graph.values.len() as u32);
        graph.values.push(graph.value(graph.output).clone());
        graph.nodes.push(Node {
            name: "last".to_owned(),
            target: Target::Aten {
                name: operation.to_owned(),
                overload: String::new(),
            },
            inputs: vec![("self".to_owned(), Argument::Tensor(graph.output))],
            outputs: vec![Output::Value(made)],
        });
        graph.output = made;
        graph
    }

    #[test]
    fn the_output_layer_is_found_behind_what_takes_any_number_of_channels() {
        for (name, weight, bias) in [
            ("mlp", "6.weight", "6.bias"),
            ("vit", "head.weight", "head.bias"),
        ] {
            let archive = archive(name);
            let head = find(&archive).unwrap();
            let name_of = |at: usize| archive.parameters()[at].name.as_str();
            assert_eq!(name_of(head.weight), weight);
            assert_eq!(head.bias.map(name_of), Some(bias));
            let graph = archive.graph(Mode::Eval);
            for operation in ["log_softmax", "relu_", "flatten", "dropout"] {
                assert_eq!(
                    of_graph(&followed(graph, operation)),
                    Ok(head.clone()),
                    "{operation}"
                );
            }
        }
    }

    #[test]
    fn what_stands_in_the_way_of_another_number_of_outputs_is_named() {
        let archive = archive("mlp");
        let graph = archive.graph(Mode::Eval);
        let refused = of_graph(&followed(graph, "view")).unwrap_err();
        assert!(
            refused.contains("`last` is aten.view with sizes"),
            "{refused}"
        );
        let refused = of_graph(&followed(graph, "mul")).unwrap_err();
        assert!(
            refused.contains("`last` is aten.mul and stands behind"),
            "{refused}"
        );
        // What the layer makes is read besides.
        let mut twice = followed(graph, "relu");
        let last = twice.nodes[twice.nodes.len() - 1].clone();
        twice.nodes.push(Node {
            name: "other".to_owned(),
            outputs: Vec::new(),
            ..last
        });
        assert!(of_graph(&twice).unwrap_err().contains("is read twice"));
        // Its weight is another layer's as well.
        let mut shared = graph.clone();
        let linear = shared
            .nodes
            .iter()
            .rposition(|it| views::name(it) == Some("linear"));
        let linear = shared.nodes[linear.unwrap()].clone();
        shared.nodes.insert(0, linear);
        let refused = of_graph(&shared).unwrap_err();
        assert!(
            refused.contains("of no weight of its own") || refused.contains("aten.linear"),
            "{refused}"
        );
        assert!(advise(refused).contains("torch.nn.Linear"));
    }
}
