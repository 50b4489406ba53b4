// The losses of one sample, with their gradients.
#pragma once

#include <algorithm>
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

// Binary cross-entropy of one label, of which the target is 0 or 1, rightness and gradient of the mean over
// `count` of them. A score above 0 says 1.
inline void binary_cross_entropy_at(float score, float target, int64_t count, float *slope, double *loss,
                                    int64_t *right) {
  const double x = score, tail = std::exp(-std::abs(x));
  *loss = std::max(x, 0.0) - x * double(target) + std::log1p(tail);
  *right = (x > 0) == (target > 0.5f) && std::isfinite(x);
  if (!slope) return;
  const double share = x > 0 ? 1 / (1 + tail) : tail / (1 + tail);
  *slope = float((share - double(target)) / double(count));
}

// What a network is taught by: `alpha` T^2 KL(teacher || student), both at the temperature T, and 1 - `alpha` of
// the cross-entropy.
struct Distillation {
  double temperature, alpha, smoothing;
};

// The logarithm of the sum of exp(score / temperature), less the greatest of these.
inline double log_sum_at(const float *score, int64_t classes, float top, double temperature) {
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(double(score[c] - top) / temperature);
  return std::log(sum);
}

// The loss of one sample that is taught, rightness and gradient.
inline void distillation_row(const float *score, const float *taught, int64_t classes, int64_t target,
                             const Distillation &how, int64_t batch, float *slope, double *loss, int64_t *right) {
  cross_entropy_row(score, classes, target, how.smoothing, batch, slope, loss, right);
  const double t = how.temperature;
  const float top = *std::max_element(score, score + classes), peak = *std::max_element(taught, taught + classes);
  const double own_sum = log_sum_at(score, classes, top, t), its_sum = log_sum_at(taught, classes, peak, t);
  double apart = 0;
  for (int64_t c = 0; c < classes; ++c) {
    const double own = double(score[c] - top) / t - own_sum, its = double(taught[c] - peak) / t - its_sum;
    const double p = std::exp(its);
    // What the teacher rules out adds nothing.
    if (p > 0) apart += p * (its - own);
    slope[c] = float((1 - how.alpha) * double(slope[c]) + how.alpha * t * (std::exp(own) - p) / double(batch));
  }
  *loss = how.alpha * t * t * apart + (1 - how.alpha) * *loss;
}

} // namespace
