// Convolutions of images whose channels lie last: sums over what a pixel sees. Part of kernels.cpp.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace {

using Windows = Kernels::Windows;

// Pixels, or terms, that are computed together: 6 * 2 vectors of sums leave registers for the rest.
constexpr int TOGETHER = 6;

template <int pixels, int vectors>
ALWAYS void see_tile(const Windows &w, int64_t pixel, const float *source, const float *weights, float *out) {
  V total[pixels][vectors];
  const float *seen[pixels];
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p) {
    seen[p] = source + w.from[pixel + p];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) total[p][v] = spread(0.0f);
  }
  for (int64_t row = 0; row < w.rows; ++row) {
#pragma GCC unroll 2
    for (int64_t term = 0; term < w.terms; ++term) {
      V weight[vectors];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) weight[v] = load(weights + v * VECTOR);
      weights += Kernels::STRIP;
#pragma GCC unroll 8
      for (int p = 0; p < pixels; ++p) {
        const V x = spread(seen[p][term]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) total[p][v] += x * weight[v];
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; ++p) seen[p] += w.row_step;
  }
#pragma GCC unroll 8
  for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(out + w.to[pixel + p] + v * VECTOR, total[p][v]);
}

template <int vectors>
ALWAYS void see_all(const Windows &w, const float *source, const float *weights, float *out) {
  int64_t pixel = 0;
  for (; pixel + TOGETHER <= w.count; pixel += TOGETHER)
    see_tile<TOGETHER, vectors>(w, pixel, source, weights, out);
  switch (w.count - pixel) {
  case 5: see_tile<5, vectors>(w, pixel, source, weights, out); break;
  case 4: see_tile<4, vectors>(w, pixel, source, weights, out); break;
  case 3: see_tile<3, vectors>(w, pixel, source, weights, out); break;
  case 2: see_tile<2, vectors>(w, pixel, source, weights, out); break;
  case 1: see_tile<1, vectors>(w, pixel, source, weights, out); break;
  }
}

template <int terms, int vectors>
ALWAYS void add_tile(const Windows &w, const float *source, const float *slopes, float *sums) {
  V total[terms][vectors];
#pragma GCC unroll 8
  for (int t = 0; t < terms; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) total[t][v] = load(sums + t * Kernels::STRIP + v * VECTOR);
  for (int64_t pixel = 0; pixel < w.count; ++pixel) {
    const float *seen = source + w.from[pixel], *slope = slopes + w.to[pixel];
    V d[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) d[v] = load(slope + v * VECTOR);
#pragma GCC unroll 8
    for (int t = 0; t < terms; ++t) {
      const V x = spread(seen[t]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) total[t][v] += x * d[v];
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < terms; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(sums + t * Kernels::STRIP + v * VECTOR, total[t][v]);
}

template <int vectors>
ALWAYS void add_all(const Windows &w, const float *source, const float *slopes, float *sums) {
  for (int64_t row = 0; row < w.rows; ++row, source += w.row_step) {
    int64_t term = 0;
    const auto at = [&] { return sums + (row * w.terms + term) * Kernels::STRIP; };
    for (; term + TOGETHER <= w.terms; term += TOGETHER)
      add_tile<TOGETHER, vectors>(w, source + term, slopes, at());
    switch (w.terms - term) {
    case 5: add_tile<5, vectors>(w, source + term, slopes, at()); break;
    case 4: add_tile<4, vectors>(w, source + term, slopes, at()); break;
    case 3: add_tile<3, vectors>(w, source + term, slopes, at()); break;
    case 2: add_tile<2, vectors>(w, source + term, slopes, at()); break;
    case 1: add_tile<1, vectors>(w, source + term, slopes, at()); break;
    }
  }
}

#if defined(__AVX2__) && defined(__FMA__)
void see_strip(const Windows &w, const float *source, const float *weights, int64_t outputs, float *out) {
  outputs == VECTOR ? see_all<1>(w, source, weights, out) : see_all<2>(w, source, weights, out);
}

void add_strip(const Windows &w, const float *source, const float *slopes, int64_t outputs, float *sums) {
  outputs == VECTOR ? add_all<1>(w, source, slopes, sums) : add_all<2>(w, source, slopes, sums);
}

constexpr auto see = see_strip;
constexpr auto add_seen = add_strip;
#else
constexpr decltype(Kernels::see) see = nullptr;
constexpr decltype(Kernels::add_seen) add_seen = nullptr;
#endif

} // namespace
