// The arithmetic of the sparse and the hand-written layers on one thread, compiled once for each kind
// of processor.
//
// Matrices of activations are feature-major: `[features, stride]`, a row for each feature with the
// samples of a batch side by side. The stride is the batch rounded up to whole vectors.
//
// Order of summation. An element of a product of weights and activations starts from 0 and adds its
// terms one after another, in order. A gradient of a weight adds the samples whose numbers are the
// same modulo 8, then the eight sums in a fixed tree. A weight that is 0 adds nothing, so that the
// kernels that skip the pruned weights and those that do not give the same bits; nor do the bits
// depend on the place of an element, the sizes around it, or the threads.
#pragma once

#include <cstdint>
#include <type_traits>

// Numbers that are computed at a time.
constexpr int64_t VECTOR = 8;

struct Kernels {
  // What is done to an element of a product before it is stored.
  enum Finish { PLAIN, BIAS, BIAS_RELU, WHERE_POSITIVE };

  // Rows of a product of weights and activations.
  struct Product {
    const float *weights;
    int64_t row_step, term_step; // between the weights of neighbouring rows, and of neighbouring terms
    int64_t terms;
    const float *activations; // [terms, stride]
    int64_t stride;
    float *out; // [rows, stride]
    int64_t first_row, last_row;
    Finish finish;
    const float *finish_with; // biases [rows], or what has to be positive [rows, stride]
  };

  // Surviving weights by rows: those of row i are at starts[i] to starts[i + 1], in order of their terms.
  struct Survivors {
    const int32_t *starts, *terms;
  };

  // The columns `first_column` to `last_column`, whole vectors; `scratch` holds `scratch_for` them.
  void (*product)(const Product &, int64_t first_column, int64_t last_column, float *scratch);
  // All columns, with the surviving weights alone.
  void (*sparse_product)(const Product &, const Survivors &);
  // slopes[i, j] = sum over samples of out_slopes[i] * activations[j], for the rows of a range.
  void (*weight_slopes)(const float *out_slopes, const float *activations, int64_t stride, int64_t inputs,
                        int64_t first_row, int64_t last_row, float *slopes);
  // The same for the surviving weights alone; others stay as they are.
  void (*sparse_weight_slopes)(const float *out_slopes, const float *activations, int64_t stride,
                               int64_t inputs, int64_t first_row, int64_t last_row, const Survivors &,
                               float *slopes);
  // Sum of one row.
  float (*row_sum)(const float *row, int64_t stride);

  // Batch norm and ReLU of one row. `values` becomes the normalised values, `out` the activations.
  struct Norm {
    float scale, shift, epsilon;
  };
  // By the batch's statistics.
  void (*norm_row)(const Norm &, int64_t samples, int64_t stride, float *values, float *out, float *mean,
                   float *variance, float *inverse);
  // By given statistics.
  void (*norm_row_by)(const Norm &, float mean, float variance, int64_t stride, float *values, float *out);
  // Gradients: `slopes` holds those of the activations and becomes those of what was normalised.
  void (*norm_row_slopes)(const Norm &, float inverse, int64_t samples, int64_t stride, const float *values,
                          const float *out, float *slopes, float *scale_slope, float *shift_slope);

  // out[j] = sum over taps of weights[at[t]] * in[sources[t] * step + j], for j up to `length`.
  void (*taps)(const float *weights, const int32_t *at, const int32_t *sources, int64_t count,
               const float *in, int64_t step, int64_t length, float *out);
  // Adds the products of two rows to eight sums, those of places that are the same modulo 8.
  void (*add_products)(const float *a, const float *b, int64_t length, float *sums);

  // What the pixels of an image see of another through a kernel: a window of `rows` pieces of `terms`
  // neighbours, `row_step` apart, of images with their channels last and room around them.
  struct Windows {
    int64_t count;       // of the pixels
    const int64_t *from; // place of each one's window
    const int64_t *to;   // place of the pixel itself
    int64_t rows, row_step, terms;
  };
  // Numbers of a pixel, neighbours in memory, that are computed together.
  static constexpr int64_t STRIP = 16;
  // out[to + k] = sum over the window's terms t of weights[t * STRIP + k] * source[from + t], term by term,
  // for k up to `outputs`, 8 or 16. Null where libtorch's convolutions are not to be replaced.
  void (*see)(const Windows &, const float *source, const float *weights, int64_t outputs, float *out);
  // Adds slopes[to + k] * source[from + t] of all pixels, one after another, to sums[t * STRIP + k]. Null
  // where `see` is.
  void (*add_seen)(const Windows &, const float *source, const float *slopes, int64_t outputs, float *sums);

