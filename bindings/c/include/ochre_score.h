/* Scores models that ochre or H2O exported (MOJO), without any server.
 *
 * Every function may be called from many threads at once. Functions that fail answer NULL or a number other than 0, and
 * set *error (when error is not NULL) to a message that ochre_free_text frees.
 */
#ifndef OCHRE_SCORE_H
#define OCHRE_SCORE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The Arrow C stream interface; https://arrow.apache.org/docs/format/CStreamInterface.html declares it. */
struct ArrowArrayStream;

typedef struct OchreModel OchreModel;

/* Reads a model and scores the vectors that prove it, when it carries any. */
OchreModel *ochre_model_open(const char *path, char **error);
void ochre_model_free(OchreModel *model);

/* "Binomial", "Regression", ...; "Gradient Boosting Machine", .... They live as long as the model. */
const char *ochre_model_category(const OchreModel *model);
const char *ochre_model_algorithm(const OchreModel *model);

/* Numbers that a row has, and numbers that its score has: one for a regression, one for each class. */
size_t ochre_model_inputs(const OchreModel *model);
size_t ochre_model_outputs(const OchreModel *model);

/* Name of an input, NULL beyond the last. It lives as long as the model. */
const char *ochre_model_input_name(const OchreModel *model, size_t input);
/* Levels of a categorical input; 0 for a number. */
size_t ochre_model_levels(const OchreModel *model, size_t input);
/* The code of a level, which is what a row holds in its place; -1 for one that the model does not know. */
long ochre_model_level_code(const OchreModel *model, size_t input, const char *level);

/* Scores one row: categories as codes, NAN for missing and unknown. offset counts for models trained with one. */
int ochre_model_score_row(const OchreModel *model, const double *inputs, double offset, double *outputs, char **error);

/* Scores a stream of Arrow batches, whose columns are found by name. Takes the stream `in` over and fills `out`, which is
 * read batch by batch as it is pulled; the model has to live until `out` is released. */
int ochre_model_score_stream(const OchreModel *model, struct ArrowArrayStream *in, struct ArrowArrayStream *out, char **error);

void ochre_free_text(char *text);

#ifdef __cplusplus
}
#endif
#endif
