//! A catalog with the components of the host and its plugins that the tests name.

use std::collections::BTreeMap;
use std::path::Path;

use plugin_api::schemars::{self, JsonSchema, Schema, schema_for};
use plugin_api::{Point, RunRef, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::experiment::Strategy;
use crate::experiment::{
    self, Catalog, ComponentInfo, Kind, Loaded, Part, PluginInfo, PluginSource, RunTarget, Slot,
};

pub struct Fake;

macro_rules! options {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty = $default:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        struct $name { $($(#[$attribute])* $field: $type),* }
        impl Default for $name {
            fn default() -> Self { Self { $($field: $default),* } }
        }
    };
}

options!(None_ {});
options!(Image {
    /// Random changes of the training images.
    augment: Option<Augment> = None,
    /// Folder of the files.
    #[schemars(extend("x-location" = true))]
    dir: Option<String> = None,
    /// Share that is held out.
    validation: Option<f64> = None,
});
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Augment {
    /// Width of the border in pixels.
    #[schemars(range(max = 16))]
    crop: u32,
    flip: bool,
}
options!(Mlp {
    /// Widths of the hidden layers.
    hidden: Vec<std::num::NonZeroU16> = Vec::new(),
    batch_norm: bool = true,
    init: Initialisation = Initialisation::Pytorch,
    dropout: f32 = 0.1,
    /// What stands between the layers.
    activation: Activation = Activation::Relu {},
});
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Initialisation {
    /// Uniform.
    Pytorch,
    /// Normal.
    KaimingNormal,
}
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Activation {
    Relu {},
    LeakyRelu { slope: f64 },
}
options!(Sgd {
    /// Learning rate, which the schedule scales.
    #[schemars(range(min = 0.0))]
    lr: f64 = 0.1,
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    momentum: f64 = 0.9,
    weight_decay: f64 = 0.0,
    nesterov: bool = false,
});
options!(Adamw {
    lr: f64 = 1e-3,
    betas: [f64; 2] = [0.9, 0.999],
});
options!(Cosine {
    /// Time over which the learning rate rises from 0.
    warmup: Step = Step::ZERO,
});
options!(StepDrop {
    milestones: Vec<Step> = Vec::new(),
    gamma: f64 = 0.1,
    warmup: Step = Step::ZERO,
});
options!(Weights {
    /// Where the weights go back to: "init" or a time of level 0 such as "4ep".
    #[schemars(regex(pattern = "^(init|[0-9]+(ep|it))$"))]
    to: String = "init".to_owned(),
});
options!(LearningRate {
    batch_norm_affine: String = "keep".to_owned(),
    batch_norm_statistics: String = "keep".to_owned(),
});
options!(Taken {
    run: RunRef = RunRef::default(),
    point: Option<Point> = None,
});
options!(Nested {
    distribution: Distribution = Distribution::Erk,
});
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Distribution {
    Uniform,
    Balanced,
    Erk,
}
/// Flips the signs of a random fraction of each layer's survivors.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Flip {
    /// Share of each layer's survivors that is flipped.
    #[schemars(range(min = 0.0, max = 1.0))]
    fraction: f64,
    #[serde(default)]
    levels: Option<Vec<u64>>,
    #[serde(default)]
    lasting: bool,
}

type Component = (Kind, &'static str, fn() -> Schema);

const COMPONENTS: &[Component] = &[
    (Kind::Data, "mnist1d", || schema_for!(None_)),
    (Kind::Data, "fashion-mnist", || schema_for!(Image)),
    (Kind::Data, "cifar10", || schema_for!(Image)),
    (Kind::Model, "mlp", || schema_for!(Mlp)),
    (Kind::Model, "lenet-300-100", || schema_for!(Lenet)),
    (Kind::Model, "cnn1d", || schema_for!(Convolution)),
    (Kind::Model, "resnet-20", || schema_for!(Convolution)),
    (Kind::Optimizer, "sgd", || schema_for!(Sgd)),
    (Kind::Optimizer, "adamw", || schema_for!(Adamw)),
    (Kind::Schedule, "constant", || schema_for!(Cosine)),
    (Kind::Schedule, "cosine", || schema_for!(Cosine)),
    (Kind::Schedule, "step", || schema_for!(StepDrop)),
];
options!(Lenet {
    init: Initialisation = Initialisation::Pytorch,
});
options!(Convolution {
    width: std::num::NonZeroU16 = std::num::NonZeroU16::MIN,
    init: Initialisation = Initialisation::Pytorch,
});

impl Catalog for Fake {
    fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        let found = COMPONENTS.iter().find(|it| it.0 == kind && it.1 == name);
        found.map(|it| it.2())
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        let of_kind = COMPONENTS.iter().filter(|it| it.0 == kind);
        of_kind.map(|it| it.1.to_owned()).collect()
    }

    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String> {
        let component = |slot, name: &str, schema: Schema| ComponentInfo {
            slot,
            name: name.to_owned(),
            schema: schema.to_value(),
        };
        let trio = |rewind: &str| Strategy {
            score: part("imp/magnitude"),
            mask: part("imp/global"),
            rewind: vec![part(rewind)],
            update: vec![],
        };
        let (components, default) = match name {
            "imp" => (
                vec![
                    component(Slot::Score, "magnitude", schema_for!(None_)),
                    component(Slot::Mask, "global", schema_for!(None_)),
                    component(Slot::Rewind, "weights", schema_for!(Weights)),
                ],
                Some(trio("imp/weights")),
            ),
            "lrr" => (
                vec![component(
                    Slot::Rewind,
                    "learning-rate",
                    schema_for!(LearningRate),
                )],
                Some(trio("lrr/learning-rate")),
            ),
            "random-mask" => (
                vec![
                    component(Slot::Score, "random", schema_for!(None_)),
                    component(Slot::Mask, "nested", schema_for!(Nested)),
                ],
                None,
            ),
            "sign-perturbation" => (
                vec![component(Slot::Rewind, "flip", schema_for!(Flip))],
                None,
            ),
            "transplant" => (
                vec![component(Slot::Mask, "levels", schema_for!(Taken))],
                None,
            ),
            "mine" => {
                let path = &source.expect("only `[plugins]` names it").path;
                assert!(path.is_absolute(), "{}", path.display());
                let schema = serde_json::json!({ "$ref": "#" });
                let endless = ComponentInfo {
                    slot: Slot::Score,
                    name: "endless".to_owned(),
                    schema,
                };
                (vec![endless], None)
            }
            "broken" => {
                return Err(
                    "it was built with plugin-api 0.9, this host has 1.0\nbuild it again".into(),
                );
            }
            _ => return Err("not found".to_owned()),
        };
        Ok(PluginInfo {
            version: "1.2.3".to_owned(),
            digest: "0123".to_owned(),
            components,
            default,
        })
    }

    fn validate(&self, _: Slot, part: &Part) -> Result<(), String> {
        match part.options.get("levels") {
            Some(Value::Array(levels)) if levels.contains(&Value::from(0)) => {
                Err("levels start at 1".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn run(&self, name: &str, _: &Path) -> Result<RunTarget, String> {
        match name {
            "gone" => Err("there is no run `gone`".to_owned()),
            name => Ok(RunTarget {
                folder: format!("runs/{name}"),
                identity: format!("identity of {name}"),
            }),
        }
    }

    fn run_of(&self, loaded: &Loaded) -> Result<RunTarget, String> {
        let identity = experiment::identity(loaded, "", None);
        Ok(RunTarget {
            folder: format!("runs/{}-{}", loaded.experiment.name, identity.short()),
            identity: identity.hash,
        })
    }

    fn known_plugins(&self) -> Vec<String> {
        let names = [
            "imp",
            "lrr",
            "random-mask",
            "sign-perturbation",
            "transplant",
            "broken",
        ];
        names.map(str::to_owned).into()
    }
}

fn part(component: &str) -> Part {
    serde_json::from_value(serde_json::json!(BTreeMap::from([("use", component)])))
        .expect("a part needs no options")
}
