// Cross-entropy of every sample with its gradient, and the lanes' sums in the order of their samples.

#include "shared.cuh"

// One thread a sample. `scores`: [rows, classes], `targets`: [rows], `slopes`: like the scores, or null: the gradient
// of the mean over `batch` of them; `losses` and `right`: [rows]. `smoothing` is the share of the target probability
// spread over all classes. A target that is no class makes all of its sample NaN.
extern "C" __global__ void cross_entropy_rows(const float *scores, const Int64 *targets, float *slopes,
                                              double *losses, Int64 *right, Int64 rows, Int64 classes, Int64 batch,
                                              double smoothing) {
  const Int64 row = place();
  if (row >= rows) return;
  const float *score = scores + row * classes;
  float *slope = slopes ? slopes + row * classes : nullptr;
  const Int64 target = targets[row];
  if (target < 0 || target >= classes) {
    losses[row] = double(not_a_number());
    right[row] = 0;
    for (Int64 c = 0; slope && c < classes; ++c) slope[c] = not_a_number();
    return;
  }
  Int64 best = 0;
  for (Int64 c = 1; c < classes; ++c)
    if (score[c] > score[best]) best = c;
  const float top = score[best];
  float sum = 0, above = 0;
  for (Int64 c = 0; c < classes; ++c) {
    const float e = expf(score[c] - top);
    sum += e;
    above += score[c] - top;
    if (slope) slope[c] = e;
  }
  const float log_sum = logf(sum);
  const double share = smoothing / double(classes);
  // -log p(c) = log_sum - (score[c] - top); `above` sums the brackets over all classes.
  double loss = (1 - smoothing) * double(log_sum - (score[target] - top));
  if (smoothing != 0) loss += share * (double(classes) * double(log_sum) - double(above));
  losses[row] = loss;
  right[row] = best == target && is_finite(sum);
  if (!slope) return;
  const float scale = 1.0f / float(batch), spread = float(share);
  for (Int64 c = 0; c < classes; ++c) slope[c] = (slope[c] / sum - spread) * scale;
  slope[target] -= float(1 - smoothing) * scale;
}

// One thread a lane, so that its sum depends on nothing but its samples: sums of [lanes, batch].
extern "C" __global__ void cross_entropy_sums(const double *losses, const Int64 *right, double *lane_losses,
                                              Int64 *lane_right, Int64 lanes, Int64 batch) {
  const Int64 lane = place();
  if (lane >= lanes) return;
  double loss = 0;
  Int64 count = 0;
  in_order(losses + lane * batch, right + lane * batch, batch, 1, [&](Int64, double of_row, Int64 is_right) {
    loss += of_row;
    count += is_right;
  });
  lane_losses[lane] = loss;
  lane_right[lane] = count;
}
