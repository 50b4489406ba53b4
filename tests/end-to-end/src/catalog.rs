//! What experiment files may name, for tests that read them within their own process.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use host::experiment::{
    self, Catalog, Kind, Loaded, Part, PluginInfo, PluginSource, RunTarget, Slot,
};
use host::run::registered;
use host::strategy::{Loader, Plugin};
use plugin_api::schemars::Schema;

use crate::built;

/// The host's registries and the plugins of this test's own profile. Every plugin has the version 1.2.3
/// and every dataset the checksum [`CHECKSUM`]: then an identity is a function of the file and the
/// schemas alone.
pub struct Built {
    loader: RefCell<Loader>,
    used: RefCell<BTreeMap<String, Rc<Plugin>>>,
    /// What a loader finds by looking at files each time.
    known: OnceCell<Vec<String>>,
}

/// Stands for the checksum of any data.
pub const CHECKSUM: &str = "checksum";

impl Default for Built {
    fn default() -> Self {
        Self {
            loader: RefCell::new(built::loader(built::own())),
            used: RefCell::default(),
            known: OnceCell::new(),
        }
    }
}

impl Catalog for Built {
    fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        registered::schema(kind, name)
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        registered::known(kind)
    }

    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String> {
        let loaded = self.used.borrow().get(name).cloned();
        let plugin = match loaded {
            Some(plugin) => plugin,
            None => {
                let plugin = self.loader.borrow_mut().load(name, source);
                let plugin = plugin.map_err(|error| error.to_string())?;
                let mut used = self.used.borrow_mut();
                used.insert(name.to_owned(), plugin.clone());
                plugin
            }
        };
        Ok(PluginInfo {
            version: "1.2.3".to_owned(),
            ..registered::plugin(&plugin)
        })
    }

    fn validate(&self, slot: Slot, part: &Part) -> Result<(), String> {
        match self.used.borrow().get(part.names().0) {
            // A file of another language is not read here: its interpreter need not be there.
            Some(plugin) if plugin.named_script(part).is_none() => {
                registered::validate(plugin, slot, part)
            }
            _ => Ok(()),
        }
    }

    fn known_plugins(&self) -> Vec<String> {
        let known = self.known.get_or_init(|| self.loader.borrow().names());
        known.clone()
    }

    fn run_of(&self, loaded: &Loaded) -> Result<RunTarget, String> {
        let identity = experiment::identity(loaded, CHECKSUM, None);
        Ok(RunTarget {
            folder: format!("runs/{}-{}", loaded.experiment.name, identity.short()),
            identity: identity.hash,
        })
    }
}
