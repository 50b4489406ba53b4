//! What crosses the boundary between host and plugin. Plugin authors never need this module.
//!
//! Every trait here is small and frozen at 1.0: `abi_stable` refuses a plugin whose traits lack a
//! method that the host's have, so a method can never be added. They grow in two ways instead:
//! *open codes* ([`Op`], [`Service`], [`DType`]: an unknown one is answered with
//! [`ErrorCode::UNSUPPORTED`]) and the reserved `call(code, bytes)` of each trait. Structured
//! requests and replies are JSON text; tensors are handles.
//!
//! The path of a call: the host reads the C symbol of [`Descriptor`], then the root module
//! [`PluginModuleRef`], makes a [`ScorerBox`] (or its siblings) and calls it with a [`HostRef`],
//! through which the plugin asks for [`TensorBox`]es.

// The three lints name code that `sabi_trait` generates; the unsafe code is what an FFI boundary is made of.
#![allow(unsafe_code, non_local_definitions, non_camel_case_types)]
// `sabi_trait` generates undocumented items, and knows no unsafe methods: `adopt_dlpack` takes a pointer.
#![allow(missing_docs, clippy::missing_safety_doc, clippy::too_many_arguments)]
#![allow(clippy::not_unsafe_ptr_arg_deref)]

mod codes;
mod component;
mod descriptor;
mod error;
mod host;
mod module;
mod tensor;
mod update;
pub mod wire;

pub use codes::{DType, OPTIONS, Op, REVIEW, Service, TAKE_DROP_PANIC, UNIT_RULE};
pub use component::{
    MaskUpdateBox, MaskUpdateObject, MaskUpdateObject_TO, RewindBox, RewindObject, RewindObject_TO,
    RewindReply, ScorerBox, ScorerObject, ScorerObject_TO,
};
pub use descriptor::{API_MAJOR, API_MINOR, DESCRIPTOR_SYMBOL, Descriptor, MAGIC};
pub use error::{AbiError, AbiResult, ErrorCode};
pub use host::{HostObject, HostObject_TO, HostRef};
pub use module::{PluginModule, PluginModuleRef};
pub use tensor::{RawSlice, TensorBox, TensorInfo, TensorObject, TensorObject_TO};
pub use update::{
    UPDATES_SYMBOL, UpdateBox, UpdateModule, UpdateModuleRef, UpdateObject, UpdateObject_TO,
};

#[doc(hidden)]
pub mod export;
