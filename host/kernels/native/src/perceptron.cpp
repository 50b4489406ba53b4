// One training step, or the evaluation, of the lanes of a perceptron: linear layers with ReLUs, with
// or without batch norms, and their gradients. No tensor is made and no graph is built.

#include "perceptron.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "guarded.h"
#include "chosen.h"
#include "losses.h"

namespace {

// Rows and columns of a task: enough to be worth handing to another thread.
constexpr int64_t COLUMNS = 32, ROWS = 192, SLOPE_ROWS = 24, SPARSE_ROWS = 32, NORM_ROWS = 16;
// Products of two numbers below which a second thread is not worth waking.
constexpr int64_t GRAIN = 200'000;
// Samples that are evaluated together: their activations stay in the cache.
constexpr int64_t EVALUATED = 128;
// PyTorch's constants of batch norms.
constexpr float EPSILON = 1e-5f, MOMENTUM = 0.1f;

int64_t pieces(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }
int64_t stride_of(int64_t samples) { return pieces(samples, VECTOR) * VECTOR; }

// Tasks of one kind: `run(0)` to `run(count - 1)`, in any order.
template <typename Run> struct Tasks {
  int64_t count;
  Run run;
};
template <typename Run> Tasks(int64_t, Run) -> Tasks<Run>;

// Runs tasks of several kinds on as many threads as their work, in products, is worth.
template <typename... Kinds> void run(int64_t work, const Kinds &...kinds) {
  const int64_t total = (kinds.count + ...);
  const int64_t threads = std::min({int64_t(at::get_num_threads()), total, std::max<int64_t>(1, work / GRAIN)});
  std::atomic<int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t task; (task = next.fetch_add(1)) < total;) {
      const auto one = [&](const auto &kind) {
        if (task >= 0 && task < kind.count) kind.run(task);
        task -= kind.count;
      };
      (one(kinds), ...);
    }
  });
}

// Memory of this thread, for one use at a time.
template <typename Number, int use> Number *own_memory(int64_t count) {
  thread_local std::vector<Number> memory;
  if (int64_t(memory.size()) < count) memory.resize(count);
  return memory.data();
}

// What one lane computes with, all of it feature-major.
struct Lane {
  struct Hidden {
    float *out;     // activations [outputs, stride]
    float *values;  // normalised values [outputs, stride], where there is a batch norm
    float *inverse; // 1 / standard deviation [outputs]
  };

  const RewindLayer *layers;
  int64_t depth, lane;
  const float *weights; // of this lane
  float *slopes;        // gradients of the weights, of this lane; null in evaluation
  int64_t samples, stride;
  double *losses; // [samples]
  int64_t *right; // [samples]
  float *input;   // [inputs, stride]
  Hidden *hidden; // [depth - 1]
  float *logits;  // [classes, stride]
  float *back[2]; // gradients of what a layer gives and takes

  const RewindLayer &last() const { return layers[depth - 1]; }
  bool norm(int64_t l) const { return layers[l].norm_weight >= 0; }
  const float *seen(int64_t l) const { return l == 0 ? input : hidden[l - 1].out; }
  const RewindSurvivors &survivors(int64_t l) const { return layers[l].survivors[lane]; }
  // Products of a pass through a layer.
  int64_t work(int64_t l) const {
    const RewindLayer &layer = layers[l];
    const RewindSurvivors &s = survivors(l);
    return (s.row_starts ? s.row_starts[layer.outputs] : layer.inputs * layer.outputs) * stride;
  }
};

// Numbers of `Lane` for batches of `samples`.
int64_t room(const RewindLayer *layers, int64_t depth, int64_t samples) {
  const int64_t stride = stride_of(samples), classes = layers[depth - 1].outputs;
  int64_t numbers = 4 * stride + layers[0].inputs * stride + classes * stride, widest = classes;
  for (int64_t l = 0; l + 1 < depth; ++l) {
    const int64_t outputs = layers[l].outputs;
    numbers += outputs * stride;
    if (layers[l].norm_weight >= 0) numbers += outputs * stride + stride_of(outputs);
    widest = std::max(widest, outputs);
  }
  return numbers + 2 * widest * stride;
}

