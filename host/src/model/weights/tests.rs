//! State_dicts and networks that do and do not fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tch::Tensor;

use super::file::{StateDict, Stored};
use super::fit::fit;
use super::*;
use crate::model::{Buffer, Graph, Held, Init, MODELS, Mode, Parameter, Role};
use crate::registry::find;

fn spec(classes: i64) -> InputSpec {
    InputSpec {
        shape: vec![6],
        classes,
        ..InputSpec::default()
    }
}

fn options(value: Value) -> Options {
    value.as_object().unwrap().clone()
}

fn mlp(classes: i64) -> Box<dyn Network> {
    let entry = find(MODELS, "mlp").unwrap();
    network(entry, &options(json!({"hidden": [4]})), &spec(classes)).unwrap()
}

fn stored(shape: &[i64], first: f32) -> Stored {
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count).map(|it| first + it as f32).collect();
    Stored {
        dtype: "F32".to_owned(),
        shape: shape.to_vec(),
        values: Some(values.into()),
    }
}

/// A network's own state_dict, each tensor beginning with another number.
fn dict(network: &dyn Network) -> StateDict {
    let parameters = network.parameters().iter();
    let parameters = parameters.map(|it| (it.name.clone(), it.shape.clone()));
    let buffers = network.buffers().iter();
    let buffers = buffers.map(|it| (it.name.clone(), vec![it.features]));
    let tensors = (parameters.chain(buffers).enumerate())
        .map(|(at, (name, shape))| (name, stored(&shape, at as f32)));
    let mut tensors: BTreeMap<String, Stored> = tensors.collect();
    let counter = Stored {
        dtype: "I64".to_owned(),
        shape: vec![],
        values: None,
    };
    tensors.insert("bn1.num_batches_tracked".to_owned(), counter);
    StateDict {
        tensors,
        prefix: String::new(),
    }
}

fn nothing(network: &dyn Network) -> Replaced {
    replaced(network, &ReplaceHead::default()).unwrap()
}

#[test]
fn a_state_dict_gives_every_parameter_and_statistic_its_values() {
    let network = mlp(3);
    let dict = dict(&*network);
    let expected = dict.tensors.clone();
    let (given, notes) = fit(&*network, dict, &nothing(&*network), true).unwrap();
    assert_eq!(notes, Vec::<String>::new());
    for (parameter, values) in network.parameters().iter().zip(&given.parameters) {
        assert_eq!(
            *values, expected[&parameter.name].values,
            "{}",
            parameter.name
        );
    }
    for (buffer, values) in network.buffers().iter().zip(&given.buffers) {
        assert_eq!(*values, expected[&buffer.name].values, "{}", buffer.name);
    }
    assert_eq!((given.parameters.len(), given.buffers.len()), (6, 2));
}

#[test]
fn all_that_does_not_fit_is_said_at_once() {
    let network = mlp(3);
    let mut wrong = dict(&*network);
    for name in ["fc1.bias", "bn1.running_mean"] {
        wrong.tensors.remove(name);
    }
    wrong
        .tensors
        .insert("fc2.weight".to_owned(), stored(&[7, 4], 0.0));
    wrong
        .tensors
        .insert("fc3.weight".to_owned(), stored(&[1], 0.0));
    wrong
        .tensors
        .insert("fc4.weight".to_owned(), stored(&[1], 0.0));
    let mut counts = stored(&[3], 0.0);
    (counts.dtype, counts.values) = ("I64".to_owned(), None);
    wrong.tensors.insert("fc2.bias".to_owned(), counts);
    let misfit = fit(&*network, wrong, &nothing(&*network), true).unwrap_err();
    assert_eq!(
        misfit.to_string(),
        "it lacks `fc1.bias`, `bn1.running_mean`; not the network's are `fc3.weight`, `fc4.weight`; \
         of another shape are `fc2.weight` [7, 4], expected [3, 4]; \
         not to be taken are `fc2.bias`, which is I64, expected F32: \
         name the file of this network; model.weights_strict = false takes what fits"
    );
}

#[test]
fn what_fits_is_taken_and_the_rest_is_told() {
    let network = mlp(3);
    let mut other = dict(&*mlp(7));
    other.tensors.remove("bn1.bias");
    let expected = other.tensors.clone();
    let (given, notes) = fit(&*network, other, &nothing(&*network), false).unwrap();
    let names = network.parameters().iter().map(|it| it.name.as_str());
    for (name, values) in names.zip(&given.parameters) {
        let is_left = ["bn1.bias", "fc2.weight", "fc2.bias"].contains(&name);
        let taken = (!is_left).then(|| expected[name].values.clone()).flatten();
        assert_eq!(*values, taken, "{name}");
    }
    let [note] = &notes[..] else {
        panic!("{notes:?}")
    };
    for said in [
        "lacks `bn1.bias`",
        "`fc2.weight` [7, 4], expected [3, 4]",
        "`fc2.bias` [7]",
    ] {
        assert!(note.contains(said), "{note}");
    }
    // Of another network nothing is taken, which nobody means.
    let mut foreign = StateDict::default();
    foreign
        .tensors
        .insert("conv1.weight".to_owned(), stored(&[1], 0.0));
    let misfit = fit(&*network, foreign, &nothing(&*network), false).unwrap_err();
    assert!(
        misfit
            .to_string()
            .contains("nothing of it is this network's"),
        "{misfit}"
    );
}

