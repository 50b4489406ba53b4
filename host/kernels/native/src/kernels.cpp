// Compiled once for each kind of processor, under the name KERNELS. Nothing here may instantiate a
// template of another header: the linker keeps one copy of those, for whichever processor.

#include "kernels.h"
#include "vector.h"

namespace {

using Product = Kernels::Product;
using Survivors = Kernels::Survivors;
using Norm = Kernels::Norm;

// Terms whose activations stay in the cache while they are multiplied.
constexpr int64_t TERMS = Kernels::TERMS;
// Vectors of sums that leave registers for the rest, which are twice as many where vectors are longest.
constexpr int SUMS = 12 * SHARING;
// Rows of weights that are multiplied together, by two vectors of columns.
constexpr int ROWS = SUMS / 2;
// Rows of weights that are copied together where the terms of a row are no neighbours.
constexpr int64_t PACKED = Kernels::PACKED;

ALWAYS int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Numbers that are part of a type.
template <int n> struct Number {
  constexpr operator int() const { return n; }
};
constexpr Number<1> one;
constexpr Number<2> two;

// Calls `body` with `count`, 1 to `most`, as part of a type.
template <int most, typename Body> ALWAYS void with_number(int64_t count, const Body &body) {
  if constexpr (most > 0) {
    if (count == most)
      body(Number<most>());
    else
      with_number<most - 1>(count, body);
  }
}

template <typename T> ALWAYS T finish(const Product &p, int64_t row, int64_t column, T value) {
  switch (p.finish) {
  case Kernels::BIAS: return value + spread_as<T>(p.finish_with[row]);
  case Kernels::BIAS_RELU: return relu(value + spread_as<T>(p.finish_with[row]));
  case Kernels::WHERE_POSITIVE:
    return where_positive(value, load_as<T>(p.finish_with + row * p.stride + column));
  default: return value;
  }
}

// A block of weights: `at(row, term)` is weights[row * row_step + term * term_step].
struct Weights {
  const float *at;
  int64_t row_step, term_step;
};

// `rows` rows by `vectors` vectors of columns, for the terms `first` to `last`.
template <int rows, typename T, int vectors>
ALWAYS void tile(const Product &p, const Weights &weights, int64_t row, int64_t column, int64_t first,
                 int64_t last, const float *packed) {
  T total[rows][vectors];
  float *out = p.out + row * p.stride + column;
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
      total[r][v] = first == 0 ? T{} : load_as<T>(out + r * p.stride + v * LENGTH<T>);
  const float *weight = weights.at;
  const int64_t row_step = weights.row_step, term_step = weights.term_step;
  for (int64_t k = first; k < last; ++k) {
    T x[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) x[v] = load_as<T>(packed + v * LENGTH<T>);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const T w = spread_as<T>(weight[r * row_step]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) total[r][v] += w * x[v];
    }
    weight += term_step;
    packed += vectors * LENGTH<T>;
  }
  const bool done = last == p.terms;
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      T value = total[r][v];
      if (done) value = finish(p, row + r, column + v * LENGTH<T>, value);
      store(out + r * p.stride + v * LENGTH<T>, value);
    }
}

// Calls `body(column, vector, vectors)` for tiles of so many vectors of columns, from the widest on.
template <typename Body> ALWAYS void for_tiles(int64_t column, int64_t last_column, const Body &body) {
  for (; column + 2 * WIDE <= last_column; column += 2 * WIDE) body(column, W{}, two);
  if (column + WIDE <= last_column) body(column, W{}, one), column += WIDE;
  if (WIDE > VECTOR && column < last_column) body(column, V{}, one);
}

// The activations of a block in the order in which `tile` reads them: column tile by column tile.
void pack(const Product &p, int64_t first_column, int64_t last_column, int64_t first, int64_t last, float *to) {
  for_tiles(first_column, last_column, [&](int64_t column, auto vector, auto vectors) {
    using T = decltype(vector);
    for (int64_t k = first; k < last; ++k)
      for (int v = 0; v < vectors; ++v, to += LENGTH<T>)
        store(to, load_as<T>(p.activations + k * p.stride + column + v * LENGTH<T>));
  });
}