// Divides memory among the parts of a lane.
void settle(Lane &lane, float *memory) {
  const int64_t stride = lane.stride, classes = lane.last().outputs;
  const auto take = [&](int64_t numbers) {
    float *at = memory;
    memory += numbers;
    return at;
  };
  lane.losses = reinterpret_cast<double *>(take(2 * stride));
  lane.right = reinterpret_cast<int64_t *>(take(2 * stride));
  lane.input = take(lane.layers[0].inputs * stride);
  int64_t widest = classes;
  for (int64_t l = 0; l + 1 < lane.depth; ++l) {
    const int64_t outputs = lane.layers[l].outputs;
    lane.hidden[l].out = take(outputs * stride);
    if (lane.norm(l)) {
      lane.hidden[l].values = take(outputs * stride);
      lane.hidden[l].inverse = take(stride_of(outputs));
    }
    widest = std::max(widest, outputs);
  }
  lane.logits = take(classes * stride);
  for (float *&back : lane.back) back = take(widest * stride);
}

int64_t row_of(const RewindSamples &samples, int64_t lane, int64_t sample) {
  const int64_t row = samples.index ? samples.index[lane * samples.index_step + sample]
                                    : samples.first + lane * samples.lane_step + sample;
  TORCH_CHECK_INDEX(row >= 0 && row < samples.rows, "sample ", row, " is not one of ", samples.rows);
  return row;
}

// Writes the inputs of samples `first` to `first` + VECTOR, zeros for those that are none.
template <typename Number, typename Value>
void gather(const Lane &lane, const RewindSamples &samples, int64_t first, const Value &value) {
  const int64_t features = lane.layers[0].inputs, count = std::min(VECTOR, lane.samples - first);
  const Number *rows[VECTOR];
  for (int64_t s = 0; s < VECTOR; ++s)
    rows[s] = static_cast<const Number *>(samples.inputs) +
              row_of(samples, lane.lane, first + std::min(s, count - 1)) * features;
  for (int64_t f = 0; f < features; ++f) {
    float *to = lane.input + f * lane.stride + first;
    for (int64_t s = 0; s < VECTOR; ++s) to[s] = value(rows[s][f], f);
  }
  if (count < VECTOR)
    for (int64_t f = 0; f < features; ++f)
      std::memset(lane.input + f * lane.stride + first + count, 0, (VECTOR - count) * sizeof(float));
}

void read_samples(const Lane &lane, const RewindSamples &samples) {
  const auto vector = [&](int64_t task) {
    if (!samples.table) {
      gather<float>(lane, samples, task * VECTOR, [](float x, int64_t) { return x; });
    } else if (samples.pixels >= lane.layers[0].inputs) {
      const float *table = samples.table;
      gather<uint8_t>(lane, samples, task * VECTOR, [=](uint8_t x, int64_t) { return table[x]; });
    } else {
      const float *table = samples.table;
      const int64_t pixels = samples.pixels;
      gather<uint8_t>(lane, samples, task * VECTOR,
                      [=](uint8_t x, int64_t f) { return table[f / pixels * 256 + x]; });
    }
  };
  run(lane.layers[0].inputs * lane.stride * 4, Tasks{lane.stride / VECTOR, vector});
}

// The part of 0 to `all` that is piece `at` of `count` pieces of whole `unit`s.
struct Range {
  int64_t first, last;
  Range(int64_t at, int64_t count, int64_t all, int64_t unit) {
    const int64_t size = pieces(pieces(all, count), unit) * unit;
    first = std::min(at * size, all);
    last = std::min(first + size, all);
  }
};

// A product of a layer's weights, or of the transposed ones, with `activations`.
struct Product {
  Kernels::Product what;
  int64_t rows;
  const int32_t *starts, *terms; // survivors by rows of the product

  int64_t row_pieces() const {
    if (starts) return pieces(rows, SPARSE_ROWS);
    return what.term_step == 1 ? pieces(rows, ROWS) : pieces(rows, Kernels::PACKED);
  }
  // Where weights are copied first, each of them is copied once.
  int64_t column_pieces() const { return starts || what.term_step != 1 ? 1 : pieces(what.stride, COLUMNS); }
  int64_t count() const { return row_pieces() * column_pieces(); }

  void run(int64_t task) const {
    const int64_t columns = column_pieces();
    const Range of_rows(task / columns, row_pieces(), rows, starts ? 1 : 6);
    const Range of_columns(task % columns, columns, what.stride, VECTOR);
    Kernels::Product piece = what;
    piece.first_row = of_rows.first;
    piece.last_row = of_rows.last;
    if (starts)
      kernels().sparse_product(piece, {starts, terms});
    else
      kernels().product(piece, of_columns.first, of_columns.last,
                        own_memory<float, 0>(Kernels::scratch_for(of_columns.last - of_columns.first)));
  }
};

