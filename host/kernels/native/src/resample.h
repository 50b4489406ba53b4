// Pictures of bytes of another size, in integers: the same bytes on every processor.

namespace {

// As many whole numbers as the longest vectors have, and as many bytes.
typedef int32_t WI __attribute__((vector_size(sizeof(W))));
typedef uint8_t WB __attribute__((vector_size(sizeof(W) / 4)));
typedef uint8_t VB __attribute__((vector_size(VECTOR)));

// A sum of weighted bytes, rounded. Weights add up to one but for their rounding: it may be above 255 by one.
template <typename T> ALWAYS T rounded_sum(T sum) {
  const T whole = sum >> Kernels::Filter::BITS;
  return whole > 255 ? T{} + 255 : whole;
}

// Two rows of pixels with three bytes each, and one more behind them, along a row: as many new pixels.
ALWAYS void narrow_rows(const uint8_t *const rows[2], const Kernels::Filter &across, uint8_t *const out[2]) {
  for (int64_t x = 0; x < across.count; ++x) {
    VI sum = VI{} + Kernels::Filter::HALF;
    const int64_t first = 3 * int64_t(across.first[x]);
    const uint8_t *a = rows[0] + first, *b = rows[1] + first;
    for (int64_t k = across.starts[x]; k < across.starts[x + 1]; ++k, a += 3, b += 3) {
      // Three bytes of a pixel, and one that nobody looks at.
      uint8_t pixels[8];
      std::memcpy(pixels, a, 4);
      std::memcpy(pixels + 4, b, 4);
      VB both;
      std::memcpy(&both, pixels, sizeof both);
      sum += __builtin_convertvector(both, VI) * across.weights[k];
    }
    const VB both = __builtin_convertvector(rounded_sum(sum), VB);
    uint8_t pixels[8];
    std::memcpy(pixels, &both, sizeof both);
    // The fourth byte is the next pixel's, which comes later.
    std::memcpy(out[0] + 3 * x, pixels, 4);
    std::memcpy(out[1] + 3 * x, pixels + 4, 4);
  }
}

// The vectors of a row from byte `at` on, of rows `stride` apart.
template <int vectors>
ALWAYS void mix_rows(const uint8_t *rows, int64_t stride, const int32_t *weights, int64_t count, uint8_t *out) {
  WI sums[vectors];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) sums[v] = WI{} + Kernels::Filter::HALF;
  for (int64_t k = 0; k < count; ++k) {
    const uint8_t *row = rows + k * stride;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      WB bytes;
      std::memcpy(&bytes, row + v * WIDE, sizeof bytes);
      sums[v] += __builtin_convertvector(bytes, WI) * weights[k];
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    const WB bytes = __builtin_convertvector(rounded_sum(sums[v]), WB);
    std::memcpy(out + v * WIDE, &bytes, sizeof bytes);
  }
}

void resample(const uint8_t *pixels, int64_t width, const Kernels::Filter &across, const Kernels::Filter &down, bool mirror,
              uint8_t *scratch, uint8_t *out) {
  const int64_t stride = Kernels::Filter::stride(across.count), plane = across.count * down.count;
  const int64_t last = down.count - 1, top = down.first[0];
  const int64_t rows = down.first[last] + down.starts[last + 1] - down.starts[last] - top;
  // Copies of two rows, with room behind them.
  const int64_t room = 3 * width + 1;
  uint8_t *const narrowed = scratch, *const line = narrowed + (rows + 1) * stride, *const copies = line + stride;
  for (int64_t row = 0; row < rows; row += 2) {
    const uint8_t *both[2];
    uint8_t *to[2];
    for (int64_t i = 0; i < 2; ++i) {
      // Where the number of rows is odd, the last one is made twice.
      const int64_t from = top + (row + i < rows ? row + i : row);
      std::memcpy(copies + i * room, pixels + 3 * width * from, 3 * width);
      both[i] = copies + i * room;
      to[i] = narrowed + (row + i) * stride;
    }
    narrow_rows(both, across, to);
  }
  constexpr int TOGETHER = 4;
  for (int64_t y = 0; y < down.count; ++y) {
    const uint8_t *above = narrowed + (down.first[y] - top) * stride;
    const int64_t start = down.starts[y], count = down.starts[y + 1] - start;
    for (int64_t at = 0; at < stride; at += TOGETHER * WIDE)
      mix_rows<TOGETHER>(above + at, stride, down.weights + start, count, line + at);
    for (int64_t channel = 0; channel < 3; ++channel) {
      uint8_t *to = out + channel * plane + y * across.count;
      const uint8_t *from = line + channel;
      if (mirror)
        for (int64_t x = 0; x < across.count; ++x) to[across.count - 1 - x] = from[3 * x];
      else
        for (int64_t x = 0; x < across.count; ++x) to[x] = from[3 * x];
    }
  }
}

} // namespace
