// What both ways of computing convolutions share: sizes, copies with room around them, and the threads.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "chosen.h"

namespace {

constexpr int64_t STRIP = Kernels::STRIP;

struct Free {
  void operator()(float *numbers) const { std::free(numbers); }
};

// Numbers that begin with a cache line: a long vector that lies across two takes twice as long.
using Numbers = std::unique_ptr<float[], Free>;

inline Numbers numbers_for(int64_t count) {
  constexpr size_t LINE = 64;
  const size_t lines = (count * sizeof(float) + LINE - 1) / LINE;
  auto *found = static_cast<float *>(std::aligned_alloc(LINE, std::max<size_t>(1, lines) * LINE));
  if (!found) throw std::bad_alloc();
  return Numbers(found);
}

// A convolution's weight, [outputs, inputs, height, width], and how it moves.
struct Shape {
  int64_t outputs, inputs, height, width;
  int64_t stride, padding;
};

// The steps in memory between the weights of neighbouring results, sources, rows and columns.
struct Steps {
  int64_t result, source, row, column;
};

// The numbers of a weight or its gradient, wherever they lie; Number is float or const float.
template <typename Number> struct Weights {
  Number *numbers;
  Steps steps;

  // With results and sources in each other's place.
  Weights turned() const { return {numbers, {steps.source, steps.result, steps.row, steps.column}}; }

  // Kernels of this size from their last number to the first.
  Weights reversed(int64_t height, int64_t width) const {
    return {numbers + (height - 1) * steps.row + (width - 1) * steps.column,
            {steps.result, steps.source, -steps.row, -steps.column}};
  }

  // The numbers that `count` results of a strip have for a place of the kernel and a source.
  void read(int64_t row, int64_t column, int64_t source, int64_t strip, int64_t count, float *to) const {
    const Number *from = first_of(row, column, source, strip);
    for (int64_t k = 0; k < count; ++k) to[k] = from[k * steps.result];
  }

  void write(int64_t row, int64_t column, int64_t source, int64_t strip, int64_t count, const float *from) const {
    Number *to = first_of(row, column, source, strip);
    for (int64_t k = 0; k < count; ++k) to[k * steps.result] = from[k];
  }

private:
  Number *first_of(int64_t row, int64_t column, int64_t source, int64_t strip) const {
    return numbers + row * steps.row + column * steps.column + source * steps.source + strip * STRIP * steps.result;
  }
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
    numbers = numbers_for(most * roomy.numbers());
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
  Numbers numbers;
};

// Where results are written that become numbers of type T.
template <typename T> class Results {
public:
  Results(const Size &size, int64_t most) : size(size) {
    if (!is_float) numbers = numbers_for(most * size.numbers());
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
  Numbers numbers;
};

// How images are read, a group at a time, and of what size are those that become of them.
struct Layout {
  Size source, result;
  Size roomy; // of a source with the room that is needed
  Before before;
  int64_t group;

  int64_t groups_of(int64_t images) const { return (images + group - 1) / group; }
  template <typename T> Room<T> room() const { return Room<T>(source, roomy, before, group); }
};

// Runs `work(next)` on several threads: `next()` gives each number below `count` to one of them, and then
// `count`.
template <typename Work> void share_out(int64_t count, const Work &work) {
  std::atomic<int64_t> taken{0};
  const auto next = [&] { return std::min(taken.fetch_add(1), count); };
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t, int64_t) { work(next); });
}

// Writes what becomes of `count` images. Each thread calls `prepare()` for its `make(seen, here, made)`, which
// writes the results of `here` images, up to a group, that lie at `seen` with room around them.
template <typename T, typename Prepare>
void make_images(const Layout &layout, const T *images, int64_t count, T *out, const Prepare &prepare) {
  const int64_t groups = layout.groups_of(count);
  share_out(groups, [&](const auto &next) {
    Room<T> room = layout.room<T>();
    Results<T> results(layout.result, layout.group);
    const auto make = prepare();
    for (int64_t number; (number = next()) < groups;) {
      const int64_t first = number * layout.group, here = std::min(layout.group, count - first);
      T *made = out + first * layout.result.numbers();
      make(room.copy(images + first * layout.source.numbers(), here), here, results.place(made));
      results.hand_over(here, made);
    }
  });
}

// Adds up the gradient of a weight, `strip_size` numbers for each strip of results, over `count` images and the
// slopes of their results. It is a sum of sums, for the threads' sake, whose number the sizes alone decide. Each
// thread calls `prepare()` for its `add(seen, slopes, here, begin, end, sums)`, which adds `here` images, up to a
// group, to these strips. `settle(strip, numbers)` gets each strip's total.
template <typename T, typename Prepare, typename Settle>
void sum_up(const Layout &layout, int64_t strip_size, const T *images, const T *slopes, int64_t count,
            const Prepare &prepare, const Settle &settle) {
  // All numbers together, sums, and what is worth sharing out.
  constexpr int64_t NUMBERS = 1 << 19, SUMS = 32, TASKS = 16;
  const int64_t strips = layout.result.strips(), size = strips * strip_size;
  const int64_t wanted = std::max<int64_t>(1, std::min(SUMS, NUMBERS / size));
  const int64_t of_sum = (layout.groups_of(count) + wanted - 1) / wanted * layout.group;
  const int64_t all = (count + of_sum - 1) / of_sum;
  const int64_t of_task = std::max<int64_t>(1, strips * all / TASKS), parts = (strips + of_task - 1) / of_task;
  const Numbers found = numbers_for(all * size);
  share_out(all * parts, [&](const auto &next) {
    Room<T> room = layout.room<T>(), of_result(layout.result, layout.group);
    const auto add = prepare();
    for (int64_t task; (task = next()) < all * parts;) {
      const int64_t number = task / parts, begin = task % parts * of_task, end = std::min(strips, begin + of_task);
      float *sums = found.get() + number * size;
      std::fill(sums + begin * strip_size, sums + end * strip_size, 0.0f);
      const int64_t last = std::min(count, (number + 1) * of_sum);
      for (int64_t first = number * of_sum; first < last; first += layout.group) {
        const int64_t here = std::min(layout.group, last - first);
        add(room.copy(images + first * layout.source.numbers(), here),
            of_result.copy(slopes + first * layout.result.numbers(), here), here, begin, end, sums);
      }
    }
  });
  share_out(strips, [&](const auto &next) {
    for (int64_t strip; (strip = next()) < strips;) {
      float *total = found.get() + strip * strip_size;
      for (int64_t number = 1; number < all; ++number)
        for (int64_t i = 0; i < strip_size; ++i) total[i] += total[number * size + i];
      settle(strip, total);
    }
  });
}

} // namespace
