// Convolutions of images whose channels lie last in memory, [samples, height, width, channels], and
// their gradients. A pixel of the result is a sum over a window of the source, which is copied with room
// around it, so that a row of the window is one piece of memory.
//
// Every sum has an order that follows from the shape alone: the bits do not depend on the threads.

#include <ATen/Parallel.h>
#include <ATen/Tensor.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "autocast.h"
#include "guarded.h"
#include "chosen.h"
#include "images.h"
#include "kinds.h"
#include "passes.h"
#include "winograd.h"

namespace {

using Windows = Kernels::Windows;

// Pixels whose windows stay in the first cache while all strips are computed.
constexpr int64_t PIXELS = 96;
// Images are computed together until they have so many pixels: each time all weights are read once.
constexpr int64_t WORTH = 64;

// How positions along one axis of the result read those of the source.
struct Axis {
  // Result positions first, first + step, ... read the source from start, start + source_step, ... on, at
  // these places in the kernel one after another.
  struct Phase {
    int64_t first, step, count, start, source_step;
    std::vector<int64_t> taps;
  };
  std::vector<Phase> phases;
  int64_t before = 0, after = 0; // room that is needed around the source

  Axis(int64_t source, std::vector<Phase> all) : phases(std::move(all)) {
    for (const Phase &phase : phases) {
      if (phase.taps.empty() || phase.count == 0) continue;
      const int64_t end = phase.start + (phase.count - 1) * phase.source_step + int64_t(phase.taps.size());
      before = std::max(before, -phase.start);
      after = std::max(after, end - source);
    }
  }

  // What the outputs of a convolution read.
  static Axis forward(int64_t outputs, int64_t inputs, int64_t kernel, int64_t stride, int64_t padding) {
    Phase all = {0, 1, outputs, -padding, stride, {}};
    for (int64_t tap = 0; tap < kernel; ++tap) all.taps.push_back(tap);
    return Axis(inputs, {all});
  }

  // What the gradients of its inputs read: those that differ by the stride, the same places of the kernel.
  static Axis backward(int64_t outputs, int64_t inputs, int64_t kernel, int64_t stride, int64_t padding) {
    std::vector<Phase> all;
    for (int64_t first = 0; first < std::min(stride, inputs); ++first) {
      Phase phase = {first, stride, (inputs - first + stride - 1) / stride, 0, 1, {}};
      for (int64_t tap = kernel - 1; tap >= 0; --tap) {
        if ((first + padding - tap) % stride != 0) continue;
        if (phase.taps.empty()) phase.start = (first + padding - tap) / stride;
        phase.taps.push_back(tap);
      }
      all.push_back(phase);
    }
    return Axis(outputs, all);
  }
};

// The windows of all pixels of a few images that read the same places of the kernel.
struct Part {
  std::vector<int64_t> from, to; // image after image
  std::vector<int64_t> rows, columns;
  int64_t places() const { return int64_t(rows.size() * columns.size()); }
};

// The windows through which images are seen.
struct View : Layout {
  std::vector<Part> parts;

  View(const Axis &rows, const Axis &columns, const Size &of_source, const Size &of_result)
      : Layout{of_source,
               of_result,
               {of_source.height + rows.before + rows.after, of_source.width + columns.before + columns.after,
                of_source.channels},
               {rows.before, columns.before},
               1} {
    const int64_t pixels = std::max<int64_t>(1, result.height * result.width);
    group = (WORTH + pixels - 1) / pixels;
    for (const Axis::Phase &row : rows.phases)
      for (const Axis::Phase &column : columns.phases) {
        Part part = {{}, {}, row.taps, column.taps};
        // Where nothing is read the place does not matter, but it must exist.
        const int64_t top = row.taps.empty() ? 0 : rows.before + row.start;
        const int64_t left = column.taps.empty() ? 0 : columns.before + column.start;
        for (int64_t image = 0; image < group; ++image)
          for (int64_t y = 0; y < row.count; ++y)
            for (int64_t x = 0; x < column.count; ++x) {
              const int64_t seen = (top + y * row.source_step) * roomy.width + left + x * column.source_step;
              const int64_t made = (row.first + y * row.step) * result.width + column.first + x * column.step;
              part.from.push_back(image * roomy.numbers() + seen * source.channels);
              part.to.push_back(image * result.numbers() + made * result.channels);
            }
        parts.push_back(std::move(part));
      }
  }

  static View forward(const Shape &of, const Size &source) {
    const Size result = result_of(of, source);
    return View(Axis::forward(result.height, source.height, of.height, of.stride, of.padding),
                Axis::forward(result.width, source.width, of.width, of.stride, of.padding), source, result);
  }

  // The gradients of the images `source` from those of the result.
  static View backward(const Shape &of, const Size &source) {
    const Size result = result_of(of, source);
    return View(Axis::backward(result.height, source.height, of.height, of.stride, of.padding),
                Axis::backward(result.width, source.width, of.width, of.stride, of.padding), result, source);
  }

