// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>

#include "engine_options.h"
#include "engine_resource.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/platform/env.h"
#include "tf_util.h"

namespace tfengine {
namespace {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::tstring;

absl::Status ReadString(OpKernelContext* ctx, int index, std::string* value) {
  const Tensor& tensor = ctx->input(index);
  if (tensor.dtype() != tensorflow::DT_STRING || tensor.NumElements() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("input ", index, ": expected one string, got ", tensor.shape().DebugString()));
  }
  *value = tensor.flat<tstring>()(0);
  return absl::OkStatus();
}

// Gives the handle of the engine resource `resource_name`, whether it exists or not.
class CreateTRTResourceHandle : public OpKernel {
 public:
  explicit CreateTRTResourceHandle(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("resource_name", &resource_name_));
  }

  void Compute(OpKernelContext* ctx) override {
    Tensor* handle = nullptr;
    OP_REQUIRES_OK(ctx, ctx->allocate_output(0, {}, &handle));
    handle->scalar<tensorflow::ResourceHandle>()() =
        tensorflow::MakeResourceHandle<EngineResource>(ctx, kContainer, resource_name_);
  }

 private:
  std::string resource_name_;
};

// Opens an engine file. A model loaded twice shares its engines; the same engine from another file
// (a model tuned again) takes the place of the older one for kernels that have not run yet.
class InitializeTRTResource : public OpKernel {
 public:
  explicit InitializeTRTResource(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("max_cached_engines_count", &max_cached_engines_));
  }

  void Compute(OpKernelContext* ctx) override {
    std::string path;
    OP_REQUIRES_OK(ctx, ReadString(ctx, 1, &path));
    const tensorflow::ResourceHandle handle = tensorflow::HandleFromInput(ctx, 0);
    tensorflow::core::RefCountPtr<EngineResource> present;
    if (tensorflow::LookupResource(ctx, handle, &present).ok()) {
      if (present->file_id() == FileId(path)) return;
      // Another thread may have deleted it first.
      (void)tensorflow::DeleteResource(ctx, handle);
    }
    // Loading takes time, so it is done outside the resource manager's lock.
    tensorflow::core::RefCountPtr<EngineResource> opened(
        OpenEngineFile(ctx->resource_manager(), handle.name(), path,
                       OptionsFor(ctx->device(), max_cached_engines_)));
    tensorflow::core::RefCountPtr<EngineResource> kept;
    OP_REQUIRES_OK(ctx, tensorflow::LookupOrCreateResource<EngineResource>(
                            ctx, handle, &kept, [&](EngineResource** resource) {
                              opened->Ref();
                              *resource = opened.get();
                              return absl::OkStatus();
                            }));
  }

 private:
  int max_cached_engines_ = 1;
};

// Writes the engine file of a resource: the bytes it was loaded from. Without
// `save_gpu_specific_engines` the file is empty, and the engine is built again where the model is
// loaded.
class SerializeTRTResource : public OpKernel {
 public:
  explicit SerializeTRTResource(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("delete_resource", &delete_resource_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("save_gpu_specific_engines", &save_engines_));
  }

  void Compute(OpKernelContext* ctx) override {
    std::string name, path;
    OP_REQUIRES_OK(ctx, ReadString(ctx, 0, &name));
    OP_REQUIRES_OK(ctx, ReadString(ctx, 1, &path));
    EngineResource* found = nullptr;
    OP_REQUIRES_OK(ctx, ctx->resource_manager()->Lookup(kContainer, name, &found));
    const tensorflow::core::RefCountPtr<EngineResource> resource(found);
    tensorflow::Env* env = tensorflow::Env::Default();
    if (save_engines_ && resource->state() != nullptr) {
      OP_REQUIRES_OK(ctx, env->CopyFile(resource->state()->source(), path));
    } else {
      std::unique_ptr<tensorflow::WritableFile> file;
      OP_REQUIRES_OK(ctx, env->NewWritableFile(path, &file));
      OP_REQUIRES_OK(ctx, file->Close());
    }
    if (delete_resource_) {
      OP_REQUIRES_OK(ctx, ctx->resource_manager()->Delete<EngineResource>(kContainer, name));
    }
  }

 private:
  bool delete_resource_ = false;
  bool save_engines_ = true;
};

// TF-TRT fetched calibration tables through this op.
class GetCalibrationDataOp : public OpKernel {
 public:
  explicit GetCalibrationDataOp(OpKernelConstruction* ctx) : OpKernel(ctx) {}

  void Compute(OpKernelContext* ctx) override {
    ctx->CtxFailure(
        absl::UnimplementedError("GetCalibrationDataOp: calibration inside TensorFlow is not "
                                 "available in tfengine; engines run in FP32"));
  }
};

// Handles and names are host memory on every device.
REGISTER_KERNEL_BUILDER(Name("CreateTRTResourceHandle").Device(tensorflow::DEVICE_CPU),
                        CreateTRTResourceHandle);
REGISTER_KERNEL_BUILDER(
    Name("CreateTRTResourceHandle").Device(tensorflow::DEVICE_GPU).HostMemory("resource_handle"),
    CreateTRTResourceHandle);
REGISTER_KERNEL_BUILDER(Name("InitializeTRTResource").Device(tensorflow::DEVICE_CPU),
                        InitializeTRTResource);
REGISTER_KERNEL_BUILDER(Name("InitializeTRTResource")
                            .Device(tensorflow::DEVICE_GPU)
                            .HostMemory("resource_handle")
                            .HostMemory("filename"),
                        InitializeTRTResource);
REGISTER_KERNEL_BUILDER(Name("SerializeTRTResource").Device(tensorflow::DEVICE_CPU),
                        SerializeTRTResource);
REGISTER_KERNEL_BUILDER(Name("SerializeTRTResource")
                            .Device(tensorflow::DEVICE_GPU)
                            .HostMemory("resource_name")
                            .HostMemory("filename"),
                        SerializeTRTResource);
REGISTER_KERNEL_BUILDER(Name("GetCalibrationDataOp").Device(tensorflow::DEVICE_CPU),
                        GetCalibrationDataOp);

}  // namespace
}  // namespace tfengine
