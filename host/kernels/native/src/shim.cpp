// What the bindings lack. A `C_tensor*` of the bindings is an `at::Tensor*`.
//
// Every function returns null, or an error's text that `rewind_free_text` frees.

#include <atomic>
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/DLConvertor.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "autocast.h"
#include "guarded.h"
#include "chosen.h"
#include "losses.h"
#include "passes.h"
#include "passes_elsewhere.h"

// The BLAS inside libtorch, and its threads if it is MKL; absent symbols are null.
#if defined(__linux__)
extern "C" __attribute__((weak)) void sgemm_(const char *, const char *, const int *, const int *, const int *,
                                             const float *, const float *, const int *, const float *,
                                             const int *, const float *, float *, const int *);
extern "C" __attribute__((weak)) int MKL_Set_Num_Threads_Local(int);
#endif

// One clone per instruction set, chosen when the program is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default"))) static
#else
#define EVERY_PROCESSOR static
#endif

namespace {

// MKL chooses how to add up a product by where its matrices lie and by the threads at hand, unless
// told otherwise before its first product: a lane's bytes would depend on its neighbours.
__attribute__((constructor)) void add_up_in_one_order() { setenv("MKL_CBWR", "AUTO,STRICT", 0); }

// Elements below which a pass is not worth a second thread.
constexpr int64_t GRAIN = 32768;

// Fails unless the tensor is what the flat passes read by pointer.
void expect_flat(const at::Tensor &tensor, const at::Tensor &like, const char *name) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.is_contiguous() && tensor.dim() == 2 &&
                  tensor.sizes() == like.sizes() && tensor.device() == like.device(),
              name, " must be a contiguous f32 [lanes, elements] of the weights' shape and device");
}

// Fails unless there are so many rates for each lane.
void expect_rates(const at::Tensor &rates, const at::Tensor &weights, int64_t count) {
  TORCH_CHECK(rates.scalar_type() == at::kFloat && rates.is_contiguous() && rates.device() == weights.device() &&
                  rates.sizes() == at::IntArrayRef({count, weights.size(0)}),
              "rates must be a contiguous f32 [", count, ", lanes] on the weights' device, not ", rates.sizes());
}

// Calls `range(lane, begin, end)` for pieces of the rows of [lanes, width], several threads at a time.
template <typename Range> void for_rows(int64_t lanes, int64_t width, const Range &range) {
  at::parallel_for(0, lanes * width, GRAIN, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t lane = begin / width;
      const int64_t stop = std::min(end, (lane + 1) * width);
      range(lane, begin, stop);
      begin = stop;
    }
  });
}

// Copies by memory where both tensors have the same dense order within a lane; false where they have not.
bool copy_rows(const at::Tensor &from, at::Tensor &to, bool lanes) {
  if (!is_at_hand(from) || from.scalar_type() != at::kFloat || from.sizes() != to.sizes() || from.is_neg())
    return false;
  for (int64_t d = lanes ? 1 : 0; d < from.dim(); ++d)
    if (from.size(d) > 1 && from.stride(d) != to.stride(d)) return false;
  const int64_t rows = lanes ? from.size(0) : 1;
  const size_t bytes = size_t(from.numel() / std::max<int64_t>(rows, 1)) * sizeof(float);
  const int64_t from_stride = lanes ? from.stride(0) : 0, to_stride = lanes ? to.stride(0) : 0;
  const float *source = from.const_data_ptr<float>();
  float *target = to.data_ptr<float>();
  for (int64_t row = 0; row < rows; ++row)
    std::memcpy(target + row * to_stride, source + row * from_stride, bytes);
  return true;
}

// One operand of a product as BLAS reads it: its rows or its columns are dense.
struct Operand {
  at::Tensor tensor;
  bool transposed;
  int64_t step;

  explicit Operand(const at::Tensor &given) : tensor(given) {
    const auto dense = [&](int64_t inner, int64_t outer) {
      return tensor.stride(inner) == 1 && tensor.stride(outer) >= std::max<int64_t>(1, tensor.size(inner));
    };
    transposed = !dense(2, 1) && dense(1, 2);
    if (!transposed && !dense(2, 1)) tensor = tensor.contiguous();
    step = transposed ? tensor.stride(2) : std::max(tensor.stride(1), tensor.size(2));
  }

