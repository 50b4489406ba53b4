// What the CUDA kernels find in their language, for a C++ compiler: threads are called one after another, and where
// a kernel has barriers, each phase between two of them is a loop over the block's threads.
#pragma once

#include <cmath>
#include <cstring>

#define __global__
#define __device__

#define SHARED
#define BARRIER()
#define FOR_THREADS(thread) for (int thread = 0; thread < int(blockDim.x); ++thread)

struct Extent {
  unsigned x;
};

static thread_local Extent blockIdx, blockDim, threadIdx;

// The most threads of a block that keep something between barriers.
constexpr int MOST_THREADS = 256;

// What each thread of a block keeps from one phase to the next.
template <typename T> struct Own {
  T of[MOST_THREADS];
  T &at(int thread) { return of[thread]; }
};

static inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
