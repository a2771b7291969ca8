// SPDX-License-Identifier: Apache-2.0
#include "tfengine/c_api.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "api/calibrate_files.h"
#include "api/shape_sets.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "tfengine/convert.h"
#include "tfengine/model.h"

struct tfengine_error {
  int id;
  std::string message;
};

struct tfengine_report {
  tfengine::ConvertReport report;
};

struct tfengine_model {
  std::shared_ptr<tfengine::Model> model;
};

struct tfengine_outputs {
  std::vector<std::pair<std::string, tfengine::Tensor>> tensors;
};

namespace tfengine {
namespace {

// For when there is no memory for an error; never freed.
tfengine_error* OutOfMemoryError() {
  static tfengine_error error{static_cast<int>(ErrorId::kOutOfMemory), "E-0602"};
  return &error;
}

// Runs `body` (returning Status), turns errors and exceptions into an error object.
template <typename Body>
tfengine_error* Guard(const Body& body) noexcept {
  try {
    Status status;
    try {
      status = body();
    } catch (const std::bad_alloc&) {
      status = Error(ErrorId::kOutOfMemory, "not enough memory");
    } catch (const std::exception& error) {
      status = Error(ErrorId::kInternalError, "{}", error.what());
    }
    if (status.ok()) return nullptr;
    return new tfengine_error{status.error_id(), status.ToString()};
  } catch (...) {
    return OutOfMemoryError();
  }
}

Status RequireArgument(const void* pointer, const char* name) {
  if (pointer != nullptr) return OkStatus();
  return Error(ErrorId::kBadFlag, "argument {}: expected a value, got NULL", name);
}

std::vector<std::string> ListOf(const char* const* list) {
  std::vector<std::string> strings;
  for (; list != nullptr && *list != nullptr; ++list) strings.emplace_back(*list);
  return strings;
}

// Size of the options before calibration was added: what the oldest programs have.
constexpr size_t kFirstOptions = offsetof(tfengine_convert_options, calibration_data);

tfengine_convert_options DefaultOptions() {
  tfengine_convert_options options{};
  options.struct_size = sizeof(options);
  options.minimum_segment_size = 3;
  options.build_engines = 1;
  options.max_error = ConvertOptions().max_error;
  options.max_top1_drop = ConvertOptions().max_top1_drop;
  return options;
}

// The caller's options, with defaults for the fields that it does not know.
Result<tfengine_convert_options> Known(const tfengine_convert_options* given) {
  tfengine_convert_options options = DefaultOptions();
  if (given == nullptr) return options;
  if (given->struct_size < kFirstOptions || given->struct_size > sizeof(options))
    return Error(ErrorId::kBadFlag,
                 "struct_size: expected {} to {}, got {}; call tfengine_convert_options_init",
                 kFirstOptions, sizeof(options), given->struct_size);
  std::memcpy(&options, given, given->struct_size);
  return options;
}

Result<ConvertOptions> OptionsOf(const tfengine_convert_options* given) {
  TFE_ASSIGN_OR_RETURN(const tfengine_convert_options known, Known(given));
  const tfengine_convert_options* c = &known;
  ConvertOptions options;
  if (c->tags != nullptr) options.tags = ListOf(c->tags);
  options.signatures = ListOf(c->signatures);
  if (c->precision != nullptr) options.precision = c->precision;
  if (c->device != nullptr) options.device = c->device;
  options.minimum_segment_size = c->minimum_segment_size;
  options.max_engines = c->max_engines;
  options.excluded_ops = ListOf(c->excluded_ops);
  options.excluded_nodes = ListOf(c->excluded_nodes);
  if (c->build_shapes != nullptr) {
    TFE_ASSIGN_OR_RETURN(options.build_shapes, ParseShapeSets({c->build_shapes}));
  }
  options.build_engines = c->build_engines != 0;
  options.threads = c->threads;
  if (c->timing_cache != nullptr) options.timing_cache = c->timing_cache;
  if (c->effort != nullptr) options.effort = c->effort;
  if (c->progress != nullptr)
    options.progress = [call = c->progress, context = c->progress_context](const std::string& stage,
                                                                           double fraction) {
      call(stage.c_str(), fraction, context);
    };
  if (c->calibration_table != nullptr) options.calibration_table = c->calibration_table;
  options.max_error = c->max_error;
  options.max_top1_drop = c->max_top1_drop;
  return options;
}

// Runs the caller's calibration data, if there is some.
Status Calibrate(const std::string& input_dir, const tfengine_convert_options* given,
                 ConvertOptions* options) {
  TFE_ASSIGN_OR_RETURN(const tfengine_convert_options c, Known(given));
  if (c.calibration_data == nullptr) return OkStatus();
  if (c.calibration_table != nullptr)
    return Error(ErrorId::kBadFlag, "calibration_data and calibration_table: give one of the two");
  CalibrationOptions calibration;
  if (c.calibration_method != nullptr) calibration.method = c.calibration_method;
  CalibrationFiles files;
  files.paths = {c.calibration_data};
  std::vector<std::string> notices;  // doubtful ranges; the report has what matters for the layers
  TFE_ASSIGN_OR_RETURN(options->calibration,
                       CalibrateOnFiles(input_dir, *options, calibration, files, &notices));
  return OkStatus();
}

void HandOver(Result<ConvertReport>& result, tfengine_report** report) {
  if (report != nullptr) *report = new tfengine_report{*std::move(result)};
}

tfengine_tensor Describe(const TensorSpec& spec) {
  return {spec.name.c_str(),
          static_cast<int>(spec.dtype),
          spec.known_rank ? static_cast<int>(spec.shape.size()) : -1,
          spec.shape.data(),
          nullptr,
          0};
}

tfengine_tensor View(const std::pair<std::string, Tensor>& named) {
  const auto& [name, tensor] = named;
  return {name.c_str(),  static_cast<int>(tensor.dtype()),
          tensor.rank(), tensor.shape().data(),
          tensor.data(), tensor.num_bytes()};
}

// A caller's tensor, checked for consistency and viewed in place.
Result<Tensor> TensorOf(const tfengine_tensor& c) {
  DType dtype = static_cast<DType>(c.dtype);
  auto invalid = [&](const std::string& what) {
    return Error(ErrorId::kInputMismatch, "input \"{}\": {}", c.name, what);
  };
  if (DTypeSize(dtype) == 0) return invalid(fmt::format("dtype {} is not a numeric type", c.dtype));
  if (c.rank < 0 || (c.rank > 0 && c.shape == nullptr)) return invalid("the shape is missing");
  size_t bytes = DTypeSize(dtype);
  for (int i = 0; i < c.rank; ++i)
    if (c.shape[i] < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(c.shape[i]), &bytes))
      return invalid("the shape has a negative or absurd size");
  if (bytes != c.bytes)
    return invalid(fmt::format("expected {} bytes for its shape, got {}", bytes, c.bytes));
  if (bytes > 0 && c.data == nullptr) return invalid("data is NULL");
  return Tensor(dtype, std::vector<int64_t>(c.shape, c.shape + c.rank), c.data, nullptr);
}

}  // namespace
}  // namespace tfengine

