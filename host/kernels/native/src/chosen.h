// The kernels of this processor.
#pragma once

#include "kernels.h"

inline const Kernels &kernels() {
#if defined(__x86_64__)
  static const bool wide = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (wide) return rewind_kernels_avx2;
#endif
  return rewind_kernels_plain;
}

// Whether this processor has vectors of eight numbers and none that are longer. With longer ones libtorch's
// convolutions are the better ones, and its products in bfloat16 faster.
inline bool has_vectors_of_eight() {
#if defined(__x86_64__)
  static const bool longer = __builtin_cpu_supports("avx512f");
  return kernels().see && !longer;
#else
  return false;
#endif
}
