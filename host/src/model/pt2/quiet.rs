//! A training graph without its random part: what is dropped at random stays.

use ::pt2::{Argument, Node, Target};

use super::views::set;

/// The node as it is where nothing is drawn: dropouts give back what they read, and a mask of random zeros and
/// ones becomes its expectation, by which networks divide it. Noise around 0 becomes 0. What is left draws from
/// a generator that is seeded the same for every pass.
pub fn quiet(node: &Node) -> Node {
    let mut quiet = node.clone();
    let Target::Aten { name, overload } = &mut quiet.target else {
        return quiet;
    };
    let rename = |inputs: &mut Vec<(String, Argument)>, from: &str, to: &str| {
        inputs.retain(|(name, _)| name != "generator");
        for (name, _) in inputs.iter_mut().filter(|(name, _)| name == from) {
            *name = to.to_owned();
        }
    };
    match (name.trim_end_matches('_'), overload.as_str()) {
        (
            "dropout"
            | "feature_dropout"
            | "alpha_dropout"
            | "feature_alpha_dropout"
            | "native_dropout"
            | "lstm"
            | "gru"
            | "rnn_tanh"
            | "rnn_relu",
            _,
        ) => set(&mut quiet.inputs, "train", Argument::Bool(false)),
        ("rrelu", _) => set(&mut quiet.inputs, "training", Argument::Bool(false)),
        ("scaled_dot_product_attention", _) => {
            set(&mut quiet.inputs, "dropout_p", Argument::Float(0.0));
        }
        ("bernoulli", "float") if name.ends_with('_') => {
            *name = "fill_".to_owned();
            *overload = "Scalar".to_owned();
            rename(&mut quiet.inputs, "p", "value");
            // An archive leaves out what equals the operation's default.
            if quiet.inputs.iter().all(|(name, _)| name != "value") {
                set(&mut quiet.inputs, "value", Argument::Float(0.5));
            }
        }
        ("bernoulli", "p") => {
            *name = "full_like".to_owned();
            overload.clear();
            rename(&mut quiet.inputs, "p", "fill_value");
        }
        ("bernoulli", "") if !name.ends_with('_') => {
            *name = "clone".to_owned();
            rename(&mut quiet.inputs, "", "");
        }
        ("randn_like", "") => *name = "zeros_like".to_owned(),
        ("randn", "") => *name = "zeros".to_owned(),
        _ => {}
    }
    quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_that_an_archive_leaves_out_is_the_operations_default() {
        let drawn = |inputs: &[(&str, Argument)]| Node {
            name: "bernoulli_".to_owned(),
            target: Target::Aten {
                name: "bernoulli_".to_owned(),
                overload: "float".to_owned(),
            },
            inputs: (inputs.iter())
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            outputs: Vec::new(),
        };
        for (given, expected) in [(Some(0.75), 0.75), (None, 0.5)] {
            let given = given.map(|p| ("p", Argument::Float(p)));
            let node = quiet(&drawn(given.as_slice()));
            assert!(matches!(&node.target, Target::Aten { name, .. } if name == "fill_"));
            assert!(
                matches!(node.argument("value"), Some(Argument::Float(p)) if *p == expected),
                "{node:?}"
            );
        }
    }
}
