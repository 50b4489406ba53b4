//! Batch norms and products of networks by kernels of our own: autograd, which is C++, calls back to their passes.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::ptr::null;

use tch::Tensor;
use torch_sys::C_tensor;

use super::CudaError;
use super::on_device::Kernels;
use super::passes::{
    NormGradients, NormMemory, linear_bias_gradient, linear_forward, linear_input_gradient,
    linear_weight_gradient, norm_backward, norm_by_channel_backward, norm_by_channel_forward,
    norm_forward,
};
use crate::BatchNorm;
use crate::shim::Text;

unsafe extern "C" {
    fn rewind_passes_of_process(passes: *const Passes);
    fn rewind_passes_of_thread(passes: *const Passes) -> *const Passes;
    fn rewind_text(text: *const c_char, length: usize) -> Text;
}

/// What C++ calls, in the order of its own declaration.
#[repr(C)]
struct Passes {
    /// The kernels: a `Kernels`.
    context: *const c_void,
    device: i32,
    forward: unsafe extern "C" fn(*const c_void, *const Forward) -> Text,
    backward: unsafe extern "C" fn(*const c_void, *const Backward) -> Text,
    linear: unsafe extern "C" fn(
        *const c_void,
        i32,
        *const C_tensor,
        *const C_tensor,
        *const C_tensor,
        *const C_tensor,
    ) -> Text,
}

// SAFETY: kernels may be shared by threads, and the rest is constant.
unsafe impl Send for Passes {}
// SAFETY: as above.
unsafe impl Sync for Passes {}

#[repr(C)]
struct Forward {
    by_channel: bool,
    input: *const C_tensor,
    added: *const C_tensor,
    scale: *const C_tensor,
    shift: *const C_tensor,
    running: [*const C_tensor; 2],
    trains: bool,
    relus: bool,
    epsilon: f64,
    momentum: f64,
    of_channels: *const C_tensor,
    out: *const C_tensor,
}

#[repr(C)]
struct Backward {
    by_channel: bool,
    scale: *const C_tensor,
    slopes: *const C_tensor,
    input: *const C_tensor,
    out: *const C_tensor,
    of_channels: *const C_tensor,
    of_input: *const C_tensor,
    of_added: *const C_tensor,
    of_scale: *const C_tensor,
    of_shift: *const C_tensor,
}

/// Has every network of this process compute on the kernels' device by them what it can: batch norms whose channels lie
/// last in memory, or each together, and the linear layers of lanes; without kernels, by libtorch. It stays so until
/// the next call.
pub fn autograd_by(kernels: Option<&Kernels>) {
    let passes = kernels.map_or(null(), |kernels| {
        // Networks elsewhere may be in a pass: what was given once stays where it is.
        &raw const *Box::leak(Box::new(Passes::of(Box::leak(Box::new(kernels.clone())))))
    });
    // SAFETY: the passes live as long as the process.
    unsafe { rewind_passes_of_process(passes) };
}

/// While it lives, networks on this thread are computed so.
pub struct AutogradBy {
    before: *const Passes,
    _passes: Box<Passes>,
    _kernels: Box<Kernels>,
    /// It is a state of the thread.
    this_thread: PhantomData<*const ()>,
}

impl AutogradBy {
    /// Starts it.
    pub fn enter(kernels: &Kernels) -> Self {
        let kernels = Box::new(kernels.clone());
        let passes = Box::new(Passes::of(&kernels));
        Self {
            // SAFETY: the passes live until the former ones are back.
            before: unsafe { rewind_passes_of_thread(&*passes) },
            _passes: passes,
            _kernels: kernels,
            this_thread: PhantomData,
        }
    }
}

impl Drop for AutogradBy {
    fn drop(&mut self) {
        // SAFETY: they were there before, and whoever put them there still is.
        unsafe { rewind_passes_of_thread(self.before) };
    }
}

impl Passes {
    /// Those of these kernels, which must live as long.
    fn of(kernels: &Kernels) -> Self {
        Self {
            context: (kernels as *const Kernels).cast(),
            device: match kernels.device() {
                tch::Device::Cuda(index) => index as i32,
                _ => -1,
            },
            forward,
            backward,
            linear,
        }
    }
}

/// The tensor behind a pointer of C++'s, as another handle of it.
///
/// # Safety
/// The pointer is null, or to a tensor.
unsafe fn tensor(pointer: *const C_tensor) -> Option<Tensor> {
    // SAFETY: by the caller's promise.
    (!pointer.is_null()).then(|| unsafe { Tensor::clone_from_ptr(pointer.cast_mut()) })
}

