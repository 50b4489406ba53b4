// Batch norm, an addition and a ReLU in one, of any activations on the CPU: what lies between two
// convolutions reads and writes memory as seldom as it can.
//
// Sums are added up by blocks, whose extent follows from the shape alone, and the blocks in order: the
// bits depend on the memory order, not on the threads.

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "guarded.h"
#include "chosen.h"
#include "kinds.h"
#include "passes_elsewhere.h"
#include "passes.h"

namespace {

using Pieces = Kernels::Pieces;

// Numbers of a block: three tensors' worth stays in the first cache.
constexpr int64_t BLOCK = 2048;
// Numbers, and sums of blocks, that are worth a thread.
constexpr int64_t GRAIN = 16384, MERGES = 1024;

// How channels lie in memory, [outer, channels, inner], and the blocks in which they are computed.
struct Channels {
  int64_t outer, channels, inner;
  int64_t blocks;      // of each channel
  int64_t pieces;      // pieces of a block
  int64_t parts, part; // blocks of a piece longer than a block, and their length

  Channels(int64_t outer, int64_t channels, int64_t inner) : outer(outer), channels(channels), inner(inner) {
    part = std::min(inner, BLOCK);
    parts = (inner + part - 1) / part;
    // Of interleaved channels at least sixteen numbers each, as there are sums of every block and channel.
    pieces = interleaved() ? std::max<int64_t>(16, BLOCK / channels) : BLOCK / part;
    blocks = (outer + pieces - 1) / pieces * parts;
  }

  // Of a tensor whose channels are this dimension; none if they lie in another way.
  static std::optional<Channels> of(const at::Tensor &tensor, int64_t dimension) {
    int64_t outer = 1, inner = 1;
    for (int64_t d = 0; d < tensor.dim(); ++d) (d < dimension ? outer : inner) *= d == dimension ? 1 : tensor.size(d);
    const int64_t channels = tensor.size(dimension);
    if (tensor.is_contiguous()) return Channels(outer, channels, inner);
    if (dimension == 1 && tensor.dim() == 4 && tensor.is_contiguous(at::MemoryFormat::ChannelsLast))
      return Channels(outer * inner, channels, 1);
    return {};
  }

  // Whether neighbours in memory are of different channels: a block is then one of all channels.
  bool interleaved() const { return inner == 1; }

  int64_t numbers() const { return outer * inner; }

  // The numbers of a block, and where they start.
  std::pair<int64_t, Pieces> block(int64_t index, int64_t channel) const {
    const int64_t first = index / parts * pieces, count = std::min(pieces, outer - first);
    if (interleaved()) return {first * channels, {count, channels, channels, false}};
    const int64_t from = index % parts * part;
    return {(first * channels + channel) * inner + from,
            {count, std::min(part, inner - from), channels * inner, true}};
  }

  // Numbers of one channel in a block.
  int64_t size(int64_t index) const {
    const Pieces of = block(index, 0).second;
    return of.one_channel ? of.count * of.length : of.count;
  }

  // `body(block, channel)` of all blocks.
  template <typename Body> void each(const Body &body) const {
    at::parallel_for(0, interleaved() ? blocks : channels * blocks, worth(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body(i % blocks, i / blocks);
    });
  }

  // `first(block, channel)` of all blocks of a channel, then `settle(channel)`, then `second(block, channel)`:
  // channel after channel, so that a channel is still in the cache, or all interleaved channels at once.
  template <typename First, typename Settle, typename Second>
  void in_turn(const First &first, const Settle &settle, const Second &second) const {
    if (interleaved()) {
      each(first);
      at::parallel_for(0, channels, std::max<int64_t>(1, MERGES / blocks), [&](int64_t begin, int64_t end) {
        for (; begin < end; ++begin) settle(begin);
      });
      each(second);
      return;
    }
    at::parallel_for(0, channels, std::max<int64_t>(1, worth() / blocks), [&](int64_t begin, int64_t end) {
      for (int64_t channel = begin; channel < end; ++channel) {
        for (int64_t index = 0; index < blocks; ++index) first(index, channel);
        settle(channel);
        for (int64_t index = 0; index < blocks; ++index) second(index, channel);
      }
    });
  }

private:
  // Blocks that are worth a thread.
  int64_t worth() const {
    const int64_t of_block = std::max<int64_t>(1, numbers() * (interleaved() ? channels : 1) / blocks);
    return std::max<int64_t>(1, GRAIN / of_block);
  }
};

// Two sums of every block and channel.
struct Sums {
  const Channels &at;
  std::vector<float> first, second; // [blocks, channels]

