// Which tensors are computed by passes over memory, and which by libtorch's operations.
#pragma once

#include <ATen/core/Tensor.h>

// Set by tests, on their thread: what is on the CPU is computed as on a GPU.
extern thread_local bool rewind_by_operations;

// Whether a tensor's numbers are read by pointer, on the processor.
inline bool is_at_hand(const at::Tensor &tensor) { return tensor.is_cpu() && !rewind_by_operations; }

// Sums of each lane over these dimensions of its own, [lanes, ...]. Each lane is added up by itself: in which order a
// GPU adds depends on how many sums it is asked for at once.
at::Tensor sums_of_lanes(const at::Tensor &each, at::IntArrayRef along);
