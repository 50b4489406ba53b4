// Batch norms and products of autograd whose passes Rust launches on a GPU.

#include "passes_elsewhere.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "kinds.h"

namespace {

std::atomic<const PassesElsewhere *> of_process{nullptr};
// Set by tests.
thread_local const PassesElsewhere *of_thread = nullptr;

// Throws what a pass says.
void check(char *said) {
  if (!said) return;
  const std::string text(said);
  std::free(said);
  TORCH_CHECK(false, text);
}

// Activations as [..., channels], contiguous: a view of their memory.
at::Tensor rows(const at::Tensor &tensor) { return tensor.dim() == 4 ? tensor.permute({0, 2, 3, 1}) : tensor; }

struct NormElsewhere : torch::autograd::Function<NormElsewhere> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, int64_t passes, const at::Tensor &input,
                            const std::optional<at::Tensor> &added, const at::Tensor &scale, const at::Tensor &shift,
                            const at::Tensor &running_mean, const at::Tensor &running_variance, bool trains,
                            bool relus, double epsilon, double momentum) {
    const at::Tensor out = at::empty_like(input);
    const at::Tensor of_channels = at::empty({5, scale.numel()}, scale.options());
    const at::Tensor in_rows = rows(input), out_rows = rows(out);
    const at::Tensor added_rows = added ? rows(*added) : at::Tensor();
    const NormForward call = {&in_rows, added ? &added_rows : nullptr, &scale,       &shift, &running_mean,
                              &running_variance, trains, relus, epsilon, momentum, &of_channels, &out_rows};
    const auto *by = reinterpret_cast<const PassesElsewhere *>(passes);
    check(by->forward(by->context, &call));
    context->save_for_backward({input, scale, of_channels, relus ? out : at::Tensor()});
    context->saved_data["passes"] = passes;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["adds"] = added.has_value();
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list slopes) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &scale = saved[1], &of_channels = saved[2];
    const std::optional<at::Tensor> out = saved[3].defined() ? std::optional(saved[3]) : std::nullopt;
    const bool adds = context->saved_data["adds"].toBool();
    torch::autograd::variable_list found(11);
    // Grad mode is on in a backward pass whose result is to be differentiated.
    if (at::GradMode::is_enabled()) {
      const double epsilon = context->saved_data["epsilon"].toDouble();
      auto all = differentiable_norm_slopes(1, epsilon, slopes[0], input, out, scale);
      found[1] = all[0], found[2] = adds ? all[1] : at::Tensor(), found[3] = all[2], found[4] = all[3];
      return found;
    }
    const at::Tensor slope = arranged(slopes[0], input);
    const at::Tensor of_input = at::empty_like(input), of_scale = at::empty_like(scale), of_shift = at::empty_like(scale);
    // Without a ReLU the sum's gradient is that of what was added.
    const at::Tensor passed = adds && out ? at::empty_like(input) : at::Tensor();
    const at::Tensor slope_rows = rows(slope), in_rows = rows(input), of_rows = rows(of_input);
    const at::Tensor out_rows = out ? rows(*out) : at::Tensor(), passed_rows = passed.defined() ? rows(passed) : passed;
    const NormBackward call = {&scale, &slope_rows, &in_rows, out ? &out_rows : nullptr, &of_channels, &of_rows,
                               passed.defined() ? &passed_rows : nullptr, &of_scale, &of_shift};
    const auto *by = reinterpret_cast<const PassesElsewhere *>(context->saved_data["passes"].toInt());
    check(by->backward(by->context, &call));
    found[1] = of_input, found[3] = of_scale, found[4] = of_shift;
    if (adds) found[2] = passed.defined() ? passed : slope;
    return found;
  }
};

// The passes where this tensor lies; null if there are none.
const PassesElsewhere *passes_at(const at::Tensor &tensor) {
  const PassesElsewhere *passes = of_thread ? of_thread : of_process.load();
  if (!passes || tensor.numel() == 0 || tensor.layout() != at::kStrided) return nullptr;
  const bool is_there =
      passes->device < 0 ? tensor.is_cpu() : tensor.is_cuda() && tensor.get_device() == passes->device;
  return is_there ? passes : nullptr;
}

} // namespace

bool product_elsewhere(const at::Tensor *bias, const at::Tensor &a, const at::Tensor &b, const at::Tensor &out) {
  const PassesElsewhere *passes = passes_at(out);
  const auto is_float = [](const at::Tensor &it) { return it.scalar_type() == at::kFloat && it.numel() > 0; };
  if (!passes || !is_float(a) || !is_float(b) || !is_float(out)) return false;
  const at::Tensor turned_a = a.transpose(1, 2), turned_b = b.transpose(1, 2);
  // What lies turned in memory is read so: of a gradient one factor always does.
  const bool turns_a = !a.is_contiguous() && turned_a.is_contiguous();
  const bool turns_b = !turns_a && !b.is_contiguous() && turned_b.is_contiguous() && !bias;
  const LinearPass pass = turns_a && !bias ? LINEAR_INPUT_SLOPES : turns_b ? LINEAR_WEIGHT_SLOPES : LINEAR_FORWARD;
  const at::Tensor left = pass == LINEAR_INPUT_SLOPES ? turned_a : a.contiguous();
  const at::Tensor right = pass == LINEAR_WEIGHT_SLOPES ? turned_b : b.contiguous();
  check(passes->linear(passes->context, pass, bias, &left, &right, &out));
  return true;
}

const PassesElsewhere *norm_passes_for(const at::Tensor &input, int64_t dimension) {
  const PassesElsewhere *passes = passes_at(input);
  if (!passes || !is_known_kind(input)) return nullptr;
  const bool is_last = input.dim() == 4 ? dimension == 1 && input.is_contiguous(at::MemoryFormat::ChannelsLast)
                                        : input.dim() == 2 && dimension == 1 && input.is_contiguous();
  return is_last ? passes : nullptr;
}

at::Tensor norm_elsewhere(const PassesElsewhere &passes, const at::Tensor &input,
                          const std::optional<at::Tensor> &added, const at::Tensor &scale, const at::Tensor &shift,
                          const at::Tensor &running_mean, const at::Tensor &running_variance, bool trains, bool relus,
                          double epsilon, double momentum) {
  return NormElsewhere::apply(reinterpret_cast<int64_t>(&passes), input, added, scale, shift, running_mean,
                              running_variance, trains, relus, epsilon, momentum);
}

extern "C" {

// The passes of all threads that have none of their own. They must outlive the process.
void rewind_passes_of_process(const PassesElsewhere *passes) { of_process = passes; }

// The passes of this thread, or null; returns those before.
const PassesElsewhere *rewind_passes_of_thread(const PassesElsewhere *passes) { return std::exchange(of_thread, passes); }

// A text as errors are handed over, of so many bytes.
char *rewind_text(const char *text, size_t length) {
  char *copy = static_cast<char *>(std::malloc(length + 1));
  std::memcpy(copy, text, length);
  copy[length] = 0;
  return copy;
}

} // extern "C"