  // Tiles of 2x2 pixels, which see 4x4 of a source with room around it.
  struct Tiles {
    int64_t count;
    const int64_t *from, *to;     // place of what each sees, and of its first pixel
    const uint8_t *right, *below; // whether its pixels to the right and below are inside the image
  };
  // Winograd's transforms; what they write or read lies [4, 4, tiles, channels], for the last two with STRIP for
  // the channels.
  void (*spread_windows)(const Tiles &, const float *source, int64_t row_step, int64_t channels, float *out);
  void (*spread_pixels)(const Tiles &, const float *slopes, int64_t row_step, int64_t pixel_step, int64_t outputs,
                        float *out);
  void (*gather_pixels)(const Tiles &, const float *products, int64_t row_step, int64_t pixel_step,
                        int64_t outputs, float *out);

  // Numbers of one or more channels in `count` pieces of `length` neighbours, `step` apart: all of one
  // channel, or each number of a piece of a channel of its own. Pointers below are to the first number,
  // or to what belongs to the first channel.
  struct Pieces {
    int64_t count, length, step;
    bool one_channel;
  };
  // Of numbers of type T: float, or uint16_t for bfloat16, in which results are rounded once.
  template <typename T> struct Norms {
    // Mean of each channel, and sum of squared distances from it.
    void (*moments)(const Pieces &, const T *values, float *means, float *squares);
    // out = (values - means) * factors + shifts + added, unless that is null; then a ReLU if there is one.
    void (*activate)(const Pieces &, const T *values, const T *added, const float *means, const float *factors,
                     const float *shifts, bool relus, T *out);
    // Sums of each channel's slopes, and of their products with the distances from the means. With `out`,
    // slopes are 0 where that is not positive, and stored in `passed` unless that is null.
    void (*slope_sums)(const Pieces &, const T *slopes, const T *out, const T *values, const float *means, T *passed,
                       float *sums, float *products);
    // of_values = slopes * factors + (values - means) * tilts + shifts, with slopes as above.
    void (*value_slopes)(const Pieces &, const T *slopes, const T *out, const T *values, const float *means,
                         const float *factors, const float *tilts, const float *shifts, T *of_values);
  };
  Norms<float> norms;
  Norms<uint16_t> norms_bf16;

  template <typename T> const Norms<T> &norms_of() const {
    if constexpr (std::is_same_v<T, float>)
      return norms;
    else
      return norms_bf16;
  }

  // Which old pixels make up the new ones of an axis: those of the new pixel i from first[i] on, with the weights
  // starts[i] to starts[i + 1], which have BITS bits after the point. None is negative, and they add up to one but
  // for their rounding. Neither `first` nor the last old pixel of each ever falls.
  struct Filter {
    static constexpr int32_t BITS = 22, HALF = 1 << (BITS - 1);
    int64_t count;
    const int32_t *first, *starts, *weights;
    // Bytes from one row of so many pixels to the next while they are computed: whole vectors, with one byte of room.
    static constexpr int64_t stride(int64_t pixels) { return (3 * pixels + 1 + 63) / 64 * 64; }
  };
  // Pixels [rows, width, 3] resized along rows, then along columns, rounded after each, to [3, down, across], mirrored if
  // asked for. `scratch` has room for two strides more than old rows are looked at, and for two old rows with a byte each.
  void (*resample)(const uint8_t *pixels, int64_t width, const Filter &across, const Filter &down, bool mirror,
                   uint8_t *scratch, uint8_t *out);

  // Numbers in bfloat16 as floats, and floats rounded to it.
  void (*widen)(const uint16_t *, int64_t count, float *out);
  void (*narrow)(const float *, int64_t count, uint16_t *out);

  // Terms that are multiplied before the next are looked at, and rows of weights that are copied
  // together where the terms of a row are no neighbours.
  static constexpr int64_t TERMS = 256, PACKED = 48;

  // Numbers that `product` copies of this many columns and of the weights.
  static constexpr int64_t scratch_for(int64_t columns) { return TERMS * (columns + PACKED); }
};

extern "C" {
// For every processor, for those with AVX2 and FMA, and for those with AVX-512, which give the bits of AVX2's.
extern const Kernels rewind_kernels_plain;
#if defined(__x86_64__)
extern const Kernels rewind_kernels_avx2, rewind_kernels_avx512;
#endif
}
