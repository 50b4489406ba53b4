// Convolutions of images whose channels lie last: sums over what a pixel sees. Part of kernels.cpp.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace {

using Windows = Kernels::Windows;

// Pixels that are computed together, and terms whose sums are: there are mostly multiples of 16.
constexpr int SEEN = SUMS / 2, ADDED = SHARING > 1 ? 16 : 6;

template <int pixels, typename T, int vectors>
ALWAYS void see_tile(const Windows &w, int64_t pixel, const float *source, const float *weights, float *out) {
  T total[pixels][vectors];
  const float *seen[pixels];
#pragma GCC unroll 12
  for (int p = 0; p < pixels; ++p) {
    seen[p] = source + w.from[pixel + p];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) total[p][v] = T{};
  }
  for (int64_t row = 0; row < w.rows; ++row) {
#pragma GCC unroll 2
    for (int64_t term = 0; term < w.terms; ++term) {
      T weight[vectors];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) weight[v] = load_as<T>(weights + v * LENGTH<T>);
      weights += Kernels::STRIP;
#pragma GCC unroll 12
      for (int p = 0; p < pixels; ++p) {
        const T x = spread_as<T>(seen[p][term]);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) total[p][v] += x * weight[v];
      }
    }
#pragma GCC unroll 12
    for (int p = 0; p < pixels; ++p) seen[p] += w.row_step;
  }
#pragma GCC unroll 12
  for (int p = 0; p < pixels; ++p)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(out + w.to[pixel + p] + v * LENGTH<T>, total[p][v]);
}

template <typename T, int vectors>
ALWAYS void see_all(const Windows &w, const float *source, const float *weights, float *out) {
  int64_t pixel = 0;
  for (; pixel + SEEN <= w.count; pixel += SEEN)
    see_tile<SEEN, T, vectors>(w, pixel, source, weights, out);
  with_number<SEEN - 1>(w.count - pixel,
                        [&](auto pixels) { see_tile<pixels, T, vectors>(w, pixel, source, weights, out); });
}

template <int terms, typename T, int vectors>
ALWAYS void add_tile(const Windows &w, const float *source, const float *slopes, float *sums) {
  T total[terms][vectors];
#pragma GCC unroll 16
  for (int t = 0; t < terms; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) total[t][v] = load_as<T>(sums + t * Kernels::STRIP + v * LENGTH<T>);
  for (int64_t pixel = 0; pixel < w.count; ++pixel) {
    const float *seen = source + w.from[pixel], *slope = slopes + w.to[pixel];
    // One address for all terms: GCC would compute one for each, for which there are no registers.
    if (SHARING > 1) asm("" : "+r"(seen));
    T d[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) d[v] = load_as<T>(slope + v * LENGTH<T>);
#pragma GCC unroll 16
    for (int t = 0; t < terms; ++t) {
      const T x = spread_as<T>(seen[t]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) total[t][v] += x * d[v];
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < terms; ++t)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(sums + t * Kernels::STRIP + v * LENGTH<T>, total[t][v]);
}

template <typename T, int vectors>
ALWAYS void add_all(const Windows &w, const float *source, const float *slopes, float *sums) {
  for (int64_t row = 0; row < w.rows; ++row, source += w.row_step) {
    int64_t term = 0;
    const auto at = [&] { return sums + (row * w.terms + term) * Kernels::STRIP; };
    for (; term + ADDED <= w.terms; term += ADDED)
      add_tile<ADDED, T, vectors>(w, source + term, slopes, at());
    with_number<ADDED - 1>(w.terms - term,
                           [&](auto terms) { add_tile<terms, T, vectors>(w, source + term, slopes, at()); });
  }
}

#if defined(__AVX2__) && defined(__FMA__)
// The longest vectors of a strip.
constexpr int BY_STRIP = Kernels::STRIP / WIDE;

void see_strip(const Windows &w, const float *source, const float *weights, int64_t outputs, float *out) {
  outputs == VECTOR ? see_all<V, 1>(w, source, weights, out) : see_all<W, BY_STRIP>(w, source, weights, out);
}

void add_strip(const Windows &w, const float *source, const float *slopes, int64_t outputs, float *sums) {
  outputs == VECTOR ? add_all<V, 1>(w, source, slopes, sums) : add_all<W, BY_STRIP>(w, source, slopes, sums);
}

constexpr auto see = see_strip;
constexpr auto add_seen = add_strip;
#else
constexpr decltype(Kernels::see) see = nullptr;
constexpr decltype(Kernels::add_seen) add_seen = nullptr;
#endif

} // namespace
