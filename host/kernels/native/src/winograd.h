// Convolutions of 3x3 by Winograd's minimal filtering: 2x2 pixels take 16 products a channel, not 36. The
// products at each of a tile's 4x4 places are those of matrices. Part of convolution.cpp.
//
// Lavin & Gray 2015, arXiv:1509.09308, sections 4.1 and 4.3.
#pragma once

#include <vector>

#include "chosen.h"
#include "images.h"

namespace {

// The tiles of a few images that are computed together.
class Tiling : public Layout {
public:
  static constexpr int64_t SIDE = 2, PLACES = 16;

  Tiling(const Size &of_source, const Size &of_result, int64_t padding)
      : Layout{of_source, of_result, {}, {padding, padding}, 1} {
    const int64_t down = (result.height + 1) / SIDE, right = (result.width + 1) / SIDE;
    roomy = {SIDE * down + 2, SIDE * right + 2, source.channels};
    most = source.channels <= 128 ? 36 : 18;
    group = group_of(down * right);
    for (int64_t image = 0; image < group; ++image)
      for (int64_t y = 0; y < result.height; y += SIDE)
        for (int64_t x = 0; x < result.width; x += SIDE) {
          from.push_back(image * roomy.numbers() + y * roomy.row() + x * source.channels);
          to.push_back(image * result.numbers() + y * result.row() + x * result.channels);
          inside_right.push_back(x + 1 < result.width);
          inside_below.push_back(y + 1 < result.height);
        }
    for (int64_t tile = 0; tile < most; ++tile) {
      sources.push_back(tile * source.channels);
      strips.push_back(tile * STRIP);
    }
  }

  // Whether this is faster than the windows of all pixels, of at least so many channels: by measurements with
  // 16 to 512, on images of 2x2 to 32x32. The transforms cost as much as they save with fewer.
  static constexpr int64_t FOR_RESULTS = 16, FOR_WEIGHT_SLOPES = 32;
  static bool is_faster(const Shape &of, const Size &source, int64_t fewest) {
    const Size result = result_of(of, source);
    const int64_t tiles = ((result.height + 1) / SIDE) * ((result.width + 1) / SIDE);
    const auto fits = [&](int64_t channels) {
      return channels % VECTOR == 0 && channels >= fewest && channels <= 512;
    };
    return of.height == 3 && of.width == 3 && of.stride == 1 && of.padding <= 2 && fits(of.inputs) &&
           fits(of.outputs) && 3 * tiles <= result.height * result.width;
  }

  // Calls `body(tiles)` for those of the first `images` of a group.
  template <typename Body> void for_tiles(int64_t images, const Body &body) const {
    const int64_t all = int64_t(to.size()) / group * images;
    for (int64_t first = 0; first < all; first += most)
      body(Kernels::Tiles{std::min(most, all - first), from.data() + first, to.data() + first,
                          inside_right.data() + first, inside_below.data() + first});
  }

  // The numbers of these tiles at one place.
  Kernels::Windows at_place(const Kernels::Tiles &tiles) const {
    return {tiles.count, sources.data(), strips.data(), 1, 0, source.channels};
  }

  int64_t most; // tiles whose numbers stay in the second cache

private:
  // Images until there are enough tiles for whole sixes, or many.
  int64_t group_of(int64_t tiles) const {
    if (tiles >= 4 * most) return 1;
    int64_t images = 1;
    while (images < 6 && (images * tiles % 6 != 0 || images * tiles < most)) ++images;
    return images;
  }

  std::vector<int64_t> from, to, sources, strips;
  std::vector<uint8_t> inside_right, inside_below;
};

// G w G' of all kernels: [strips of results, places, sources, STRIP], zeros behind the last result.
Numbers spread_kernels(const Tiling &tiling, const Weights<const float> &weights) {
  const int64_t channels = tiling.source.channels, place = channels * STRIP, strip_size = Tiling::PLACES * place;
  Numbers out = numbers_for(tiling.result.strips() * strip_size);
  share_out(tiling.result.strips(), [&](const auto &next) {
    for (int64_t strip; (strip = next()) < tiling.result.strips();)
      for (int64_t channel = 0; channel < channels; ++channel) {
        float w[3][3][STRIP] = {}, half[4][3][STRIP];
        for (int64_t r = 0; r < 3; ++r)
          for (int64_t c = 0; c < 3; ++c)
            weights.read(r, c, channel, strip, tiling.result.of_strip(strip), w[r][c]);
        const auto spread = [](const float *a, const float *b, const float *c, float *const(&to)[4]) {
          for (int64_t k = 0; k < STRIP; ++k) {
            const float around = 0.5f * (a[k] + c[k]), middle = 0.5f * b[k];
            to[0][k] = a[k];
            to[1][k] = around + middle;
            to[2][k] = around - middle;
            to[3][k] = c[k];
          }
        };
        for (int64_t c = 0; c < 3; ++c)
          spread(w[0][c], w[1][c], w[2][c], {half[0][c], half[1][c], half[2][c], half[3][c]});
        float *to = out.get() + strip * strip_size + channel * STRIP;
        for (int64_t i = 0; i < 4; ++i, to += 4 * place)
          spread(half[i][0], half[i][1], half[i][2], {to, to + place, to + 2 * place, to + 3 * place});
      }
  });
  return out;
}

// A thread's numbers of some tiles at all places.
struct Scratch {
  Numbers windows, strip;

