// Batch norm of channels that lie anywhere in memory, and what stands around it. Part of kernels.cpp.
#pragma once

#include <type_traits>

#include "kernels.h"
#include "vector.h"

namespace {

using Pieces = Kernels::Pieces;

// Up to a vector X of numbers, and zeros behind them.
template <typename X, typename T> ALWAYS X load_some(const T *from, int64_t count) {
  if (count >= LENGTH<X>) return load_as<X>(from);
  T some[LENGTH<X>] = {};
  std::memcpy(some, from, count * sizeof(T));
  return load_as<X>(some);
}

template <typename X, typename T> ALWAYS void store_some(T *to, X v, int64_t count) {
  if (count >= LENGTH<X>) return store(to, v);
  T some[LENGTH<X>];
  store(some, v);
  std::memcpy(to, some, count * sizeof(T));
}

// What belongs to the channels of the numbers from `at` on.
template <bool one, typename X, typename T> ALWAYS X of_channels(const T *numbers, int64_t at, int64_t count) {
  return one ? spread_as<X>(single(numbers)) : load_some<X>(numbers + at, count);
}

// Vectors of sums that are added up side by side.
constexpr int CHAINS = 4;

template <typename X, int results> struct Sums {
  X total[CHAINS][results] = {};

  template <typename Term> ALWAYS void add(const Term &term, int chain, int64_t place, int64_t at, int64_t count) {
    X terms[results];
    term(place, at, count, terms);
    for (int r = 0; r < results; ++r) total[chain][r] += terms[r];
  }

  ALWAYS X all(int r) const { return (total[0][r] + total[1][r]) + (total[2][r] + total[3][r]); }
};

// The sums of up to a vector X of channels, those from `j` on: pieces one after another.
template <typename X, int results, typename Term>
ALWAYS void add_channels(const Pieces &p, const Term &term, int64_t j, int64_t count, float *const (&out)[results]) {
  Sums<X, results> sums;
  int64_t piece = 0;
  for (; piece + CHAINS <= p.count; piece += CHAINS)
    for (int c = 0; c < CHAINS; ++c) sums.add(term, c, (piece + c) * p.step + j, j, count);
  for (; piece < p.count; ++piece) sums.add(term, 0, piece * p.step + j, j, count);
  for (int r = 0; r < results; ++r) store_some(out[r] + j, sums.all(r), count);
}

// Adds up `term(place, place within the piece, count, terms)` of all vectors of the pieces into `out`, for each channel
// in one order. The numbers that fill up a vector must give 0: `term` takes how many are there.
template <bool one, int results, typename Term>
ALWAYS void add_up(const Pieces &p, const Term &term, float *const (&out)[results]) {
  int64_t j = 0;
  if constexpr (one) {
    Sums<V, results> sums;
    for (int64_t piece = 0; piece < p.count; ++piece) {
      const int64_t start = piece * p.step;
      for (j = 0; j + CHAINS * VECTOR <= p.length; j += CHAINS * VECTOR)
        for (int c = 0; c < CHAINS; ++c) sums.add(term, c, start + j + c * VECTOR, 0, VECTOR);
      for (; j < p.length; j += VECTOR) sums.add(term, 0, start + j, 0, least(VECTOR, p.length - j));
    }
    for (int r = 0; r < results; ++r) out[r][0] = sum(sums.all(r));
  } else {
    for (; j + WIDE <= p.length; j += WIDE) add_channels<W>(p, term, j, WIDE, out);
    for (; j < p.length; j += VECTOR) add_channels<V>(p, term, j, least(VECTOR, p.length - j), out);
  }
}

// The type of a vector that terms are written to.
template <typename X> using Of = std::remove_pointer_t<X>;

template <bool one, typename T> ALWAYS void moments_of(const Pieces &p, const T *values, float *means, float *squares) {
  // As distances from the first, which are 0 where all are the same: so is the variance then.
  const auto from_first = [&](int64_t place, int64_t at, int64_t count, auto *terms) {
    using X = Of<decltype(terms)>;
    terms[0] = load_some<X>(values + place, count) - of_channels<one, X>(values, at, count);
    if constexpr (one)
      if (count < VECTOR) terms[0] *= which(0, count);
  };
  add_up<one, 1>(p, from_first, {means});
  const float numbers = one ? float(p.count * p.length) : float(p.count);
  for (int64_t channel = 0; channel < (one ? 1 : p.length); ++channel)
    means[channel] = single(values + channel) + means[channel] / numbers;
  const auto square = [&](int64_t place, int64_t at, int64_t count, auto *terms) {
    using X = Of<decltype(terms)>;
    X distance = load_some<X>(values + place, count) - of_channels<one, X>(means, at, count);
    if constexpr (one)
      if (count < VECTOR) distance *= which(0, count);
    terms[0] = distance * distance;
  };
  add_up<one, 1>(p, square, {squares});
}

template <typename T> void moments(const Pieces &p, const T *values, float *means, float *squares) {
  p.one_channel ? moments_of<true>(p, values, means, squares) : moments_of<false>(p, values, means, squares);
}

// Calls `body(place, place within the piece, count, vector)` for all vectors of the pieces, whose type `vector` has.
template <typename Body> ALWAYS void for_vectors(const Pieces &p, const Body &body) {
  for (int64_t piece = 0; piece < p.count; ++piece) {
    const int64_t start = piece * p.step;
    int64_t j = 0;
    for (; j + WIDE <= p.length; j += WIDE) body(start + j, j, WIDE, W{});
    if (j == p.length) continue;
    for (; j + VECTOR <= p.length; j += VECTOR) body(start + j, j, VECTOR, V{});
    if (j < p.length) body(start + j, j, p.length - j, V{});
  }
}

template <bool one, bool adds, typename T>
ALWAYS void activate_as(const Pieces &p, const T *values, const T *added, const float *means, const float *factors,
                        const float *shifts, bool relus, T *out) {
  // NaN stays, so that it reaches the loss.
  const float lowest = relus ? 0.0f : -__builtin_inff();
  for_vectors(p, [&](int64_t place, int64_t at, int64_t count, auto vector) {
    using X = decltype(vector);
    const X least_value = spread_as<X>(lowest);
    const X distance = load_some<X>(values + place, count) - of_channels<one, X>(means, at, count);
    X v = distance * of_channels<one, X>(factors, at, count) + of_channels<one, X>(shifts, at, count);
    if (adds) v += load_some<X>(added + place, count);
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
  const auto both = [&](int64_t place, int64_t at, int64_t count, auto *terms) {
    using X = Of<decltype(terms)>;
    X slope = load_some<X>(slopes + place, count);
    if (relus) slope = where_positive(slope, load_some<X>(out + place, count));
    if (passes) store_some(passed + place, slope, count);
    terms[0] = slope;
    terms[1] = slope * (load_some<X>(values + place, count) - of_channels<one, X>(means, at, count));
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
  for_vectors(p, [&](int64_t place, int64_t at, int64_t count, auto vector) {
    using X = decltype(vector);
    X slope = load_some<X>(slopes + place, count);
    if (relus) slope = where_positive(slope, load_some<X>(out + place, count));
    const X distance = load_some<X>(values + place, count) - of_channels<one, X>(means, at, count);
    const X moved = slope * of_channels<one, X>(factors, at, count) +
                    (distance * of_channels<one, X>(tilts, at, count) + of_channels<one, X>(shifts, at, count));
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
  for (int64_t i = 0; i < count; i += WIDE) store_some(out + i, load_some<W>(from + i, count - i), count - i);
}

void narrow(const float *from, int64_t count, uint16_t *out) {
  for (int64_t i = 0; i < count; i += WIDE) store_some(out + i, load_some<W>(from + i, count - i), count - i);
}

} // namespace
