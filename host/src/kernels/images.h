// What both ways of computing convolutions share: sizes, copies with room around them, and the threads.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>

#include "chosen.h"

namespace {

constexpr int64_t STRIP = Kernels::STRIP;

// A convolution's weight, [outputs, inputs, height, width], and how it moves.
struct Shape {
  int64_t outputs, inputs, height, width;
  int64_t stride, padding;
};

// The steps in memory between the weights of neighbouring results, sources, rows and columns.
struct Steps {
  int64_t result, source, row, column;
};

// Of an image, whose channels lie last.
struct Size {
  int64_t height, width, channels;
  int64_t row() const { return width * channels; }
  int64_t numbers() const { return height * row(); }
  // Strips of channels, and how many are in one.
  int64_t strips() const { return (channels + STRIP - 1) / STRIP; }
  int64_t of_strip(int64_t strip) const { return std::min(STRIP, channels - strip * STRIP); }
};

// Of the images that a convolution makes.
inline Size result_of(const Shape &of, const Size &source) {
  const auto fit = [&](int64_t size, int64_t kernel) { return (size + 2 * of.padding - kernel) / of.stride + 1; };
  return {fit(source.height, of.height), fit(source.width, of.width), of.outputs};
}

// Pixels of room above and to the left of an image.
struct Before {
  int64_t down, right;
};

// Images of `source` size as floats with room around them, one after another. They are given as floats or in
// bfloat16, T then being uint16_t.
template <typename T> class Room {
public:
  // The images lie `before` in `roomy` ones; `most` of them at a time.
  Room(const Size &source, const Size &roomy, Before before, int64_t most)
      : source(source), roomy(roomy), before(before) {
    if (is_float && roomy.numbers() == source.numbers()) return;
    numbers.reset(new float[most * roomy.numbers()]);
    std::fill_n(numbers.get(), most * roomy.numbers(), 0.0f);
  }

  // Without room.
  Room(const Size &source, int64_t most) : Room(source, source, {0, 0}, most) {}

  // These many images; the room around them is 0 from the start.
  const float *copy(const T *images, int64_t count) {
    if constexpr (is_float)
      if (!numbers) return images;
    const int64_t row = source.row(), step = roomy.row();
    for (int64_t image = 0; image < count; ++image) {
      float *to = numbers.get() + image * roomy.numbers() + before.down * step + before.right * source.channels;
      const T *from = images + image * source.numbers();
      for (int64_t y = 0; y < source.height; ++y, to += step, from += row) {
        if constexpr (is_float)
          std::memcpy(to, from, row * sizeof(float));
        else
          kernels().widen(from, row, to);
      }
    }
    return numbers.get();
  }

private:
  static constexpr bool is_float = std::is_same_v<T, float>;
  Size source, roomy;
  Before before;
  std::unique_ptr<float[]> numbers;
};

// Where results are written that become numbers of type T.
template <typename T> class Results {
public:
  Results(const Size &size, int64_t most) : size(size) {
    if (!is_float) numbers.reset(new float[most * size.numbers()]);
  }

  // Where to write those of some images, which belong to `out`.
  float *place(T *out) {
    if constexpr (is_float)
      return out;
    else
      return numbers.get();
  }

  // To be called when these many images are written.
  void hand_over(int64_t images, T *out) {
    if constexpr (!is_float) kernels().narrow(numbers.get(), images * size.numbers(), out);
  }

private:
  static constexpr bool is_float = std::is_same_v<T, float>;
  Size size;
  std::unique_ptr<float[]> numbers;
};

// Runs `work(next)` on several threads: `next()` gives each number below `count` to one of them, and then
// `count`.
template <typename Work> void share_out(int64_t count, const Work &work) {
  std::atomic<int64_t> taken{0};
  const auto next = [&] { return std::min(taken.fetch_add(1), count); };
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t, int64_t) { work(next); });
}

// Adds up the gradient of a weight, `strip_size` numbers for each of `strips` strips of results. It is a sum of
// sums, for the threads' sake, whose number the sizes alone decide. `add(state, first, count, begin, end, sums)` adds
// these many images, up to `group`, to these strips; `state` is what `prepare()` made for one thread.
// `settle(strip, numbers)` gets each strip's total.
template <typename Prepare, typename Add, typename Settle>
void sum_up(int64_t strip_size, int64_t strips, int64_t images, int64_t group, const Prepare &prepare, const Add &add,
            const Settle &settle) {
  // All numbers together, sums, and what is worth sharing out.
  constexpr int64_t NUMBERS = 1 << 19, SUMS = 32, TASKS = 16;
  const int64_t size = strips * strip_size, groups = (images + group - 1) / group;
  const int64_t wanted = std::max<int64_t>(1, std::min(SUMS, NUMBERS / size));
  const int64_t of_sum = (groups + wanted - 1) / wanted * group, count = (images + of_sum - 1) / of_sum;
  const int64_t of_task = std::max<int64_t>(1, strips * count / TASKS), parts = (strips + of_task - 1) / of_task;
  const std::unique_ptr<float[]> found(new float[count * size]);
  share_out(count * parts, [&](const auto &next) {
    auto state = prepare();
    for (int64_t task; (task = next()) < count * parts;) {
      const int64_t number = task / parts, begin = task % parts * of_task, end = std::min(strips, begin + of_task);
      float *sums = found.get() + number * size;
      std::fill(sums + begin * strip_size, sums + end * strip_size, 0.0f);
      const int64_t last = std::min(images, (number + 1) * of_sum);
      for (int64_t first = number * of_sum; first < last; first += group)
        add(state, first, std::min(group, last - first), begin, end, sums);
    }
  });
  share_out(strips, [&](const auto &next) {
    for (int64_t strip; (strip = next()) < strips;) {
      float *total = found.get() + strip * strip_size;
      for (int64_t number = 1; number < count; ++number)
        for (int64_t i = 0; i < strip_size; ++i) total[i] += total[number * size + i];
      settle(strip, total);
    }
  });
}

} // namespace
