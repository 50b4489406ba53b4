/* Runs models that `host export --format rewind` wrote. Link with librewind_infer.so or librewind_infer.a.
 *
 * Numbers are 32-bit floats, row-major. A model may be run by several threads at the same time. */
#ifndef REWIND_INFER_H
#define REWIND_INFER_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rewind_infer_model rewind_infer_model;

/* Loads the model in the file `path`, UTF-8, to be computed by so many threads (0 counts as 1). NULL if that fails. */
rewind_infer_model *rewind_infer_load(const char *path, size_t threads);

/* Frees a model that nothing runs with; NULL is let be. */
void rewind_infer_free(rewind_infer_model *model);

/* The number of sizes of the shape of one input or output, of which up to `room` are written to `sizes`; -1 if that
 * fails. */
int rewind_infer_input_shape(const rewind_infer_model *model, size_t *sizes, size_t room);
int rewind_infer_output_shape(const rewind_infer_model *model, size_t *sizes, size_t room);

/* Computes `batch` outputs, [batch, ...output_shape], of as many inputs, [batch, ...input_shape]; 0, or -1 if that
 * fails. The first call with a batch size also measures how to compute it. */
int rewind_infer_run(const rewind_infer_model *model, const float *input, size_t batch, float *output);

/* What failed last on this thread, until the next call that fails; NULL if nothing did. */
const char *rewind_infer_last_error(void);

#ifdef __cplusplus
}
#endif

#endif
