// The kernels of this processor.
#pragma once

#include <cstdlib>
#include <cstring>

#include "kernels.h"

// The best that the processor has, or lesser ones: REWIND_KERNELS names `avx2` or `plain`.
inline const Kernels &kernels() {
#if defined(__x86_64__)
  static const Kernels &chosen = []() -> const Kernels & {
    const char *named = std::getenv("REWIND_KERNELS");
    const auto is_allowed = [&](const char *kind) { return !named || !*named || std::strcmp(named, kind) == 0; };
    const bool eight = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool sixteen = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    if (eight && sixteen && is_allowed("avx512")) return rewind_kernels_avx512;
    if (eight && (is_allowed("avx512") || is_allowed("avx2"))) return rewind_kernels_avx2;
    return rewind_kernels_plain;
  }();
  return chosen;
#else
  return rewind_kernels_plain;
#endif
}

// Whether the longest vectors are of eight numbers. With longer ones libtorch's products and convolutions of
// numbers in bfloat16 are the better ones.
inline bool has_vectors_of_eight() {
#if defined(__x86_64__)
  return &kernels() == &rewind_kernels_avx2;
#else
  return false;
#endif
}
