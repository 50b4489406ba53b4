//! The experiment files in the repository.

use std::path::Path;

use plugin_api::schemars::Schema;

use super::{Fake, load};
use crate::experiment::{Catalog, Kind, PluginInfo, PluginSource};
use crate::run::registered;

/// The host's own components, with plugins that need not be built.
pub struct Shipped;

impl Catalog for Shipped {
    fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        registered::schema(kind, name)
    }

    fn known(&self, _: Kind) -> Vec<String> {
        Vec::new()
    }

    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String> {
        Fake.plugin(name, source)
    }

    fn known_plugins(&self) -> Vec<String> {
        Fake.known_plugins()
    }
}

#[test]
fn the_convolution_net_is_trained_with_its_own_rate_and_the_inherited_momentum() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/mnist1d-cnn-wr.toml");
    let experiment = load(&path, &[], &Shipped).unwrap().experiment;
    let optimizer = &experiment.train.optimizer.options;
    assert_eq!(optimizer["lr"], 0.2);
    assert_eq!(optimizer["momentum"], 0.9);
    assert_eq!(experiment.train.epochs, 15);
    assert_eq!(experiment.model.name, "cnn1d");
    assert!(!experiment.model.options.contains_key("hidden"));
    assert_eq!(experiment.strategy.rewind[0].options["to"], "3ep");
}
