// Steps of SGD over [lanes, width], one thread an element. Where the mask is 0, weights and momentum become +0 by
// selection, so that what a pruned element's gradient is does not matter.
//
// `lr`: [lanes]; `factors`: [lanes], by which gradients are multiplied first, or null.

#include "shared.cuh"

static __device__ inline float scaled(const float *gradients, const float *factors, const Element &element) {
  return factors ? gradients[element.at] * factors[element.lane] : gradients[element.at];
}

extern "C" __global__ void sgd_momentum(float *weights, const float *gradients, float *momentum, const float *mask,
                                        const float *lr, const float *factors, Int64 width, Int64 lane_blocks,
                                        float mu, float decay, Int64 nesterov) {
  const Element element = element_of_lane(width, lane_blocks);
  if (!element.exists) return;
  const float w = weights[element.at], slope = scaled(gradients, factors, element) + decay * w;
  const float moved = mu * momentum[element.at] + slope;
  const float next = w - lr[element.lane] * (nesterov ? slope + mu * moved : moved);
  const bool keep = mask[element.at] != 0.0f;
  momentum[element.at] = keep ? moved : 0.0f;
  weights[element.at] = keep ? next : 0.0f;
}

extern "C" __global__ void sgd_plain(float *weights, const float *gradients, const float *mask, const float *lr,
                                     const float *factors, Int64 width, Int64 lane_blocks, float decay) {
  const Element element = element_of_lane(width, lane_blocks);
  if (!element.exists) return;
  const float w = weights[element.at];
  const float next = w - lr[element.lane] * (scaled(gradients, factors, element) + decay * w);
  weights[element.at] = mask[element.at] != 0.0f ? next : 0.0f;
}