  explicit Sums(const Channels &at)
      : at(at), first(at.blocks * at.channels), second(at.blocks * at.channels) {}

  float *first_of(int64_t index, int64_t channel) { return first.data() + index * at.channels + channel; }
  float *second_of(int64_t index, int64_t channel) { return second.data() + index * at.channels + channel; }
};

// Mean and biased variance of a channel from those of its blocks.
//
// Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
std::pair<double, double> merge(Sums &sums, int64_t channel) {
  double mean = 0, square = 0, count = 0;
  for (int64_t index = 0; index < sums.at.blocks; ++index) {
    const double more = double(sums.at.size(index)), all = count + more;
    const double distance = *sums.first_of(index, channel) - mean;
    square += *sums.second_of(index, channel) + distance * distance * count * more / all;
    mean += distance * more / all;
    count = all;
  }
  return {mean, square / count};
}

// How a batch norm and what follows it are computed.
struct Task {
  int64_t dimension; // of the channels
  bool relus;
  double epsilon, momentum;
};

// Writes a block's normalised values, with what follows.
template <typename T> struct Activation {
  const Channels &at;
  bool relus;
  const T *values, *added; // the latter null where nothing is
  const float *means, *factors, *shifts;
  T *out;

  void operator()(int64_t index, int64_t channel) const {
    const auto [start, pieces] = at.block(index, channel);
    kernels().norms_of<T>().activate(pieces, values + start, added ? added + start : nullptr, means + channel,
                                     factors + channel, shifts + channel, relus, out + start);
  }
};

// By the batch's statistics; `means` and `inverses` of the standard deviations, [channels], are written.
template <typename T>
at::Tensor by_batch(const Task &task, const at::Tensor &input, const std::optional<at::Tensor> &added,
                    const at::Tensor &scale, const at::Tensor &shift, const at::Tensor &running_mean,
                    const at::Tensor &running_variance, at::Tensor &means, at::Tensor &inverses) {
  const auto &norms = kernels().norms_of<T>();
  const Channels at = *Channels::of(input, task.dimension);
  at::Tensor out = at::empty_like(input);
  Sums sums(at);
  std::vector<float> factors(at.channels);
  const T *values = numbers<T>(input);
  const float *scales = scale.const_data_ptr<float>(), *shifts = shift.const_data_ptr<float>();
  float *mean = means.data_ptr<float>(), *inverse = inverses.data_ptr<float>();
  float *known_mean = running_mean.data_ptr<float>(), *known_variance = running_variance.data_ptr<float>();
  const double count = double(at.numbers());
  at.in_turn(
      [&](int64_t index, int64_t channel) {
        const auto [start, pieces] = at.block(index, channel);
        norms.moments(pieces, values + start, sums.first_of(index, channel), sums.second_of(index, channel));
      },
      [&](int64_t channel) {
        const auto [center, variance] = merge(sums, channel);
        const double root = 1.0 / std::sqrt(variance + task.epsilon);
        mean[channel] = float(center);
        inverse[channel] = float(root);
        factors[channel] = float(scales[channel] * root);
        const auto follow = [&](float &known, double seen) {
          known = float((1.0 - task.momentum) * known + task.momentum * seen);
        };
        follow(known_mean[channel], center);
        follow(known_variance[channel], variance * count / (count - 1.0));
      },
      Activation<T>{at, task.relus, values, numbers<T>(added), mean, factors.data(), shifts, writable<T>(out)});
  return out;
}

// By the running statistics.
template <typename T>
at::Tensor by_running(const Task &task, const at::Tensor &input, const std::optional<at::Tensor> &added,
                      const at::Tensor &scale, const at::Tensor &shift, const at::Tensor &mean,
                      const at::Tensor &variance) {
  const Channels at = *Channels::of(input, task.dimension);
  at::Tensor out = at::empty_like(input);
  std::vector<float> factors(at.channels);
  const float *scales = scale.const_data_ptr<float>(), *shifts = shift.const_data_ptr<float>();
  const float *means = mean.const_data_ptr<float>(), *variances = variance.const_data_ptr<float>();
  for (int64_t channel = 0; channel < at.channels; ++channel)
    factors[channel] = float(scales[channel] / std::sqrt(variances[channel] + task.epsilon));
  at.each(Activation<T>{at, task.relus, numbers<T>(input), numbers<T>(added), means, factors.data(), shifts,
                        writable<T>(out)});
  return out;
}

// Gradients of input, added, scale and shift; with `out` where a ReLU made it.
template <typename T>
torch::autograd::variable_list slopes_of(const Task &task, const at::Tensor &slope, const at::Tensor &input,
                                         const std::optional<at::Tensor> &out, const at::Tensor &scale,
                                         const at::Tensor &means, const at::Tensor &inverses, bool of_added) {
  const auto &norms = kernels().norms_of<T>();
  const Channels at = *Channels::of(input, task.dimension);
  at::Tensor of_input = at::empty_like(input), of_scale = at::empty_like(scale), of_shift = at::empty_like(scale);
  // Without a ReLU the sum's gradient is that of what was added.
  at::Tensor passed = !of_added ? at::Tensor() : out ? at::empty_like(input) : slope;
  Sums sums(at);
  std::vector<float> factors(at.channels), tilts(at.channels), shifts(at.channels);
  const T *slopes = numbers<T>(slope), *values = numbers<T>(input), *made = numbers<T>(out);
  const float *scales = scale.const_data_ptr<float>(), *mean = means.const_data_ptr<float>();
  const float *inverse = inverses.const_data_ptr<float>();
  float *scale_slopes = of_scale.data_ptr<float>(), *shift_slopes = of_shift.data_ptr<float>();
  T *to = writable<T>(of_input), *through = of_added && out ? writable<T>(passed) : nullptr;
  const double count = double(at.numbers());
  at.in_turn(
      [&](int64_t index, int64_t channel) {
        const auto [start, pieces] = at.block(index, channel);
        norms.slope_sums(pieces, slopes + start, made ? made + start : nullptr, values + start, mean + channel,
                         through ? through + start : nullptr, sums.first_of(index, channel),
                         sums.second_of(index, channel));
      },
      [&](int64_t channel) {
        double all = 0, along = 0;
        for (int64_t index = 0; index < at.blocks; ++index) {
          all += *sums.first_of(index, channel);
          along += *sums.second_of(index, channel);
        }
        along *= inverse[channel];
        shift_slopes[channel] = float(all);
        scale_slopes[channel] = float(along);
        // Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, with the normalised values put in.
        const double factor = double(scales[channel]) * inverse[channel];
        factors[channel] = float(factor);
        tilts[channel] = float(-factor * inverse[channel] * along / count);
        shifts[channel] = float(-factor * all / count);
      },
      [&](int64_t index, int64_t channel) {
        const auto [start, pieces] = at.block(index, channel);
        const bool known = through != nullptr;
        norms.value_slopes(pieces, (known ? through : slopes) + start, made && !known ? made + start : nullptr,
                           values + start, mean + channel, factors.data() + channel, tilts.data() + channel,
                           shifts.data() + channel, to + start);
      });
  return {of_input, passed, of_scale, of_shift};
}

} // namespace

