// SPDX-License-Identifier: Apache-2.0
// The OpDefs of TF-TRT (TensorFlow 2.17), attribute for attribute: SavedModels strip default
// values, so the defaults here must be the original ones. An op that this TensorFlow has already is
// left alone. Behind them one of our own, for models that Python loads (variable_list.h).
#include "tensorflow/core/framework/common_shape_fns.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_def_builder.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace tfengine {
namespace {

using ::tensorflow::OpDefBuilder;
using ::tensorflow::PartialTensorShape;
using ::tensorflow::shape_inference::InferenceContext;
using ::tensorflow::shape_inference::ShapeHandle;

// Output i has the shape output_shapes[i]; outputs beyond that list are unknown.
absl::Status EngineOpShape(InferenceContext* c) {
  std::vector<PartialTensorShape> shapes;
  TF_RETURN_IF_ERROR(c->GetAttr("output_shapes", &shapes));
  for (int i = 0; i < c->num_outputs(); ++i) {
    if (i < static_cast<int>(shapes.size())) {
      ShapeHandle shape;
      TF_RETURN_IF_ERROR(c->MakeShapeFromPartialTensorShape(shapes[i], &shape));
      c->set_output(i, shape);
    } else {
      c->set_output(i, c->UnknownShape());
    }
  }
  return absl::OkStatus();
}

OpDefBuilder EngineOp() {
  return OpDefBuilder("TRTEngineOp")
      .Attr("serialized_segment: string")
      .Attr("segment_func: func = {}")
      .Attr("InT: list({bool,int8,float16,float32,int32,resource})")
      .Attr("OutT: list({bool,int8,float16,float32,int32})")
      .Attr("input_shapes: list(shape) = []")
      .Attr("output_shapes: list(shape) = []")
      .Attr("max_cached_engines_count: int = 1")
      .Attr("max_batch_size: int = 1")
      .Attr("workspace_size_bytes: int")
      .Attr("precision_mode: {'FP32', 'FP16', 'INT8'}")
      .Attr("calibration_data: string = ''")
      .Attr("use_calibration: bool = true")
      .Input("in_tensor: InT")
      .Output("out_tensor: OutT")
      .SetShapeFn(EngineOpShape)
      .Attr("segment_funcdef_name: string = ''")
      .Attr("cached_engine_batches: list(int) >= 0 = []")
      .Attr("fixed_input_size: bool = true")
      .Attr("static_engine: bool = true")
      .Attr("profile_strategy: string = ''")
      .Attr("use_explicit_precision: bool = false");
}

OpDefBuilder CreateResourceHandleOp() {
  return OpDefBuilder("CreateTRTResourceHandle")
      .Attr("resource_name: string")
      .Output("resource_handle: resource")
      .SetIsStateful()
      .SetShapeFn(tensorflow::shape_inference::ScalarShape);
}

OpDefBuilder InitializeResourceOp() {
  return OpDefBuilder("InitializeTRTResource")
      .Attr("max_cached_engines_count: int = 1")
      .Input("resource_handle: resource")
      .Input("filename: string")
      .SetIsStateful()
      .SetShapeFn(tensorflow::shape_inference::NoOutputs);
}

OpDefBuilder SerializeResourceOp() {
  return OpDefBuilder("SerializeTRTResource")
      .Attr("delete_resource: bool = false")
      .Attr("save_gpu_specific_engines: bool = true")
      .Input("resource_name: string")
      .Input("filename: string")
      .SetIsStateful()
      .SetShapeFn(tensorflow::shape_inference::NoOutputs);
}

OpDefBuilder GetCalibrationDataOp() {
  return OpDefBuilder("GetCalibrationDataOp")
      .Input("resource_name: string")
      .Output("serialized_resource: string")
      .SetIsStateful()
      .SetShapeFn(tensorflow::shape_inference::ScalarShape);
}

OpDefBuilder BindVariablesOp() {
  return OpDefBuilder("TfengineBindVariables")
      .Attr("engine: string")
      .Attr("key: int >= 0")
      .Attr("N: int >= 1")
      .Input("variables: N * resource")
      .SetIsStateful()
      .SetShapeFn(tensorflow::shape_inference::NoOutputs);
}

struct OpRow {
  const char* name;
  OpDefBuilder (*define)();
};
constexpr OpRow kOps[] = {
    {"TRTEngineOp", EngineOp},
    {"CreateTRTResourceHandle", CreateResourceHandleOp},
    {"InitializeTRTResource", InitializeResourceOp},
    {"SerializeTRTResource", SerializeResourceOp},
    {"GetCalibrationDataOp", GetCalibrationDataOp},
    {"TfengineBindVariables", BindVariablesOp},
};

// TensorFlow takes registrations while it loads this library. The priority puts the ops before this
// library's kernels, because the first look-up checks that every kernel has its op.
[[gnu::constructor(200)]] void RegisterMissingOps() {
  tensorflow::OpRegistry* registry = tensorflow::OpRegistry::Global();
  for (const OpRow& row : kOps) {
    if (registry->LookUp(row.name) != nullptr) continue;
    registry->Register([define = row.define](tensorflow::OpRegistrationData* data) {
      return define().Finalize(data);
    });
  }
}

}  // namespace
}  // namespace tfengine