  // Pointer to an element of a lane.
  const float *at(int64_t lane, int64_t row, int64_t column) const {
    return tensor.const_data_ptr<float>() + lane * tensor.stride(0) + row * (transposed ? 1 : step) +
           column * (transposed ? step : 1);
  }
};

// While it lives, BLAS on this thread does not start others.
struct OneBlasThread {
#if defined(__linux__)
  int before = MKL_Set_Num_Threads_Local ? MKL_Set_Num_Threads_Local(1) : 0;
  ~OneBlasThread() {
    if (MKL_Set_Num_Threads_Local) MKL_Set_Num_Threads_Local(before);
  }
#endif
};

// a * b of every lane, written to `out` or added to it. A lane's product is cut into pieces by its own shape alone, and a
// piece is computed by one thread: its bits depend neither on the number of lanes nor on the threads.
void write_products(const at::Tensor &a, const at::Tensor &b, at::Tensor &out, bool add) {
  const int64_t lanes = out.size(0), m = out.size(1), n = out.size(2), k = a.size(2);
  if (out.numel() == 0 || k == 0) {
    if (!add) out.zero_();
    return;
  }
#if defined(__linux__)
  if (sgemm_ && is_at_hand(out) && out.scalar_type() == at::kFloat && a.scalar_type() == at::kFloat &&
      b.scalar_type() == at::kFloat) {
    const Operand left(a), right(b);
    float *target = out.data_ptr<float>();
    // Pieces of about a million products, whole vectors wide, along the longer side.
    constexpr int64_t PIECE = 1 << 20, VECTOR = 16;
    const bool by_rows = m >= n;
    const int64_t side = by_rows ? m : n;
    const int64_t wanted = std::max<int64_t>(1, std::min<int64_t>(64, m * n * k / PIECE));
    const int64_t width = ((side + wanted - 1) / wanted + VECTOR - 1) / VECTOR * VECTOR;
    const int64_t pieces = (side + width - 1) / width;
    const int64_t worth = std::max<int64_t>(1, (PIECE / 4) * pieces / std::max<int64_t>(1, m * n * k));
    at::parallel_for(0, lanes * pieces, worth, [&](int64_t begin, int64_t end) {
      const OneBlasThread one;
      for (int64_t task = begin; task < end; ++task) {
        const int64_t lane = task / pieces, from = task % pieces * width, size = std::min(width, side - from);
        const int64_t row = by_rows ? from : 0, column = by_rows ? 0 : from;
        // BLAS counts by columns: it computes the transposed product of the transposed operands.
        const int rows = int(by_rows ? size : m), columns = int(by_rows ? n : size), inner = int(k);
        const int right_step = int(right.step), left_step = int(left.step), out_step = int(n);
        const float one_f = 1.0f, before = add ? 1.0f : 0.0f;
        sgemm_(right.transposed ? "T" : "N", left.transposed ? "T" : "N", &columns, &rows, &inner, &one_f,
               right.at(lane, 0, column), &right_step, left.at(lane, row, 0), &left_step, &before,
               target + (lane * m + row) * n + column, &out_step);
      }
    });
    return;
  }
#endif
  // The same call for each lane: what it does depends on the lane's shape alone.
  for (int64_t lane = 0; lane < lanes; ++lane) {
    at::Tensor of_lane = out.select(0, lane);
    if (add)
      of_lane.addmm_(a.select(0, lane), b.select(0, lane));
    else
      at::mm_out(of_lane, a.select(0, lane), b.select(0, lane));
  }
}

// a * b of every lane, [lanes, m, k] and [lanes, k, n].
struct LaneProduct : torch::autograd::Function<LaneProduct> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &a, const at::Tensor &b) {
    context->save_for_backward({a, b});
    at::Tensor out = at::empty({a.size(0), a.size(1), b.size(2)}, a.options());
    if (!product_elsewhere(nullptr, a, b, out)) write_products(a, b, out, false);
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list slopes) {
    const auto saved = context->get_saved_variables();
    const at::Tensor slope = slopes[0].contiguous();
    at::Tensor of_a, of_b;
    if (context->needs_input_grad(0)) of_a = LaneProduct::apply(slope, saved[1].transpose(1, 2));
    if (context->needs_input_grad(1)) of_b = LaneProduct::apply(saved[0].transpose(1, 2), slope);
    return {of_a, of_b};
  }
};

