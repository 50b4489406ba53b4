// Batch norm of channels that lie anywhere in memory, and what stands around it. Part of kernels.cpp.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace {

using Pieces = Kernels::Pieces;

// Up to a vector of numbers, and zeros behind them.
template <typename T> ALWAYS V load_some(const T *from, int64_t count) {
  if (count >= VECTOR) return load(from);
  T some[VECTOR] = {};
  std::memcpy(some, from, count * sizeof(T));
  return load(some);
}

template <typename T> ALWAYS void store_some(T *to, V v, int64_t count) {
  if (count >= VECTOR) return store(to, v);
  T some[VECTOR];
  store(some, v);
  std::memcpy(to, some, count * sizeof(T));
}

// What belongs to the channels of the numbers from `at` on.
template <bool one, typename T> ALWAYS V of_channels(const T *numbers, int64_t at, int64_t count) {
  return one ? spread(single(numbers)) : load_some(numbers + at, count);
}

// Adds up `term(place)` of all vectors of the pieces into `out`, for each channel in one order. The
// numbers that fill up a vector must give 0: `term` takes how many are there.
template <bool one, int results, typename Term>
ALWAYS void add_up(const Pieces &p, const Term &term, float *const (&out)[results]) {
  constexpr int CHAINS = 4;
  V total[CHAINS][results];
  const auto clear = [&] {
    for (int c = 0; c < CHAINS; ++c)
      for (int r = 0; r < results; ++r) total[c][r] = spread(0.0f);
  };
  const auto add = [&](int chain, int64_t place, int64_t at, int64_t count) {
    V terms[results];
    term(place, at, count, terms);
    for (int r = 0; r < results; ++r) total[chain][r] += terms[r];
  };
  const auto all = [&](int r) { return (total[0][r] + total[1][r]) + (total[2][r] + total[3][r]); };
  if (one) {
    clear();
    for (int64_t piece = 0; piece < p.count; ++piece) {
      const int64_t start = piece * p.step;
      int64_t j = 0;
      for (; j + CHAINS * VECTOR <= p.length; j += CHAINS * VECTOR)
        for (int c = 0; c < CHAINS; ++c) add(c, start + j + c * VECTOR, 0, VECTOR);
      for (; j < p.length; j += VECTOR) add(0, start + j, 0, least(VECTOR, p.length - j));
    }
    for (int r = 0; r < results; ++r) out[r][0] = sum(all(r));
    return;
  }
  for (int64_t j = 0; j < p.length; j += VECTOR) {
    const int64_t count = least(VECTOR, p.length - j);
    clear();
    int64_t piece = 0;
    for (; piece + CHAINS <= p.count; piece += CHAINS)
      for (int c = 0; c < CHAINS; ++c) add(c, (piece + c) * p.step + j, j, count);
    for (; piece < p.count; ++piece) add(0, piece * p.step + j, j, count);
    for (int r = 0; r < results; ++r) store_some(out[r] + j, all(r), count);
  }
}

template <bool one, typename T> ALWAYS void moments_of(const Pieces &p, const T *values, float *means, float *squares) {
  // As distances from the first, which are 0 where all are the same: so is the variance then.
  const auto from_first = [&](int64_t place, int64_t at, int64_t count, V *terms) {
    terms[0] = load_some(values + place, count) - of_channels<one>(values, at, count);
    if (one && count < VECTOR) terms[0] *= which(0, count);
  };
  add_up<one, 1>(p, from_first, {means});
  const float numbers = one ? float(p.count * p.length) : float(p.count);
  for (int64_t channel = 0; channel < (one ? 1 : p.length); ++channel)
    means[channel] = single(values + channel) + means[channel] / numbers;
  const auto square = [&](int64_t place, int64_t at, int64_t count, V *terms) {
    V distance = load_some(values + place, count) - of_channels<one>(means, at, count);
    if (one && count < VECTOR) distance *= which(0, count);
    terms[0] = distance * distance;
  };
  add_up<one, 1>(p, square, {squares});
}

template <typename T> void moments(const Pieces &p, const T *values, float *means, float *squares) {
  p.one_channel ? moments_of<true>(p, values, means, squares) : moments_of<false>(p, values, means, squares);
}

// Calls `body(place, place within the piece, count)` for all vectors of the pieces.
template <typename Body> ALWAYS void for_vectors(const Pieces &p, const Body &body) {
  for (int64_t piece = 0; piece < p.count; ++piece) {
    const int64_t start = piece * p.step;
    int64_t j = 0;
    for (; j + VECTOR <= p.length; j += VECTOR) body(start + j, j, VECTOR);
    if (j < p.length) body(start + j, j, p.length - j);
  }
}