  // Calls `body(windows)` for the pixels of the first `images` of a group, `PIXELS` at a time.
  template <typename Body> void for_windows(const Part &part, int64_t images, const Body &body) const {
    const int64_t pixels = int64_t(part.to.size()) / group * images;
    for (int64_t first = 0; first < pixels; first += PIXELS)
      body(Windows{std::min(PIXELS, pixels - first), part.from.data() + first, part.to.data() + first,
                   int64_t(part.rows.size()), roomy.width * source.channels,
                   int64_t(part.columns.size()) * source.channels});
  }
};

// Calls `body(row, column, source)` for the weights of a part in the order of its windows' terms.
template <typename Body> void for_terms(const Part &part, int64_t sources, const Body &body) {
  for (const int64_t row : part.rows)
    for (const int64_t column : part.columns)
      for (int64_t source = 0; source < sources; ++source) body(row, column, source);
}

// Weights of a part as its windows take them, strip by strip, and zeros behind the last output.
Numbers packed(const View &view, const Part &part, const Weights<const float> &weights) {
  const int64_t count = view.result.strips() * part.places() * view.source.channels * STRIP;
  Numbers out = numbers_for(count);
  std::fill_n(out.get(), count, 0.0f);
  float *to = out.get();
  for (int64_t strip = 0; strip < view.result.strips(); ++strip)
    for_terms(part, view.source.channels, [&](int64_t row, int64_t column, int64_t source) {
      weights.read(row, column, source, strip, view.result.of_strip(strip), to);
      to += STRIP;
    });
  return out;
}

// Writes the results of all images.
template <typename T>
void see_windows(const View &view, const Weights<const float> &weights, const T *images, int64_t count, T *out) {
  std::vector<Numbers> of_parts;
  for (const Part &part : view.parts) of_parts.push_back(packed(view, part, weights));
  const auto make = [&](const float *seen, int64_t here, float *made) {
    for (size_t p = 0; p < view.parts.size(); ++p)
      view.for_windows(view.parts[p], here, [&](const Windows &windows) {
        const int64_t strip_size = windows.rows * windows.terms * STRIP;
        for (int64_t strip = 0; strip < view.result.strips(); ++strip)
          kernels().see(windows, seen, of_parts[p].get() + strip * strip_size, view.result.of_strip(strip),
                        made + strip * STRIP);
      });
  };
  make_images(view, images, count, out, [&] { return make; });
}

// Writes the gradient of the weight.
template <typename T>
void window_weight_slopes(const View &view, const T *images, const T *slopes, int64_t count,
                          const Weights<float> &of_weight) {
  const Part &part = view.parts[0];
  const int64_t strip_size = part.places() * view.source.channels * STRIP;
  const auto add = [&](const float *seen, const float *slope, int64_t here, int64_t begin, int64_t end,
                       float *sums) {
    view.for_windows(part, here, [&](const Windows &windows) {
      for (int64_t strip = begin; strip < end; ++strip)
        kernels().add_seen(windows, seen, slope + strip * STRIP, view.result.of_strip(strip),
                           sums + strip * strip_size);
    });
  };
  const auto settle = [&](int64_t strip, const float *total) {
    for_terms(part, view.source.channels, [&](int64_t row, int64_t column, int64_t source) {
      of_weight.write(row, column, source, strip, view.result.of_strip(strip), total);
      total += STRIP;
    });
  };
  sum_up(view, strip_size, images, slopes, count, [&] { return add; }, settle);
}

// A convolution of images of one size with a weight, by the faster way for their sizes.
struct Task {
  Shape shape;
  Size source;
  Steps steps; // of the weight

  Task(const at::Tensor &input, const at::Tensor &weight, int64_t stride, int64_t padding)
      : shape{weight.size(0), weight.size(1), weight.size(2), weight.size(3), stride, padding},
        source{input.size(2), input.size(3), input.size(1)},
        steps{weight.stride(0), weight.stride(1), weight.stride(2), weight.stride(3)} {}

  Size result() const { return result_of(shape, source); }
  bool by_tiles(int64_t fewest) const { return Tiling::is_faster(shape, source, fewest); }

  template <typename T>
  void write_result(const float *weight, const T *images, int64_t count, T *out) const {
    const Weights<const float> weights = {weight, steps};
    if (by_tiles(Tiling::FOR_RESULTS))
      see_tiles(Tiling(source, result(), shape.padding), weights, images, count, out);
    else
      see_windows(View::forward(shape, source), weights, images, count, out);
  }

  template <typename T>
  void write_image_slopes(const float *weight, const T *slopes, int64_t count, T *out) const {
    const Weights<const float> turned = Weights<const float>{weight, steps}.turned();
    if (by_tiles(Tiling::FOR_RESULTS))
      see_tiles(Tiling(result(), source, shape.height - 1 - shape.padding),
                turned.reversed(shape.height, shape.width), slopes, count, out);
    else
      see_windows(View::backward(shape, source), turned, slopes, count, out);
  }