// The sums over the samples of every lane, [lanes, out, batch] to [lanes, out].
struct LaneSums : torch::autograd::Function<LaneSums> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &slopes) {
    context->saved_data["batch"] = slopes.size(2);
    if (const std::optional<at::Tensor> sums = bias_slopes_elsewhere(slopes)) return *sums;
    return is_at_hand(slopes) ? slopes.sum({2}) : sums_of_lanes(slopes, {1});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list slopes) {
    return {slopes[0].unsqueeze(2).expand({-1, -1, context->saved_data["batch"].toInt()})};
  }
};

// bias + weight * input of every lane, [lanes, out], [lanes, out, in] and [lanes, in, batch].
struct LaneLinear : torch::autograd::Function<LaneLinear> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &bias,
                            const at::Tensor &weight, const at::Tensor &input) {
    context->save_for_backward({weight, input});
    at::Tensor out = at::empty({weight.size(0), weight.size(1), input.size(2)}, weight.options());
    const at::Tensor from = bias.contiguous();
    if (product_elsewhere(&from, weight, input, out)) return out;
    out.copy_(bias.unsqueeze(2).expand_as(out));
    write_products(weight, input, out, true);
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list slopes) {
    const auto saved = context->get_saved_variables();
    const at::Tensor slope = slopes[0].contiguous();
    at::Tensor of_bias, of_weight, of_input;
    if (context->needs_input_grad(0)) of_bias = LaneSums::apply(slope);
    if (context->needs_input_grad(1)) of_weight = LaneProduct::apply(slope, saved[1].transpose(1, 2));
    if (context->needs_input_grad(2)) of_input = LaneProduct::apply(saved[0].transpose(1, 2), slope);
    return {of_bias, of_weight, of_input};
  }
};

// The elements of every lane that are not pruned: those of a lane are places[starts[lane]] to
// places[starts[lane + 1]], counted within it.
struct Kept {
  const int32_t *places;
  const int64_t *starts;
};

// Calls `element(lane, place)` for the kept elements, several threads at a time.
template <typename Element> void for_kept(int64_t lanes, int64_t width, const Kept &kept, const Element &element) {
  for (int64_t lane = 0; lane < lanes; ++lane)
    at::parallel_for(kept.starts[lane], kept.starts[lane + 1], GRAIN / 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) element(lane, lane * width + kept.places[i]);
    });
}

// One element of an SGD step with momentum.
inline void sgd_momentum_at(float &w, float g, float &m, float lr, float mu, float decay, bool nesterov) {
  const float d = g + decay * w;
  const float moved = mu * m + d;
  w = w - lr * (nesterov ? d + mu * moved : moved);
  m = moved;
}

// Of the AdamW step of this number the size, and by what the root of the average is divided.
inline double adamw_size(double lr, double beta1, int64_t step) { return lr / (1 - std::pow(beta1, double(step))); }
inline double adamw_root(double beta2, int64_t step) { return std::sqrt(1 - std::pow(beta2, double(step))); }

// One element of an AdamW step.
inline void adamw_at(float &w, float g, float &a, float &v, float shrink, float size, float root,
                     float one_minus_beta1, float beta2, float one_minus_beta2, float eps) {
  a = a + one_minus_beta1 * (g - a);
  v = v * beta2 + one_minus_beta2 * (g * g);
  w = w * shrink - size * (a / (std::sqrt(v) / root + eps));
}

} // namespace

// One lane's piece of an SGD step with momentum; pruned elements become +0 by selection.
EVERY_PROCESSOR void sgd_momentum(float *__restrict w, const float *__restrict g, float *__restrict m,
                                  const float *__restrict mask, int64_t n, float lr, float mu, float decay,
                                  bool nesterov) {
  if (nesterov) {
    for (int64_t i = 0; i < n; ++i) {
      const bool keep = mask[i] != 0.0f;
      const float d = g[i] + decay * w[i];
      const float moved = mu * m[i] + d;
      const float next = w[i] - lr * (d + mu * moved);
      m[i] = keep ? moved : 0.0f;
      w[i] = keep ? next : 0.0f;
    }
  } else {
    for (int64_t i = 0; i < n; ++i) {
      const bool keep = mask[i] != 0.0f;
      const float moved = mu * m[i] + (g[i] + decay * w[i]);
      const float next = w[i] - lr * moved;
      m[i] = keep ? moved : 0.0f;
      w[i] = keep ? next : 0.0f;
    }
  }
}

