// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/carrier.h"
#include "build_queue.h"
#include "engine_directory.h"
#include "engine_options.h"
#include "engine_resource.h"
#include "fault_injection.h"
#include "native_segment.h"
#include "segment_build.h"
#include "segment_source.h"
#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tensorflow/core/framework/resource_var.h"
#include "tensorflow/core/platform/logging.h"
#include "tf_util.h"
#include "variable_list.h"
#include "xla/stream_executor/stream.h"

namespace tfengine {
namespace {

using ::tensorflow::AsyncOpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

std::vector<int64_t> Dims(const Tensor& tensor) {
  const auto sizes = tensor.shape().dim_sizes();
  return std::vector<int64_t>(sizes.begin(), sizes.end());
}

// What the graph around the op and the native segment do with Bitcast (base/carrier.h).

// Makes an engine's shape that of its carrier. False if `carrier` does not carry `dtype`.
bool ToCarrier(DType dtype, DType carrier, std::vector<int64_t>* dims) {
  if (carrier != dtype && carrier != CarrierOf(dtype)) return false;
  if (DTypeSize(carrier) < DTypeSize(dtype)) dims->push_back(2);
  return true;
}

// A tensor as the engine's type, if it carries that; else as it is, which the engine will refuse.
InputView ViewAs(DType dtype, const Tensor& tensor) {
  InputView view{static_cast<DType>(tensor.dtype()), Dims(tensor), tensor.tensor_data().data()};
  if (view.dtype == dtype || view.dtype != CarrierOf(dtype)) return view;
  if (DTypeSize(view.dtype) < DTypeSize(dtype)) {
    if (view.shape.empty() || view.shape.back() != 2) return view;
    view.shape.pop_back();
  }
  view.dtype = dtype;
  return view;
}

// Attributes that start with an underscore are optional.
bool GetOptionalBool(OpKernelConstruction* ctx, const char* name, bool absent) {
  bool value = absent;
  if (ctx->HasAttr(name) && !ctx->GetAttr(name, &value).ok()) return absent;
  return value;
}

void NoticePrecisionOnce(const std::string& precision) {
  static std::once_flag noticed;
  std::call_once(noticed, [&] {
    LOG(WARNING) << "precision_mode=" << precision
                 << ": engines that are built from native segments run in FP32";
  });
}

// Runs an engine, or the native segment where the engine is missing, unsuitable or fails. Never
// builds an engine inside a request.
class TRTEngineOp : public AsyncOpKernel {
 public:
  explicit TRTEngineOp(OpKernelConstruction* ctx) : AsyncOpKernel(ctx) {
    tensorflow::NameAttrList function;
    OP_REQUIRES_OK(ctx, ctx->GetAttr("segment_func", &function));
    native_ = std::make_unique<NativeSegment>(std::move(function));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("max_cached_engines_count", &max_cached_engines_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("workspace_size_bytes", &workspace_bytes_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("precision_mode", &precision_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("input_shapes", &declared_shapes_));
    allow_build_ = GetOptionalBool(ctx, "_allow_build_at_runtime", true);
    collect_shapes_ = GetOptionalBool(ctx, "_profile_generation_mode", false);
    engine_name_ = EngineNameOf(name());
  }

  ~TRTEngineOp() override {
    // A build uses the thread pool of this kernel's device, which need not outlive the kernel.
    if (state_owner_ != nullptr && build_submitted_) BuildQueue::Global().Cancel(state_owner_);
  }

  void ComputeAsync(OpKernelContext* ctx, DoneCallback done) override {
    EngineState* state = state_.load(std::memory_order_acquire);
    if (state == nullptr) state = Bind(ctx);
    if (collect_shapes_) {
      CollectShapes(ctx, state);
      native_->Run(ctx, std::move(done));
      return;
    }
    Engine* engine = state->engine();
    bool disallowable = true;
    std::string reason;
    if (engine != nullptr) {
      const Status status = RunEngine(ctx, engine);
      if (status.ok()) {
        state->CountRun();
        done();
        return;
      }
      // TF-TRT never counted unsuitable shapes as a failure of the engine.
      disallowable = status.code() != StatusCode::kInvalidArgument;
      reason = status.ToString();
    } else {
      StartBuild(ctx, state);
      if (!NativeExecutionAllowed()) {
        // The caller wants an engine or an error; the only engine there can be is the one being
        // built.
        state->WaitWhileBuilding();
        if (state->engine() != nullptr) return ComputeAsync(ctx, std::move(done));
      }
      reason = binding_note_.empty() ? state->Describe()
                                     : absl::StrCat(state->Describe(), " (", binding_note_, ")");
    }
    if (state->CountNativeRun(reason)) {
      LOG(WARNING) << engine_name_ << ": TensorFlow runs this segment: " << reason;
    }
    OP_REQUIRES_ASYNC(ctx, !disallowable || NativeExecutionAllowed(),
                      absl::AbortedError("User disallowed engine native segment execution."), done);
    native_->Run(ctx, std::move(done));
  }

 private:
  // Decides, at the first request, which engine this kernel stands for.
  EngineState* Bind(OpKernelContext* ctx) {
    std::lock_guard<std::mutex> lock(bind_mutex_);
    if (state_owner_ == nullptr) {
      state_owner_ = FindState(ctx);
      state_.store(state_owner_.get(), std::memory_order_release);
    }
    return state_owner_.get();
  }

  std::shared_ptr<EngineState> FindState(OpKernelContext* ctx) {
    tensorflow::ResourceMgr* manager = ctx->resource_manager();
    EngineResource* found = nullptr;
    if (manager->Lookup(kContainer, engine_name_, &found).ok()) {
      const tensorflow::core::RefCountPtr<EngineResource> resource(found);
      if (resource->state() != nullptr) return resource->state();
      binding_note_ = resource->reason();
    } else {
      // The model's other copy, which shared this engine, has been unloaded: load the file again.
      source_ = EngineDirectory::Global().SourceOf(engine_name_);
    }
    // Engines of TF-TRT are called the same in every model, so the segment tells them apart.
    std::string variant;
    if (source_.empty()) {
      const Result<SegmentSource> segment = TakeSegment(ctx);
      if (segment.ok()) variant = absl::StrCat(segment->Fingerprint(), VariableIds(ctx));
    } else {
      variant = FileId(source_);
    }
    return EngineDirectory::Global().FindOrCreate({manager, engine_name_, variant}, [&] {
      return std::make_shared<EngineState>(engine_name_, source_);
    });
  }

  // What the segment would get; nothing if that is not known.
  SegmentArguments Arguments(OpKernelContext* ctx) const {
    SegmentArguments arguments;
    return TakeArguments(ctx, native_->function().name(), &arguments).ok() ? arguments
                                                                          : SegmentArguments();
  }

  // Tells the variables that feed the segment apart: engines hold their values.
  std::string VariableIds(OpKernelContext* ctx) const {
    std::string ids;
    for (const Tensor& argument : Arguments(ctx).tensors) {
      if (argument.dtype() != tensorflow::DT_RESOURCE) continue;
      const tensorflow::ResourceHandle& handle = argument.flat<tensorflow::ResourceHandle>()(0);
      tensorflow::core::RefCountPtr<tensorflow::Var> variable;
      const absl::Status found = tensorflow::LookupResource(ctx, handle, &variable);
      absl::StrAppend(
          &ids, ";", handle.name(), "@",
          absl::Hex(reinterpret_cast<uintptr_t>(found.ok() ? variable.get() : nullptr)));
    }
    return ids;
  }

  // Puts a build into the background queue unless one was tried already.
  void StartBuild(OpKernelContext* ctx, EngineState* state) {
    if (!allow_build_ && source_.empty()) {
      if (state->TryBeginBuild()) state->SetFailed("_allow_build_at_runtime is false");
      return;
    }
    if (!state->TryBeginBuild()) return;
    if (precision_ != "FP32" && source_.empty()) NoticePrecisionOnce(precision_);
    const Result<SegmentSource> segment = TakeSegment(ctx);
    const SegmentInputs inputs = DescribeInputs(ctx);
    std::lock_guard<std::mutex> lock(bind_mutex_);
    build_submitted_ = true;
    EngineOptions options = OptionsFor(ctx->device(), max_cached_engines_);
    options.max_workspace_bytes = workspace_bytes_;
    BuildQueue::Global().Submit(
        state_owner_,
        [path = source_, allow_build = allow_build_, segment, inputs, options,
         fetch = VariableFetcher(ctx)]() -> Result<std::shared_ptr<Engine>> {
          if (!path.empty()) {
            Result<std::shared_ptr<Engine>> loaded = Engine::Load(path, options);
            if (loaded.ok() || !allow_build) return loaded;
          }
          if (!segment.ok()) return segment.status();
          SegmentInputs on_host = inputs;
          for (auto& [index, value] : on_host.variables) {
            const absl::Status fetched = fetch(&value);
            if (!fetched.ok()) return EngineFailed(std::string(fetched.message()));
          }
          return BuildFromSegment(*segment, on_host, options);
        });
  }

  // Brings a variable's value to the host, if it is not there.
  static std::function<absl::Status(Tensor*)> VariableFetcher(OpKernelContext* ctx) {
    if (!IsGpu(ctx->device())) return [](Tensor*) { return absl::OkStatus(); };
    auto* context = ctx->op_device_context();
    context->Ref();
    const std::shared_ptr<tensorflow::DeviceContext> owner(
        context, [](tensorflow::DeviceContext* c) { c->Unref(); });
    auto* device = static_cast<tensorflow::Device*>(ctx->device());
    return [owner, device](Tensor* value) {
      Tensor host(value->dtype(), value->shape());
      const absl::Status status =
          owner->CopyDeviceTensorToCPUSync(value, "variable", device, &host);
      if (status.ok()) *value = host;
      return status;
    };
  }

  SegmentInputs DescribeInputs(OpKernelContext* ctx) const {
    SegmentInputs inputs;
    const SegmentArguments arguments = Arguments(ctx);
    for (size_t i = 0; i < arguments.tensors.size(); ++i) {
      const Tensor& argument = arguments.tensors[i];
      const size_t input = static_cast<size_t>(arguments.inputs[i]);
      inputs.seen.push_back(argument.shape());
      inputs.declared.push_back(input < declared_shapes_.size()
                                    ? declared_shapes_[input]
                                    : tensorflow::PartialTensorShape());
      if (argument.dtype() != tensorflow::DT_RESOURCE) continue;
      tensorflow::core::RefCountPtr<tensorflow::Var> variable;
      const auto& handle = argument.flat<tensorflow::ResourceHandle>()(0);
      if (!tensorflow::LookupResource(ctx, handle, &variable).ok()) continue;
      const tensorflow::tf_shared_lock lock(*variable->mu());
      if (variable->is_initialized) inputs.variables.emplace(i, *variable->tensor());
    }
    return inputs;
  }

  Result<SegmentSource> TakeSegment(OpKernelContext* ctx) const {
    return SegmentSource::Take(ctx->function_library(), native_->function().name());
  }

  void CollectShapes(OpKernelContext* ctx, EngineState* state) {
    std::vector<std::vector<int64_t>> shapes;
    for (int i = 0; i < ctx->num_inputs(); ++i) {
      if (ctx->input_dtype(i) != tensorflow::DT_RESOURCE) shapes.push_back(Dims(ctx->input(i)));
    }
    state->RecordShapes(shapes);
    state->CountNativeRun("input shapes are being collected");
  }

  // The stream of this op on a GPU, as the driver knows it.
  static void* StreamOf(OpKernelContext* ctx) {
    auto* context = ctx->op_device_context();
    stream_executor::Stream* stream = context == nullptr ? nullptr : context->stream();
    return stream == nullptr ? nullptr : stream->platform_specific_handle().stream;
  }

  // Runs on TensorFlow's own buffers; sets the outputs only if all went well.
  Status RunEngine(OpKernelContext* ctx, Engine* engine) {
    if (EnginesMadeToFail()) return EngineFailed("engines were told to fail");
    std::vector<InputView> inputs;
    inputs.reserve(ctx->num_inputs());
    for (int i = 0; i < ctx->num_inputs(); ++i) {
      if (ctx->input_dtype(i) == tensorflow::DT_RESOURCE) continue;
      const size_t k = inputs.size();
      inputs.push_back(k < engine->inputs().size()
                           ? ViewAs(engine->inputs()[k].dtype, ctx->input(i))
                           : InputView{});
    }
    if (engine->inputs().size() != inputs.size() ||
        static_cast<int>(engine->outputs().size()) != ctx->num_outputs()) {
      return EngineFailed(absl::StrCat("the engine has ", engine->inputs().size(), " inputs and ",
                                       engine->outputs().size(), " outputs, the op ", inputs.size(),
                                       " and ", ctx->num_outputs()));
    }

    std::vector<Tensor> outputs(ctx->num_outputs());
    absl::Status allocation;
    const auto allocate = [&](int index, DType dtype, const std::vector<int64_t>& dims) -> void* {
      tensorflow::TensorShape shape;
      const tensorflow::DataType type = ctx->expected_output_dtype(index);
      std::vector<int64_t> op_dims = dims;
      if (!ToCarrier(dtype, static_cast<DType>(type), &op_dims)) {
        allocation = absl::InternalError(
            absl::StrCat("output ", index, " of the engine is ", DTypeName(dtype)));
      } else {
        allocation = tensorflow::TensorShape::BuildTensorShape(op_dims, &shape);
      }
      if (allocation.ok()) {
        allocation =
            ctx->allocate_temp(type, shape, &outputs[index], ctx->output_alloc_attr(index));
      }
      return allocation.ok() ? const_cast<char*>(outputs[index].tensor_data().data()) : nullptr;
    };
    // On a GPU everything happens in the order of TensorFlow's stream; nothing waits for it here.
    const Status status = IsGpu(ctx->device())
                              ? engine->RunOnDevice(inputs, allocate, StreamOf(ctx))
                              : engine->Run(inputs, allocate);
    if (!allocation.ok()) {
      return EngineFailed(std::string(allocation.message()));
    }
    if (!status.ok()) return status;
    for (int i = 0; i < ctx->num_outputs(); ++i) ctx->set_output(i, outputs[i]);
    return OkStatus();
  }

  std::unique_ptr<NativeSegment> native_;
  std::string engine_name_;
  std::string precision_;
  std::vector<tensorflow::PartialTensorShape> declared_shapes_;
  int max_cached_engines_ = 1;
  int64_t workspace_bytes_ = 0;
  bool allow_build_ = true;
  bool collect_shapes_ = false;

  std::atomic<EngineState*> state_{nullptr};  // what requests read; owned by state_owner_
  std::mutex bind_mutex_;
  std::shared_ptr<EngineState> state_owner_;
  std::string source_;        // engine file to load again; set before state_
  std::string binding_note_;  // why the engine file was of no use; set before state_
  bool build_submitted_ = false;
};

REGISTER_KERNEL_BUILDER(Name("TRTEngineOp").Device(tensorflow::DEVICE_CPU), TRTEngineOp);
// Tensors of every type are in device memory, int32 too: TensorFlow copies to and from the host
// where it needs to, in its stream's order. Resource handles are host memory everywhere.
REGISTER_KERNEL_BUILDER(Name("TRTEngineOp").Device(tensorflow::DEVICE_GPU), TRTEngineOp);

}  // namespace
}  // namespace tfengine