using tfengine::Guard;
using tfengine::OkStatus;
using tfengine::Status;

const char* tfengine_version(void) { return TFENGINE_VERSION; }

int tfengine_error_id(const tfengine_error* error) { return error->id; }
const char* tfengine_error_message(const tfengine_error* error) { return error->message.c_str(); }
void tfengine_error_free(tfengine_error* error) {
  if (error != tfengine::OutOfMemoryError()) delete error;
}

void tfengine_convert_options_init_sized(tfengine_convert_options* options, size_t size) {
  tfengine_convert_options defaults = tfengine::DefaultOptions();
  defaults.struct_size = std::min(size, sizeof(defaults));
  std::memcpy(options, &defaults, defaults.struct_size);
}

// What programs call that were compiled before the options could grow.
#undef tfengine_convert_options_init
extern "C" TFENGINE_C_API void tfengine_convert_options_init(tfengine_convert_options* options) {
  tfengine_convert_options_init_sized(options, tfengine::kFirstOptions);
}

tfengine_error* tfengine_convert(const char* input_dir, const char* output_dir,
                                 const tfengine_convert_options* options,
                                 tfengine_report** report) {
  return Guard([&]() -> Status {
    TFE_RETURN_IF_ERROR(tfengine::RequireArgument(input_dir, "input_dir"));
    TFE_RETURN_IF_ERROR(tfengine::RequireArgument(output_dir, "output_dir"));
    TFE_ASSIGN_OR_RETURN(auto converted, tfengine::OptionsOf(options));
    TFE_RETURN_IF_ERROR(tfengine::Calibrate(input_dir, options, &converted));
    auto result = tfengine::ConvertSavedModel(input_dir, output_dir, converted);
    TFE_RETURN_IF_ERROR(result.status());
    tfengine::HandOver(result, report);
    return OkStatus();
  });
}

tfengine_error* tfengine_explain(const char* input_dir, const tfengine_convert_options* options,
                                 tfengine_report** report) {
  return Guard([&]() -> Status {
    TFE_RETURN_IF_ERROR(tfengine::RequireArgument(input_dir, "input_dir"));
    TFE_ASSIGN_OR_RETURN(auto converted, tfengine::OptionsOf(options));
    auto result = tfengine::ExplainSavedModel(input_dir, converted);
    TFE_RETURN_IF_ERROR(result.status());
    tfengine::HandOver(result, report);
    return OkStatus();
  });
}