// One lane's piece of an SGD step without momentum; pruned elements become +0 by selection.
EVERY_PROCESSOR void sgd_plain(float *__restrict w, const float *__restrict g, const float *__restrict mask,
                               int64_t n, float lr, float decay) {
  for (int64_t i = 0; i < n; ++i) {
    const float next = w[i] - lr * (g[i] + decay * w[i]);
    w[i] = mask[i] != 0.0f ? next : 0.0f;
  }
}

// One lane's piece of an AdamW step; pruned elements become +0 by selection.
EVERY_PROCESSOR void adamw(float *__restrict w, const float *__restrict g, float *__restrict a,
                           float *__restrict v, const float *__restrict mask, int64_t n, float shrink,
                           float size, float root, float one_minus_beta1, float beta2,
                           float one_minus_beta2, float eps) {
  for (int64_t i = 0; i < n; ++i) {
    const bool keep = mask[i] != 0.0f;
    const float first = a[i] + one_minus_beta1 * (g[i] - a[i]);
    const float second = v[i] * beta2 + one_minus_beta2 * (g[i] * g[i]);
    const float next = w[i] * shrink - size * (first / (std::sqrt(second) / root + eps));
    a[i] = keep ? first : 0.0f;
    v[i] = keep ? second : 0.0f;
    w[i] = keep ? next : 0.0f;
  }
}

thread_local bool rewind_by_operations = false;

at::Tensor sums_of_lanes(const at::Tensor &each, at::IntArrayRef along) {
  std::vector<at::Tensor> sums;
  for (const at::Tensor &lane : each.unbind(0)) sums.push_back(lane.sum(along));
  return at::stack(sums);
}

bool rewind_autocasts() { return at::autocast::is_autocast_enabled(at::kCPU); }
c10::ScalarType rewind_autocast_kind() { return at::autocast::get_autocast_dtype(at::kCPU); }

extern "C" {

// Frees an error's text.
void rewind_free_text(char *text) { std::free(text); }

// A copy in channels_last memory order, or the tensor itself if it is in that order.
char *rewind_channels_last(const at::Tensor *tensor, at::Tensor **out) {
  return guarded([&] { *out = new at::Tensor(tensor->contiguous(at::MemoryFormat::ChannelsLast)); });
}

// A linear layer of every lane; differentiable twice. Under autocast it computes in the lower precision.
char *rewind_lane_linear(const at::Tensor *bias, const at::Tensor *weight, const at::Tensor *input,
                         at::Tensor **out) {
  return guarded([&] {
    TORCH_CHECK(weight->dim() == 3 && input->dim() == 3 && bias->dim() == 2 &&
                    bias->sizes() == weight->sizes().slice(0, 2) && input->size(0) == weight->size(0) &&
                    input->size(1) == weight->size(2),
                "bias must be [lanes, out], weight [lanes, out, in] and input [lanes, in, batch], not ",
                bias->sizes(), ", ", weight->sizes(), " and ", input->sizes());
    const auto device = weight->device().type();
    if (at::autocast::is_autocast_enabled(device)) {
      const auto kind = at::autocast::get_autocast_dtype(device);
      *out = new at::Tensor(LaneLinear::apply(bias->to(kind), weight->to(kind), input->to(kind)));
    } else {
      *out = new at::Tensor(LaneLinear::apply(*bias, *weight, *input));
    }
  });
}

// Algorithms whose bits do not depend on timing, and fp32 in all its bits: convolutions of newer GPUs
// would otherwise round their inputs to 10. Memory stays uninitialised where it may.
char *rewind_set_deterministic(bool on) {
  return guarded([&] {
    // cuBLAS reads it when its first handle is made; a fixed workspace fixes its order of summation.
    if (on) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
    auto &context = at::globalContext();
    context.setDeterministicAlgorithms(on, false);
    context.setDeterministicFillUninitializedMemory(false);
    context.setDeterministicCuDNN(on);
    context.setAllowTF32CuDNN(!on);
    context.setBenchmarkCuDNN(false);
    context.setDeterministicMkldnn(on);
  });
}

// The version of cuDNN, 0 where there is none.
int64_t rewind_cudnn_version() {
  const auto &cuda = at::detail::getCUDAHooks();
  return at::hasCUDA() && cuda.hasCuDNN() ? cuda.versionCuDNN() : 0;
}

// Whether products and convolutions of GPUs may round what they read to 10 bits; returns whether they might before.
// Of the whole process.
bool rewind_set_tf32(bool on) {
  static std::atomic<bool> now{false};
  const bool before = now.exchange(on);
  if (before != on) {
    auto &context = at::globalContext();
    context.setAllowTF32CuDNN(on);
    context.setAllowTF32CuBLAS(on);
  }
  return before;
}

// A copy on the GPU of this number, from memory that does not move: nobody waits for it.
char *rewind_to_gpu(const at::Tensor *tensor, int64_t index, at::Tensor **out) {
  return guarded([&] {
    const at::Device gpu(at::kCUDA, static_cast<at::DeviceIndex>(index));
    *out = new at::Tensor(tensor->pin_memory().to(gpu, /*non_blocking=*/true));
  });
}

// Bytes of this shape, all 0, on the CPU; pinned, so that a GPU reads them while the CPU goes on.
char *rewind_bytes(const int64_t *shape, int64_t dims, bool pinned, at::Tensor **out) {
  return guarded([&] {
    const auto options = at::TensorOptions(at::kByte).pinned_memory(pinned);
    *out = new at::Tensor(at::zeros(at::IntArrayRef(shape, static_cast<size_t>(dims)), options));
  });
}

// A part of a picture resized, as `Kernels::resample` says. Nothing is checked.
void rewind_resample(const uint8_t *pixels, int64_t width, const Kernels::Filter *across, const Kernels::Filter *down,
                     bool mirror, uint8_t *scratch, uint8_t *out) {
  kernels().resample(pixels, width, *across, *down, mirror, scratch, out);
}

// Starts what computes on GPUs; the text says why it cannot.
char *rewind_start_gpu() {
  return guarded([] { at::globalContext().lazyInitDevice(at::kCUDA); });
}

// Turns bf16 autocast on or off on this thread; `before` receives what `rewind_autocast_restore` restores.
char *rewind_autocast_set(bool cuda, bool on, int32_t before[2]) {
  return guarded([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    before[0] = at::autocast::is_autocast_enabled(device);
    before[1] = static_cast<int32_t>(at::autocast::get_autocast_dtype(device));
    at::autocast::increment_nesting();
    at::autocast::set_autocast_enabled(device, on);
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
  });
}

// Turns it back.
char *rewind_autocast_restore(bool cuda, const int32_t before[2]) {
  return guarded([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, before[0] != 0);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(before[1]));
  });
}

