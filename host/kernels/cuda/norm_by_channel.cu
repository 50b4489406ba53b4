// Batch norm, an addition and a ReLU of activations of which each channel's lie together in memory, [outer, channels,
// inner], in f32 or bf16, and their gradients: images with the channels first, and lanes of perceptrons. A block of
// threads for each channel, in one launch; a channel's bits follow from its own numbers alone.
//
// Of a channel's numbers, in the order of memory, thread t of T adds up the numbers t, t + T, ... one after another, and
// then the threads' sums are folded in halves: the first half of them adds the second, until one is left. T is the
// block's number of threads, a power of two no larger than MOST that follows from the number of a channel's numbers
// alone. Sums are in f64, where a product of floats is exact. A mean is that of the distances from the channel's first
// number, and a variance that of the distances from the mean: both are exact where all numbers are the same. What is
// needed again is read again, so that a channel may have any number of numbers.

#include "shared.cuh"

constexpr int MOST = 256;
// Numbers that a thread reads before it adds up the first of them.
constexpr int AHEAD = 4;

// The numbers of a block's channel.
struct Channel {
  Int64 index, first, count, inner, skip;

  // Calls `take(place, read(place))` for the numbers of a thread, one after another.
  template <typename Read, typename Take>
  __device__ void each(int thread, const Read &read, const Take &take) const {
    const Int64 threads = blockDim.x;
    const Split start = split(thread, inner), step = split(threads, inner);
    // Divisions are slow: where the next number lies follows from where this one does.
    Int64 within = start.inner, at = first + thread + start.outer * skip;
    const auto next = [&] {
      const Int64 here = at;
      at += threads + step.outer * skip;
      within += step.inner;
      if (within >= inner) {
        within -= inner;
        at += skip;
      }
      return here;
    };
    Int64 i = thread;
    for (; i + (AHEAD - 1) * threads < count; i += AHEAD * threads) {
      Int64 places[AHEAD];
      decltype(read(at)) some[AHEAD];
#pragma unroll
      for (int j = 0; j < AHEAD; ++j) {
        places[j] = next();
        some[j] = read(places[j]);
      }
#pragma unroll
      for (int j = 0; j < AHEAD; ++j) take(places[j], some[j]);
    }
    for (; i < count; i += threads) {
      const Int64 place = next();
      take(place, read(place));
    }
  }
};

static __device__ inline Channel channel_of_block(Int64 outer, Int64 channels, Int64 inner) {
  const Int64 index = blockIdx.x;
  return {index, index * inner, outer * inner, inner, (channels - 1) * inner};
}

// Folds the threads' sums into the first, which is the first thread's own making.
template <typename... Sums> static __device__ inline void fold(Sums *...sums) {
  for (int half = int(blockDim.x) / 2; half > 0; half /= 2) {
    BARRIER();
    FOR_THREADS(thread) {
      if (thread < half) ((sums[thread] += sums[thread + half]), ...);
    }
  }
}

// Writes the activations of a thread.
template <typename T>
static __device__ inline void activate(const Channel &of, int thread, const T *values, const T *added, float mean,
                                       float factor, float shift, T *out, Int64 relus) {
  struct Number {
    float value, added;
  };
  of.each(
      thread, [&](Int64 at) { return Number{load(values, at), added ? load(added, at) : 0.0f}; },
      [&](Int64 at, const Number &read) {
        store(out, at, activated(read.value, added != nullptr, read.added, mean, factor, shift, relus));
      });
}

template <typename T>
static __device__ inline void forward(const T *values, const T *added, const float *scale, const float *shift,
                                      float *running_mean, float *running_variance, float *means, float *inverses,
                                      T *out, Int64 outer, Int64 channels, Int64 inner, double epsilon,
                                      double momentum, Int64 relus) {
  SHARED double sums[MOST], squares[MOST];
  SHARED double mean;
  SHARED Normal normal;
  const Channel of = channel_of_block(outer, channels, inner);
  const auto read = [&](Int64 at) { return load(values, at); };
  FOR_THREADS(thread) {
    const double first = double(load(values, of.first));
    double sum = 0;
    of.each(thread, read, [&](Int64, float value) { sum += double(value) - first; });
    sums[thread] = sum;
  }
  fold(sums);
  FOR_THREADS(thread) {
    if (thread == 0) mean = double(load(values, of.first)) + sums[0] / double(of.count);
  }
  BARRIER();
  FOR_THREADS(thread) {
    double square = 0;
    of.each(thread, read, [&](Int64, float value) {
      const double distance = double(value) - mean;
      square += distance * distance;
    });
    squares[thread] = square;
  }
  fold(squares);
  FOR_THREADS(thread) {
    if (thread == 0) {
      normal = settle(mean, squares[0], double(of.count), scale[of.index], running_mean[of.index],
                      running_variance[of.index], epsilon, momentum);
      means[of.index] = normal.mean;
      inverses[of.index] = normal.inverse;
    }
  }
  BARRIER();
  FOR_THREADS(thread) {
    activate(of, thread, values, added, normal.mean, normal.factor, shift[of.index], out, relus);
  }
}

