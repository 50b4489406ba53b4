// Eight numbers at a time, on any processor: the compiler splits them where its vectors are shorter.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels.h"

#define ALWAYS inline __attribute__((always_inline))

// The numbers of two vectors at these places. GCC has Clang's word for it only from version 12 on.
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, VI{__VA_ARGS__})
#endif

namespace {

typedef float V __attribute__((vector_size(32)));
typedef int32_t VI __attribute__((vector_size(32)));
typedef float V4 __attribute__((vector_size(16)));
typedef uint32_t VU __attribute__((vector_size(32)));
typedef uint16_t Halves __attribute__((vector_size(16)));

ALWAYS V load(const float *from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

ALWAYS void store(float *to, V v) { std::memcpy(to, &v, sizeof v); }

// Numbers in bfloat16 are the upper halves of floats.
ALWAYS V load(const uint16_t *from) {
  Halves h;
  std::memcpy(&h, from, sizeof h);
  return V(__builtin_convertvector(h, VU) << 16);
}

// Rounded to the nearest, halfway to the even one; NaN stays.
ALWAYS void store(uint16_t *to, V v) {
  const VU bits = VU(v), rounded = bits + 0x7fff + ((bits >> 16) & 1);
  const Halves h = __builtin_convertvector((v == v ? rounded : (bits | 0x400000)) >> 16, Halves);
  std::memcpy(to, &h, sizeof h);
}

// One number.
ALWAYS float single(const float *from) { return *from; }

ALWAYS float single(const uint16_t *from) {
  const uint32_t bits = uint32_t(*from) << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

ALWAYS V spread(float x) { return V{x, x, x, x, x, x, x, x}; }

// What is negative becomes 0; NaN stays, so that it reaches the loss.
ALWAYS V relu(V v) { return v < spread(0.0f) ? spread(0.0f) : v; }

// `v` where `of` is positive, else 0: the gradient of a ReLU with the output `of`.
ALWAYS V where_positive(V v, V of) { return of > spread(0.0f) ? v : spread(0.0f); }

// Sums of the even-odd neighbours of two vectors, within halves.
ALWAYS V add_neighbours(V a, V b) {
  return SHUFFLE(a, b, 0, 2, 8, 10, 4, 6, 12, 14) +
         SHUFFLE(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
}

// The sums of four vectors, each ((0+1)+(2+3))+((4+5)+(6+7)).
ALWAYS V4 sums(V a, V b, V c, V d) {
  const V t = add_neighbours(add_neighbours(a, b), add_neighbours(c, d));
  V4 low, high;
  std::memcpy(&low, &t, sizeof low);
  std::memcpy(&high, reinterpret_cast<const char *>(&t) + sizeof low, sizeof high);
  return low + high;
}

// The sum of one vector in the order of `sums`.
ALWAYS float sum(V a) { return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7])); }

} // namespace
