//! The host's services, as a plugin sees them during a call.

use std::ffi::c_void;

use abi_stable::sabi_trait;
use abi_stable::sabi_types::RMut;
use abi_stable::std_types::{RSlice, RStr, RString, RVec};

use super::{AbiResult, Service, TensorBox};

/// The host's services during one call of a component.
#[sabi_trait]
pub trait HostObject {
    /// Answers a question; request and answer are JSON.
    fn query(&mut self, service: Service, request: RStr<'_>) -> AbiResult<RString>;

    /// Gives tensors for a JSON request and input tensors.
    fn tensors(
        &mut self,
        service: Service,
        request: RStr<'_>,
        inputs: RSlice<'_, TensorBox>,
    ) -> AbiResult<RVec<TensorBox>>;

    /// A tensor on the host's device with these elements, row-major.
    fn create(&mut self, elements: RSlice<'_, f32>, shape: RSlice<'_, i64>)
    -> AbiResult<TensorBox>;

    /// Takes over a `DLManagedTensor`.
    fn adopt_dlpack(&mut self, tensor: *mut c_void) -> AbiResult<TensorBox>;

    /// Writes to the host's log; levels are those of the `log` crate, 1 (error) to 5 (trace).
    fn log(&mut self, level: u32, message: RStr<'_>);

    /// Reserved for later versions.
    #[sabi(last_prefix_field)]
    fn call(&mut self, code: u32, payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>>;
}

/// The host, borrowed for one call.
pub type HostRef<'a> = HostObject_TO<'a, RMut<'a, ()>>;
