//! A handle to a tensor that lives in the host.

use std::ffi::c_void;

use abi_stable::std_types::{RBox, RSlice, RVec};
use abi_stable::{StableAbi, sabi_trait};

use super::{AbiResult, DType, Op};

/// Shape, type and place of a tensor.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct TensorInfo {
    /// Length of each dimension.
    pub shape: RVec<i64>,
    /// Type of the elements.
    pub dtype: DType,
    /// Whether the elements lie in this process's memory.
    pub on_cpu: bool,
}

/// A tensor's elements in memory; null where there is no such view.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct RawSlice {
    /// First element.
    pub start: *const f32,
    /// Number of elements.
    pub len: usize,
}

/// A tensor that lives in the host, on the host's device.
#[sabi_trait]
pub trait TensorObject: Send + Clone {
    /// The result of an operation with this tensor as its first operand.
    fn apply(
        &self,
        op: Op,
        operands: RSlice<'_, TensorBox>,
        ints: RSlice<'_, i64>,
        floats: RSlice<'_, f64>,
    ) -> AbiResult<TensorBox>;

    /// Shape, type and place.
    fn info(&self) -> TensorInfo;

    /// The elements where they are contiguous f32 on the CPU. Valid while the handle lives.
    fn view(&self) -> RawSlice;

    /// The elements in row-major order, converted to f64.
    fn read(&self) -> AbiResult<RVec<f64>>;

    /// The elements in row-major order, converted to f32.
    fn read_f32(&self) -> AbiResult<RVec<f32>>;

    /// A `DLManagedTensor` that shares the memory; the receiver calls its deleter.
    fn dlpack(&self) -> AbiResult<*mut c_void>;

    /// Reserved for later versions.
    #[sabi(last_prefix_field)]
    fn call(&self, code: u32, payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>>;
}

/// An owned handle.
pub type TensorBox = TensorObject_TO<'static, RBox<()>>;
