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
