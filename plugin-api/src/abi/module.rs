//! The root module of a plugin.

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RStr, RString};

use super::{AbiResult, MaskUpdateBox, RewindBox, ScorerBox};

/// What a plugin exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModuleRef)))]
#[sabi(missing_field(panic))]
pub struct PluginModule {
    /// The plugin's [`Manifest`](super::wire::Manifest) as JSON.
    pub manifest: extern "C" fn() -> AbiResult<RString>,
    /// A scorer by its name, with its options as JSON.
    pub scorer: extern "C" fn(name: RStr<'_>, options: RStr<'_>) -> AbiResult<ScorerBox>,
    /// A mask update by its name, with its options as JSON.
    pub mask_update: extern "C" fn(name: RStr<'_>, options: RStr<'_>) -> AbiResult<MaskUpdateBox>,
    /// A rewind policy by its name, with its options as JSON.
    #[sabi(last_prefix_field)]
    pub rewind: extern "C" fn(name: RStr<'_>, options: RStr<'_>) -> AbiResult<RewindBox>,
}

impl RootModule for PluginModuleRef {
    abi_stable::declare_root_module_statics! {PluginModuleRef}

    const BASE_NAME: &'static str = "rewind_plugin";
    const NAME: &'static str = "rewind_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
