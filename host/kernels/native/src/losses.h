// The losses of one sample, with their gradients.
#pragma once

#include <cmath>
#include <cstdint>

namespace {

// Cross-entropy, rightness and gradient of one sample; no gradient where `slope` is null.
inline void cross_entropy_row(const float *score, int64_t classes, int64_t target, double smoothing,
                              int64_t batch, float *slope, double *loss, int64_t *right) {
  int64_t best = 0;
  for (int64_t c = 1; c < classes; ++c)
    if (score[c] > score[best]) best = c;
  const float top = score[best];
  float sum = 0, above = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const float e = std::exp(score[c] - top);
    sum += e;
    above += score[c] - top;
    if (slope) slope[c] = e;
  }
  const float log_sum = std::log(sum);
  const double share = smoothing / double(classes);
  // -log p(c) = log_sum - (score[c] - top); `above` sums the brackets over all classes.
  *loss = (1 - smoothing) * double(log_sum - (score[target] - top));
  if (smoothing != 0) *loss += share * (double(classes) * log_sum - above);
  *right = best == target && std::isfinite(sum);
  if (!slope) return;
  const float scale = 1.0f / float(batch), spread = float(share);
  for (int64_t c = 0; c < classes; ++c) slope[c] = (slope[c] / sum - spread) * scale;
  slope[target] -= float(1 - smoothing) * scale;
}

// Half the squared distance of one output from its target, rightness and gradient.
inline void half_square_row(float output, float target, double tolerance, int64_t batch, float *slope,
                            double *loss, int64_t *right) {
  const float distance = output - target;
  *loss = 0.5 * double(distance) * double(distance);
  *right = std::abs(double(distance)) <= tolerance;
  if (slope) *slope = distance / float(batch);
}

} // namespace