// `rows` rows of a block by all its columns, whose activations are packed.
void strips(const Product &p, const Weights &weights, int64_t row, int64_t last_row, int64_t first_column,
            int64_t last_column, int64_t first, int64_t last, const float *packed) {
  Weights at = weights;
  for (; row < last_row; row += ROWS, at.at += ROWS * at.row_step) {
    const int64_t rows = least(ROWS, last_row - row);
    const float *activations = packed;
    for_tiles(first_column, last_column, [&](int64_t column, auto vector, auto vectors) {
      using T = decltype(vector);
      with_number<ROWS>(rows, [&](auto rows) {
        tile<rows, T, vectors>(p, at, row, column, first, last, activations);
      });
      activations += (last - first) * vectors * LENGTH<T>;
    });
  }
}

void product(const Product &p, int64_t first_column, int64_t last_column, float *scratch) {
  float *copied = scratch + TERMS * (last_column - first_column);
  for (int64_t first = 0; first == 0 || first < p.terms; first += TERMS) {
    const int64_t last = least(first + TERMS, p.terms);
    pack(p, first_column, last_column, first, last, scratch);
    const float *weights = p.weights + first * p.term_step;
    if (p.term_step == 1) {
      const Weights rows = {weights + p.first_row * p.row_step, p.row_step, 1};
      strips(p, rows, p.first_row, p.last_row, first_column, last_column, first, last, scratch);
      continue;
    }
    for (int64_t row = p.first_row; row < p.last_row; row += PACKED) {
      const int64_t rows = least(PACKED, p.last_row - row);
      for (int64_t k = 0; k < last - first; ++k)
        for (int64_t r = 0; r < rows; ++r)
          copied[k * PACKED + r] = weights[k * p.term_step + (row + r) * p.row_step];
      const Weights block = {copied, 1, PACKED};
      strips(p, block, row, row + rows, first_column, last_column, first, last, scratch);
    }
  }
}

template <typename T, int vectors>
ALWAYS void sparse_columns(const Product &p, const int32_t *terms, int64_t count, int64_t row, int64_t column) {
  T total[vectors];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) total[v] = T{};
  const float *weights = p.weights + row * p.row_step, *activations = p.activations + column;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t term = terms[i];
    const T w = spread_as<T>(weights[term * p.term_step]);
    const float *x = activations + term * p.stride;
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) total[v] += w * load_as<T>(x + v * LENGTH<T>);
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v)
    store(p.out + row * p.stride + column + v * LENGTH<T>, finish(p, row, column + v * LENGTH<T>, total[v]));
}

// The columns from `column` on, as far as so many vectors fit.
template <typename T, int vectors> ALWAYS int64_t sparse_strips(const Product &p, const Survivors &s, int64_t column) {
  constexpr int64_t STEP = vectors * LENGTH<T>;
  for (; column + STEP <= p.stride; column += STEP)
    for (int64_t row = p.first_row; row < p.last_row; ++row)
      sparse_columns<T, vectors>(p, s.terms + s.starts[row], s.starts[row + 1] - s.starts[row], row, column);
  return column;
}

void sparse_product(const Product &p, const Survivors &s) {
  int64_t column = sparse_strips<W, 8>(p, s, 0);
  column = sparse_strips<W, 4>(p, s, column);
  column = sparse_strips<W, 2>(p, s, column);
  column = sparse_strips<W, 1>(p, s, column);
  sparse_strips<V, 1>(p, s, column);
}

// `rows` rows of gradients by `features` features, a multiple of four.
template <int rows, int features>
ALWAYS void slope_tile(const float *slope, const float *x, int64_t stride, float *out, int64_t inputs) {
  constexpr int vectors = features / SHARING;
  W total[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) total[r][v] = W{};
  for (int64_t s = 0; s < stride; s += VECTOR) {
    W seen[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) seen[v] = load_rows(x + v * SHARING * stride + s, stride);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const W d = load_twice(slope + r * stride + s);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) total[r][v] += d * seen[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < features; j += 4) {
      const auto of = [&](int feature) { return part(total[r][feature / SHARING], feature % SHARING); };
      const V4 found = sums(of(j), of(j + 1), of(j + 2), of(j + 3));
      std::memcpy(out + r * inputs + j, &found, sizeof found);
    }
}

ALWAYS float dot(const float *a, const float *b, int64_t stride) {
  V total = spread(0.0f);
  for (int64_t s = 0; s < stride; s += VECTOR) total += load(a + s) * load(b + s);
  return sum(total);
}

// Rows of gradients that are added up together, by four vectors of features.
constexpr int SLOPES = SUMS / 4;

