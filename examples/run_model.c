/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the first signature of a converted model on zeros, in C.   run_model <converted model> */
#include <stdio.h>
#include <stdlib.h>
#include <tfengine/c_api.h>

static int Fail(tfengine_error* error) {
  fprintf(stderr, "%s\n", tfengine_error_message(error));
  tfengine_error_free(error);
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 2) return fprintf(stderr, "usage: run_model MODEL\n"), 2;

  tfengine_model* model = NULL;
  tfengine_error* error = tfengine_model_load(argv[1], /*threads=*/0, &model);
  if (error != NULL) return Fail(error);

  enum { kMaxInputs = 8, kMaxRank = 8 };
  tfengine_tensor inputs[kMaxInputs];
  int64_t shapes[kMaxInputs][kMaxRank];
  size_t count = tfengine_model_input_count(model, 0);
  if (count > kMaxInputs) return fprintf(stderr, "too many inputs\n"), 1;
  for (size_t i = 0; i < count; ++i) {
    inputs[i] = tfengine_model_input(model, 0, i);
    if (inputs[i].rank < 0 || inputs[i].rank > kMaxRank)
      return fprintf(stderr, "unexpected rank\n"), 1;
    size_t elements = 1;
    for (int d = 0; d < inputs[i].rank; ++d) {
      shapes[i][d] = inputs[i].shape[d] < 0 ? 1 : inputs[i].shape[d]; /* batch of one */
      elements *= (size_t)shapes[i][d];
    }
    inputs[i].shape = shapes[i];
    inputs[i].bytes = elements * 4; /* float32 and int32 */
    inputs[i].data = calloc(elements, 4);
  }

  tfengine_outputs* outputs = NULL;
  error =
      tfengine_model_run(model, tfengine_model_signature_name(model, 0), inputs, count, &outputs);
  for (size_t i = 0; i < count; ++i) free((void*)inputs[i].data);
  if (error == NULL) {
    for (size_t i = 0; i < tfengine_outputs_count(outputs); ++i) {
      tfengine_tensor output = tfengine_outputs_get(outputs, i);
      printf("%s: %zu bytes, first value %g\n", output.name, output.bytes,
             *(const float*)output.data);
    }
    tfengine_outputs_free(outputs);
  }
  tfengine_model_free(model);
  return error == NULL ? 0 : Fail(error);
}
