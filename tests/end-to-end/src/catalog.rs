//! What experiment files may name, for tests that read them within their own process.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use host::experiment::{
    self, Catalog, ComponentInfo, Kind, Loaded, Part, PluginInfo, PluginSource, RunTarget, Slot,
};
use host::registry::{Entry, Options, find};
use host::strategy::{Loader, Plugin};
use host::{data, model, optimizer, schedule};
use plugin_api::abi::wire::ComponentKind;
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
        fn of<Build>(entries: &[Entry<Build>], name: &str) -> Option<Schema> {
            find(entries, name).map(|entry| (entry.schema)())
        }
        match kind {
            Kind::Data => of(data::DATASETS, name),
            Kind::Model => of(model::MODELS, name),
            Kind::Optimizer => of(optimizer::OPTIMIZERS, name),
            Kind::Schedule => of(schedule::SCHEDULES, name),
        }
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        fn of<Build>(entries: &[Entry<Build>]) -> Vec<String> {
            entries.iter().map(|entry| entry.name.to_owned()).collect()
        }
        match kind {
            Kind::Data => of(data::DATASETS),
            Kind::Model => of(model::MODELS),
            Kind::Optimizer => of(optimizer::OPTIMIZERS),
            Kind::Schedule => of(schedule::SCHEDULES),
        }
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
        let part = |name: &String| Part {
            component: name.clone(),
            options: Options::new(),
        };
        let manifest = &plugin.manifest;
        let components = manifest.components.iter().map(|component| ComponentInfo {
            slot: match component.kind {
                ComponentKind::Score => Slot::Score,
                ComponentKind::Mask => Slot::Mask,
                ComponentKind::Rewind => Slot::Rewind,
            },
            name: component.name.clone(),
            schema: component.schema.clone(),
        });
        Ok(PluginInfo {
            version: "1.2.3".to_owned(),
            components: components.collect(),
            default: (manifest.default.as_ref()).map(|default| experiment::Strategy {
                score: part(&default.score),
                mask: part(&default.mask),
                rewind: default.rewind.iter().map(part).collect(),
            }),
        })
    }

    fn validate(&self, slot: Slot, part: &Part) -> Result<(), String> {
        let kind = match slot {
            Slot::Score => ComponentKind::Score,
            Slot::Mask => ComponentKind::Mask,
            Slot::Rewind => ComponentKind::Rewind,
        };
        let (plugin, component) = part.names();
        match self.used.borrow().get(plugin) {
            Some(plugin) => plugin.validate(kind, component, &part.options),
            None => Ok(()),
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