// Whether bf16 autocast is on for the CPU and libtorch would emulate its products.
bool rewind_emulates_bf16() {
  return rewind_autocasts() && rewind_autocast_kind() == at::kBFloat16 && has_vectors_of_eight();
}

// What libtorch is, and how it computes on this processor; whoever asks frees it.
char *rewind_describe_libtorch() {
  std::string text = at::show_config() + "\nkernels: " + (kernels().see ? "wide" : "plain") +
                     (has_vectors_of_eight() ? ", of eight" : "");
  return strdup(text.c_str());
}

// Whether autocast on this thread keeps what it rounded until a pass ends; the answer is whether it did.
bool rewind_cast_cache(bool on) {
  const bool before = at::autocast::is_autocast_cache_enabled();
  at::autocast::set_autocast_cache_enabled(on);
  return before;
}

// The tensor as a DLManagedTensor, whose deleter the receiver calls.
char *rewind_to_dlpack(const at::Tensor *tensor, void **out) {
  return guarded([&] { *out = at::toDLPack(*tensor); });
}

// A tensor that owns this DLManagedTensor.
char *rewind_from_dlpack(void *managed, at::Tensor **out) {
  return guarded([&] { *out = new at::Tensor(at::fromDLPack(static_cast<DLManagedTensor *>(managed))); });
}