// By the running statistics.
template <typename T>
static __device__ inline void forward_known(const T *values, const T *added, const float *scale, const float *shift,
                                            const float *known_mean, const float *known_variance, T *out, Int64 outer,
                                            Int64 channels, Int64 inner, double epsilon, Int64 relus) {
  const Channel of = channel_of_block(outer, channels, inner);
  FOR_THREADS(thread) {
    const float factor = known_factor(scale[of.index], known_variance[of.index], epsilon);
    activate(of, thread, values, added, known_mean[of.index], factor, shift[of.index], out, relus);
  }
}

// Gradients; slopes before the ReLU that made `out`, which is null without one, are stored in `passed`, unless that is
// null.
template <typename T>
static __device__ inline void backward(const float *scale, const T *slopes, const T *out, const T *values,
                                       const float *means, const float *inverses, T *of_values, T *passed,
                                       float *of_scale, float *of_shift, Int64 outer, Int64 channels, Int64 inner) {
  struct Number {
    float slope, distance;
  };
  SHARED double sums[MOST], products[MOST];
  SHARED NormSlopes settled;
  const Channel of = channel_of_block(outer, channels, inner);
  const float mean = means[of.index];
  const auto read = [&](Int64 at) { return Number{slope_at(slopes, out, at), load(values, at) - mean}; };
  FOR_THREADS(thread) {
    double sum = 0, product = 0;
    of.each(thread, read, [&](Int64, const Number &number) {
      sum += double(number.slope);
      product += double(number.slope) * double(number.distance);
    });
    sums[thread] = sum;
    products[thread] = product;
  }
  fold(sums, products);
  FOR_THREADS(thread) {
    if (thread == 0) {
      settled = settle_slopes(sums[0], products[0], double(of.count), scale[of.index], inverses[of.index]);
      of_scale[of.index] = settled.of_scale;
      of_shift[of.index] = settled.of_shift;
    }
  }
  BARRIER();
  FOR_THREADS(thread) {
    of.each(thread, read, [&](Int64 at, const Number &number) {
      store(of_values, at, settled.of_value(number.slope, number.distance));
      if (passed) store(passed, at, number.slope);
    });
  }
}

extern "C" __global__ void norm_by_channel_f32(const float *values, const float *added, const float *scale,
                                               const float *shift, float *running_mean, float *running_variance,
                                               float *means, float *inverses, float *out, Int64 outer,
                                               Int64 channels, Int64 inner, double epsilon, double momentum,
                                               Int64 relus) {
  forward(values, added, scale, shift, running_mean, running_variance, means, inverses, out, outer, channels, inner,
          epsilon, momentum, relus);
}

extern "C" __global__ void norm_by_channel_bf16(const Bf16 *values, const Bf16 *added, const float *scale,
                                                const float *shift, float *running_mean, float *running_variance,
                                                float *means, float *inverses, Bf16 *out, Int64 outer,
                                                Int64 channels, Int64 inner, double epsilon, double momentum,
                                                Int64 relus) {
  forward(values, added, scale, shift, running_mean, running_variance, means, inverses, out, outer, channels, inner,
          epsilon, momentum, relus);
}

extern "C" __global__ void norm_by_channel_known_f32(const float *values, const float *added, const float *scale,
                                                     const float *shift, const float *known_mean,
                                                     const float *known_variance, float *out, Int64 outer,
                                                     Int64 channels, Int64 inner, double epsilon, Int64 relus) {
  forward_known(values, added, scale, shift, known_mean, known_variance, out, outer, channels, inner, epsilon, relus);
}

extern "C" __global__ void norm_by_channel_known_bf16(const Bf16 *values, const Bf16 *added, const float *scale,
                                                      const float *shift, const float *known_mean,
                                                      const float *known_variance, Bf16 *out, Int64 outer,
                                                      Int64 channels, Int64 inner, double epsilon, Int64 relus) {
  forward_known(values, added, scale, shift, known_mean, known_variance, out, outer, channels, inner, epsilon, relus);
}

extern "C" __global__ void norm_by_channel_slopes_f32(const float *scale, const float *slopes, const float *out,
                                                      const float *values, const float *means, const float *inverses,
                                                      float *of_values, float *passed, float *of_scale,
                                                      float *of_shift, Int64 outer, Int64 channels, Int64 inner) {
  backward(scale, slopes, out, values, means, inverses, of_values, passed, of_scale, of_shift, outer, channels,
           inner);
}

extern "C" __global__ void norm_by_channel_slopes_bf16(const float *scale, const Bf16 *slopes, const Bf16 *out,
                                                       const Bf16 *values, const float *means, const float *inverses,
                                                       Bf16 *of_values, Bf16 *passed, float *of_scale,
                                                       float *of_shift, Int64 outer, Int64 channels, Int64 inner) {
  backward(scale, slopes, out, values, means, inverses, of_values, passed, of_scale, of_shift, outer, channels,
           inner);
}