#[test]
fn an_output_layer_of_another_size_is_asked_about_and_then_drawn_anew() {
    let network = mlp(3);
    let misfit = fit(&*network, dict(&*mlp(7)), &nothing(&*network), true).unwrap_err();
    assert!(
        misfit.advice.starts_with("model.replace_head = true"),
        "{misfit}"
    );
    for asked in [
        ReplaceHead::Found(true),
        ReplaceHead::Named(vec!["fc2".to_owned()]),
        ReplaceHead::Named(vec!["fc2.*".to_owned()]),
    ] {
        let replaced = replaced(&*network, &asked).unwrap();
        let (given, notes) = fit(&*network, dict(&*mlp(7)), &replaced, true).unwrap();
        let names = network.parameters().iter().map(|it| it.name.as_str());
        for (name, values) in names.zip(&given.parameters) {
            assert_eq!(
                values.is_none(),
                name.starts_with("fc2."),
                "{asked:?} {name}"
            );
        }
        assert_eq!(notes, ["drawn anew are `fc2.weight`, `fc2.bias`"]);
    }
    let unknown = ReplaceHead::Named(vec!["fc9".to_owned()]);
    let error = replaced(&*network, &unknown).unwrap_err().to_string();
    assert!(
        error.contains("`fc9`") && error.contains("fc2.weight"),
        "{error}"
    );
}

#[test]
fn numbers_that_are_none_are_refused_in_any_case() {
    let network = mlp(3);
    let mut broken = dict(&*network);
    let bias = broken.tensors.get_mut("fc1.bias").unwrap();
    bias.values = Some(Arc::from([0.0, f32::NAN, 1.0, 2.0]));
    for strict in [true, false] {
        let broken = StateDict {
            tensors: broken.tensors.clone(),
            prefix: String::new(),
        };
        let misfit = fit(&*network, broken, &nothing(&*network), strict).unwrap_err();
        assert!(
            misfit
                .to_string()
                .contains("`fc1.bias`, whose element 1 is NaN"),
            "{misfit}"
        );
    }
}

/// A network with a tensor of two names, and one that is not trained.
struct Tied([Parameter; 1]);

impl Network for Tied {
    fn parameters(&self) -> &[Parameter] {
        &self.0
    }

    fn buffers(&self) -> &[Buffer] {
        &[]
    }

    fn graph(&self) -> Graph {
        Graph::of_input().0
    }

    fn held(&self) -> Vec<(String, Held)> {
        vec![
            (
                "head.weight".to_owned(),
                Held::Tied("embedding.weight".to_owned()),
            ),
            (
                "scale".to_owned(),
                Held::Constant(Tensor::from_slice(&[2f32])),
            ),
        ]
    }

    fn forward(&self, _: &[Tensor], _: &[Tensor], input: &Tensor, _: Mode<'_>) -> Tensor {
        input.shallow_clone()
    }
}

#[test]
fn a_tensor_of_two_names_is_found_by_either_and_a_constant_has_to_be_the_same() {
    let network = Tied([Parameter {
        name: "embedding.weight".to_owned(),
        shape: vec![2],
        role: Role::FixedWeight,
        init: Init::Constant(0.0),
    }]);
    let own = stored(&[2], 5.0);
    let take = |tensors: &[(&str, Stored)]| {
        let tensors = tensors
            .iter()
            .map(|(name, it)| (name.to_string(), it.clone()));
        let dict = StateDict {
            tensors: tensors.collect(),
            prefix: String::new(),
        };
        let taken = fit(&network, dict, &nothing(&network), true);
        taken.map(|(given, _)| given.parameters[0].clone())
    };
    let (first, second) = ("embedding.weight", "head.weight");
    for names in [&[first][..], &[second], &[first, second]] {
        let tensors: Vec<_> = names.iter().map(|name| (*name, own.clone())).collect();
        assert_eq!(take(&tensors).unwrap(), own.values, "{names:?}");
    }
    let two = take(&[(first, own.clone()), (second, stored(&[2], 6.0))]).unwrap_err();
    assert!(
        two.to_string().contains("one tensor in the network"),
        "{two}"
    );
    let scale = |value: f32| take(&[(first, own.clone()), ("scale", stored(&[1], value))]);
    assert_eq!(scale(2.0).unwrap(), own.values);
    let other = scale(3.0).unwrap_err();
    assert!(
        other.to_string().contains("`scale`, which training leaves"),
        "{other}"
    );
}

#[test]
fn every_model_takes_the_options_of_a_start_beside_its_own() {
    for entry in MODELS {
        let schema = with_start((entry.schema)()).to_value();
        for key in [
            "weights",
            "weights_blake3",
            "weights_strict",
            "replace_head",
        ] {
            assert!(
                schema["properties"][key].is_object(),
                "{} {key}",
                entry.name
            );
        }
        assert_eq!(schema["properties"]["weights"]["x-file"], "weights_blake3");
        assert_eq!(schema["properties"]["replace_head"]["default"], false);
    }
    let entry = find(MODELS, "mlp").unwrap();
    let given = options(json!({"hidden": [4], "weights": "w", "replace_head": ["fc2"]}));
    let (own, start) = split(entry, &given).unwrap();
    assert_eq!(own, options(json!({"hidden": [4]})));
    assert_eq!(start.weights, Some("w".into()));
    assert!(start.weights_strict && start.replace_head.is_asked());
    // An archive's own reader has to know of its output layer.
    let archive = find(MODELS, "pt2").unwrap();
    let given = options(json!({"file": "net.pt2", "replace_head": true, "weights": "w"}));
    let (own, _) = split(archive, &given).unwrap();
    assert_eq!(
        own,
        options(json!({"file": "net.pt2", "replace_head": true}))
    );
}
