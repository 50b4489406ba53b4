// Which tensors are computed by passes over memory, and which by libtorch's operations.
#pragma once

#include <ATen/core/Tensor.h>

// Set by tests, on their thread: what is on the CPU is computed as on a GPU.
extern thread_local bool rewind_by_operations;

// Whether a tensor's numbers are read by pointer, on the processor.
inline bool is_at_hand(const at::Tensor &tensor) { return tensor.is_cpu() && !rewind_by_operations; }