  explicit Scratch(const Tiling &tiling)
      : windows(numbers_for(Tiling::PLACES * tiling.most * tiling.source.channels)),
        strip(numbers_for(Tiling::PLACES * tiling.most * STRIP)) {}
};

// Writes the results of all images.
template <typename T>
void see_tiles(const Tiling &tiling, const Weights<const float> &weights, const T *images, int64_t count, T *out) {
  const Numbers spread = spread_kernels(tiling, weights);
  const Size &source = tiling.source, &result = tiling.result;
  const int64_t place_size = source.channels * STRIP;
  make_images(tiling, images, count, out, [&] {
    return [&, scratch = Scratch(tiling)](const float *seen, int64_t here, float *made) {
      tiling.for_tiles(here, [&](const Kernels::Tiles &tiles) {
        kernels().spread_windows(tiles, seen, tiling.roomy.row(), source.channels, scratch.windows.get());
        for (int64_t strip = 0; strip < result.strips(); ++strip) {
          for (int64_t place = 0; place < Tiling::PLACES; ++place)
            kernels().see(tiling.at_place(tiles), scratch.windows.get() + place * tiles.count * source.channels,
                          spread.get() + (strip * Tiling::PLACES + place) * place_size, result.of_strip(strip),
                          scratch.strip.get() + place * tiles.count * STRIP);
          kernels().gather_pixels(tiles, scratch.strip.get(), result.row(), result.channels, result.of_strip(strip),
                                  made + strip * STRIP);
        }
      });
    };
  });
}

// Writes the gradients of the kernels of one strip: G' x G of the sums at all places.
void gather_kernels(const Tiling &tiling, int64_t strip, const float *sums, const Weights<float> &slopes) {
  const int64_t channels = tiling.source.channels, place = channels * STRIP;
  for (int64_t channel = 0; channel < channels; ++channel) {
    float half[3][4][STRIP], w[3][3][STRIP];
    const auto gather = [](const float *a, const float *b, const float *c, const float *d, float *const(&to)[3]) {
      for (int64_t k = 0; k < STRIP; ++k) {
        const float around = 0.5f * (b[k] + c[k]);
        to[0][k] = a[k] + around;
        to[1][k] = 0.5f * (b[k] - c[k]);
        to[2][k] = around + d[k];
      }
    };
    for (int64_t j = 0; j < 4; ++j) {
      const float *x = sums + j * place + channel * STRIP;
      gather(x, x + 4 * place, x + 8 * place, x + 12 * place, {half[0][j], half[1][j], half[2][j]});
    }
    for (int64_t r = 0; r < 3; ++r)
      gather(half[r][0], half[r][1], half[r][2], half[r][3], {w[r][0], w[r][1], w[r][2]});
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t c = 0; c < 3; ++c)
        slopes.write(r, c, channel, strip, tiling.result.of_strip(strip), w[r][c]);
  }
}

// Writes the gradient of the weight.
template <typename T>
void tile_weight_slopes(const Tiling &tiling, const T *images, const T *slopes, int64_t count,
                        const Weights<float> &of_weight) {
  const Size &source = tiling.source, &result = tiling.result;
  const int64_t place_size = source.channels * STRIP, strip_size = Tiling::PLACES * place_size;
  const auto prepare = [&] {
    return [&, scratch = Scratch(tiling)](const float *seen, const float *slope, int64_t here, int64_t begin,
                                          int64_t end, float *sums) {
      float *windows = scratch.windows.get(), *pixels = scratch.strip.get();
      tiling.for_tiles(here, [&](const Kernels::Tiles &tiles) {
        kernels().spread_windows(tiles, seen, tiling.roomy.row(), source.channels, windows);
        for (int64_t strip = begin; strip < end; ++strip) {
          const int64_t outputs = result.of_strip(strip);
          kernels().spread_pixels(tiles, slope + strip * STRIP, result.row(), result.channels, outputs, pixels);
          for (int64_t place = 0; place < Tiling::PLACES; ++place)
            kernels().add_seen(tiling.at_place(tiles), windows + place * tiles.count * source.channels,
                               pixels + place * tiles.count * STRIP, outputs,
                               sums + strip * strip_size + place * place_size);
        }
      });
    };
  };
  sum_up(tiling, strip_size, images, slopes, count, prepare,
         [&](int64_t strip, const float *total) { gather_kernels(tiling, strip, total, of_weight); });
}

} // namespace
