// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tfengine {

// The TensorFlow function that an engine stands for. It is run like a PartitionedCall, graph
// optimisations included, on the op's own device. Thread-safe.
class NativeSegment {
 public:
  explicit NativeSegment(tensorflow::NameAttrList function) : function_(std::move(function)) {}
  ~NativeSegment();

  const tensorflow::NameAttrList& function() const { return function_; }

  // Runs the function on the op's inputs and sets its outputs; calls `done` in every case.
  void Run(tensorflow::OpKernelContext* ctx, tensorflow::AsyncOpKernel::DoneCallback done);

 private:
  using Runtime = tensorflow::FunctionLibraryRuntime;

  struct Instance {
    Runtime::Handle handle;
    bool ints_on_host;  // int32 arguments and results are host memory, on a GPU too
  };
  absl::Status Instantiate(tensorflow::OpKernelContext* ctx,
                           const std::vector<tensorflow::Tensor>& arguments, Instance* instance);
  void RunInstance(tensorflow::OpKernelContext* ctx, const Instance& instance,
                   std::vector<tensorflow::Tensor> inputs,
                   tensorflow::AsyncOpKernel::DoneCallback done);

  const tensorflow::NameAttrList function_;
  std::mutex mutex_;
  std::map<Runtime*, Instance> instances_;
};

}  // namespace tfengine