torch::autograd::variable_list differentiable_norm_slopes(int64_t dimension, double epsilon, const at::Tensor &slope,
                                                          const at::Tensor &given,
                                                          const std::optional<at::Tensor> &out,
                                                          const at::Tensor &scale) {
  const at::Tensor input = given.to(at::kFloat);
  std::vector<int64_t> others, shape(input.dim(), 1);
  for (int64_t d = 0; d < input.dim(); ++d)
    if (d != dimension) others.push_back(d);
  shape[dimension] = scale.numel();
  const at::Tensor centred = input - input.mean(others, true);
  const at::Tensor inverse = ((centred * centred).mean(others, true) + epsilon).rsqrt();
  const at::Tensor normalised = centred * inverse;
  const at::Tensor passed = out ? slope * (*out > 0) : slope;
  const at::Tensor along = passed * normalised;
  const at::Tensor of_input = scale.view(shape) * inverse *
                              (passed - passed.mean(others, true) - normalised * along.mean(others, true));
  return {of_input, passed, along.sum(others), passed.sum(others)};
}

namespace {

struct TrainedNorm : torch::autograd::Function<TrainedNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &input,
                            const std::optional<at::Tensor> &added, const at::Tensor &scale,
                            const at::Tensor &shift, const at::Tensor &running_mean,
                            const at::Tensor &running_variance, int64_t dimension, bool relus, double epsilon,
                            double momentum) {
    const Task task = {dimension, relus, epsilon, momentum};
    at::Tensor means = at::empty_like(scale), inverses = at::empty_like(scale);
    const at::Tensor out = for_kind(input, [&](auto number) {
      return by_batch<decltype(number)>(task, input, added, scale, shift, running_mean, running_variance, means,
                                        inverses);
    });
    context->save_for_backward({input, scale, means, inverses, relus ? out : at::Tensor()});
    context->saved_data["dimension"] = dimension;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["adds"] = added.has_value();
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list slopes) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0];
    const std::optional<at::Tensor> out = saved[4].defined() ? std::optional(saved[4]) : std::nullopt;
    const Task task = {context->saved_data["dimension"].toInt(), out.has_value(),
                       context->saved_data["epsilon"].toDouble(), 0.0};
    const bool adds = context->saved_data["adds"].toBool();
    // Grad mode is on in a backward pass whose result is to be differentiated.
    auto found = at::GradMode::is_enabled()
                     ? differentiable_norm_slopes(task.dimension, task.epsilon, slopes[0], input, out, saved[1])
                     : for_kind(input, [&](auto number) {
                         return slopes_of<decltype(number)>(task, arranged(slopes[0], input), input, out, saved[1],
                                                            saved[2], saved[3], adds);
                       });
    found.resize(10);
    if (!adds) found[1] = at::Tensor();
    return found;
  }
};

} // namespace