// Sums of the cross-entropy and right answers of every lane, and the gradient of the sum of their means.
char *rewind_cross_entropy(const at::Tensor *logits, const at::Tensor *labels, double smoothing,
                           at::Tensor *losses, at::Tensor *correct, at::Tensor **gradient) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    TORCH_CHECK(logits->dim() == 3 && labels->dim() == 2 && labels->scalar_type() == at::kLong &&
                    labels->sizes() == logits->sizes().slice(0, 2),
                "logits must be [lanes, batch, classes] and labels i64 [lanes, batch], not ",
                logits->sizes(), " and ", labels->sizes());
    const int64_t lanes = logits->size(0), batch = logits->size(1), classes = logits->size(2);
    TORCH_CHECK(losses->is_contiguous() && losses->scalar_type() == at::kDouble && losses->numel() == lanes &&
                    correct->is_contiguous() && correct->scalar_type() == at::kLong &&
                    correct->numel() == lanes,
                "losses must be f64 [lanes] and correct i64 [lanes], both contiguous");
    const at::Tensor scores = logits->detach().to(at::kFloat).contiguous();
    if (!is_at_hand(scores)) {
      const at::Tensor logs = at::log_softmax(scores, -1), index = labels->unsqueeze(-1);
      at::Tensor rows = logs.gather(-1, index).squeeze(-1).mul(smoothing - 1);
      if (smoothing != 0) rows = rows.sub(logs.sum(-1), smoothing / double(classes));
      losses->copy_(sums_of_lanes(rows.to(at::kDouble), {0}));
      correct->copy_(scores.argmax(-1).eq(*labels).sum({1}));
      if (gradient) {
        // A comparison with all classes: what is added at a place is added by one thread.
        const at::Tensor wanted = at::arange(classes, labels->options()).eq(index).to(at::kFloat);
        const at::Tensor slope = logs.exp().sub_(smoothing / double(classes)).sub_(wanted, 1 - smoothing);
        *gradient = new at::Tensor(slope.div(double(batch)).to(logits->scalar_type()));
      }
      return;
    }
    const at::Tensor targets = labels->contiguous();
    const int64_t *target = targets.const_data_ptr<int64_t>();
    for (int64_t row = 0; row < lanes * batch; ++row)
      TORCH_CHECK_INDEX(target[row] >= 0 && target[row] < classes, "label ", target[row],
                        " is not one of ", classes, " classes");
    const float *score = scores.const_data_ptr<float>();
    at::Tensor slope = gradient ? at::empty_like(scores) : at::Tensor();
    float *slopes = gradient ? slope.data_ptr<float>() : nullptr;
    at::Tensor row_losses = at::empty({lanes * batch}, losses->options());
    at::Tensor row_correct = at::empty({lanes * batch}, correct->options());
    double *row_loss = row_losses.data_ptr<double>();
    int64_t *row_right = row_correct.data_ptr<int64_t>();
    const int64_t grain = std::max<int64_t>(1, GRAIN / (8 * classes));
    at::parallel_for(0, lanes * batch, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        cross_entropy_row(score + row * classes, classes, target[row], smoothing, batch,
                          slopes ? slopes + row * classes : nullptr, row_loss + row, row_right + row);
    });
    // In one thread and in order, so that a lane's sum depends on nothing but its samples.
    for (int64_t lane = 0; lane < lanes; ++lane) {
      double loss = 0;
      int64_t right = 0;
      for (int64_t row = lane * batch; row < (lane + 1) * batch; ++row) {
        loss += row_loss[row];
        right += row_right[row];
      }
      losses->data_ptr<double>()[lane] = loss;
      correct->data_ptr<int64_t>()[lane] = right;
    }
    if (gradient) *gradient = new at::Tensor(slope.to(logits->scalar_type()));
  });
}

// Half the squared distance of a lane's outputs from its targets; `correct` counts those within `tolerance`.
char *rewind_half_square(const at::Tensor *outputs, const at::Tensor *targets, double tolerance,
                         at::Tensor *losses, at::Tensor *correct, at::Tensor **gradient) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    TORCH_CHECK(outputs->dim() == 3 && outputs->size(2) == 1 && targets->dim() == 2 &&
                    targets->scalar_type() == at::kFloat && targets->sizes() == outputs->sizes().slice(0, 2),
                "outputs must be [lanes, batch, 1] and targets f32 [lanes, batch], not ", outputs->sizes(),
                " and ", targets->sizes());
    const int64_t lanes = outputs->size(0), batch = outputs->size(1);
    TORCH_CHECK(losses->is_contiguous() && losses->scalar_type() == at::kDouble && losses->numel() == lanes &&
                    correct->is_contiguous() && correct->scalar_type() == at::kLong &&
                    correct->numel() == lanes,
                "losses must be f64 [lanes] and correct i64 [lanes], both contiguous");
    const at::Tensor distance = outputs->detach().to(at::kFloat).squeeze(-1).sub(*targets).contiguous();
    if (gradient)
      *gradient = new at::Tensor(distance.div(double(batch)).unsqueeze(-1).to(outputs->scalar_type()));
    if (!is_at_hand(distance)) {
      losses->copy_(sums_of_lanes(distance.to(at::kDouble).square(), {0}).mul(0.5));
      correct->copy_(distance.abs().le(tolerance).sum({1}));
      return;
    }
    // In one thread and in order, so that a lane's sum depends on nothing but its samples.
    const float *row = distance.const_data_ptr<float>();
    for (int64_t lane = 0; lane < lanes; ++lane) {
      double loss = 0;
      int64_t right = 0;
      for (int64_t sample = 0; sample < batch; ++sample, ++row) {
        loss += 0.5 * double(*row) * double(*row);
        right += std::abs(double(*row)) <= tolerance;
      }
      losses->data_ptr<double>()[lane] = loss;
      correct->data_ptr<int64_t>()[lane] = right;
    }
  });
}

