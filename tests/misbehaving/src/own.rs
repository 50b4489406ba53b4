//! A tensor that lives in the plugin, which no host can use.

use std::ffi::c_void;

use abi_stable::std_types::{RResult, RSlice, RVec};
use abi_stable::type_level::downcasting::TD_CanDowncast;
use plugin_api::Tensor;
use plugin_api::abi::{
    AbiError, AbiResult, DType, ErrorCode, Op, RawSlice, TensorBox, TensorInfo, TensorObject,
    export,
};

/// Pretends to be a tensor of this shape.
#[derive(Clone)]
struct Own(Vec<i64>);

/// A handle to a tensor of the plugin's own.
pub fn tensor(shape: Vec<i64>) -> Tensor {
    export::tensor(TensorBox::from_value(Own(shape), TD_CanDowncast))
}

fn refused<T>() -> AbiResult<T> {
    RResult::RErr(AbiError {
        code: ErrorCode::FAILED,
        message: "a pretended tensor".into(),
    })
}

impl TensorObject for Own {
    fn apply(
        &self,
        _op: Op,
        _operands: RSlice<'_, TensorBox>,
        _ints: RSlice<'_, i64>,
        _floats: RSlice<'_, f64>,
    ) -> AbiResult<TensorBox> {
        refused()
    }

    fn info(&self) -> TensorInfo {
        TensorInfo {
            shape: self.0.clone().into(),
            dtype: DType::F32,
            on_cpu: true,
        }
    }

    fn view(&self) -> RawSlice {
        RawSlice {
            start: std::ptr::null(),
            len: 0,
        }
    }

    fn read(&self) -> AbiResult<RVec<f64>> {
        refused()
    }

    fn read_f32(&self) -> AbiResult<RVec<f32>> {
        refused()
    }

    fn dlpack(&self) -> AbiResult<*mut c_void> {
        refused()
    }

    fn call(&self, _code: u32, _payload: RSlice<'_, u8>) -> AbiResult<RVec<u8>> {
        refused()
    }
}
