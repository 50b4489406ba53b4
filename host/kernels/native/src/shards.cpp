// Batch norm of a batch that is cut into shards, each on a thread of its own, here or in another process: a
// shard says what it knows of its channels and hears what all say, in their order. What each computes of it
// is the same, whoever computes it.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

#include "guarded.h"

namespace {

// Gives what all shards say, one after the other, for what this one says; false if a shard failed.
using Exchange = bool (*)(const void *place, const double *values, int64_t count, double *all);

// Who hears whom.
struct Shards {
  int64_t count;
  Exchange exchange;
  const void *place;

  std::vector<double> hear(const std::vector<double> &own) const {
    std::vector<double> all(own.size() * count);
    TORCH_CHECK(exchange(place, own.data(), int64_t(own.size()), all.data()), "a shard of the batch failed");
    return all;
  }
};

// The dimensions but that of the channels.
std::vector<int64_t> others(const at::Tensor &input, int64_t dimension) {
  std::vector<int64_t> found;
  for (int64_t d = 0; d < input.dim(); ++d)
    if (d != dimension) found.push_back(d);
  return found;
}

void append(std::vector<double> &values, const at::Tensor &more) {
  const at::Tensor numbers = more.to(at::kCPU, at::kDouble).contiguous();
  const double *from = numbers.const_data_ptr<double>();
  values.insert(values.end(), from, from + numbers.numel());
}

at::Tensor tensor_of(const std::vector<double> &values, const at::Tensor &like) {
  return at::tensor(values, at::kDouble).to(like.options().dtype(at::kFloat));
}

struct SharedNorm : torch::autograd::Function<SharedNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &given,
                            const at::Tensor &scale, const at::Tensor &shift, const at::Tensor &running_mean,
                            const at::Tensor &running_variance, int64_t dimension, double epsilon, double momentum,
                            int64_t count, int64_t exchange, int64_t place) {
    const Shards shards = {count, reinterpret_cast<Exchange>(exchange), reinterpret_cast<const void *>(place)};
    const at::Tensor input = given.to(at::kFloat);
    const int64_t channels = input.size(dimension);
    const std::vector<int64_t> along = others(input, dimension);
    std::vector<int64_t> shape(input.dim(), 1);
    shape[dimension] = channels;
    const at::Tensor own_mean = input.mean(along);
    const at::Tensor distance = input - own_mean.view(shape);
    std::vector<double> said = {double(input.numel() / channels)};
    append(said, own_mean);
    append(said, (distance * distance).sum(along));
    const std::vector<double> heard = shards.hear(said);
    // Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
    std::vector<double> mean(channels, 0), square(channels, 0), inverse(channels), unbiased(channels);
    double numbers = 0;
    for (int64_t shard = 0; shard < count; ++shard) {
      const double *of = heard.data() + shard * (1 + 2 * channels);
      const double more = of[0], all = numbers + more;
      for (int64_t channel = 0; channel < channels; ++channel) {
        const double apart = of[1 + channel] - mean[channel];
        square[channel] += of[1 + channels + channel] + apart * apart * numbers * more / all;
        mean[channel] += apart * more / all;
      }
      numbers = all;
    }
    for (int64_t channel = 0; channel < channels; ++channel) {
      inverse[channel] = 1.0 / std::sqrt(square[channel] / numbers + epsilon);
      unbiased[channel] = square[channel] / (numbers - 1.0);
    }
    const at::Tensor center = tensor_of(mean, input), factor = tensor_of(inverse, input);
    const auto follow = [&](const at::Tensor &known, const at::Tensor &seen) {
      at::Tensor to = known;
      to.mul_(1.0 - momentum).add_(seen.view_as(known), momentum);
    };
    follow(running_mean, center);
    follow(running_variance, tensor_of(unbiased, input));
    context->save_for_backward({given, scale, center, factor});
    context->saved_data["dimension"] = dimension;
    context->saved_data["numbers"] = numbers;
    context->saved_data["count"] = count;
    context->saved_data["exchange"] = exchange;
    context->saved_data["place"] = place;
    const at::Tensor normalised = (input - center.view(shape)) * factor.view(shape);
    return (normalised * scale.view(shape) + shift.view(shape)).to(given.scalar_type());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list slopes) {
    const auto saved = context->get_saved_variables();
    const int64_t dimension = context->saved_data["dimension"].toInt();
    const double numbers = context->saved_data["numbers"].toDouble();
    const Shards shards = {context->saved_data["count"].toInt(),
                           reinterpret_cast<Exchange>(context->saved_data["exchange"].toInt()),
                           reinterpret_cast<const void *>(context->saved_data["place"].toInt())};
    const at::Tensor input = saved[0].to(at::kFloat), slope = slopes[0].to(at::kFloat);
    const int64_t channels = input.size(dimension);
    const std::vector<int64_t> along = others(input, dimension);
    std::vector<int64_t> shape(input.dim(), 1);
    shape[dimension] = channels;
    const at::Tensor normalised = (input - saved[2].view(shape)) * saved[3].view(shape);
    const at::Tensor of_shift = slope.sum(along), of_scale = (slope * normalised).sum(along);
    std::vector<double> said;
    append(said, of_shift);
    append(said, of_scale);
    const std::vector<double> heard = shards.hear(said);
    std::vector<double> sum(channels, 0), tilt(channels, 0);
    for (int64_t shard = 0; shard < shards.count; ++shard)
      for (int64_t channel = 0; channel < channels; ++channel) {
        sum[channel] += heard[shard * 2 * channels + channel];
        tilt[channel] += heard[(shard * 2 + 1) * channels + channel];
      }
    for (int64_t channel = 0; channel < channels; ++channel) {
      sum[channel] /= numbers;
      tilt[channel] /= numbers;
    }
    // Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, with the sums over all shards.
    const at::Tensor rest = slope - tensor_of(sum, input).view(shape) - normalised * tensor_of(tilt, input).view(shape);
    const at::Tensor of_input = rest * (saved[1] * saved[3]).view(shape);
    torch::autograd::variable_list found(11);
    found[0] = of_input.to(saved[0].scalar_type());
    found[1] = of_scale;
    found[2] = of_shift;
    return found;
  }
};

} // namespace

extern "C" {

// Batch norm in training of the channels along `dimension`, by the statistics of all shards, which move the
// running ones. The place has to live until the backward pass is done.
char *rewind_shared_norm(const at::Tensor *input, int64_t dimension, const at::Tensor *scale,
                         const at::Tensor *shift, const at::Tensor *running_mean,
                         const at::Tensor *running_variance, double epsilon, double momentum, int64_t shards,
                         Exchange exchange, const void *place, at::Tensor **out) {
  return guarded([&] {
    TORCH_CHECK(dimension < input->dim() && input->size(dimension) > 0 && input->numel() > 0,
                "a batch norm has no input: ", input->sizes());
    const int64_t channels = input->size(dimension);
    for (const at::Tensor *tensor : {scale, shift, running_mean, running_variance})
      TORCH_CHECK(tensor->scalar_type() == at::kFloat && tensor->numel() == channels, "a batch norm of ", channels,
                  " channels has parameters of ", tensor->sizes());
    *out = new at::Tensor(SharedNorm::apply(*input, *scale, *shift, *running_mean, *running_variance, dimension,
                                            epsilon, momentum, shards, reinterpret_cast<int64_t>(exchange),
                                            reinterpret_cast<int64_t>(place)));
  });
}

} // extern "C"