// Writes gradients of `output`, for a given gradient of it, into tensors laid out like `inputs`.
char *rewind_backward(const at::Tensor *output, const at::Tensor *gradient, at::Tensor *const *inputs,
                      at::Tensor *const *into, int64_t count, bool lanes) {
  return guarded([&] {
    torch::autograd::variable_list leaves;
    leaves.reserve(count);
    for (int64_t i = 0; i < count; ++i) leaves.push_back(*inputs[i]);
    const auto found = torch::autograd::grad({*output}, leaves, {*gradient}, false, false, true);
    at::NoGradGuard no_grad;
    if (output->is_cuda()) {
      // One launch for all of them.
      std::vector<at::Tensor> targets, sources;
      for (int64_t i = 0; i < count; ++i) {
        targets.push_back(*into[i]);
        sources.push_back(found[i].defined() ? found[i] : at::zeros_like(*into[i]));
      }
      at::_foreach_copy_(targets, sources);
      return;
    }
    for (int64_t i = 0; i < count; ++i) {
      at::Tensor to = *into[i];
      if (!found[i].defined())
        to.zero_();
      else if (!copy_rows(found[i], to, lanes))
        to.copy_(found[i]);
    }
  });
}

// Some elements of a lane in a step of SGD, on this thread; `m` may be null where `mu` is 0.
void rewind_sgd_piece(float *w, const float *g, float *m, const float *mask, int64_t n, double lr, double mu,
                      double decay, bool nesterov) {
  if (m)
    sgd_momentum(w, g, m, mask, n, float(lr), float(mu), float(decay), nesterov);
  else
    sgd_plain(w, g, mask, n, float(lr), float(decay));
}

// One fused step of SGD over [lanes, elements]; `momentum` may be null where `mu` is 0. `rates` are [1, lanes]: each
// lane's learning rate. With `places` nothing but those is looked at; all else must be pruned and 0 already.
char *rewind_masked_sgd_step(at::Tensor *weights, const at::Tensor *gradients, at::Tensor *momentum,
                             const at::Tensor *mask, const int32_t *places, const int64_t *starts,
                             const at::Tensor *rates, double mu, double decay, bool nesterov) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    expect_flat(*weights, *weights, "weights");
    expect_flat(*gradients, *weights, "gradients");
    expect_flat(*mask, *weights, "mask");
    if (momentum) expect_flat(*momentum, *weights, "momentum");
    const int64_t lanes = weights->size(0), width = weights->size(1);
    expect_rates(*rates, *weights, 1);
    if (is_at_hand(*weights)) {
      float *w = weights->data_ptr<float>();
      float *m = momentum ? momentum->data_ptr<float>() : nullptr;
      const float *g = gradients->const_data_ptr<float>();
      const float *k = mask->const_data_ptr<float>();
      const float *lr = rates->const_data_ptr<float>();
      if (places) {
        for_kept(lanes, width, {places, starts}, [&](int64_t lane, int64_t i) {
          if (m)
            sgd_momentum_at(w[i], g[i], m[i], lr[lane], float(mu), float(decay), nesterov);
          else
            w[i] = w[i] - lr[lane] * (g[i] + float(decay) * w[i]);
        });
        return;
      }
      for_rows(lanes, width, [&](int64_t lane, int64_t b, int64_t e) {
        rewind_sgd_piece(w + b, g + b, m ? m + b : nullptr, k + b, e - b, lr[lane], mu, decay, nesterov);
      });
      return;
    }
    const at::Tensor off = mask->eq(0), lr = rates->select(0, 0).unsqueeze(1);
    at::Tensor slope = decay == 0 ? *gradients : gradients->add(*weights, decay);
    if (momentum) {
      momentum->mul_(mu).add_(slope);
      slope = nesterov ? slope.add(*momentum, mu) : *momentum;
    }
    weights->addcmul_(slope, lr, -1);
    weights->masked_fill_(off, 0.0);
    if (momentum) momentum->masked_fill_(off, 0.0);
  });
}

