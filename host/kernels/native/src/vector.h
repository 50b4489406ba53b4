// Eight numbers at a time, on any processor: the compiler splits them where its vectors are shorter. Where they are
// longer, sixteen are computed at a time, each of them as among eight: the bits are the same.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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

// The longest vectors that there are.
#if defined(__AVX512F__)
typedef float W __attribute__((vector_size(64)));
#else
typedef V W;
#endif

// Numbers of a vector of this type.
template <typename T> constexpr int64_t LENGTH = sizeof(T) / sizeof(float);

constexpr int64_t WIDE = LENGTH<W>;

template <typename T> ALWAYS T load_as(const float *from) {
  T v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

ALWAYS V load(const float *from) { return load_as<V>(from); }

template <typename T> ALWAYS void store(float *to, T v) { std::memcpy(to, &v, sizeof v); }

// As many whole numbers as a vector has floats.
template <typename T> struct Whole {
  typedef uint32_t Bits __attribute__((vector_size(sizeof(T))));
  typedef uint16_t Halves __attribute__((vector_size(sizeof(T) / 2)));
};

// Numbers in bfloat16 are the upper halves of floats.
template <typename T> ALWAYS T load_as(const uint16_t *from) {
  typename Whole<T>::Halves h;
  std::memcpy(&h, from, sizeof h);
  return T(__builtin_convertvector(h, typename Whole<T>::Bits) << 16);
}

// Rounded to the nearest, halfway to the even one; NaN stays.
template <typename T> ALWAYS void store(uint16_t *to, T v) {
  using Bits = typename Whole<T>::Bits;
  const Bits bits = Bits(v), rounded = bits + 0x7fff + ((bits >> 16) & 1);
  const auto h = __builtin_convertvector((v == v ? rounded : (bits | 0x400000)) >> 16, typename Whole<T>::Halves);
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

// Subtracting 0 leaves every number as it is, -0 too.
template <typename T> ALWAYS T spread_as(float x) { return x - T{}; }

ALWAYS V spread(float x) { return spread_as<V>(x); }

// What is negative becomes 0; NaN stays, so that it reaches the loss.
template <typename T> ALWAYS T relu(T v) { return v < T{} ? T{} : v; }

// `v` where `of` is positive, else 0: the gradient of a ReLU with the output `of`.
template <typename T> ALWAYS T where_positive(T v, T of) { return of > T{} ? v : T{}; }

// Rows of eight numbers that share one of the longest vectors.
constexpr int64_t SHARING = WIDE / VECTOR;

#if defined(__AVX512F__)
// Eight numbers of a row and of the next.
ALWAYS W load_rows(const float *from, int64_t stride) {
  return W(_mm512_insertf32x8(_mm512_castps256_ps512(__m256(load(from))), __m256(load(from + stride)), 1));
}

// The same eight numbers twice.
ALWAYS W load_twice(const float *from) { return W(_mm512_broadcast_f32x8(__m256(load(from)))); }

// The part of a vector that belongs to the row `which`.
ALWAYS V part(W w, int which) {
  return V(which == 0 ? _mm512_castps512_ps256(__m512(w)) : _mm512_extractf32x8_ps(__m512(w), 1));
}
#else
ALWAYS W load_rows(const float *from, int64_t) { return load(from); }

ALWAYS W load_twice(const float *from) { return load(from); }

ALWAYS V part(W w, int) { return w; }
#endif

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
