// Convolutions at their surviving weights, of activations [channels, height, width, samples]: a weight
// moves a row of its input plane, whole vectors of neighbouring pixels and samples, to its output plane.

#include <ATen/Parallel.h>
#include <ATen/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "guarded.h"
#include "chosen.h"

namespace {

// Planes of a task.
constexpr int64_t PLANES = 4;

// How positions along one axis of the result read positions of the source. All positions of one kind
// read the same offsets from their base: edges, and the phases of a stride, are kinds of their own.
struct Axis {
  struct Run {
    int64_t kind, first, length, base; // neighbours that read neighbours
  };
  std::vector<Run> runs;
  std::vector<std::vector<int64_t>> offsets; // [kind][place in the kernel], or NONE
  static constexpr int64_t NONE = INT64_MIN;

  template <typename Read> Axis(int64_t positions, int64_t kernel, const Read &read) {
    for (int64_t position = 0; position < positions; ++position) {
      int64_t base = 0;
      std::vector<int64_t> found;
      for (int64_t k = 0; k < kernel; ++k) found.push_back(read(position, k, &base));
      const auto known = std::find(offsets.begin(), offsets.end(), found);
      const int64_t kind = known - offsets.begin();
      if (known == offsets.end()) offsets.push_back(found);
      if (!runs.empty() && runs.back().kind == kind && base == runs.back().base + runs.back().length)
        ++runs.back().length;
      else
        runs.push_back({kind, position, 1, base});
    }
  }

  int64_t kinds() const { return offsets.size(); }

  // What the outputs of a convolution read.
  static Axis forward(int64_t outputs, int64_t inputs, int64_t kernel, int64_t stride, int64_t padding) {
    return Axis(outputs, kernel, [=](int64_t at, int64_t k, int64_t *base) {
      *base = at * stride;
      const int64_t seen = *base + k - padding;
      return seen >= 0 && seen < inputs ? k - padding : NONE;
    });
  }

  // What the gradients of its inputs read.
  static Axis backward(int64_t outputs, int64_t inputs, int64_t kernel, int64_t stride, int64_t padding) {
    return Axis(inputs, kernel, [=](int64_t at, int64_t k, int64_t *base) {
      *base = at / stride;
      const int64_t seen = at + padding - k;
      if (seen < 0 || seen % stride != 0 || seen / stride >= outputs) return NONE;
      return seen / stride - *base;
    });
  }
};

struct Weight {
  int32_t out, in, row, column; // place in the kernel
  int32_t at;                   // place in the tensor's memory
};

// The survivors by the planes of the result and the kinds of its rows and columns.
struct Table {
  Axis rows, columns;
  int64_t planes, width;             // of the result, and of a row of the source
  std::vector<int64_t> starts;       // [kinds of rows, kinds of columns, planes] and the end
  std::vector<int32_t> at, sources;  // place of the weight, and of what it reads, in pixels

  template <typename Planes>
  Table(Axis of_rows, Axis of_columns, int64_t planes, int64_t plane_size, int64_t width,
        const std::vector<Weight> &weights, const Planes &planes_of)
      : rows(std::move(of_rows)), columns(std::move(of_columns)), planes(planes), width(width) {
    std::vector<std::vector<const Weight *>> of_plane(planes);
    for (const Weight &weight : weights) of_plane[planes_of(weight).first].push_back(&weight);
    for (int64_t r = 0; r < rows.kinds(); ++r)
      for (int64_t c = 0; c < columns.kinds(); ++c)
        for (int64_t plane = 0; plane < planes; ++plane) {
          starts.push_back(at.size());
          for (const Weight *weight : of_plane[plane]) {
            const int64_t down = rows.offsets[r][weight->row], right = columns.offsets[c][weight->column];
            if (down == Axis::NONE || right == Axis::NONE) continue;
            at.push_back(weight->at);
            sources.push_back(planes_of(*weight).second * plane_size + down * width + right);
          }
        }
    starts.push_back(at.size());
  }