template <bool one, bool adds, typename T>
ALWAYS void activate_as(const Pieces &p, const T *values, const T *added, const float *means, const float *factors,
                        const float *shifts, bool relus, T *out) {
  // NaN stays, so that it reaches the loss.
  const V least_value = spread(relus ? 0.0f : -__builtin_inff());
  for_vectors(p, [&](int64_t place, int64_t at, int64_t count) {
    const V distance = load_some(values + place, count) - of_channels<one>(means, at, count);
    V v = distance * of_channels<one>(factors, at, count) + of_channels<one>(shifts, at, count);
    if (adds) v += load_some(added + place, count);
    store_some(out + place, v < least_value ? least_value : v, count);
  });
}

template <typename T>
void activate(const Pieces &p, const T *values, const T *added, const float *means, const float *factors,
              const float *shifts, bool relus, T *out) {
  const auto run = [&](const auto &with) { with(p, values, added, means, factors, shifts, relus, out); };
  if (p.one_channel)
    added ? run(activate_as<true, true, T>) : run(activate_as<true, false, T>);
  else
    added ? run(activate_as<false, true, T>) : run(activate_as<false, false, T>);
}

template <bool one, bool relus, bool passes, typename T>
ALWAYS void slope_sums_as(const Pieces &p, const T *slopes, const T *out, const T *values, const float *means,
                          T *passed, float *sums, float *products) {
  const auto both = [&](int64_t place, int64_t at, int64_t count, V *terms) {
    V slope = load_some(slopes + place, count);
    if (relus) slope = where_positive(slope, load_some(out + place, count));
    if (passes) store_some(passed + place, slope, count);
    terms[0] = slope;
    terms[1] = slope * (load_some(values + place, count) - of_channels<one>(means, at, count));
  };
  add_up<one, 2>(p, both, {sums, products});
}

template <typename T>
void slope_sums(const Pieces &p, const T *slopes, const T *out, const T *values, const float *means, T *passed,
                float *sums, float *products) {
  const auto run = [&](const auto &with) { with(p, slopes, out, values, means, passed, sums, products); };
  if (p.one_channel)
    out ? passed ? run(slope_sums_as<true, true, true, T>) : run(slope_sums_as<true, true, false, T>)
        : run(slope_sums_as<true, false, false, T>);
  else
    out ? passed ? run(slope_sums_as<false, true, true, T>) : run(slope_sums_as<false, true, false, T>)
        : run(slope_sums_as<false, false, false, T>);
}

template <bool one, bool relus, typename T>
ALWAYS void value_slopes_as(const Pieces &p, const T *slopes, const T *out, const T *values, const float *means,
                            const float *factors, const float *tilts, const float *shifts, T *of_values) {
  for_vectors(p, [&](int64_t place, int64_t at, int64_t count) {
    V slope = load_some(slopes + place, count);
    if (relus) slope = where_positive(slope, load_some(out + place, count));
    const V distance = load_some(values + place, count) - of_channels<one>(means, at, count);
    const V moved = slope * of_channels<one>(factors, at, count) +
                    (distance * of_channels<one>(tilts, at, count) + of_channels<one>(shifts, at, count));
    store_some(of_values + place, moved, count);
  });
}

template <typename T>
void value_slopes(const Pieces &p, const T *slopes, const T *out, const T *values, const float *means,
                  const float *factors, const float *tilts, const float *shifts, T *of_values) {
  const auto run = [&](const auto &with) { with(p, slopes, out, values, means, factors, tilts, shifts, of_values); };
  if (p.one_channel)
    out ? run(value_slopes_as<true, true, T>) : run(value_slopes_as<true, false, T>);
  else
    out ? run(value_slopes_as<false, true, T>) : run(value_slopes_as<false, false, T>);
}

template <typename T> constexpr Kernels::Norms<T> norms_of = {moments<T>, activate<T>, slope_sums<T>, value_slopes<T>};

void widen(const uint16_t *from, int64_t count, float *out) {
  for (int64_t i = 0; i < count; i += VECTOR) store_some(out + i, load_some(from + i, count - i), count - i);
}

void narrow(const float *from, int64_t count, uint16_t *out) {
  for (int64_t i = 0; i < count; i += VECTOR) store_some(out + i, load_some(from + i, count - i), count - i);
}

} // namespace
