// A step of AdamW over [lanes, width], one thread an element. Where the mask is 0, weights and averages become +0
// by selection.
//
// Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2, with what depends on a lane's step alone computed once:
// `shrink` = 1 - lr decay, `size` = lr / (1 - beta1^step) and `root` = sqrt(1 - beta2^step), each [lanes].
// `factors`: [lanes], by which gradients are multiplied first, or null.

#include "shared.cuh"

extern "C" __global__ void adamw(float *weights, const float *gradients, float *exp_avg, float *exp_avg_sq,
                                 const float *mask, const float *shrink, const float *size, const float *root,
                                 const float *factors, Int64 width, Int64 lane_blocks, float one_minus_beta1,
                                 float beta2, float one_minus_beta2, float eps) {
  const Element element = element_of_lane(width, lane_blocks);
  if (!element.exists) return;
  const Int64 lane = element.lane, at = element.at;
  const float g = factors ? gradients[at] * factors[lane] : gradients[at];
  const float first = exp_avg[at] + one_minus_beta1 * (g - exp_avg[at]);
  const float second = exp_avg_sq[at] * beta2 + one_minus_beta2 * (g * g);
  const float next = weights[at] * shrink[lane] - size[lane] * (first / (sqrtf(second) / root[lane] + eps));
  const bool keep = mask[at] != 0.0f;
  exp_avg[at] = keep ? first : 0.0f;
  exp_avg_sq[at] = keep ? second : 0.0f;
  weights[at] = keep ? next : 0.0f;
}
