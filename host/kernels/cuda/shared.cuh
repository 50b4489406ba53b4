// What the kernels share, and the two ways in which they are compiled: by NVRTC for a GPU, and by a C++ compiler
// for tests on the CPU, where a launch is a loop over blocks and threads (forms/src/emulated.h).
//
// Both round every product and every sum by itself, unless `fmaf` asks for one rounding, and add up in an order
// that follows from shapes alone: a kernel without `expf` or `logf` gives the same bits in both, on any GPU.
//
// A launch that a CUDA graph replays keeps its arguments. What changes from one step to the next is therefore in
// the device's memory, and an argument is a pointer, an extent or a constant of training.
#pragma once

typedef long long Int64;
typedef unsigned char Byte;
// Numbers in bfloat16 are the upper halves of floats.
typedef unsigned short Bf16;

#if defined(__CUDACC__)

#define SHARED __shared__
#define BARRIER() __syncthreads()
// A phase between two barriers, of each thread of the block.
#define FOR_THREADS(thread) if (const int thread = int(threadIdx.x); true)

// What each thread of a block keeps from one phase to the next.
template <typename T> struct Own {
  T of;
  __device__ T &at(int) { return of; }
};

#endif

// Place of a thread among all of the launch.
static __device__ inline Int64 place() { return Int64(blockIdx.x) * blockDim.x + threadIdx.x; }

// An element of [lanes, width], where `lane_blocks` blocks of threads work on each lane.
struct Element {
  Int64 lane, at;
  bool exists;
};

static __device__ inline Element element_of_lane(Int64 width, Int64 lane_blocks) {
  const unsigned blocks = unsigned(lane_blocks);
  const Int64 lane = blockIdx.x / blocks, within = Int64(blockIdx.x % blocks) * blockDim.x + threadIdx.x;
  return {lane, lane * width + within, within < width};
}

// A place in [outer, inner] as its two indices. GPUs divide numbers of 64 bits slowly, and few places need them.
struct Split {
  Int64 outer, inner;
};

static __device__ inline Split split(Int64 at, Int64 inner) {
  if (((at | inner) >> 32) == 0) {
    const unsigned few = unsigned(at), by = unsigned(inner);
    return {Int64(few / by), Int64(few % by)};
  }
  return {at / inner, at % inner};
}

// Calls `add(index, one, other)` with the numbers of two columns, one after another. They are read some ahead: a thread
// that adds up in order has nobody who works while it waits for memory.
template <typename One, typename Other, typename Add>
static __device__ inline void in_order(const One *ones, const Other *others, Int64 count, Int64 step, const Add &add) {
  constexpr int AHEAD = 16;
  Int64 index = 0;
  for (; index + AHEAD <= count; index += AHEAD) {
    One some[AHEAD];
    Other more[AHEAD];
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
      some[i] = ones[(index + i) * step];
      more[i] = others[(index + i) * step];
    }
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) add(index + i, some[i], more[i]);
  }
  for (; index < count; ++index) add(index, ones[index * step], others[index * step]);
}

static __device__ inline float load(const float *from, Int64 at) { return from[at]; }

static __device__ inline float load(const Bf16 *from, Int64 at) {
  return __uint_as_float(unsigned(from[at]) << 16);
}

static __device__ inline void store(float *to, Int64 at, float x) { to[at] = x; }

// Rounded to the nearest, halfway to the even one; NaN stays.
static __device__ inline void store(Bf16 *to, Int64 at, float x) {
  const unsigned bits = __float_as_uint(x), rounded = bits + 0x7fff + ((bits >> 16) & 1);
  to[at] = Bf16((x == x ? rounded : (bits | 0x400000)) >> 16);
}

static __device__ inline float not_a_number() { return __uint_as_float(0x7fc00000); }

// Neither infinite nor NaN.
static __device__ inline bool is_finite(float x) { return x - x == 0.0f; }

// What batch norms compute of a channel or a number, however channels lie in memory.

// What values of a channel are made normal by.
struct Normal {
  float mean, inverse, factor;
};

static __device__ inline void follow(float &known, double seen, double momentum) {
  known = float((1.0 - momentum) * double(known) + momentum * seen);
}

// Of `count` values of this mean and sum of squared distances from it; the running statistics are moved.
static __device__ inline Normal settle(double mean, double square, double count, float scale, float &running_mean,
                                       float &running_variance, double epsilon, double momentum) {
  const double variance = square / count, root = 1.0 / sqrt(variance + epsilon);
  follow(running_mean, mean, momentum);
  follow(running_variance, variance * count / (count - 1.0), momentum);
  return {float(mean), float(root), float(double(scale) * root)};
}

// The factor of values by a known variance.
static __device__ inline float known_factor(float scale, float variance, double epsilon) {
  return float(double(scale) / sqrt(double(variance) + epsilon));
}

// The normalised value, plus `added` if something is, then a ReLU if there is one.
static __device__ inline float activated(float value, bool adds, float added, float mean, float factor, float shift,
                                         Int64 relus) {
  float v = fmaf(value - mean, factor, shift);
  if (adds) v += added;
  // NaN stays, so that it reaches the loss.
  return relus && v < 0.0f ? 0.0f : v;
}

// The slope of a sum before the ReLU that made `out`, or of what has none.
template <typename T> static __device__ inline float slope_at(const T *slopes, const T *out, Int64 at) {
  return !out || load(out, at) > 0.0f ? load(slopes, at) : 0.0f;
}

// Gradients of a channel's scale and shift, and what those of its values are made of.
struct NormSlopes {
  float of_scale, of_shift, factor, tilt, shift;

  // of_value = slope * factor + (value - mean) * tilt + shift
  __device__ float of_value(float slope, float distance) const {
    return fmaf(slope, factor, fmaf(distance, tilt, shift));
  }
};

// From the sums of `count` slopes, and of their products with the distances from the mean.
//
// Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, with the normalised values put in.
static __device__ inline NormSlopes settle_slopes(double sum, double product, double count, float scale,
                                                  float inverse_root) {
  const double inverse = double(inverse_root), along = product * inverse, factor = double(scale) * inverse;
  return {float(along), float(sum), float(factor), float(-factor * inverse * along / count),
          float(-factor * sum / count)};
}