  // Writes the result [planes, rows, columns, samples].
  void apply(const float *weights, const float *source, int64_t samples, int64_t out_height,
             int64_t out_width, float *out) const {
    struct Row {
      int64_t kind, position, base;
    };
    std::vector<Row> all;
    for (const Axis::Run &run : rows.runs)
      for (int64_t i = 0; i < run.length; ++i) all.push_back({run.kind, run.first + i, run.base + i});
    const int64_t parts = (planes + PLANES - 1) / PLANES;
    at::parallel_for(0, int64_t(all.size()) * parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const Row &row = all[task / parts];
        const int64_t first = task % parts * PLANES, last = std::min(first + PLANES, planes);
        for (int64_t plane = first; plane < last; ++plane)
          for (const Axis::Run &run : columns.runs) {
            const int64_t list = (row.kind * columns.kinds() + run.kind) * planes + plane;
            const int64_t from = starts[list], count = starts[list + 1] - from;
            kernels().taps(weights, at.data() + from, sources.data() + from, count,
                           source + (row.base * width + run.base) * samples, samples, run.length * samples,
                           out + ((plane * out_height + row.position) * out_width + run.first) * samples);
          }
      }
    });
  }
};

// The survivors of one layer, and what is known of them for images of one size.
struct Taps {
  int64_t outputs, inputs, height, width; // of the weight
  int64_t stride, padding;
  std::vector<int64_t> strides; // of the weight in memory
  std::vector<Weight> weights;  // by outputs
  struct Image {
    int64_t height, width, out_height, out_width;
    Table forward, backward;
  };
  std::vector<Image> images;

  const Image &image(int64_t image_height, int64_t image_width) {
    for (const Image &image : images)
      if (image.height == image_height && image.width == image_width) return image;
    const int64_t out_height = (image_height + 2 * padding - height) / stride + 1;
    const int64_t out_width = (image_width + 2 * padding - width) / stride + 1;
    TORCH_CHECK(out_height > 0 && out_width > 0, "an image of ", image_height, " x ", image_width,
                " pixels is smaller than the kernel");
    images.push_back({image_height, image_width, out_height, out_width,
                      Table(Axis::forward(out_height, image_height, height, stride, padding),
                            Axis::forward(out_width, image_width, width, stride, padding), outputs,
                            image_height * image_width, image_width, weights,
                            [](const Weight &w) { return std::pair<int64_t, int64_t>(w.out, w.in); }),
                      Table(Axis::backward(out_height, image_height, height, stride, padding),
                            Axis::backward(out_width, image_width, width, stride, padding), inputs,
                            out_height * out_width, out_width, weights,
                            [](const Weight &w) { return std::pair<int64_t, int64_t>(w.in, w.out); })});
    return images.back();
  }
};

// Gradients of the surviving weights.
void weight_slopes(Taps &taps, const Taps::Image &image, const float *slopes, const float *seen, int64_t samples,
                   float *out) {
  const int64_t count = taps.weights.size();
  std::vector<float> sums(count * VECTOR, 0.0f);
  std::atomic<int64_t> next{0};
  // A survivor is added up by one thread, row by row, so that rows are near when they are needed again.
  const int64_t part = std::max<int64_t>(1, count / (8 * at::get_num_threads()));
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    for (int64_t first; (first = next.fetch_add(part)) < count;) {
      const int64_t last = std::min(first + part, count);
      for (int64_t row = 0; row < image.out_height; ++row)
        for (int64_t i = first; i < last; ++i) {
          const Weight &weight = taps.weights[i];
          const int64_t seen_row = row * taps.stride + weight.row - taps.padding;
          if (seen_row < 0 || seen_row >= image.height) continue;
          const int64_t shift = weight.column - taps.padding;
          // Columns of the result whose source is inside the image.
          const int64_t begin = std::max<int64_t>(0, (-shift + taps.stride - 1) / taps.stride);
          const int64_t room = image.width - 1 - shift;
          const int64_t end = room < 0 ? 0 : std::min(image.out_width, room / taps.stride + 1);
          const float *slope = slopes + (weight.out * image.out_height + row) * image.out_width * samples;
          const float *source = seen + (weight.in * image.height + seen_row) * image.width * samples;
          float *sum = sums.data() + i * VECTOR;
          if (taps.stride == 1)
            kernels().add_products(slope + begin * samples, source + (begin + shift) * samples,
                                   (end - begin) * samples, sum);
          else
            for (int64_t column = begin; column < end; ++column)
              kernels().add_products(slope + column * samples, source + (column * taps.stride + shift) * samples,
                                     samples, sum);
        }
    }
  });
  for (int64_t i = 0; i < count; ++i) out[taps.weights[i].at] = kernels().row_sum(sums.data() + i * VECTOR, VECTOR);
}