// The features from `j` on, as far as so many fit, of the rows of a block.
template <int features>
ALWAYS int64_t slope_tiles(const float *out_slopes, const float *activations, int64_t stride, int64_t inputs,
                           int64_t begin, int64_t end, int64_t j, float *slopes) {
  for (; j + features <= inputs; j += features) {
    const float *x = activations + j * stride;
    const auto rows_of = [&](int64_t i, auto rows) {
      for (; i + rows <= end; i += rows)
        slope_tile<rows, features>(out_slopes + i * stride, x, stride, slopes + i * inputs + j, inputs);
      return i;
    };
    int64_t i = rows_of(begin, Number<SLOPES>());
    if (SLOPES > 3) i = rows_of(i, Number<3>());
    rows_of(i, one);
  }
  return j;
}

void weight_slopes(const float *out_slopes, const float *activations, int64_t stride, int64_t inputs,
                   int64_t first_row, int64_t last_row, float *slopes) {
  // Rows that stay in the first cache, beside the features that pass by.
  const int64_t fit = 3 * 2048 / SLOPES / stride;
  const int64_t block = SLOPES * (fit > 1 ? fit : 1);
  for (int64_t begin = first_row; begin < last_row; begin += block) {
    const int64_t end = least(begin + block, last_row);
    int64_t j = slope_tiles<4 * SHARING>(out_slopes, activations, stride, inputs, begin, end, 0, slopes);
    if (SHARING > 1) j = slope_tiles<4>(out_slopes, activations, stride, inputs, begin, end, j, slopes);
    for (; j < inputs; ++j)
      for (int64_t i = begin; i < end; ++i)
        slopes[i * inputs + j] = dot(out_slopes + i * stride, activations + j * stride, stride);
  }
}

void sparse_weight_slopes(const float *out_slopes, const float *activations, int64_t stride, int64_t inputs,
                          int64_t first_row, int64_t last_row, const Survivors &survivors, float *slopes) {
  for (int64_t i = first_row; i < last_row; ++i) {
    const float *slope = out_slopes + i * stride;
    const int32_t *terms = survivors.terms + survivors.starts[i];
    const int64_t count = survivors.starts[i + 1] - survivors.starts[i];
    float *out = slopes + i * inputs;
    int64_t k = 0;
    for (; k + 8 <= count; k += 8) {
      V total[8];
      const float *x[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) total[j] = spread(0.0f), x[j] = activations + terms[k + j] * stride;
      for (int64_t s = 0; s < stride; s += VECTOR) {
        const V d = load(slope + s);
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) total[j] += d * load(x[j] + s);
      }
      const V4 low = sums(total[0], total[1], total[2], total[3]);
      const V4 high = sums(total[4], total[5], total[6], total[7]);
#pragma GCC unroll 8
      for (int j = 0; j < 4; ++j) out[terms[k + j]] = low[j], out[terms[k + 4 + j]] = high[j];
    }
    for (; k < count; ++k) out[terms[k]] = dot(slope, activations + terms[k] * stride, stride);
  }
}

float row_sum(const float *row, int64_t stride) {
  V total = spread(0.0f);
  for (int64_t s = 0; s < stride; s += VECTOR) total += load(row + s);
  return sum(total);
}

// Ones for the samples of a vector, zeros for what fills it up.
ALWAYS V which(int64_t at, int64_t samples) {
  V v = spread(0.0f);
  for (int64_t i = 0; i < VECTOR; ++i) v[i] = at + i < samples ? 1.0f : 0.0f;
  return v;
}

ALWAYS void normalise(const Norm &n, float mean, float inverse, int64_t stride, float *values, float *out) {
  const auto step = [&](int64_t s, auto vector) {
    using T = decltype(vector);
    const T h = (load_as<T>(values + s) - spread_as<T>(mean)) * spread_as<T>(inverse);
    store(values + s, h);
    store(out + s, relu(h * spread_as<T>(n.scale) + spread_as<T>(n.shift)));
  };
  int64_t s = 0;
  for (; s + WIDE <= stride; s += WIDE) step(s, W{});
  for (; s < stride; s += VECTOR) step(s, V{});
}

ALWAYS float inverse_of(float variance, float epsilon) { return 1.0f / __builtin_sqrtf(variance + epsilon); }