extern "C" {

// Whether a batch norm of this input is computed by passes that somebody else has.
bool rewind_norm_is_elsewhere(const at::Tensor *input, int64_t dimension) {
  return norm_passes_for(*input, dimension) != nullptr;
}

// Whether the channels of an input lie so that it can be computed here.
bool rewind_norm_fits(const at::Tensor *input, int64_t dimension) {
  if (norm_passes_for(*input, dimension)) return true;
  return is_at_hand(*input) && is_known_kind(*input) && input->layout() == at::kStrided && dimension < input->dim() &&
         input->numel() > 0 && Channels::of(*input, dimension).has_value();
}

// Batch norm of the channels along `dimension`, plus `added` unless it is null, and then a ReLU if `relus`.
// In training by the batch's statistics, which move the running ones; differentiable twice. Else by
// the running ones, and not differentiable.
char *rewind_norm(const at::Tensor *input, int64_t dimension, const at::Tensor *added, const at::Tensor *scale,
                  const at::Tensor *shift, const at::Tensor *running_mean, const at::Tensor *running_variance,
                  bool trains, bool relus, double epsilon, double momentum, at::Tensor **out) {
  return guarded([&] {
    TORCH_CHECK(rewind_norm_fits(input, dimension), "a batch norm's input lies in no known order");
    const int64_t channels = input->size(dimension);
    for (const at::Tensor *tensor : {scale, shift, running_mean, running_variance})
      TORCH_CHECK(tensor->device() == input->device() && tensor->scalar_type() == at::kFloat && tensor->is_contiguous() &&
                      tensor->sizes() == at::IntArrayRef({channels}),
                  "a batch norm of ", channels, " channels has parameters of ", tensor->sizes());
    std::optional<at::Tensor> more;
    const PassesElsewhere *elsewhere = norm_passes_for(*input, dimension);
    if (added) {
      TORCH_CHECK(added->sizes() == input->sizes() && added->device() == input->device() &&
                      added->scalar_type() == input->scalar_type(),
                  "what is added to a batch norm is not of its shape and kind: ", added->sizes());
      more = arranged(*added, *input);
    }
    if (elsewhere) {
      *out = new at::Tensor(norm_elsewhere(*elsewhere, *input, dimension, more, *scale, *shift, *running_mean,
                                           *running_variance, trains, relus, epsilon, momentum));
      return;
    }
    if (trains) {
      *out = new at::Tensor(TrainedNorm::apply(*input, more, *scale, *shift, *running_mean, *running_variance,
                                               dimension, relus, epsilon, momentum));
      return;
    }
    const Task task = {dimension, relus, epsilon, momentum};
    *out = new at::Tensor(for_kind(*input, [&](auto number) {
      return by_running<decltype(number)>(task, *input, more, *scale, *shift, *running_mean, *running_variance);
    }));
  });
}

} // extern "C"
