// By how much each lane's gradient is scaled so that its norm is no larger than allowed.
//
// A lane is cut into pieces of PIECE elements. Of a piece, thread t of THREADS adds up the squares of the elements
// t, t + THREADS, ... one after another, and then the threads' sums are folded in halves: the first half of them
// adds the second, until one is left. The pieces' sums are added up in order. All of it in f64, where the square
// of a float is exact.

#include "shared.cuh"

constexpr int THREADS = 256;
constexpr Int64 PIECE = 16 * THREADS;

// sums[lane, piece] = sum of the squares of the gradients that are not pruned. A block of THREADS for each.
extern "C" __global__ void clip_squares(const float *gradients, const float *mask, double *sums, Int64 width,
                                        Int64 pieces) {
  SHARED double folded[THREADS];
  const Split at = split(blockIdx.x, pieces);
  const Int64 first = at.inner * PIECE, last = first + PIECE < width ? first + PIECE : width;
  const Int64 lane = at.outer * width;
  FOR_THREADS(thread) {
    double sum = 0;
    for (Int64 i = first + thread; i < last; i += THREADS) {
      const double g = mask[lane + i] != 0.0f ? double(gradients[lane + i]) : 0.0;
      sum += g * g;
    }
    folded[thread] = sum;
  }
  for (int half = THREADS / 2; half > 0; half /= 2) {
    BARRIER();
    FOR_THREADS(thread) {
      if (thread < half) folded[thread] += folded[thread + half];
    }
  }
  // The last sum is of the first thread's own making.
  FOR_THREADS(thread) {
    if (thread == 0) sums[blockIdx.x] = folded[0];
  }
}

// factors[lane] = min(1, largest / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ computes it; NaN stays. One
// thread a lane.
extern "C" __global__ void clip_factors(const double *sums, float *factors, Int64 lanes, Int64 pieces,
                                        double largest) {
  const Int64 lane = place();
  if (lane >= lanes) return;
  double total = 0;
  const double *own = sums + lane * pieces;
  in_order(own, own, pieces, 1, [&](Int64, double sum, double) { total += sum; });
  const double factor = largest / (sqrt(total) + 1e-6);
  factors[lane] = factor > 1.0 ? 1.0f : float(factor);
}