/// The memory of a batch norm between its passes: of each channel what is handed over, of each block of its own.
fn memory(input: &Tensor, of_channels: Tensor) -> Result<NormMemory, CudaError> {
    let channels = input.size().last().copied().unwrap_or(0);
    NormMemory::over(of_channels, input.numel() as i64 / channels.max(1))
}

fn missing() -> CudaError {
    CudaError::Argument("a pass without one of its tensors".to_owned())
}

/// What came of a pass, as C++ takes it.
fn said(result: Result<(), CudaError>) -> Text {
    match result {
        Ok(()) => null::<c_void>() as Text,
        Err(error) => {
            let text = error.to_string();
            // SAFETY: the text is as long as it says, and copied.
            unsafe { rewind_text(text.as_ptr().cast(), text.len()) }
        }
    }
}

unsafe extern "C" fn forward(kernels: *const c_void, call: *const Forward) -> Text {
    // SAFETY: C++ calls back with what it was given, and with tensors that outlive the call.
    let (kernels, call) = unsafe { (&*kernels.cast::<Kernels>(), &*call) };
    let body = || {
        // SAFETY: as above.
        let get = |pointer| unsafe { tensor(pointer) };
        let all = [
            call.input,
            call.scale,
            call.shift,
            call.running[0],
            call.running[1],
        ]
        .map(get);
        let [
            Some(input),
            Some(scale),
            Some(shift),
            Some(mean),
            Some(variance),
        ] = all
        else {
            return Err(missing());
        };
        let (Some(of_channels), Some(out)) = (get(call.of_channels), get(call.out)) else {
            return Err(missing());
        };
        let norm = BatchNorm {
            scale: &scale,
            shift: &shift,
            running: [&mean, &variance],
            trains: call.trains,
            epsilon: call.epsilon,
            momentum: call.momentum,
        };
        let (on, added, relus) = (&**kernels, get(call.added), call.relus);
        let added = added.as_ref();
        if call.by_channel {
            return norm_by_channel_forward(on, &norm, &input, added, relus, &of_channels, &out);
        }
        let memory = memory(&input, of_channels)?;
        norm_forward(on, &norm, &input, added, relus, &memory, &out)
    };
    said(body())
}

unsafe extern "C" fn backward(kernels: *const c_void, call: *const Backward) -> Text {
    // SAFETY: as in `forward`.
    let (kernels, call) = unsafe { (&*kernels.cast::<Kernels>(), &*call) };
    let body = || {
        // SAFETY: as above.
        let get = |pointer| unsafe { tensor(pointer) };
        let all = [call.scale, call.slopes, call.input, call.of_channels].map(get);
        let [Some(scale), Some(slopes), Some(input), Some(of_channels)] = all else {
            return Err(missing());
        };
        let all = [call.of_input, call.of_scale, call.of_shift].map(get);
        let [Some(of_input), Some(of_scale), Some(of_shift)] = all else {
            return Err(missing());
        };
        let (out, of_added) = (get(call.out), get(call.of_added));
        let gradients = NormGradients {
            input: &of_input,
            added: of_added.as_ref(),
            scale: &of_scale,
            shift: &of_shift,
        };
        let (on, out) = (&**kernels, out.as_ref());
        if call.by_channel {
            let kept = &of_channels;
            return norm_by_channel_backward(on, &scale, &slopes, &input, out, kept, gradients);
        }
        let memory = memory(&input, of_channels)?;
        norm_backward(on, &scale, &slopes, &input, out, &memory, gradients)
    };
    said(body())
}

unsafe extern "C" fn linear(
    kernels: *const c_void,
    pass: i32,
    bias: *const C_tensor,
    left: *const C_tensor,
    right: *const C_tensor,
    out: *const C_tensor,
) -> Text {
    // SAFETY: as in `forward`.
    let (kernels, bias) = unsafe { (&*kernels.cast::<Kernels>(), tensor(bias)) };
    // SAFETY: as above.
    let all = [left, right, out].map(|pointer| unsafe { tensor(pointer) });
    let on = &**kernels;
    said(match (pass, &all) {
        (0, [Some(weight), Some(input), Some(out)]) => {
            linear_forward(on, bias.as_ref(), weight, input, out)
        }
        (1, [Some(slopes), Some(input), Some(out)]) => {
            linear_weight_gradient(on, slopes, input, out)
        }
        (2, [Some(weight), Some(slopes), Some(out)]) => {
            linear_input_gradient(on, weight, slopes, out)
        }
        (3, [Some(slopes), None, Some(out)]) => linear_bias_gradient(on, slopes, out),
        _ => Err(missing()),
    })
}
