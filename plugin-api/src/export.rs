//! The macro that makes a dynamic library of components.

/// Exports the components of a plugin. The plugin's name and version are those of its crate.
///
/// Every part may be left out, but their order is fixed. `default` names the trio that the plugin's
/// name alone stands for in an experiment file.
///
/// ```no_run,standalone_crate
/// # use plugin_api::*;
/// # #[derive(Default, serde::Deserialize, schemars::JsonSchema)] struct Magnitude {}
/// # impl Scorer for Magnitude { fn score(&mut self, _: &mut ScoreContext<'_>) -> Result<Vec<Tensor>> { todo!() } }
/// export_plugin! {
///     score { "magnitude" => Magnitude }
///     default { score = "mine/magnitude", mask = "imp/global", rewind = ["lrr/learning-rate"] }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_plugin {
    (
        $(score { $($score_name:literal => $score:ty),* $(,)? })?
        $(mask { $($mask_name:literal => $mask:ty),* $(,)? })?
        $(rewind { $($rewind_name:literal => $rewind:ty),* $(,)? })?
        $(update { $($update_name:literal => $update:ty),* $(,)? })?
        $(default { score = $default_score:literal, mask = $default_mask:literal, rewind = [$($default_rewind:literal),* $(,)?] $(,)? })?
    ) => {
        #[cfg(panic = "abort")]
        compile_error!("a plugin must be built with panic = \"unwind\": a panic would take the host down");

        #[allow(unsafe_code, missing_docs, clippy::all)]
        const _: () = {
            use $crate::abi::export::{self, std_types::{RStr, RString}};
            use $crate::abi::wire::{ComponentKind, DefaultStrategy, Manifest};
            use $crate::abi::{self, AbiResult};

            #[unsafe(no_mangle)]
            pub static REWIND_PLUGIN_DESCRIPTOR: abi::Descriptor = abi::Descriptor::new(
                concat!(env!("CARGO_PKG_NAME"), "\0"),
                concat!(env!("CARGO_PKG_VERSION"), "\0"),
            );

            extern "C" fn manifest() -> AbiResult<RString> {
                export::guard(|| {
                    let mut components = ::std::vec::Vec::new();
                    $($(components.push(export::describe_component::<$score>(ComponentKind::Score, $score_name));)*)?
                    $($(components.push(export::describe_component::<$mask>(ComponentKind::Mask, $mask_name));)*)?
                    $($(components.push(export::describe_component::<$rewind>(ComponentKind::Rewind, $rewind_name));)*)?
                    $($(components.push(export::describe_component::<$update>(ComponentKind::Update, $update_name));)*)?
                    let mut default = ::std::option::Option::None;
                    $(default = ::std::option::Option::Some(DefaultStrategy {
                        score: $default_score.into(),
                        mask: $default_mask.into(),
                        rewind: ::std::vec![$($default_rewind.into()),*],
                    });)?
                    export::manifest_text(&Manifest {
                        name: env!("CARGO_PKG_NAME").into(),
                        version: env!("CARGO_PKG_VERSION").into(),
                        summary: env!("CARGO_PKG_DESCRIPTION").into(),
                        components,
                        default: default.take(),
                    })
                })
            }

            extern "C" fn scorer(name: RStr<'_>, options: RStr<'_>) -> AbiResult<abi::ScorerBox> {
                export::guard(|| match name.as_str() {
                    $($($score_name => export::scorer::<$score>(options),)*)?
                    _ => Err(export::no_such(ComponentKind::Score, name)),
                })
            }

            extern "C" fn mask_update(name: RStr<'_>, options: RStr<'_>) -> AbiResult<abi::MaskUpdateBox> {
                export::guard(|| match name.as_str() {
                    $($($mask_name => export::mask_update::<$mask>(options),)*)?
                    _ => Err(export::no_such(ComponentKind::Mask, name)),
                })
            }

            extern "C" fn rewind(name: RStr<'_>, options: RStr<'_>) -> AbiResult<abi::RewindBox> {
                export::guard(|| match name.as_str() {
                    $($($rewind_name => export::rewind::<$rewind>(options),)*)?
                    _ => Err(export::no_such(ComponentKind::Rewind, name)),
                })
            }

            fn module() -> abi::PluginModuleRef {
                export::note_panics();
                export::module(manifest, scorer, mask_update, rewind)
            }

            extern "C" fn load() -> export::RootModuleResult {
                export::__call_root_module_loader(module)
            }

            extern "C" fn update(name: RStr<'_>, options: RStr<'_>) -> AbiResult<abi::UpdateBox> {
                export::guard(|| match name.as_str() {
                    $($($update_name => export::update::<$update>(options),)*)?
                    _ => Err(export::no_such(ComponentKind::Update, name)),
                })
            }

            fn updates() -> abi::UpdateModuleRef {
                export::updates(update)
            }

            extern "C" fn load_updates() -> export::RootModuleResult {
                export::__call_root_module_loader(updates)
            }

            #[unsafe(no_mangle)]
            pub static REWIND_PLUGIN_UPDATES: export::LibHeader = unsafe {
                export::LibHeader::from_constructor::<abi::UpdateModuleRef>(load_updates, export::CheckTypeLayout::Yes)
            };

            // The name under which `abi_stable` looks for a root module.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static ROOT_MODULE: export::LibHeader = unsafe {
                export::LibHeader::from_constructor::<abi::PluginModuleRef>(load, export::CheckTypeLayout::Yes)
            };
        };
    };
}