struct TapConvolution : torch::autograd::Function<TapConvolution> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &input,
                            const at::Tensor &weight, int64_t address) {
    Taps &taps = *reinterpret_cast<Taps *>(address);
    context->save_for_backward({input, weight});
    context->saved_data["taps"] = address;
    const Taps::Image &image = taps.image(input.size(1), input.size(2));
    const int64_t samples = input.size(3);
    at::Tensor out = at::empty({taps.outputs, image.out_height, image.out_width, samples}, input.options());
    image.forward.apply(weight.const_data_ptr<float>(), input.const_data_ptr<float>(), samples, image.out_height,
                        image.out_width, out.data_ptr<float>());
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list slopes) {
    const auto saved = context->get_saved_variables();
    Taps &taps = *reinterpret_cast<Taps *>(context->saved_data["taps"].toInt());
    const at::Tensor slope = slopes[0].contiguous(), &input = saved[0], &weight = saved[1];
    const Taps::Image &image = taps.image(input.size(1), input.size(2));
    const int64_t samples = input.size(3);
    at::Tensor of_input, of_weight;
    if (context->needs_input_grad(0)) {
      of_input = at::empty_like(input);
      image.backward.apply(weight.const_data_ptr<float>(), slope.const_data_ptr<float>(), samples, image.height,
                           image.width, of_input.data_ptr<float>());
    }
    if (context->needs_input_grad(1)) {
      of_weight = at::zeros_like(weight);
      TORCH_CHECK(of_weight.strides() == weight.strides(), "the weight is not dense in memory");
      weight_slopes(taps, image, slope.const_data_ptr<float>(), input.const_data_ptr<float>(), samples,
                    of_weight.data_ptr<float>());
    }
    return {of_input, of_weight, at::Tensor()};
  }
};

} // namespace

extern "C" {

// The places of `mask`, [outputs, inputs, height, width], that are not 0, for `rewind_taps_free`.
char *rewind_taps_new(const at::Tensor *mask, int64_t stride, int64_t padding, void **out) {
  return guarded([&] {
    TORCH_CHECK(mask->dim() == 4 && mask->is_cpu() && mask->scalar_type() == at::kFloat &&
                    mask->numel() < INT32_MAX && stride > 0 && padding >= 0,
                "a mask must be f32 [outputs, inputs, height, width] on the CPU, not ", mask->sizes());
    auto taps = std::make_unique<Taps>(
        Taps{mask->size(0), mask->size(1), mask->size(2), mask->size(3), stride, padding, mask->strides().vec(), {}, {}});
    const float *values = mask->const_data_ptr<float>();
    for (int32_t o = 0; o < taps->outputs; ++o)
      for (int32_t i = 0; i < taps->inputs; ++i)
        for (int32_t r = 0; r < taps->height; ++r)
          for (int32_t c = 0; c < taps->width; ++c) {
            const int64_t at =
                o * mask->stride(0) + i * mask->stride(1) + r * mask->stride(2) + c * mask->stride(3);
            if (values[at] != 0) taps->weights.push_back({o, i, r, c, int32_t(at)});
          }
    *out = taps.release();
  });
}

void rewind_taps_free(void *taps) { delete static_cast<Taps *>(taps); }

// The convolution of [inputs, height, width, samples] with a weight of the mask's shape and memory order,
// whose pruned elements are 0; differentiable once, and while the taps live.
char *rewind_taps_convolve(void *taps, const at::Tensor *weight, const at::Tensor *input, at::Tensor **out) {
  return guarded([&] {
    const Taps &of = *static_cast<Taps *>(taps);
    TORCH_CHECK(weight->is_cpu() && weight->scalar_type() == at::kFloat &&
                    weight->sizes() == at::IntArrayRef({of.outputs, of.inputs, of.height, of.width}) &&
                    weight->strides() == at::IntArrayRef(of.strides),
                "the weight is not that of the mask: ", weight->sizes());
    TORCH_CHECK(input->is_cpu() && input->scalar_type() == at::kFloat && input->dim() == 4 &&
                    input->size(0) == of.inputs && input->is_contiguous() && input->size(3) > 0,
                "the input must be contiguous f32 [", of.inputs, ", height, width, samples], not ",
                input->sizes());
    *out = new at::Tensor(TapConvolution::apply(*input, *weight, reinterpret_cast<int64_t>(taps)));
  });
}

} // extern "C"