// What of an AdamW step of this number, from 1, depends on its learning rate: what weights shrink to, the size of a
// step, and what the root of the second average is divided by.
void rewind_adamw_rates(double lr, int64_t step, double beta1, double beta2, double decay, float *out) {
  out[0] = float(1 - lr * decay);
  out[1] = float(adamw_size(lr, beta1, step));
  out[2] = float(adamw_root(beta2, step));
}

// Some elements of a lane in the AdamW step of this number, from 1, on this thread.
void rewind_adamw_piece(float *w, const float *g, float *a, float *v, const float *mask, int64_t n, double lr,
                        int64_t step, double beta1, double beta2, double eps, double decay) {
  float rates[3];
  rewind_adamw_rates(lr, step, beta1, beta2, decay, rates);
  adamw(w, g, a, v, mask, n, rates[0], rates[1], rates[2], float(1 - beta1), float(beta2), float(1 - beta2),
        float(eps));
}

// One fused step of AdamW over [lanes, elements]; `rates` are [3, lanes], as above. `places` as in SGD.
char *rewind_masked_adamw_step(at::Tensor *weights, const at::Tensor *gradients, at::Tensor *exp_avg,
                               at::Tensor *exp_avg_sq, const at::Tensor *mask, const int32_t *places,
                               const int64_t *starts, const at::Tensor *rates, double beta1, double beta2,
                               double eps) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    expect_flat(*weights, *weights, "weights");
    expect_flat(*gradients, *weights, "gradients");
    expect_flat(*mask, *weights, "mask");
    expect_flat(*exp_avg, *weights, "exp_avg");
    expect_flat(*exp_avg_sq, *weights, "exp_avg_sq");
    const int64_t lanes = weights->size(0), width = weights->size(1);
    expect_rates(*rates, *weights, 3);
    if (is_at_hand(*weights)) {
      float *w = weights->data_ptr<float>();
      float *a = exp_avg->data_ptr<float>();
      float *v = exp_avg_sq->data_ptr<float>();
      const float *g = gradients->const_data_ptr<float>();
      const float *k = mask->const_data_ptr<float>();
      const float *shrink = rates->const_data_ptr<float>(), *size = shrink + lanes, *root = size + lanes;
      if (places) {
        for_kept(lanes, width, {places, starts}, [&](int64_t lane, int64_t i) {
          adamw_at(w[i], g[i], a[i], v[i], shrink[lane], size[lane], root[lane], float(1 - beta1), float(beta2),
                   float(1 - beta2), float(eps));
        });
        return;
      }
      for_rows(lanes, width, [&](int64_t lane, int64_t b, int64_t e) {
        adamw(w + b, g + b, a + b, v + b, k + b, e - b, shrink[lane], size[lane], root[lane], float(1 - beta1),
              float(beta2), float(1 - beta2), float(eps));
      });
      return;
    }
    const at::Tensor off = mask->eq(0);
    const auto rate = [&](int64_t which) { return rates->select(0, which).unsqueeze(1); };
    weights->mul_(rate(0));
    exp_avg->lerp_(*gradients, 1 - beta1);
    exp_avg_sq->mul_(beta2).addcmul_(*gradients, *gradients, 1 - beta2);
    const at::Tensor root = exp_avg_sq->sqrt().div_(rate(2)).add_(eps);
    weights->addcmul_(exp_avg->div(root), rate(1), -1);
    weights->masked_fill_(off, 0.0);
    exp_avg->masked_fill_(off, 0.0);
    exp_avg_sq->masked_fill_(off, 0.0);
  });
}

// Has this thread compute what is on the CPU by libtorch's operations, as what is on a GPU; returns whether it did.
bool rewind_set_by_operations(bool on) { return std::exchange(rewind_by_operations, on); }

// Has the threads of libtorch call `work(context, task)` for each task below `count`.
void rewind_each(int64_t count, void (*work)(void *, int64_t), void *context) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t, int64_t) {
    for (int64_t task; (task = next.fetch_add(1)) < count;) work(context, task);
  });
}

} // extern "C"
