// Losses of further targets, each with its gradient in one pass. A `C_tensor*` of the bindings is an
// `at::Tensor*`.
//
// Every function returns null, or an error's text that `rewind_free_text` frees.

#include "losses.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "guarded.h"
#include "passes.h"

namespace {

// Numbers below which a pass is not worth a second thread: each takes an exponential or two.
constexpr int64_t GRAIN = 4096;

// Fails unless sums and counts of the lanes can be written by pointer.
void expect_results(const at::Tensor &losses, const at::Tensor &right, int64_t lanes) {
  TORCH_CHECK(losses.is_contiguous() && losses.scalar_type() == at::kDouble && losses.numel() == lanes &&
                  right.is_contiguous() && right.scalar_type() == at::kLong && right.numel() == lanes,
              "losses must be f64 [lanes] and right i64 [lanes], both contiguous");
}

// Calls `row(r, loss, right)` for each of `rows` of every lane, several threads at a time, and adds up what they
// find in one thread and in order, so that a lane's sum depends on nothing but its samples.
template <typename Row>
void add_up(int64_t lanes, int64_t rows, int64_t grain, at::Tensor &losses, at::Tensor &right, const Row &row) {
  at::Tensor each_loss = at::empty({lanes * rows}, losses.options());
  at::Tensor each_right = at::empty({lanes * rows}, right.options());
  double *loss = each_loss.data_ptr<double>();
  int64_t *count = each_right.data_ptr<int64_t>();
  at::parallel_for(0, lanes * rows, std::max<int64_t>(1, grain), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) row(r, loss + r, count + r);
  });
  for (int64_t lane = 0; lane < lanes; ++lane) {
    double sum = 0;
    int64_t all = 0;
    for (int64_t r = lane * rows; r < (lane + 1) * rows; ++r) {
      sum += loss[r];
      all += count[r];
    }
    losses.data_ptr<double>()[lane] = sum;
    right.data_ptr<int64_t>()[lane] = all;
  }
}

} // namespace

extern "C" {

// Sums of the binary cross-entropy of every lane's labels and the number of right ones, and the gradient of the sum
// of the lanes' means over samples and labels.
char *rewind_binary_cross_entropy(const at::Tensor *outputs, const at::Tensor *targets, at::Tensor *losses,
                                  at::Tensor *right, at::Tensor **gradient) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    TORCH_CHECK(outputs->dim() == 3 && targets->scalar_type() == at::kFloat &&
                    targets->sizes() == outputs->sizes() && targets->device() == outputs->device(),
                "outputs must be [lanes, batch, labels] and targets f32 of the same shape, not ", outputs->sizes(),
                " and ", targets->sizes());
    const int64_t lanes = outputs->size(0), count = outputs->size(1) * outputs->size(2);
    expect_results(*losses, *right, lanes);
    const at::Tensor scores = outputs->detach().to(at::kFloat).contiguous(), wanted = targets->contiguous();
    if (!is_at_hand(scores)) {
      const at::Tensor x = scores.to(at::kDouble), y = wanted.to(at::kDouble);
      const at::Tensor each = x.clamp_min(0) - x * y + x.abs().neg().exp().log1p();
      losses->copy_(sums_of_lanes(each, {0, 1}));
      right->copy_(x.gt(0).eq(y.gt(0.5)).logical_and(x.isfinite()).sum({1, 2}));
      if (gradient)
        *gradient = new at::Tensor(x.sigmoid().sub(y).div(double(count)).to(outputs->scalar_type()));
      return;
    }
    at::Tensor slope = gradient ? at::empty_like(scores) : at::Tensor();
    float *slopes = gradient ? slope.data_ptr<float>() : nullptr;
    const float *score = scores.const_data_ptr<float>(), *target = wanted.const_data_ptr<float>();
    add_up(lanes, count, GRAIN, *losses, *right, [&](int64_t at, double *loss, int64_t *is_right) {
      binary_cross_entropy_at(score[at], target[at], count, slopes ? slopes + at : nullptr, loss, is_right);
    });
    if (gradient) *gradient = new at::Tensor(slope.to(outputs->scalar_type()));
  });
}

// Sums of the distillation loss of every lane's samples and the number of right answers, and the gradient of the sum
// of the lanes' means.
char *rewind_distillation(const at::Tensor *logits, const at::Tensor *taught, const at::Tensor *labels,
                          double temperature, double alpha, double smoothing, at::Tensor *losses, at::Tensor *right,
                          at::Tensor **gradient) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    TORCH_CHECK(logits->dim() == 3 && labels->dim() == 2 && labels->scalar_type() == at::kLong &&
                    labels->sizes() == logits->sizes().slice(0, 2) && taught->sizes() == logits->sizes() &&
                    taught->device() == logits->device(),
                "logits of student and teacher must be [lanes, batch, classes] and labels i64 [lanes, batch], not ",
                logits->sizes(), ", ", taught->sizes(), " and ", labels->sizes());
    const int64_t lanes = logits->size(0), batch = logits->size(1), classes = logits->size(2);
    expect_results(*losses, *right, lanes);
    const at::Tensor scores = logits->detach().to(at::kFloat).contiguous();
    const at::Tensor goals = taught->detach().to(at::kFloat).contiguous();
    if (!is_at_hand(scores)) {
      const at::Tensor x = scores.to(at::kDouble), index = labels->unsqueeze(-1);
      const at::Tensor own = at::log_softmax(x / temperature, -1), logs = at::log_softmax(x, -1);
      const at::Tensor its = at::log_softmax(goals.to(at::kDouble) / temperature, -1), p = its.exp();
      // What the teacher rules out adds nothing.
      const at::Tensor apart = at::where(p.gt(0), p * (its - own), at::zeros_like(p)).sum(-1);
      const at::Tensor hard =
          logs.gather(-1, index).squeeze(-1).mul(smoothing - 1).sub(logs.sum(-1), smoothing / double(classes));
      losses->copy_(sums_of_lanes(apart * (alpha * temperature * temperature) + hard * (1 - alpha), {0}));
      right->copy_(scores.argmax(-1).eq(*labels).sum({1}));
      const at::Tensor wanted = at::arange(classes, labels->options()).eq(index).to(at::kDouble);
      at::Tensor slope = logs.exp().sub_(smoothing / double(classes)).sub_(wanted, 1 - smoothing);
      slope = slope.mul(1 - alpha).add(own.exp().sub(p), alpha * temperature).div(double(batch));
      *gradient = new at::Tensor(slope.to(logits->scalar_type()));
      return;
    }
    const at::Tensor targets = labels->contiguous();
    const int64_t *target = targets.const_data_ptr<int64_t>();
    for (int64_t row = 0; row < lanes * batch; ++row)
      TORCH_CHECK_INDEX(target[row] >= 0 && target[row] < classes, "label ", target[row], " is not one of ", classes,
                        " classes");
    const Distillation how = {temperature, alpha, smoothing};
    const float *score = scores.const_data_ptr<float>(), *goal = goals.const_data_ptr<float>();
    at::Tensor slope = at::empty_like(scores);
    float *slopes = slope.data_ptr<float>();
    add_up(lanes, batch, GRAIN / (4 * classes), *losses, *right, [&](int64_t row, double *loss, int64_t *is_right) {
      const int64_t at = row * classes;
      distillation_row(score + at, goal + at, classes, target[row], how, batch, slopes + at, loss, is_right);
    });
    *gradient = new at::Tensor(slope.to(logits->scalar_type()));
  });
}

} // extern "C"
