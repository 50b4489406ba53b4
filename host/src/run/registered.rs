//! What the host's registries and its plugins say of themselves, as experiment files are checked
//! against it.

use plugin_api::abi::wire::{ComponentKind, ComponentManifest};
use plugin_api::schemars::Schema;

use crate::experiment::{ComponentInfo, Kind, Part, PluginInfo, Slot, Strategy};
use crate::registry::{Entry, Options, find};
use crate::strategy::Plugin;
use crate::{data, model, optimizer, schedule};

/// The schema of a component's options.
pub fn schema(kind: Kind, name: &str) -> Option<Schema> {
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

/// The names of all components of a kind.
pub fn known(kind: Kind) -> Vec<String> {
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

/// What a plugin says of itself.
pub fn plugin(plugin: &Plugin) -> PluginInfo {
    let manifest = &plugin.manifest;
    let component = |component: &ComponentManifest| ComponentInfo {
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
    PluginInfo {
        version: manifest.version.clone(),
        components: manifest.components.iter().map(component).collect(),
        default: manifest.default.as_ref().map(|default| Strategy {
            score: part(&default.score),
            mask: part(&default.mask),
            rewind: default.rewind.iter().map(part).collect(),
        }),
    }
}

/// Asks the plugin of a part whether it takes the part's options.
///
/// # Errors
/// What it says against them.
pub fn validate(plugin: &Plugin, slot: Slot, part: &Part) -> Result<(), String> {
    let kind = match slot {
        Slot::Score => ComponentKind::Score,
        Slot::Mask => ComponentKind::Mask,
        Slot::Rewind => ComponentKind::Rewind,
    };
    let (_, component) = part.names();
    plugin.validate(kind, component, &part.options)
}