  template <typename T>
  void write_weight_slopes(const T *images, const T *slopes, int64_t count, float *out) const {
    const Weights<float> of_weight = {out, steps};
    if (by_tiles(Tiling::FOR_WEIGHT_SLOPES))
      tile_weight_slopes(Tiling(source, result(), shape.padding), images, slopes, count, of_weight);
    else
      window_weight_slopes(View::forward(shape, source), images, slopes, count, of_weight);
  }
};

struct ImageConvolution : torch::autograd::Function<ImageConvolution> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &input,
                            const at::Tensor &weight, int64_t stride, int64_t padding) {
    context->save_for_backward({input, weight});
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    const at::Tensor known = weight.to(at::kFloat);
    const Task task(input, known, stride, padding);
    const Size result = task.result();
    at::Tensor out = at::empty({input.size(0), result.channels, result.height, result.width}, input.options(),
                               at::MemoryFormat::ChannelsLast);
    for_kind(input, [&](auto number) {
      using T = decltype(number);
      task.write_result(known.const_data_ptr<float>(), numbers<T>(input), input.size(0), writable<T>(out));
    });
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list slopes) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1];
    const int64_t stride = context->saved_data["stride"].toInt(), padding = context->saved_data["padding"].toInt();
    const bool wants_input = context->needs_input_grad(0), wants_weight = context->needs_input_grad(1);
    at::Tensor of_input, of_weight;
    if (at::GradMode::is_enabled()) {
      // The result is to be differentiated, which libtorch's operation can be.
      std::tie(of_input, of_weight, std::ignore) = at::convolution_backward(
          slopes[0], input, weight, at::OptionalIntArrayRef(), {stride, stride}, {padding, padding}, {1, 1}, false,
          {0, 0}, 1, {wants_input, wants_weight, false});
      return {of_input, of_weight, at::Tensor(), at::Tensor()};
    }
    const at::Tensor slope = slopes[0].contiguous(at::MemoryFormat::ChannelsLast), known = weight.to(at::kFloat);
    const Task task(input, known, stride, padding);
    for_kind(input, [&](auto number) {
      using T = decltype(number);
      if (wants_input) {
        of_input = at::empty_like(input);
        task.write_image_slopes(known.const_data_ptr<float>(), numbers<T>(slope), input.size(0),
                                writable<T>(of_input));
      }
      if (wants_weight) {
        of_weight = at::empty_like(known);
        TORCH_CHECK(of_weight.strides() == known.strides(), "the weight is not dense in memory");
        task.write_weight_slopes(numbers<T>(input), numbers<T>(slope), input.size(0), of_weight.data_ptr<float>());
        of_weight = of_weight.to(weight.scalar_type());
      }
    });
    return {of_input, of_weight, at::Tensor(), at::Tensor()};
  }
};

} // namespace

extern "C" {

// Whether a convolution without bias is computed here, and faster than by libtorch. Under autocast it is
// one of numbers rounded to bfloat16.
bool rewind_convolution_fits(const at::Tensor *input, const at::Tensor *weight) {
  const bool rounds = rewind_autocasts();
  const auto fits = [&](const at::Tensor *tensor) {
    return is_known_kind(*tensor) && (rounds || tensor->scalar_type() == at::kFloat) && is_at_hand(*tensor) &&
           tensor->layout() == at::kStrided && tensor->dim() == 4 && tensor->numel() > 0;
  };
  // Images of one channel lie in both orders at once: the weight's says which one is wanted.
  const auto is_last = [](const at::Tensor *tensor) {
    return tensor->suggest_memory_format() == at::MemoryFormat::ChannelsLast;
  };
  return kernels().see && (!rounds || has_vectors_of_eight()) && fits(input) && fits(weight) && input->size(1) == weight->size(1) &&
         input->is_contiguous(at::MemoryFormat::ChannelsLast) && (is_last(input) || is_last(weight)) &&
         weight->size(0) % VECTOR == 0 &&
         (weight->size(1) % VECTOR == 0 || !input->requires_grad()) &&
         (!rounds || rewind_autocast_kind() == at::kBFloat16);
}

// The convolution of [samples, inputs, height, width] with [outputs, inputs, height, width]; differentiable
// twice.
char *rewind_convolve(const at::Tensor *input, const at::Tensor *weight, int64_t stride, int64_t padding,
                      at::Tensor **out) {
  return guarded([&] {
    TORCH_CHECK(rewind_convolution_fits(input, weight) && stride > 0 && padding >= 0, "a convolution of ",
                input->sizes(), " with ", weight->sizes(), " is not computed here");
    TORCH_CHECK(input->size(2) + 2 * padding >= weight->size(2) && input->size(3) + 2 * padding >= weight->size(3),
                "an image of ", input->size(2), " x ", input->size(3), " pixels is smaller than the kernel");
    const auto kind = rewind_autocasts() ? at::kBFloat16 : at::kFloat;
    *out = new at::Tensor(ImageConvolution::apply(input->to(kind), weight->to(kind), stride, padding));
  });
}

} // extern "C"
