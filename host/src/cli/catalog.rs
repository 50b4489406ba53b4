//! What an experiment file may name: the host's registries and the plugins.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use plugin_api::abi::wire::ComponentKind;
use plugin_api::schemars::Schema;

use crate::experiment::{self, Catalog, ComponentInfo, Kind, Part, PluginInfo, PluginSource, Slot};
use crate::registry::{Entry, Options, find};
use crate::strategy::{LoadError, Loader, Plugin};
use crate::{data, model, optimizer, schedule};

/// The host's registries and a loader of plugins.
pub struct HostCatalog {
    loader: RefCell<Loader>,
    /// The plugins that the experiment uses, from where it says they are.
    used: RefCell<BTreeMap<String, Rc<Plugin>>>,
}

impl HostCatalog {
    /// The catalog of the running program.
    pub fn new() -> Self {
        Self {
            loader: RefCell::new(Loader::for_this_program()),
            used: RefCell::default(),
        }
    }

    /// A plugin, loaded.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn load(&self, name: &str, source: Option<&PluginSource>) -> Result<Rc<Plugin>, LoadError> {
        self.loader.borrow_mut().load(name, source)
    }

    /// The plugins that a strategy uses, by name.
    ///
    /// # Errors
    /// Why one cannot be used.
    pub fn plugins_of(
        &self,
        experiment: &experiment::Experiment,
    ) -> Result<BTreeMap<String, Rc<Plugin>>, LoadError> {
        let strategy = &experiment.strategy;
        let parts = [&strategy.score, &strategy.mask]
            .into_iter()
            .chain(&strategy.rewind);
        parts
            .map(|part| {
                let (name, _) = part.names();
                Ok((
                    name.to_owned(),
                    self.load(name, experiment.plugins.get(name))?,
                ))
            })
            .collect()
    }
}

fn schema_of<Build>(entries: &[Entry<Build>], name: &str) -> Option<Schema> {
    find(entries, name).map(|entry| (entry.schema)())
}

fn names<Build>(entries: &[Entry<Build>]) -> Vec<String> {
    entries.iter().map(|entry| entry.name.to_owned()).collect()
}

impl Catalog for HostCatalog {
    fn schema(&self, kind: Kind, name: &str) -> Option<Schema> {
        match kind {
            Kind::Data => schema_of(data::DATASETS, name),
            Kind::Model => schema_of(model::MODELS, name),
            Kind::Optimizer => schema_of(optimizer::OPTIMIZERS, name),
            Kind::Schedule => schema_of(schedule::SCHEDULES, name),
        }
    }

    fn known(&self, kind: Kind) -> Vec<String> {
        match kind {
            Kind::Data => names(data::DATASETS),
            Kind::Model => names(model::MODELS),
            Kind::Optimizer => names(optimizer::OPTIMIZERS),
            Kind::Schedule => names(schedule::SCHEDULES),
        }
    }

    fn plugin(&self, name: &str, source: Option<&PluginSource>) -> Result<PluginInfo, String> {
        let plugin = self.load(name, source).map_err(|error| {
            // The diagnostic around it names the plugin already.
            let text = error.to_string();
            let own = format!("plugin `{name}`: ");
            text.strip_prefix(&own).map_or(text.clone(), str::to_owned)
        })?;
        let mut used = self.used.borrow_mut();
        used.insert(name.to_owned(), plugin.clone());
        let manifest = &plugin.manifest;
        let component = |component: &plugin_api::abi::wire::ComponentManifest| ComponentInfo {
            slot: match component.kind {
                ComponentKind::Score => Slot::Score,
                ComponentKind::Mask => Slot::Mask,
                ComponentKind::Rewind => Slot::Rewind,
            },
            name: component.name.clone(),
            schema: component.schema.clone(),
        };
        let part = |name: &String| Part {
            component: name.clone(),
            options: Options::new(),
        };
        Ok(PluginInfo {
            version: manifest.version.clone(),
            components: manifest.components.iter().map(component).collect(),
            default: manifest
                .default
                .as_ref()
                .map(|default| experiment::Strategy {
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
            None => Ok(()), // It could not be loaded, which is reported already.
        }
    }

    fn known_plugins(&self) -> Vec<String> {
        self.loader.borrow().names()
    }
}
