/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TFENGINE_C_API_H_
#define TFENGINE_C_API_H_

/* The C interface of tfengine: convert a TensorFlow SavedModel, and run a converted one without TensorFlow.
 *
 * Functions that can fail return NULL on success, else an error that the caller frees. Strings are UTF-8, end in NUL
 * and belong to the object they were asked of. No function throws, prints or exits. Objects may be used from several
 * threads at once unless they are being freed. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TFENGINE_C_API __attribute__((visibility("default")))

/* "0.1.0" */
TFENGINE_C_API const char* tfengine_version(void);

/* --- errors ------------------------------------------------------------------------------------------------ */

typedef struct tfengine_error tfengine_error;

/* The number of the error, as in docs/errors.md. */
TFENGINE_C_API int tfengine_error_id(const tfengine_error* error);
/* One line: "E-0101 not-found: models/x: no such directory". */
TFENGINE_C_API const char* tfengine_error_message(const tfengine_error* error);
/* Takes NULL. */
TFENGINE_C_API void tfengine_error_free(tfengine_error* error);

/* --- converting -------------------------------------------------------------------------------------------- */

/* Lists end in NULL; a NULL list is empty. The fields mean what they mean in tfengine/convert.h. */
typedef struct tfengine_convert_options {
  size_t struct_size; /* sizeof(tfengine_convert_options), set by tfengine_convert_options_init: fields that a program
                         was compiled without have their defaults */
  const char* const* tags;           /* {"serve"} */
  const char* const* signatures;     /* all */
  const char* precision;             /* "FP32" */
  const char* device;                /* "cpu" */
  int minimum_segment_size;          /* 3 */
  int max_engines;                   /* 0: no limit */
  const char* const* excluded_ops;   /* none */
  const char* const* excluded_nodes; /* none */
  const char* build_shapes;          /* "x=1x224x224x3,8x224x224x3;y=1,8"; NULL: batch 1, on GPUs also 32 */
  int build_engines;                 /* 1; 0: tactics are not timed */
  int threads;                       /* 0: all CPUs */
  const char* timing_cache;          /* NULL: none */
  void (*progress)(const char* stage, double fraction, void* context);
  void* progress_context;
  /* INT8, FP8: where ranges come from, data or a table (not both). Added later than the fields above. */
  const char* calibration_data;      /* NULL; samples as `tfengine calibrate` takes them, for serving_default or the
                                        only signature; they also check the accuracy */
  const char* calibration_method;    /* NULL: "mse" */    
  const char* calibration_table;     /* NULL; a table that `tfengine calibrate` wrote */
  double max_error;                  /* 0.1; with calibration_data */
  double max_top1_drop;              /* -1: 0.01 for results of a softmax, else no limit */
  const char* effort;                /* "default"; or "fast", "max" */
} tfengine_convert_options;

/* Sets every field to the value in the comments above; `size`: the caller's sizeof(tfengine_convert_options). */
TFENGINE_C_API void tfengine_convert_options_init_sized(tfengine_convert_options* options, size_t size);
#define tfengine_convert_options_init(options) tfengine_convert_options_init_sized((options), sizeof(*(options)))

typedef struct tfengine_report tfengine_report;

/* Converts input_dir to output_dir, which must not exist. `options` and `report` may be NULL. */
TFENGINE_C_API tfengine_error* tfengine_convert(const char* input_dir, const char* output_dir,
                                                const tfengine_convert_options* options, tfengine_report** report);
/* What a conversion would do. */
TFENGINE_C_API tfengine_error* tfengine_explain(const char* input_dir, const tfengine_convert_options* options,
                                                tfengine_report** report);

TFENGINE_C_API const char* tfengine_report_text(const tfengine_report* report);
TFENGINE_C_API const char* tfengine_report_json(const tfengine_report* report);
TFENGINE_C_API int tfengine_report_engines(const tfengine_report* report);
/* Of the compute nodes, in [0, 1]. */
TFENGINE_C_API double tfengine_report_converted_share(const tfengine_report* report);
TFENGINE_C_API void tfengine_report_free(tfengine_report* report);

/* --- running ----------------------------------------------------------------------------------------------- */

/* A named tensor, or the description of one (then `data` is NULL and unknown sizes are -1; an unknown rank is -1).
 * Row-major. `dtype` has the numbers of tensorflow::DataType: 1 float32, 3 int32, 9 int64, 10 bool ... */
typedef struct tfengine_tensor {
  const char* name;
  int dtype;
  int rank;
  const int64_t* shape;
  const void* data;
  size_t bytes;
} tfengine_tensor;

typedef struct tfengine_model tfengine_model;

/* `threads` of one run, the caller included; 0: all CPUs. */
TFENGINE_C_API tfengine_error* tfengine_model_load(const char* dir, int threads, tfengine_model** model);
TFENGINE_C_API void tfengine_model_free(tfengine_model* model);

TFENGINE_C_API size_t tfengine_model_signature_count(const tfengine_model* model);
/* Indices must be below the count in all of these. */
TFENGINE_C_API const char* tfengine_model_signature_name(const tfengine_model* model, size_t signature);
/* NULL if it runs without TensorFlow, else the reason why it does not. */
TFENGINE_C_API const char* tfengine_model_signature_reason(const tfengine_model* model, size_t signature);
TFENGINE_C_API size_t tfengine_model_input_count(const tfengine_model* model, size_t signature);
TFENGINE_C_API tfengine_tensor tfengine_model_input(const tfengine_model* model, size_t signature, size_t input);
TFENGINE_C_API size_t tfengine_model_output_count(const tfengine_model* model, size_t signature);
TFENGINE_C_API tfengine_tensor tfengine_model_output(const tfengine_model* model, size_t signature, size_t output);

typedef struct tfengine_outputs tfengine_outputs;

/* Runs a signature. `inputs` are only read, in any order, and must stay until the call returns. */
TFENGINE_C_API tfengine_error* tfengine_model_run(tfengine_model* model, const char* signature,
                                                  const tfengine_tensor* inputs, size_t input_count,
                                                  tfengine_outputs** outputs);
/* Outputs are sorted by name; the tensors' memory belongs to `outputs`. */
TFENGINE_C_API size_t tfengine_outputs_count(const tfengine_outputs* outputs);
TFENGINE_C_API tfengine_tensor tfengine_outputs_get(const tfengine_outputs* outputs, size_t index);
/* The output of that name; its `data` is NULL if there is none. */
TFENGINE_C_API tfengine_tensor tfengine_outputs_find(const tfengine_outputs* outputs, const char* name);
TFENGINE_C_API void tfengine_outputs_free(tfengine_outputs* outputs);

#ifdef __cplusplus
}
#endif

#endif /* TFENGINE_C_API_H_ */
