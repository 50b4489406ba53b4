//! The elements of tensors on the CPU, without a copy.

use tch::{Device, Kind, Tensor};

/// The elements of a contiguous f32 tensor on the CPU. Nothing may write to the tensor while the slice is in use.
pub fn elements(tensor: &Tensor) -> Option<&[f32]> {
    if tensor.device() != Device::Cpu || tensor.kind() != Kind::Float || !tensor.is_contiguous() {
        return None;
    }
    if tensor.numel() == 0 {
        return Some(&[]);
    }
    // SAFETY: a contiguous f32 CPU tensor holds `numel` floats at `data_ptr`, which lives as long
    // as the tensor's handle.
    Some(unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<f32>(), tensor.numel()) })
}

/// The elements of a contiguous f32 tensor on the CPU whose memory nobody else looks at meanwhile, to be written.
pub fn elements_mut(tensor: &mut Tensor) -> Option<&mut [f32]> {
    let len = elements(tensor)?.len();
    if len == 0 {
        return Some(&mut []);
    }
    // SAFETY: see `elements`; nobody else looks at the memory, by the caller's promise.
    Some(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), len) })
}
