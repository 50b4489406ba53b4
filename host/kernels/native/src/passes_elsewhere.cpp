// Batch norms and products of autograd whose passes Rust launches on a GPU.

#include "passes_elsewhere.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/accumulate.h>

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

// Whether the channels along `dimension` lie last in memory, so that neighbours are of different channels.
bool is_last(const at::Tensor &tensor, int64_t dimension) {
  if (dimension != 1) return false;
  return tensor.dim() == 4 ? tensor.is_contiguous(at::MemoryFormat::ChannelsLast)
                           : tensor.dim() == 2 && tensor.is_contiguous();
}

// Activations as the passes take them, contiguous: a view of their memory.
struct Laid {
  int64_t dimension; // of the channels
  bool last;

  Laid(const at::Tensor &input, int64_t dimension) : dimension(dimension), last(is_last(input, dimension)) {}

  at::Tensor view(const at::Tensor &tensor) const {
    if (last) return tensor.dim() == 4 ? tensor.permute({0, 2, 3, 1}) : tensor;
    const at::IntArrayRef sizes = tensor.sizes();
    const int64_t outer = c10::multiply_integers(sizes.slice(0, dimension));
    return tensor.view({outer, sizes[dimension], c10::multiply_integers(sizes.slice(dimension + 1))});
  }

  // Rows of what is kept of each channel from one pass to the other.
  int64_t kept() const { return last ? 5 : 2; }
};

struct NormElsewhere : torch::autograd::Function<NormElsewhere> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, int64_t passes, const at::Tensor &input,
                            int64_t dimension, const std::optional<at::Tensor> &added, const at::Tensor &scale,
                            const at::Tensor &shift, const at::Tensor &running_mean,
                            const at::Tensor &running_variance, bool trains, bool relus, double epsilon,
                            double momentum) {
    const Laid laid(input, dimension);
    const at::Tensor out = at::empty_like(input);
    const at::Tensor of_channels = at::empty({laid.kept(), scale.numel()}, scale.options());
    const at::Tensor values = laid.view(input), made = laid.view(out);
    const at::Tensor more = added ? laid.view(*added) : at::Tensor();
    const NormForward call = {!laid.last,   &values,           added ? &more : nullptr, &scale, &shift,
                              &running_mean, &running_variance, trains,                  relus,  epsilon,
                              momentum,      &of_channels,      &made};
    const auto *by = reinterpret_cast<const PassesElsewhere *>(passes);
    check(by->forward(by->context, &call));
    context->save_for_backward({input, scale, of_channels, relus ? out : at::Tensor()});
    context->saved_data["passes"] = passes;
    context->saved_data["dimension"] = dimension;
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
    const int64_t dimension = context->saved_data["dimension"].toInt();
    torch::autograd::variable_list found(12);
    // Grad mode is on in a backward pass whose result is to be differentiated.
    if (at::GradMode::is_enabled()) {
      const double epsilon = context->saved_data["epsilon"].toDouble();
      auto all = differentiable_norm_slopes(dimension, epsilon, slopes[0], input, out, scale);
      found[1] = all[0], found[3] = adds ? all[1] : at::Tensor(), found[4] = all[2], found[5] = all[3];
      return found;
    }
    const at::Tensor slope = arranged(slopes[0], input);
    const at::Tensor of_input = at::empty_like(input), of_scale = at::empty_like(scale), of_shift = at::empty_like(scale);
    // Without a ReLU the sum's gradient is that of what was added.
    const at::Tensor passed = adds && out ? at::empty_like(input) : at::Tensor();
    const Laid laid(input, dimension);
    const at::Tensor given = laid.view(slope), values = laid.view(input), of_values = laid.view(of_input);
    const at::Tensor made = out ? laid.view(*out) : at::Tensor(), through = passed.defined() ? laid.view(passed) : passed;
    const NormBackward call = {!laid.last,   &scale,     &given,    &values, out ? &made : nullptr,
                               &of_channels, &of_values, passed.defined() ? &through : nullptr,
                               &of_scale,    &of_shift};
    const auto *by = reinterpret_cast<const PassesElsewhere *>(context->saved_data["passes"].toInt());
    check(by->backward(by->context, &call));
    found[1] = of_input, found[4] = of_scale, found[5] = of_shift;
    if (adds) found[3] = passed.defined() ? passed : slope;
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

bool is_float(const at::Tensor &it) { return it.scalar_type() == at::kFloat && it.numel() > 0; }

} // namespace

bool product_elsewhere(const at::Tensor *bias, const at::Tensor &a, const at::Tensor &b, const at::Tensor &out) {
  const PassesElsewhere *passes = passes_at(out);
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

std::optional<at::Tensor> bias_slopes_elsewhere(const at::Tensor &slopes) {
  const PassesElsewhere *passes = passes_at(slopes);
  if (!passes || !is_float(slopes)) return std::nullopt;
  const at::Tensor out = at::empty({slopes.size(0), slopes.size(1)}, slopes.options());
  check(passes->linear(passes->context, LINEAR_BIAS_SLOPES, nullptr, &slopes, nullptr, &out));
  return out;
}

const PassesElsewhere *norm_passes_for(const at::Tensor &input, int64_t dimension) {
  const PassesElsewhere *passes = passes_at(input);
  if (!passes || !is_known_kind(input) || dimension >= input.dim()) return nullptr;
  return is_last(input, dimension) || input.is_contiguous() ? passes : nullptr;
}

at::Tensor norm_elsewhere(const PassesElsewhere &passes, const at::Tensor &input, int64_t dimension,
                          const std::optional<at::Tensor> &added, const at::Tensor &scale, const at::Tensor &shift,
                          const at::Tensor &running_mean, const at::Tensor &running_variance, bool trains, bool relus,
                          double epsilon, double momentum) {
  return NormElsewhere::apply(reinterpret_cast<int64_t>(&passes), input, dimension, added, scale, shift,
                              running_mean, running_variance, trains, relus, epsilon, momentum);
}

extern "C" {

// The passes of all threads that have none of their own, or null. They must outlive the process.
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