void norm_row(const Norm &n, int64_t samples, int64_t stride, float *values, float *out, float *mean,
              float *variance, float *inverse) {
  const int64_t whole = samples / VECTOR * VECTOR;
  V total = spread(0.0f);
  for (int64_t s = 0; s < whole; s += VECTOR) total += load(values + s);
  if (whole < stride) total += load(values + whole) * which(whole, samples);
  const float m = sum(total) / float(samples);
  V square = spread(0.0f);
  for (int64_t s = 0; s < whole; s += VECTOR) {
    const V d = load(values + s) - spread(m);
    square += d * d;
  }
  if (whole < stride) {
    const V d = (load(values + whole) - spread(m)) * which(whole, samples);
    square += d * d;
  }
  const float v = sum(square) / float(samples);
  *mean = m;
  *variance = v;
  *inverse = inverse_of(v, n.epsilon);
  normalise(n, m, *inverse, stride, values, out);
}

void norm_row_by(const Norm &n, float mean, float variance, int64_t stride, float *values, float *out) {
  normalise(n, mean, inverse_of(variance, n.epsilon), stride, values, out);
}

void norm_row_slopes(const Norm &n, float inverse, int64_t samples, int64_t stride, const float *values,
                     const float *out, float *slopes, float *scale_slope, float *shift_slope) {
  V along = spread(0.0f), all = spread(0.0f);
  for (int64_t s = 0; s < stride; s += VECTOR) {
    const V d = where_positive(load(slopes + s), load(out + s));
    store(slopes + s, d);
    along += d * load(values + s);
    all += d;
  }
  *scale_slope = sum(along);
  *shift_slope = sum(all);
  const float size = n.scale * inverse;
  const V mean = spread(*shift_slope / float(samples)), tilt = spread(*scale_slope / float(samples));
  const int64_t whole = samples / VECTOR * VECTOR;
  const auto moved = [&](int64_t s) {
    return (load(slopes + s) - mean - load(values + s) * tilt) * spread(size);
  };
  for (int64_t s = 0; s < whole; s += VECTOR) store(slopes + s, moved(s));
  // What fills the last vector up must stay 0 in gradients.
  if (whole < stride) store(slopes + whole, moved(whole) * which(whole, samples));
}

template <typename T, int vectors>
ALWAYS void tap_columns(const float *weights, const int32_t *at, const int32_t *sources, int64_t count,
                        const float *in, int64_t step, float *out) {
  T total[vectors];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) total[v] = T{};
  for (int64_t t = 0; t < count; ++t) {
    const T w = spread_as<T>(weights[at[t]]);
    const float *x = in + sources[t] * step;
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) total[v] += w * load_as<T>(x + v * LENGTH<T>);
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) store(out + v * LENGTH<T>, total[v]);
}

void taps(const float *weights, const int32_t *at, const int32_t *sources, int64_t count, const float *in,
          int64_t step, int64_t length, float *out) {
  int64_t j = 0;
  const auto columns = [&](auto vector, auto vectors) {
    using T = decltype(vector);
    for (; j + vectors * LENGTH<T> <= length; j += vectors * LENGTH<T>)
      tap_columns<T, vectors>(weights, at, sources, count, in + j, step, out + j);
  };
  columns(W{}, Number<8>());
  columns(W{}, one);
  columns(V{}, one);
  for (; j < length; ++j) {
    float total = 0;
    for (int64_t t = 0; t < count; ++t) total += weights[at[t]] * in[sources[t] * step + j];
    out[j] = total;
  }
}

void add_products(const float *a, const float *b, int64_t length, float *sums) {
  constexpr int CHAINS = 4;
  V total[CHAINS] = {load(sums), spread(0.0f), spread(0.0f), spread(0.0f)};
  int64_t j = 0;
  for (; j + CHAINS * VECTOR <= length; j += CHAINS * VECTOR)
#pragma GCC unroll 8
    for (int c = 0; c < CHAINS; ++c) total[c] += load(a + j + c * VECTOR) * load(b + j + c * VECTOR);
  for (; j + VECTOR <= length; j += VECTOR) total[0] += load(a + j) * load(b + j);
  store(sums, (total[0] + total[1]) + (total[2] + total[3]));
  for (int64_t rest = 0; j < length; ++j, ++rest) sums[rest] += a[j] * b[j];
}

} // namespace

#include "channels.h"
#include "resample.h"
#include "tiles.h"
#include "windows.h"

extern "C" const Kernels KERNELS = {
    product,  sparse_product, weight_slopes, sparse_weight_slopes, row_sum,
    norm_row, norm_row_by,    norm_row_slopes,
    taps,     add_products,
    see,      add_seen,       spread_windows, spread_pixels, gather_pixels,
    norms_of<float>, norms_of<uint16_t>,
    resample,
    widen,    narrow,
};
