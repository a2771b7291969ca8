// SPDX-License-Identifier: Apache-2.0
#include "native_segment.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/grappler/optimizers/meta_optimizer.h"
#include "tensorflow/core/platform/logging.h"

namespace tfengine {

using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;

NativeSegment::~NativeSegment() {
  for (const auto& [runtime, handle] : handles_) {
    const absl::Status status = runtime->ReleaseHandle(handle);
    if (!status.ok()) LOG(INFO) << function_.name() << ": " << status;
  }
}

absl::Status NativeSegment::Instantiate(OpKernelContext* ctx, Runtime::Handle* handle) {
  Runtime* runtime = ctx->function_library();
  if (runtime == nullptr) return absl::InternalError("no function library");
  std::lock_guard<std::mutex> lock(mutex_);
  const auto known = handles_.find(runtime);
  if (known != handles_.end()) {
    *handle = known->second;
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
  options.input_devices.reserve(ctx->num_inputs());
  for (int i = 0; i < ctx->num_inputs(); ++i) {
    options.input_devices.push_back(
        ctx->input_dtype(i) == tensorflow::DT_RESOURCE
            ? ctx->input(i).flat<tensorflow::ResourceHandle>()(0).device()
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
      function_.name(), tensorflow::AttrSlice(&function_.attr()), options, handle));
  handles_.emplace(runtime, *handle);
  return absl::OkStatus();
}

void NativeSegment::Run(OpKernelContext* ctx, tensorflow::AsyncOpKernel::DoneCallback done) {
  OP_REQUIRES_ASYNC(ctx, !function_.name().empty(),
                    absl::FailedPreconditionError(absl::StrCat(
                        ctx->op_kernel().name(),
                        ": the model was converted without native segments, so this engine "
                        "has no fallback; convert it again")),
                    done);
  Runtime::Handle handle;
  OP_REQUIRES_OK_ASYNC(ctx, Instantiate(ctx, &handle), done);

  Runtime::Options options(ctx->step_id());
  options.step_container = ctx->step_container();
  options.cancellation_manager = ctx->cancellation_manager();
  options.stats_collector = ctx->stats_collector();
  options.collective_executor = ctx->collective_executor();
  options.runner = ctx->runner();
  options.run_all_kernels_inline = ctx->run_all_kernels_inline();
  options.create_rendezvous = true;
  options.source_device = ctx->function_library()->device()->name();

  std::vector<Tensor> inputs;
  inputs.reserve(ctx->num_inputs());
  for (int i = 0; i < ctx->num_inputs(); ++i) inputs.push_back(ctx->input(i));
  auto outputs = std::make_shared<std::vector<Tensor>>();
  ctx->function_library()->Run(
      options, handle, inputs, outputs.get(),
      [ctx, outputs, done = std::move(done)](const absl::Status& status) {
        OP_REQUIRES_OK_ASYNC(ctx, status, done);
        OP_REQUIRES_ASYNC(ctx, static_cast<int>(outputs->size()) == ctx->num_outputs(),
                          absl::InternalError(absl::StrCat(
                              ctx->op_kernel().name(), ": native segment gave ", outputs->size(),
                              " outputs, expected ", ctx->num_outputs())),
                          done);
        for (int i = 0; i < ctx->num_outputs(); ++i) ctx->set_output(i, (*outputs)[i]);
        done();
      });
}

}  // namespace tfengine
