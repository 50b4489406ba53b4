// Products of linear layers, of every lane: outputs, gradients of inputs, weights and biases.
//
// Every number of a result is added up term by term, by `fmaf` and in the order of the terms: its bits depend
// neither on the number of lanes nor on the GPU. They are not those of a BLAS, which adds up in an order of its own.
//
// A block of THREADS computes SIDE x SIDE numbers of one lane's product, a thread OF_THREAD x OF_THREAD of them, from
// TERMS terms at a time that are copied to shared memory.

#include "shared.cuh"

constexpr int SIDE = 64, OF_THREAD = 4, TERMS = 16;
// Threads along a side.
constexpr int ALONG = SIDE / OF_THREAD, THREADS = ALONG * ALONG;
// Threads' numbers of a tile's row and room behind them, so that rows begin in other banks.
constexpr int STEP = ALONG + 1;

// An operand of a product: its lines are the product's rows or columns.
struct Operand {
  const float *numbers;
  Int64 lines, line_step, term_step;
};

// What a thread reads of a tile's row, at once.
struct alignas(OF_THREAD * sizeof(float)) Numbers {
  float at[OF_THREAD];
};

struct Tile {
  Numbers at[TERMS][STEP];
};

struct Sums {
  float at[OF_THREAD][OF_THREAD];
};

// Copies the terms `from` to `from + terms` of the lines from `line` on; zeros stand for lines that there are not.
static __device__ inline void copy(const Operand &of, Int64 line, Int64 from, int terms, Tile &to, int thread) {
  for (int i = thread; i < SIDE * TERMS; i += THREADS) {
    // Neighbours in memory by neighbouring threads.
    const bool by_terms = of.term_step == 1;
    const int l = by_terms ? i / TERMS : i % SIDE, term = by_terms ? i % TERMS : i / SIDE;
    const bool exists = line + l < of.lines && term < terms;
    to.at[term][l / OF_THREAD].at[l % OF_THREAD] =
        exists ? of.numbers[(line + l) * of.line_step + (from + term) * of.term_step] : 0.0f;
  }
}

// out[row, column] = start[row] + sum over terms, for the block's numbers; `start` is null for 0.
static __device__ inline void multiply(const Operand &rows, const Operand &columns, const float *start, float *out,
                                       Int64 terms, Int64 row, Int64 column, Tile &left, Tile &right) {
  Own<Sums> sums;
  FOR_THREADS(thread) {
    const Int64 first = row + thread / ALONG * OF_THREAD;
    for (int i = 0; i < OF_THREAD; ++i)
      for (int j = 0; j < OF_THREAD; ++j)
        sums.at(thread).at[i][j] = start && first + i < rows.lines ? start[first + i] : 0.0f;
  }
  for (Int64 from = 0; from < terms; from += TERMS) {
    // No more than there are: a product of zeros is a term, too, and makes +0 of -0.
    const int some = int(terms - from < TERMS ? terms - from : TERMS);
    FOR_THREADS(thread) {
      copy(rows, row, from, some, left, thread);
      copy(columns, column, from, some, right, thread);
    }
    BARRIER();
    FOR_THREADS(thread) {
      Sums &own = sums.at(thread);
      for (int term = 0; term < some; ++term) {
        const Numbers down = left.at[term][thread / ALONG], across = right.at[term][thread % ALONG];
#pragma unroll
        for (int i = 0; i < OF_THREAD; ++i)
#pragma unroll
          for (int j = 0; j < OF_THREAD; ++j)
            own.at[i][j] = fmaf(down.at[i], across.at[j], own.at[i][j]);
      }
    }
    BARRIER();
  }
  FOR_THREADS(thread) {
    for (int i = 0; i < OF_THREAD; ++i)
      for (int j = 0; j < OF_THREAD; ++j) {
        const Int64 r = row + thread / ALONG * OF_THREAD + i, c = column + thread % ALONG * OF_THREAD + j;
        if (r < rows.lines && c < columns.lines) out[r * columns.lines + c] = sums.at(thread).at[i][j];
      }
  }
}

// Which lane and which of its tiles a block computes.
struct Where {
  Int64 lane, row, column;
};

static __device__ inline Where where(Int64 rows, Int64 columns) {
  const Int64 down = (rows + SIDE - 1) / SIDE, across = (columns + SIDE - 1) / SIDE;
  const Split lane = split(blockIdx.x, down * across), tile = split(lane.inner, across);
  return {lane.outer, tile.outer * SIDE, tile.inner * SIDE};
}

// out[lane, o, b] = bias[lane, o] + sum over i of weights[lane, o, i] * inputs[lane, i, b].
extern "C" __global__ void linear_forward(const float *bias, const float *weights, const float *inputs, float *out,
                                          Int64 outputs, Int64 terms, Int64 batch) {
  SHARED Tile left, right;
  const Where at = where(outputs, batch);
  const Operand rows = {weights + at.lane * outputs * terms, outputs, terms, 1};
  const Operand columns = {inputs + at.lane * terms * batch, batch, 1, batch};
  multiply(rows, columns, bias ? bias + at.lane * outputs : nullptr, out + at.lane * outputs * batch, terms, at.row,
           at.column, left, right);
}

// input_slopes[lane, i, b] = sum over o of weights[lane, o, i] * slopes[lane, o, b].
extern "C" __global__ void linear_input_slopes(const float *weights, const float *slopes, float *input_slopes,
                                               Int64 outputs, Int64 inputs, Int64 batch) {
  SHARED Tile left, right;
  const Where at = where(inputs, batch);
  const Operand rows = {weights + at.lane * outputs * inputs, inputs, 1, inputs};
  const Operand columns = {slopes + at.lane * outputs * batch, batch, 1, batch};
  multiply(rows, columns, nullptr, input_slopes + at.lane * inputs * batch, outputs, at.row, at.column, left, right);
}

// weight_slopes[lane, o, i] = sum over b of slopes[lane, o, b] * inputs[lane, i, b].
extern "C" __global__ void linear_weight_slopes(const float *slopes, const float *inputs, float *weight_slopes,
                                                Int64 outputs, Int64 terms, Int64 batch) {
  SHARED Tile left, right;
  const Where at = where(outputs, terms);
  const Operand rows = {slopes + at.lane * outputs * batch, outputs, batch, 1};
  const Operand columns = {inputs + at.lane * terms * batch, terms, batch, 1};
  multiply(rows, columns, nullptr, weight_slopes + at.lane * outputs * terms, batch, at.row, at.column, left, right);
}

// bias_slopes[lane, o] = sum over b of slopes[lane, o, b]. One thread a row of [lanes * outputs, batch].
extern "C" __global__ void linear_bias_slopes(const float *slopes, float *bias_slopes, Int64 rows, Int64 batch) {
  const Int64 row = place();
  if (row >= rows) return;
  float sum = 0;
  for (Int64 b = 0; b < batch; ++b) sum += slopes[row * batch + b];
  bias_slopes[row] = sum;
}
