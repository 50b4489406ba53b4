// The numbers of tensors as the kernels take them: floats, or bfloat16 in a uint16_t.
#pragma once

#include <ATen/Tensor.h>
#include <ATen/ops/empty_like.h>

#include <cstdint>
#include <optional>

namespace {

inline bool is_known_kind(const at::Tensor &tensor) {
  return tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
}

template <typename T> const T *numbers(const at::Tensor &tensor) {
  return static_cast<const T *>(tensor.const_data_ptr());
}

template <typename T> const T *numbers(const std::optional<at::Tensor> &tensor) {
  return tensor ? numbers<T>(*tensor) : nullptr;
}

template <typename T> T *writable(at::Tensor &tensor) { return static_cast<T *>(tensor.data_ptr()); }

// In memory like `like`.
inline at::Tensor arranged(const at::Tensor &tensor, const at::Tensor &like) {
  if (tensor.strides() == like.strides()) return tensor;
  return at::empty_like(like).copy_(tensor);
}

// Calls `body(number)`, a null of the type in which the kernels take the tensor's numbers.
template <typename Body> auto for_kind(const at::Tensor &tensor, const Body &body) {
  return tensor.scalar_type() == at::kFloat ? body(float{}) : body(uint16_t{});
}

} // namespace
