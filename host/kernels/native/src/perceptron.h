// What Rust hands to the perceptron; `kernels/mod.rs` declares the same.
#pragma once

#include <cstdint>

extern "C" {

// Surviving weights of one layer of one lane, by rows (outputs) and by columns (inputs). All null where
// every weight is computed with.
struct RewindSurvivors {
  const int32_t *row_starts, *row_terms;
  const int32_t *column_starts, *column_terms;
};

// One linear layer, with what follows it. Offsets are elements of a lane's weights.
struct RewindLayer {
  int64_t inputs, outputs;
  int64_t weight, bias;
  // Scale and shift of the batch norm, or -1, and its statistics, [lanes, outputs].
  int64_t norm_weight, norm_bias;
  float *running_mean, *running_variance;
  const RewindSurvivors *survivors; // [lanes]
};

// The samples that are looked at. Sample s of a lane is row index[lane * index_step + s] of the
// inputs, or row first + lane * lane_step + s where there is no index.
struct RewindSamples {
  const void *inputs;  // [rows, features], f32, or u8 where there is a table
  const float *table;  // [features / pixels, 256]: what a byte stands for, or null
  int64_t pixels;      // features that share a row of the table
  int64_t rows;
  const void *targets; // [rows]: classes in i64, or numbers in f32
  const int64_t *index;
  int64_t index_step, first, lane_step;
  int64_t count; // samples of a lane
};

struct RewindLoss {
  bool numbers; // half the squared distance, not the cross-entropy
  double smoothing, tolerance;
  double *losses; // [lanes]: sums over the samples
  int64_t *right; // [lanes]
  float *outputs; // [lanes, count, outputs of the last layer], or null; only of an evaluation
};

}
