// Winograd's minimal filtering of 2x2 pixels with a kernel of 3x3: transforms of vectors of channels. Part
// of kernels.cpp.
//
// Lavin & Gray 2015, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.1;
// the gradient of the kernel is the transposed algorithm.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace {

using Tiles = Kernels::Tiles;

// B' d B of the 4x4 pixels that each tile sees.
template <typename T>
ALWAYS void spread_windows_of(const Tiles &t, const float *source, int64_t row_step, int64_t channels, float *out) {
  const int64_t step = t.count * channels;
  for (int64_t tile = 0; tile < t.count; ++tile)
    for (int64_t channel = 0; channel < channels; channel += LENGTH<T>) {
      const float *seen = source + t.from[tile] + channel;
      float *to = out + tile * channels + channel;
      T half[4][4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        T d[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) d[i] = load_as<T>(seen + i * row_step + j * channels);
        half[0][j] = d[0] - d[2];
        half[1][j] = d[1] + d[2];
        half[2][j] = d[2] - d[1];
        half[3][j] = d[1] - d[3];
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        float *row = to + 4 * i * step;
        store(row, half[i][0] - half[i][2]);
        store(row + step, half[i][1] + half[i][2]);
        store(row + 2 * step, half[i][2] - half[i][1]);
        store(row + 3 * step, half[i][1] - half[i][3]);
      }
    }
}

// Writes A' m A, 2x2 pixels, as far as they are inside the image.
template <typename T>
ALWAYS void gather_pixels_of(const Tiles &t, const float *products, int64_t row_step, int64_t pixel_step, int64_t outputs,
                   float *out) {
  const int64_t step = t.count * Kernels::STRIP;
  for (int64_t tile = 0; tile < t.count; ++tile)
    for (int64_t channel = 0; channel < outputs; channel += LENGTH<T>) {
      const float *from = products + tile * Kernels::STRIP + channel;
      T half[2][4];
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        T m[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) m[i] = load_as<T>(from + (4 * i + j) * step);
        half[0][j] = (m[0] + m[1]) + m[2];
        half[1][j] = (m[1] - m[2]) - m[3];
      }
      float *to = out + t.to[tile] + channel;
      const bool right = t.right[tile], below = t.below[tile];
#pragma GCC unroll 4
      for (int i = 0; i < 2; ++i) {
        if (i == 1 && !below) break;
        const T *h = half[i];
        store(to + i * row_step, (h[0] + h[1]) + h[2]);
        if (right) store(to + i * row_step + pixel_step, (h[1] - h[2]) - h[3]);
      }
    }
}

// A e A' of 2x2 pixels, zeros where they are outside of the image.
template <typename T>
ALWAYS void spread_pixels_of(const Tiles &t, const float *slopes, int64_t row_step, int64_t pixel_step, int64_t outputs,
                   float *out) {
  const int64_t step = t.count * Kernels::STRIP;
  const T zero = {};
  for (int64_t tile = 0; tile < t.count; ++tile)
    for (int64_t channel = 0; channel < outputs; channel += LENGTH<T>) {
      const float *from = slopes + t.to[tile] + channel;
      const bool right = t.right[tile], below = t.below[tile];
      T e[2][2] = {{load_as<T>(from), zero}, {zero, zero}};
      if (right) e[0][1] = load_as<T>(from + pixel_step);
      if (below) e[1][0] = load_as<T>(from + row_step);
      if (right && below) e[1][1] = load_as<T>(from + row_step + pixel_step);
      const T half[4][2] = {{e[0][0], e[0][1]},
                            {e[0][0] + e[1][0], e[0][1] + e[1][1]},
                            {e[0][0] - e[1][0], e[0][1] - e[1][1]},
                            {zero - e[1][0], zero - e[1][1]}};
      float *to = out + tile * Kernels::STRIP + channel;
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        float *row = to + 4 * i * step;
        store(row, half[i][0]);
        store(row + step, half[i][0] + half[i][1]);
        store(row + 2 * step, half[i][0] - half[i][1]);
        store(row + 3 * step, zero - half[i][1]);
      }
    }
}

void spread_windows(const Tiles &t, const float *source, int64_t row_step, int64_t channels, float *out) {
  channels % WIDE == 0 ? spread_windows_of<W>(t, source, row_step, channels, out)
                       : spread_windows_of<V>(t, source, row_step, channels, out);
}

void gather_pixels(const Tiles &t, const float *products, int64_t row_step, int64_t pixel_step, int64_t outputs,
                   float *out) {
  outputs % WIDE == 0 ? gather_pixels_of<W>(t, products, row_step, pixel_step, outputs, out)
                      : gather_pixels_of<V>(t, products, row_step, pixel_step, outputs, out);
}

void spread_pixels(const Tiles &t, const float *slopes, int64_t row_step, int64_t pixel_step, int64_t outputs,
                   float *out) {
  outputs % WIDE == 0 ? spread_pixels_of<W>(t, slopes, row_step, pixel_step, outputs, out)
                      : spread_pixels_of<V>(t, slopes, row_step, pixel_step, outputs, out);
}

} // namespace
