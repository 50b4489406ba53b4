//! Updates, the fourth kind of component, which came with 1.1.
//!
//! The root module of 1.0 is frozen, so updates have one of their own behind another symbol: a host from before
//! 1.1 never looks for it, and a plugin that has no update need not have it.

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_trait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RBox, RSlice, RStr, RString, RVec};

use super::{AbiResult, HostRef, TensorBox};

/// Name of the symbol, with the final zero that `dlsym` wants.
pub const UPDATES_SYMBOL: &[u8] = b"REWIND_PLUGIN_UPDATES\0";

/// Says what becomes of the weights at a step.
#[sabi_trait]
pub trait UpdateObject: Send {
    /// When it acts and what it keeps: an [`UpdateForm`](crate::UpdateForm) as JSON.
    fn form(&self) -> AbiResult<RString>;

    /// One tensor for each prunable layer: gradients if it acts before the optimizer, else weights. Then as many
    /// for each of its states, in the order of the form.
    fn update(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>>;

    /// The parameters for one forward and backward pass: one tensor for each prunable layer, one for each
    /// parameter of a norm, of what the form says that it replaces.
    fn replace(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>>;

    /// What the gradients at the replaced parameters are as gradients of the parameters themselves.
    fn give_back(&mut self, host: HostRef<'_>) -> AbiResult<RVec<TensorBox>>;

    /// The stored points it will ask for, as JSON.
    fn points(&self) -> AbiResult<RString>;

    /// Numbered calls, as of every kind; those that a component does not know it answers so.
    #[sabi(last_prefix_field)]
    fn call(&mut self, code: u32, payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>>;
}

/// An owned update.
pub type UpdateBox = UpdateObject_TO<'static, RBox<()>>;

/// What a plugin with updates exports beside its [`PluginModule`](super::PluginModule).
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = UpdateModuleRef)))]
#[sabi(missing_field(panic))]
pub struct UpdateModule {
    /// An update by its name, with its options as JSON.
    #[sabi(last_prefix_field)]
    pub update: extern "C" fn(name: RStr<'_>, options: RStr<'_>) -> AbiResult<UpdateBox>,
}

impl RootModule for UpdateModuleRef {
    abi_stable::declare_root_module_statics! {UpdateModuleRef}

    const BASE_NAME: &'static str = "rewind_plugin_updates";
    const NAME: &'static str = "rewind_plugin_updates";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
