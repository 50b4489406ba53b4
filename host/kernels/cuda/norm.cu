// Batch norm, an addition and a ReLU of activations whose channels lie side by side, [rows, channels], in f32 or
// bf16, and their gradients.
//
// Sums are added up by blocks of rows, whose extent follows from the number of channels alone, and the blocks in
// order. Within a block a channel's numbers go to four sums in turn, those left over to the first of them. This
// is the order of the kernels for CPUs, and `fmaf` stands where those round a product and a sum at once: both
// give the same bits.

#include "shared.cuh"

constexpr int CHAINS = 4;

// The rows of a block, and which channel a thread adds up there: one thread for each block and channel.
struct Column {
  Int64 at, channel, first, rows;
  bool exists;
};

static __device__ inline Column column(Int64 rows, Int64 channels, Int64 block_rows) {
  const Split found = split(place(), channels);
  const Int64 first = found.outer * block_rows, left = rows - first;
  return {place(), found.inner, first, left < block_rows ? left : block_rows, left > 0};
}

static __device__ inline Int64 blocks(Int64 rows, Int64 block_rows) { return (rows + block_rows - 1) / block_rows; }

// Adds up what `add(row, totals)` adds to `results` totals, for the rows of a block.
template <int results, typename Add> __device__ inline void add_up(Int64 rows, const Add &add, float *out) {
  float totals[CHAINS][results] = {};
  Int64 row = 0;
  for (; row + CHAINS <= rows; row += CHAINS) {
#pragma unroll
    for (int chain = 0; chain < CHAINS; ++chain) add(row + chain, totals[chain]);
  }
  for (; row < rows; ++row) add(row, totals[0]);
#pragma unroll
  for (int r = 0; r < results; ++r) out[r] = (totals[0][r] + totals[1][r]) + (totals[2][r] + totals[3][r]);
}

// Mean of each block and channel, and sum of squared distances from it.
template <typename T>
static __device__ inline void moments(const T *values, float *means, float *squares, Int64 rows, Int64 channels,
                                      Int64 block_rows) {
  const Column of = column(rows, channels, block_rows);
  if (!of.exists) return;
  const Int64 from = of.first * channels + of.channel;
  // As distances from the first, which are 0 where all are the same: so is the variance then.
  const float first = load(values, from);
  float sum, square;
  add_up<1>(
      of.rows, [&](Int64 row, float *totals) { totals[0] += load(values, from + row * channels) - first; }, &sum);
  const float mean = first + sum / float(of.rows);
  add_up<1>(
      of.rows,
      [&](Int64 row, float *totals) {
        const float distance = load(values, from + row * channels) - mean;
        totals[0] = fmaf(distance, distance, totals[0]);
      },
      &square);
  means[of.at] = mean;
  squares[of.at] = square;
}

// Writes the activations.
template <typename T>
static __device__ inline void activate(const T *values, const T *added, const float *means, const float *factors,
                                       const float *shifts, T *out, Int64 numbers, Int64 channels, Int64 relus) {
  const Int64 at = place();
  if (at >= numbers) return;
  const Int64 channel = split(at, channels).inner;
  const float more = added ? load(added, at) : 0.0f;
  store(out, at, activated(load(values, at), added != nullptr, more, means[channel], factors[channel], shifts[channel],
                           relus));
}

// Sums of each block's and channel's slopes, and of their products with the distances from the means. Slopes
// before the ReLU are stored in `passed`, unless that is null.
template <typename T>
static __device__ inline void slope_sums(const T *slopes, const T *out, const T *values, const float *means,
                                         T *passed, float *sums, float *products, Int64 rows, Int64 channels,
                                         Int64 block_rows) {
  const Column of = column(rows, channels, block_rows);
  if (!of.exists) return;
  const Int64 from = of.first * channels + of.channel;
  const float mean = means[of.channel];
  float both[2];
  add_up<2>(
      of.rows,
      [&](Int64 row, float *totals) {
        const Int64 at = from + row * channels;
        const float slope = slope_at(slopes, out, at);
        if (passed) store(passed, at, slope);
        totals[0] += slope;
        totals[1] = fmaf(slope, load(values, at) - mean, totals[1]);
      },
      both);
  sums[of.at] = both[0];
  products[of.at] = both[1];
}

// The gradients of the values.
template <typename T>
static __device__ inline void value_slopes(const T *slopes, const T *out, const T *values, const float *means,
                                           const float *factors, const float *tilts, const float *shifts,
                                           T *of_values, Int64 numbers, Int64 channels) {
  const Int64 at = place();
  if (at >= numbers) return;
  const Int64 channel = split(at, channels).inner;
  const NormSlopes of = {0.0f, 0.0f, factors[channel], tilts[channel], shifts[channel]};
  store(of_values, at, of.of_value(slope_at(slopes, out, at), load(values, at) - means[channel]));
}