Product forward(const Lane &lane, int64_t l) {
  const RewindLayer &layer = lane.layers[l];
  const bool last = l + 1 == lane.depth;
  float *out = last ? lane.logits : lane.norm(l) ? lane.hidden[l].values : lane.hidden[l].out;
  const auto finish = last || lane.norm(l) ? Kernels::BIAS : Kernels::BIAS_RELU;
  const RewindSurvivors &s = lane.survivors(l);
  return {{lane.weights + layer.weight, layer.inputs, 1, layer.inputs, lane.seen(l), lane.stride, out, 0, 0,
           finish, lane.weights + layer.bias},
          layer.outputs,
          s.row_starts,
          s.row_terms};
}

Product backward(const Lane &lane, int64_t l, const float *slopes, float *out) {
  const RewindLayer &layer = lane.layers[l];
  const auto finish = lane.norm(l - 1) ? Kernels::PLAIN : Kernels::WHERE_POSITIVE;
  const RewindSurvivors &s = lane.survivors(l);
  return {{lane.weights + layer.weight, 1, layer.inputs, layer.outputs, slopes, lane.stride, out, 0, 0, finish,
           lane.seen(l)},
          layer.inputs,
          s.column_starts,
          s.column_terms};
}

Kernels::Norm norm_of(const Lane &lane, int64_t l, int64_t row) {
  const RewindLayer &layer = lane.layers[l];
  return {lane.weights[layer.norm_weight + row], lane.weights[layer.norm_bias + row], EPSILON};
}

void normalise(const Lane &lane, int64_t l) {
  const RewindLayer &layer = lane.layers[l];
  const Lane::Hidden &hidden = lane.hidden[l];
  float *means = layer.running_mean + lane.lane * layer.outputs;
  float *variances = layer.running_variance + lane.lane * layer.outputs;
  const auto rows = [&](int64_t task) {
    const Range range(task, pieces(layer.outputs, NORM_ROWS), layer.outputs, 1);
    for (int64_t row = range.first; row < range.last; ++row) {
      float *values = hidden.values + row * lane.stride, *out = hidden.out + row * lane.stride;
      if (!lane.slopes) {
        kernels().norm_row_by(norm_of(lane, l, row), means[row], variances[row], lane.stride, values, out);
        continue;
      }
      float mean, variance;
      kernels().norm_row(norm_of(lane, l, row), lane.samples, lane.stride, values, out, &mean, &variance,
                         hidden.inverse + row);
      const float unbiased = variance * (float(lane.samples) / float(lane.samples - 1));
      means[row] = (1 - MOMENTUM) * means[row] + MOMENTUM * mean;
      variances[row] = (1 - MOMENTUM) * variances[row] + MOMENTUM * unbiased;
    }
  };
  run(layer.outputs * lane.stride * 8, Tasks{pieces(layer.outputs, NORM_ROWS), rows});
}

void see(const Lane &lane, const RewindSamples &samples) {
  read_samples(lane, samples);
  for (int64_t l = 0; l < lane.depth; ++l) {
    const Product product = forward(lane, l);
    run(lane.work(l), Tasks{product.count(), [&](int64_t task) { product.run(task); }});
    if (l + 1 < lane.depth && lane.norm(l)) normalise(lane, l);
  }
}

// Losses of the samples and, where `slopes` is not null, the gradients of their mean [classes, stride].
void judge(const Lane &lane, const RewindSamples &samples, const RewindLoss &loss, float *slopes) {
  const int64_t classes = lane.last().outputs;
  const auto part = [&](int64_t task) {
    float *score = own_memory<float, 1>(2 * classes), *slope = slopes ? score + classes : nullptr;
    for (int64_t s = task * VECTOR; s < (task + 1) * VECTOR; ++s) {
      if (s < lane.samples) {
        for (int64_t c = 0; c < classes; ++c) score[c] = lane.logits[c * lane.stride + s];
        if (loss.outputs) std::copy(score, score + classes, loss.outputs + s * classes);
        const int64_t row = row_of(samples, lane.lane, s);
        if (loss.numbers) {
          const float target = static_cast<const float *>(samples.targets)[row];
          half_square_row(score[0], target, loss.tolerance, lane.samples, slope, lane.losses + s, lane.right + s);
        } else {
          const int64_t target = static_cast<const int64_t *>(samples.targets)[row];
          TORCH_CHECK_INDEX(target >= 0 && target < classes, "label ", target, " is not one of ", classes,
                            " classes");
          cross_entropy_row(score, classes, target, loss.smoothing, lane.samples, slope, lane.losses + s,
                            lane.right + s);
        }
      }
      if (slopes)
        for (int64_t c = 0; c < classes; ++c) slopes[c * lane.stride + s] = s < lane.samples ? slope[c] : 0.0f;
    }
  };
  run(classes * lane.stride * 64, Tasks{lane.stride / VECTOR, part});
}