const char* tfengine_report_text(const tfengine_report* report) {
  return report->report.text.c_str();
}
const char* tfengine_report_json(const tfengine_report* report) {
  return report->report.json.c_str();
}
int tfengine_report_engines(const tfengine_report* report) { return report->report.engines; }
double tfengine_report_converted_share(const tfengine_report* report) {
  return report->report.converted_share;
}
void tfengine_report_free(tfengine_report* report) { delete report; }

tfengine_error* tfengine_model_load(const char* dir, int threads, tfengine_model** model) {
  return Guard([&]() -> Status {
    TFE_RETURN_IF_ERROR(tfengine::RequireArgument(dir, "dir"));
    TFE_RETURN_IF_ERROR(tfengine::RequireArgument(model, "model"));
    tfengine::EngineOptions options;
    options.threads = threads;
    TFE_ASSIGN_OR_RETURN(auto loaded, tfengine::Model::Load(dir, options));
    *model = new tfengine_model{std::move(loaded)};
    return OkStatus();
  });
}

void tfengine_model_free(tfengine_model* model) { delete model; }

size_t tfengine_model_signature_count(const tfengine_model* model) {
  return model->model->signatures().size();
}
const char* tfengine_model_signature_name(const tfengine_model* model, size_t signature) {
  return model->model->signatures()[signature].name.c_str();
}
const char* tfengine_model_signature_reason(const tfengine_model* model, size_t signature) {
  const auto& info = model->model->signatures()[signature];
  return info.whole ? nullptr : info.reason.c_str();
}
size_t tfengine_model_input_count(const tfengine_model* model, size_t signature) {
  return model->model->signatures()[signature].inputs.size();
}
tfengine_tensor tfengine_model_input(const tfengine_model* model, size_t signature, size_t input) {
  return tfengine::Describe(model->model->signatures()[signature].inputs[input]);
}
size_t tfengine_model_output_count(const tfengine_model* model, size_t signature) {
  return model->model->signatures()[signature].outputs.size();
}
tfengine_tensor tfengine_model_output(const tfengine_model* model, size_t signature,
                                      size_t output) {
  return tfengine::Describe(model->model->signatures()[signature].outputs[output]);
}

tfengine_error* tfengine_model_run(tfengine_model* model, const char* signature,
                                   const tfengine_tensor* inputs, size_t input_count,
                                   tfengine_outputs** outputs) {
  return Guard([&]() -> Status {
    TFE_RETURN_IF_ERROR(tfengine::RequireArgument(model, "model"));
    TFE_RETURN_IF_ERROR(tfengine::RequireArgument(signature, "signature"));
    TFE_RETURN_IF_ERROR(tfengine::RequireArgument(outputs, "outputs"));
    if (input_count > 0) TFE_RETURN_IF_ERROR(tfengine::RequireArgument(inputs, "inputs"));
    std::map<std::string, tfengine::Tensor> tensors;
    for (size_t i = 0; i < input_count; ++i) {
      TFE_RETURN_IF_ERROR(tfengine::RequireArgument(inputs[i].name, "inputs[i].name"));
      TFE_ASSIGN_OR_RETURN(tensors[inputs[i].name], tfengine::TensorOf(inputs[i]));
    }
    TFE_ASSIGN_OR_RETURN(auto results, model->model->Run(signature, tensors));
    auto owned = std::make_unique<tfengine_outputs>();
    // A pass-through output may view the caller's memory, which the caller may free after this
    // call.
    for (auto& [name, tensor] : results) {
      for (const auto& [input_name, input] : tensors)
        if (tensor.num_bytes() > 0 && tensor.data() == input.data()) {
          tfengine::Tensor copy(tensor.dtype(), tensor.shape());
          std::copy_n(tensor.as<char>(), tensor.num_bytes(), copy.mutable_as<char>());
          tensor = copy;
          break;
        }
      owned->tensors.emplace_back(name, tensor);
    }
    *outputs = owned.release();
    return OkStatus();
  });
}

size_t tfengine_outputs_count(const tfengine_outputs* outputs) { return outputs->tensors.size(); }
tfengine_tensor tfengine_outputs_get(const tfengine_outputs* outputs, size_t index) {
  return tfengine::View(outputs->tensors[index]);
}
tfengine_tensor tfengine_outputs_find(const tfengine_outputs* outputs, const char* name) {
  for (const auto& named : outputs->tensors)
    if (named.first == name) return tfengine::View(named);
  return tfengine_tensor{};
}
void tfengine_outputs_free(tfengine_outputs* outputs) { delete outputs; }