extern "C" __global__ void norm_moments_f32(const float *values, float *means, float *squares, Int64 rows,
                                            Int64 channels, Int64 block_rows) {
  moments(values, means, squares, rows, channels, block_rows);
}

extern "C" __global__ void norm_moments_bf16(const Bf16 *values, float *means, float *squares, Int64 rows,
                                             Int64 channels, Int64 block_rows) {
  moments(values, means, squares, rows, channels, block_rows);
}

// Mean and inverse standard deviation of each channel from its blocks' moments, the factor of its values, and the
// running statistics moved. One thread a channel.
//
// Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
extern "C" __global__ void norm_settle(const float *block_means, const float *block_squares, const float *scale,
                                       float *running_mean, float *running_variance, float *means,
                                       float *inverses, float *factors, Int64 rows, Int64 channels,
                                       Int64 block_rows, double epsilon, double momentum) {
  const Int64 channel = place();
  if (channel >= channels) return;
  double mean = 0, square = 0, count = 0;
  in_order(block_means + channel, block_squares + channel, blocks(rows, block_rows), channels,
           [&](Int64 index, float block_mean, float block_square) {
             const Int64 left = rows - index * block_rows;
             const double more = double(left < block_rows ? left : block_rows), all = count + more;
             const double distance = double(block_mean) - mean;
             square += double(block_square) + distance * distance * count * more / all;
             mean += distance * more / all;
             count = all;
           });
  const Normal of = settle(mean, square, count, scale[channel], running_mean[channel], running_variance[channel],
                           epsilon, momentum);
  means[channel] = of.mean;
  inverses[channel] = of.inverse;
  factors[channel] = of.factor;
}

// The factor of each channel's values by the running statistics. One thread a channel.
extern "C" __global__ void norm_known(const float *scale, const float *variances, float *factors, Int64 channels,
                                      double epsilon) {
  const Int64 channel = place();
  if (channel >= channels) return;
  factors[channel] = known_factor(scale[channel], variances[channel], epsilon);
}

extern "C" __global__ void norm_activate_f32(const float *values, const float *added, const float *means,
                                             const float *factors, const float *shifts, float *out, Int64 numbers,
                                             Int64 channels, Int64 relus) {
  activate(values, added, means, factors, shifts, out, numbers, channels, relus);
}

extern "C" __global__ void norm_activate_bf16(const Bf16 *values, const Bf16 *added, const float *means,
                                              const float *factors, const float *shifts, Bf16 *out, Int64 numbers,
                                              Int64 channels, Int64 relus) {
  activate(values, added, means, factors, shifts, out, numbers, channels, relus);
}

extern "C" __global__ void norm_slope_sums_f32(const float *slopes, const float *out, const float *values,
                                               const float *means, float *passed, float *sums, float *products,
                                               Int64 rows, Int64 channels, Int64 block_rows) {
  slope_sums(slopes, out, values, means, passed, sums, products, rows, channels, block_rows);
}

extern "C" __global__ void norm_slope_sums_bf16(const Bf16 *slopes, const Bf16 *out, const Bf16 *values,
                                                const float *means, Bf16 *passed, float *sums, float *products,
                                                Int64 rows, Int64 channels, Int64 block_rows) {
  slope_sums(slopes, out, values, means, passed, sums, products, rows, channels, block_rows);
}

// Gradients of scale and shift from the blocks' sums, and what a value's gradient is made of. One thread a
// channel.
extern "C" __global__ void norm_settle_slopes(const float *sums, const float *products, const float *scale,
                                              const float *inverses, float *scale_slopes, float *shift_slopes,
                                              float *factors, float *tilts, float *shifts, Int64 rows,
                                              Int64 channels, Int64 block_rows) {
  const Int64 channel = place();
  if (channel >= channels) return;
  double all = 0, along = 0;
  in_order(sums + channel, products + channel, blocks(rows, block_rows), channels,
           [&](Int64, float sum, float product) {
             all += double(sum);
             along += double(product);
           });
  const NormSlopes of = settle_slopes(all, along, double(rows), scale[channel], inverses[channel]);
  scale_slopes[channel] = of.of_scale;
  shift_slopes[channel] = of.of_shift;
  factors[channel] = of.factor;
  tilts[channel] = of.tilt;
  shifts[channel] = of.shift;
}

extern "C" __global__ void norm_value_slopes_f32(const float *slopes, const float *out, const float *values,
                                                 const float *means, const float *factors, const float *tilts,
                                                 const float *shifts, float *of_values, Int64 numbers,
                                                 Int64 channels) {
  value_slopes(slopes, out, values, means, factors, tilts, shifts, of_values, numbers, channels);
}

extern "C" __global__ void norm_value_slopes_bf16(const Bf16 *slopes, const Bf16 *out, const Bf16 *values,
                                                  const float *means, const float *factors, const float *tilts,
                                                  const float *shifts, Bf16 *of_values, Int64 numbers,
                                                  Int64 channels) {
  value_slopes(slopes, out, values, means, factors, tilts, shifts, of_values, numbers, channels);
}