// Adds up what `judge` found, in the order of the samples.
void record(const Lane &lane, double *losses, int64_t *right) {
  for (int64_t s = 0; s < lane.samples; ++s) {
    *losses += lane.losses[s];
    *right += lane.right[s];
  }
}

// Gradients of a layer's weights and biases, and of what it sees, given those of what it gives.
void differentiate(const Lane &lane, int64_t l, const float *slopes, float *of_seen) {
  const RewindLayer &layer = lane.layers[l];
  const RewindSurvivors &s = lane.survivors(l);
  float *weight_slopes = lane.slopes + layer.weight, *bias_slopes = lane.slopes + layer.bias;
  const int64_t count = pieces(layer.outputs, s.row_starts ? SPARSE_ROWS : SLOPE_ROWS);
  const auto rows = [&](int64_t task) {
    const Range range(task, count, layer.outputs, s.row_starts ? 1 : 3);
    const int64_t stride = lane.stride, inputs = layer.inputs;
    if (s.row_starts)
      kernels().sparse_weight_slopes(slopes, lane.seen(l), stride, inputs, range.first, range.last,
                                     {s.row_starts, s.row_terms}, weight_slopes);
    else
      kernels().weight_slopes(slopes, lane.seen(l), stride, inputs, range.first, range.last, weight_slopes);
    for (int64_t row = range.first; row < range.last; ++row)
      bias_slopes[row] = kernels().row_sum(slopes + row * stride, stride);
  };
  if (l == 0) return run(lane.work(l), Tasks{count, rows});
  const Product product = backward(lane, l, slopes, of_seen);
  run(2 * lane.work(l), Tasks{product.count(), [&](int64_t task) { product.run(task); }}, Tasks{count, rows});
}

void differentiate_norm(const Lane &lane, int64_t l, float *slopes) {
  const RewindLayer &layer = lane.layers[l];
  const Lane::Hidden &hidden = lane.hidden[l];
  const int64_t count = pieces(layer.outputs, NORM_ROWS);
  const auto rows = [&](int64_t task) {
    const Range range(task, count, layer.outputs, 1);
    for (int64_t row = range.first; row < range.last; ++row) {
      const int64_t at = row * lane.stride;
      kernels().norm_row_slopes(norm_of(lane, l, row), hidden.inverse[row], lane.samples, lane.stride,
                                hidden.values + at, hidden.out + at, slopes + at,
                                lane.slopes + layer.norm_weight + row, lane.slopes + layer.norm_bias + row);
    }
  };
  run(layer.outputs * lane.stride * 8, Tasks{count, rows});
}

void step(const Lane &lane, const RewindSamples &samples, const RewindLoss &loss) {
  see(lane, samples);
  float *slopes = lane.back[0], *next = lane.back[1];
  judge(lane, samples, loss, slopes);
  loss.losses[lane.lane] = 0;
  loss.right[lane.lane] = 0;
  record(lane, loss.losses + lane.lane, loss.right + lane.lane);
  for (int64_t l = lane.depth; l-- > 0; std::swap(slopes, next)) {
    differentiate(lane, l, slopes, next);
    if (l > 0 && lane.norm(l - 1)) differentiate_norm(lane, l - 1, next);
  }
}

// Seconds of `body`: the least of a few.
template <typename Body> double seconds(const Body &body) {
  double least = 1e9;
  for (int round = 0; round < 4; ++round) {
    const auto start = std::chrono::steady_clock::now();
    body();
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return least;
}

// Runs `body` for every lane: as many as can be shared out evenly on a thread each, which then wait for
// nobody, and all threads together on each that is left.
template <typename Body> void each_lane(int64_t lanes, const Body &body) {
  const int64_t threads = at::get_num_threads(), even = threads > 1 ? lanes / threads * threads : 0;
  at::parallel_for(0, even, 1, [&](int64_t begin, int64_t end) {
    for (int64_t lane = begin; lane < end; ++lane) body(lane);
  });
  for (int64_t lane = even; lane < lanes; ++lane) body(lane);
}

} // namespace

