//! What the host's registries and its plugins say of themselves, as experiment files are checked
//! against it.

use plugin_api::abi::wire::{ComponentKind, ComponentManifest};
use serde_json::Value;

use crate::experiment::{ComponentInfo, Part, PluginInfo, Slot, Strategy};
use crate::registry::Options;
use crate::strategy::Plugin;

pub use crate::experiment::registries::{known, schema};

/// What a plugin says of itself.
pub fn plugin(plugin: &Plugin) -> PluginInfo {
    let manifest = &plugin.manifest;
    let component = |component: &ComponentManifest| ComponentInfo {
        slot: match component.kind {
            ComponentKind::Score => Slot::Score,
            ComponentKind::Mask => Slot::Mask,
            ComponentKind::Rewind => Slot::Rewind,
            ComponentKind::Update => Slot::Update,
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
        digest: plugin.digest.clone(),
        components: manifest.components.iter().map(component).collect(),
        default: manifest.default.as_ref().map(|default| Strategy {
            score: part(&default.score),
            mask: part(&default.mask),
            rewind: default.rewind.iter().map(part).collect(),
            update: Vec::new(),
        }),
    }
}

/// The schema of a part's options where they follow from a file that one of them names.
///
/// # Errors
/// What is wrong with the file.
pub fn options(plugin: &Plugin, slot: Slot, part: &Part) -> Result<Option<Value>, String> {
    let (_, component) = part.names();
    let found = plugin.options(kind(slot), component, &part.options);
    found.map_err(|error| error.message.into_string())
}

/// Asks the plugin of a part whether it takes the part's options.
///
/// # Errors
/// What it says against them.
pub fn validate(plugin: &Plugin, slot: Slot, part: &Part) -> Result<(), String> {
    let (_, component) = part.names();
    plugin.validate(kind(slot), component, &part.options)
}

fn kind(slot: Slot) -> ComponentKind {
    match slot {
        Slot::Score => ComponentKind::Score,
        Slot::Mask => ComponentKind::Mask,
        Slot::Rewind => ComponentKind::Rewind,
        Slot::Update => ComponentKind::Update,
    }
}
