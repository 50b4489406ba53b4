// The CUDA kernels as C++, and a launcher that takes what CUDA's takes.

#include <cstring>
#include <utility>

#include "emulated.h"
#include "shared.cuh"

// A source is compiled alone for a GPU, so that its names are its own.
namespace of_adamw {
#include "adamw.cu"
}
namespace of_batch {
#include "batch.cu"
}
namespace of_clip {
#include "clip.cu"
}
namespace of_coins {
#include "coins.cu"
}
namespace of_cross_entropy {
#include "cross_entropy.cu"
}
namespace of_linear {
#include "linear.cu"
}
namespace of_norm {
#include "norm.cu"
}
namespace of_norm_by_channel {
#include "norm_by_channel.cu"
}
namespace of_sgd {
#include "sgd.cu"
}

namespace {

template <typename... Parameters, size_t... at>
void call_with(void (*kernel)(Parameters...), void *const *arguments, std::index_sequence<at...>) {
  kernel(*static_cast<Parameters *>(arguments[at])...);
}

// Calls a kernel with arguments that are pointed to; false if it takes another number of them.
template <typename... Parameters>
bool call(void (*kernel)(Parameters...), void *const *arguments, unsigned count) {
  if (count != sizeof...(Parameters)) return false;
  call_with(kernel, arguments, std::index_sequence_for<Parameters...>());
  return true;
}

struct Form {
  const char *name;
  bool (*call)(void *const *arguments, unsigned count);
  // Whether it has barriers: it is called once a block, and loops over its threads itself.
  bool by_block;
};

#define FORM(space, kernel, by_block)                                                                      \
  {#kernel, [](void *const *arguments, unsigned count) { return call(space::kernel, arguments, count); }, by_block}

const Form FORMS[] = {
    FORM(of_adamw, adamw, false),
    FORM(of_batch, gather_images, false),
    FORM(of_clip, clip_squares, true),
    FORM(of_clip, clip_factors, false),
    FORM(of_coins, coins, true),
    FORM(of_cross_entropy, cross_entropy_rows, false),
    FORM(of_cross_entropy, cross_entropy_sums, false),
    FORM(of_linear, linear_forward, true),
    FORM(of_linear, linear_input_slopes, true),
    FORM(of_linear, linear_weight_slopes, true),
    FORM(of_linear, linear_bias_slopes, false),
    FORM(of_norm, norm_moments_f32, false),
    FORM(of_norm, norm_moments_bf16, false),
    FORM(of_norm, norm_settle, false),
    FORM(of_norm, norm_known, false),
    FORM(of_norm, norm_activate_f32, false),
    FORM(of_norm, norm_activate_bf16, false),
    FORM(of_norm, norm_slope_sums_f32, false),
    FORM(of_norm, norm_slope_sums_bf16, false),
    FORM(of_norm, norm_settle_slopes, false),
    FORM(of_norm, norm_value_slopes_f32, false),
    FORM(of_norm, norm_value_slopes_bf16, false),
    FORM(of_norm_by_channel, norm_by_channel_f32, true),
    FORM(of_norm_by_channel, norm_by_channel_bf16, true),
    FORM(of_norm_by_channel, norm_by_channel_known_f32, true),
    FORM(of_norm_by_channel, norm_by_channel_known_bf16, true),
    FORM(of_norm_by_channel, norm_by_channel_slopes_f32, true),
    FORM(of_norm_by_channel, norm_by_channel_slopes_bf16, true),
    FORM(of_sgd, sgd_momentum, false),
    FORM(of_sgd, sgd_plain, false),
};

} // namespace

// Runs a kernel's blocks one after another. 0, or 1 if there is none of this name, 2 if it takes another number of
// arguments, 3 if a block has more threads than are kept.
extern "C" int rewind_launch_form(const char *name, unsigned grid, unsigned block, void *const *arguments,
                                  unsigned count) {
  for (const Form &form : FORMS) {
    if (std::strcmp(form.name, name) != 0) continue;
    if (form.by_block && block > MOST_THREADS) return 3;
    blockDim.x = block;
    for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)
      for (threadIdx.x = 0; threadIdx.x < (form.by_block ? 1 : block); ++threadIdx.x)
        if (!form.call(arguments, count)) return 2;
    return 0;
  }
  return 1;
}