extern "C" {

// Numbers of memory that a lane of a training step needs.
int64_t rewind_perceptron_room(const RewindLayer *layers, int64_t depth, int64_t samples) {
  return (room(layers, depth, samples) + 15) / 16 * 16;
}

// Losses and gradients of every lane; `memory` holds `rewind_perceptron_room` numbers a lane.
char *rewind_perceptron_step(const RewindLayer *layers, int64_t depth, int64_t lanes, int64_t width,
                             const float *weights, float *slopes, const RewindSamples *samples,
                             const RewindLoss *loss, float *memory) {
  return guarded([&] {
    const int64_t numbers = rewind_perceptron_room(layers, depth, samples->count);
    each_lane(lanes, [&](int64_t l) {
      Lane::Hidden *hidden = own_memory<Lane::Hidden, 0>(depth);
      Lane lane{layers,         depth,          l, weights + l * width, slopes + l * width,
                samples->count, stride_of(samples->count)};
      lane.hidden = hidden;
      settle(lane, memory + l * numbers);
      step(lane, *samples, *loss);
    });
  });
}

// Losses of every lane in evaluation, added up in the order of the samples, and its outputs if asked for.
char *rewind_perceptron_evaluate(const RewindLayer *layers, int64_t depth, int64_t lanes, int64_t width,
                                 const float *weights, const RewindSamples *samples, const RewindLoss *loss) {
  return guarded([&] {
    const int64_t blocks = pieces(samples->count, EVALUATED);
    std::vector<double> losses(lanes * blocks, 0.0);
    std::vector<int64_t> right(lanes * blocks, 0);
    at::parallel_for(0, lanes * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t l = task / blocks, block = task % blocks;
        RewindSamples some = *samples;
        some.first += block * EVALUATED;
        some.index = samples->index ? samples->index + block * EVALUATED : nullptr;
        some.count = std::min(EVALUATED, samples->count - block * EVALUATED);
        Lane lane{layers, depth, l, weights + l * width, nullptr, some.count, stride_of(some.count)};
        lane.hidden = own_memory<Lane::Hidden, 0>(depth);
        settle(lane, own_memory<float, 2>(room(layers, depth, EVALUATED)));
        see(lane, some);
        RewindLoss own = *loss;
        if (own.outputs) own.outputs += (l * samples->count + block * EVALUATED) * lane.last().outputs;
        judge(lane, some, own, nullptr);
        record(lane, &losses[task], &right[task]);
      }
    });
    for (int64_t l = 0; l < lanes; ++l) {
      loss->losses[l] = 0;
      loss->right[l] = 0;
      for (int64_t task = l * blocks; task < (l + 1) * blocks; ++task) {
        loss->losses[l] += losses[task];
        loss->right[l] += right[task];
      }
    }
  });
}

// Density below which a layer trains faster at its survivors, from the times of both on one thread.
double rewind_perceptron_break_even(int64_t outputs, int64_t inputs) {
  // As many outputs as show what one costs.
  outputs = std::min(outputs, std::max<int64_t>(24, 100'000 / inputs));
  const int64_t stride = EVALUATED, every = 4;
  std::vector<float> weights(outputs * inputs), slopes(outputs * inputs), seen(inputs * stride),
      given(outputs * stride), back(inputs * stride);
  std::vector<int32_t> row_starts{0}, row_terms, column_starts{0}, column_terms;
  const auto survives = [=](int64_t row, int64_t column) { return (row * 7 + column * 3) % every == 0; };
  for (int64_t row = 0; row < outputs; ++row) {
    for (int64_t column = 0; column < inputs; ++column)
      if (survives(row, column)) row_terms.push_back(column);
    row_starts.push_back(row_terms.size());
  }
  for (int64_t column = 0; column < inputs; ++column) {
    for (int64_t row = 0; row < outputs; ++row)
      if (survives(row, column)) column_terms.push_back(row);
    column_starts.push_back(column_terms.size());
  }
  if (row_terms.empty()) return 0;
  const Kernels::Product there = {weights.data(), inputs,       1, inputs,  seen.data(),
                                  stride,         given.data(), 0, outputs, Kernels::PLAIN, nullptr};
  const Kernels::Product again = {weights.data(), 1,           inputs, outputs, given.data(),
                                  stride,         back.data(), 0,      inputs,  Kernels::PLAIN, nullptr};
  float *copies = own_memory<float, 0>(Kernels::scratch_for(stride));
  const double dense = seconds([&] {
    kernels().product(there, 0, stride, copies);
    kernels().product(again, 0, stride, copies);
    kernels().weight_slopes(given.data(), seen.data(), stride, inputs, 0, outputs, slopes.data());
  });
  const Kernels::Survivors rows = {row_starts.data(), row_terms.data()},
                           columns = {column_starts.data(), column_terms.data()};
  const double sparse = seconds([&] {
    kernels().sparse_product(there, rows);
    kernels().sparse_product(again, columns);
    kernels().sparse_weight_slopes(given.data(), seen.data(), stride, inputs, 0, outputs, rows, slopes.data());
  });
  const double density = double(row_terms.size()) / double(outputs * inputs);
  return std::min(1.0, density * dense / sparse);
}

} // extern "C"
