// SPDX-License-Identifier: Apache-2.0
#include "native_segment.h"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/grappler/optimizers/meta_optimizer.h"
#include "tensorflow/core/platform/logging.h"
#include "tf_util.h"
#include "variable_list.h"

namespace tfengine {

using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

namespace {

enum class Direction { kToHost, kToDevice };

// Moves the int32 tensors among `tensors`, which must live until `then` is called: at once if there
// is nothing to move, else on a thread of the op's runner. Does not block: the calling thread may be
// the one that completes copies, and that one must not run anything else.
void MoveInts(OpKernelContext* ctx, std::vector<Tensor>* tensors, Direction direction,
              std::function<void(const absl::Status&)> then) {
  struct Pending {
    std::atomic<int> count{1};
    bool any = false;
    std::mutex mutex;
    absl::Status status;
    std::vector<Tensor> moved;
  };
  auto pending = std::make_shared<Pending>();
  pending->moved = *tensors;
  const auto finish_one = [ctx, pending, tensors,
                           then = std::move(then)](const absl::Status& status) {
    {
      std::lock_guard<std::mutex> lock(pending->mutex);
      pending->status.Update(status);
    }
    if (pending->count.fetch_sub(1) > 1) return;
    *tensors = pending->moved;
    if (pending->any) {
      (*ctx->runner())([pending, then] { then(pending->status); });
    } else {
      then(pending->status);
    }
  };
  auto* device = static_cast<tensorflow::Device*>(ctx->device());
  for (size_t i = 0; i < tensors->size(); ++i) {
    const Tensor& from = (*tensors)[i];
    if (from.dtype() != tensorflow::DT_INT32 || from.NumElements() == 0) continue;
    tensorflow::AllocatorAttributes attributes;
    attributes.set_on_host(direction == Direction::kToHost);
    attributes.set_gpu_compatible(true);
    pending->any = true;
    pending->count.fetch_add(1);
    const absl::Status allocated =
        ctx->allocate_temp(from.dtype(), from.shape(), &pending->moved[i], attributes);
    if (!allocated.ok()) {
      finish_one(allocated);
    } else if (direction == Direction::kToHost) {
      ctx->op_device_context()->CopyDeviceTensorToCPU(&from, "int32", device, &pending->moved[i],
                                                      finish_one);
    } else {
      ctx->op_device_context()->CopyCPUTensorToDevice(&from, device, &pending->moved[i],
                                                      finish_one);
    }
  }
  finish_one(absl::OkStatus());
}

}  // namespace

NativeSegment::~NativeSegment() {
  for (const auto& [runtime, instance] : instances_) {
    const absl::Status status = runtime->ReleaseHandle(instance.handle);
    if (!status.ok()) LOG(INFO) << function_.name() << ": " << status;
  }
}

absl::Status NativeSegment::Instantiate(OpKernelContext* ctx, const std::vector<Tensor>& arguments,
                                        Instance* instance) {
  Runtime* runtime = ctx->function_library();
  if (runtime == nullptr) return absl::InternalError("no function library");
  std::lock_guard<std::mutex> lock(mutex_);
  const auto known = instances_.find(runtime);
  if (known != instances_.end()) {
    *instance = known->second;
    return absl::OkStatus();
  }

  const tensorflow::FunctionDef* definition =
      runtime->GetFunctionLibraryDefinition()->Find(function_.name());
  if (definition == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("native segment '", function_.name(), "' is not in the function library"));
  }
  Runtime::InstantiateOptions options;
  options.target = runtime->device()->name();
  // Early TF-TRT marked its segments with an attribute that multi-device functions reject; they run
  // on one device.
  options.is_multi_device_function =
      definition->attr().count(tensorflow::FunctionLibraryDefinition::kIntsOnDeviceAttr) == 0;
  options.config_proto.set_allow_soft_placement(true);
  options.input_devices.reserve(arguments.size());
  for (const Tensor& argument : arguments) {
    options.input_devices.push_back(
        argument.dtype() == tensorflow::DT_RESOURCE
            ? argument.flat<tensorflow::ResourceHandle>()(0).device()
            : options.target);
  }
  options.output_devices.assign(ctx->num_outputs(), options.target);
  // The same graph optimisations as for any function call; nested functions get theirs when they
  // are called.
  tensorflow::grappler::GrapplerItem::OptimizationOptions optimization;
  optimization.allow_pruning_stateful_and_dataset_ops = false;
  optimization.optimize_function_library = false;
  options.optimize_graph_fn =
      [config = options.config_proto, name = function_.name(), optimization](
          std::vector<std::string> ret_nodes, std::vector<std::string> keep_nodes,
          tensorflow::FunctionLibraryDefinition* library, const tensorflow::DeviceSet& devices,
          tensorflow::Device* cpu, std::unique_ptr<tensorflow::Graph>* graph) {
        return tensorflow::grappler::OptimizeGraph(std::move(ret_nodes), std::move(keep_nodes),
                                                   library, devices, cpu, config, name,
                                                   optimization, graph);
      };
  options.graph_collector = ctx->graph_collector();
  TF_RETURN_IF_ERROR(runtime->Instantiate(
      function_.name(), tensorflow::AttrSlice(&function_.attr()), options, &instance->handle));
  instance->ints_on_host = options.is_multi_device_function && IsGpu(ctx->device());
  instances_.emplace(runtime, *instance);
  return absl::OkStatus();
}

