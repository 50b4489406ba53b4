// What autograd computes by passes that somebody else has: kernels for GPUs, which Rust launches.
#pragma once

#include <ATen/core/Tensor.h>

#include <torch/csrc/autograd/custom_function.h>

#include <cstdint>
#include <optional>

// What a pass forward reads and writes. Activations are contiguous, `by_channel` [outer, channels, inner], else
// [..., channels]; `added` may be null. What is kept for the pass back lies in `of_channels`, `by_channel` [2, channels],
// else [5, channels].
struct NormForward {
  bool by_channel;
  const at::Tensor *input, *added, *scale, *shift, *running_mean, *running_variance;
  bool trains, relus;
  double epsilon, momentum;
  const at::Tensor *of_channels, *out;
};

// The same of a pass back; `out`, where no ReLU followed, and `of_added`, where it is not wanted, are null.
struct NormBackward {
  bool by_channel;
  const at::Tensor *scale, *slopes, *input, *out, *of_channels, *of_input, *of_added, *of_scale, *of_shift;
};

// Which product of every lane: weight [lanes, out, in] * input [lanes, in, batch], from a bias [lanes, out] on if there
// is one; slopes [lanes, out, batch] * input^T; weight^T * slopes. Or the sums of slopes over the batch.
enum LinearPass : int32_t { LINEAR_FORWARD, LINEAR_WEIGHT_SLOPES, LINEAR_INPUT_SLOPES, LINEAR_BIAS_SLOPES };

// All passes, on a GPU of this number, or on the CPU if it is -1. They return null or an error's text.
struct PassesElsewhere {
  const void *context;
  int32_t device;
  char *(*forward)(const void *, const NormForward *);
  char *(*backward)(const void *, const NormBackward *);
  // Of contiguous f32 tensors: bias or null, the two factors in the order above, of sums one and null, and what comes
  // of them.
  char *(*linear)(const void *, int32_t pass, const at::Tensor *bias, const at::Tensor *left,
                  const at::Tensor *right, const at::Tensor *out);
};

// Writes a * b of every lane, [lanes, m, k] and [lanes, k, n], to a contiguous `out`, from `bias`, [lanes, m], on if it
// is not null; false if there are no passes for it.
bool product_elsewhere(const at::Tensor *bias, const at::Tensor &a, const at::Tensor &b, const at::Tensor &out);

// The sums over the last dimension of a contiguous [lanes, out, batch]; nothing if there are no passes for it.
std::optional<at::Tensor> bias_slopes_elsewhere(const at::Tensor &slopes);

// The passes for a batch norm of the channels along `dimension`; null if it is not for them: the input must be f32 or
// bf16 and contiguous, or have the channels last in memory.
const PassesElsewhere *norm_passes_for(const at::Tensor &input, int64_t dimension);

// As `rewind_norm`, by these passes, of what lies in memory like the input.
at::Tensor norm_elsewhere(const PassesElsewhere &passes, const at::Tensor &input, int64_t dimension,
                          const std::optional<at::Tensor> &added, const at::Tensor &scale, const at::Tensor &shift,
                          const at::Tensor &running_mean, const at::Tensor &running_variance, bool trains, bool relus,
                          double epsilon, double momentum);

// The gradients of a trained batch norm of the channels along `dimension` by operations that can be differentiated once
// more: of input, added, scale and shift. `out` where a ReLU made it.
torch::autograd::variable_list differentiable_norm_slopes(int64_t dimension, double epsilon, const at::Tensor &slope,
                                                          const at::Tensor &input,
                                                          const std::optional<at::Tensor> &out,
                                                          const at::Tensor &scale);