void NativeSegment::Run(OpKernelContext* ctx, tensorflow::AsyncOpKernel::DoneCallback done) {
  OP_REQUIRES_ASYNC(ctx, !function_.name().empty(),
                    absl::FailedPreconditionError(absl::StrCat(
                        ctx->op_kernel().name(),
                        ": the model was converted without native segments, so this engine "
                        "has no fallback; convert it again")),
                    done);
  SegmentArguments arguments;
  OP_REQUIRES_OK_ASYNC(ctx, TakeArguments(ctx, function_.name(), &arguments), done);
  Instance instance;
  OP_REQUIRES_OK_ASYNC(ctx, Instantiate(ctx, arguments.tensors, &instance), done);
  auto inputs = std::make_shared<std::vector<Tensor>>(std::move(arguments.tensors));
  if (!instance.ints_on_host) return RunInstance(ctx, instance, *inputs, std::move(done));
  MoveInts(ctx, inputs.get(), Direction::kToHost,
           [this, ctx, instance, inputs, done = std::move(done)](const absl::Status& status) {
             OP_REQUIRES_OK_ASYNC(ctx, status, done);
             RunInstance(ctx, instance, *inputs, done);
           });
}

void NativeSegment::RunInstance(OpKernelContext* ctx, const Instance& instance,
                                std::vector<Tensor> inputs,
                                tensorflow::AsyncOpKernel::DoneCallback done) {
  Runtime::Options options(ctx->step_id());
  options.step_container = ctx->step_container();
  options.cancellation_manager = ctx->cancellation_manager();
  options.stats_collector = ctx->stats_collector();
  options.collective_executor = ctx->collective_executor();
  options.runner = ctx->runner();
  options.run_all_kernels_inline = ctx->run_all_kernels_inline();
  options.create_rendezvous = true;
  options.source_device = ctx->function_library()->device()->name();

  auto outputs = std::make_shared<std::vector<Tensor>>();
  ctx->function_library()->Run(
      options, instance.handle, inputs, outputs.get(),
      [ctx, outputs, ints_on_host = instance.ints_on_host,
       done = std::move(done)](const absl::Status& status) {
        OP_REQUIRES_OK_ASYNC(ctx, status, done);
        OP_REQUIRES_ASYNC(ctx, static_cast<int>(outputs->size()) == ctx->num_outputs(),
                          absl::InternalError(absl::StrCat(
                              ctx->op_kernel().name(), ": native segment gave ", outputs->size(),
                              " outputs, expected ", ctx->num_outputs())),
                          done);
        const auto finish = [ctx, outputs, done](const absl::Status& moved) {
          OP_REQUIRES_OK_ASYNC(ctx, moved, done);
          for (int i = 0; i < ctx->num_outputs(); ++i) ctx->set_output(i, (*outputs)[i]);
          done();
        };
        if (!ints_on_host) return finish(absl::OkStatus());
        MoveInts(ctx, outputs.get(), Direction::kToDevice, finish);
      });
}

}  // namespace tfengine
