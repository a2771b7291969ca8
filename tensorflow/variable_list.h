// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tensorflow/core/framework/op_kernel.h"

namespace tfengine {

// Engine ops may take one variable of their native segment for all: TensorFlow spends some
// microseconds per call on every argument of a function. Which ones that variable, the key, stands
// for is told when the model is loaded (TfengineBindVariables), per engine. What is known of a key
// goes with it; until then it keeps the other variables alive. Of the variables of a segment the key
// is the first in the model, so that no two keep each other alive.

// What a native segment takes: the inputs of its engine op, with all variables.
struct SegmentArguments {
  std::vector<tensorflow::Tensor> tensors;
  std::vector<int> inputs;  // of the op; -1 for variables that the key stands for
};

// The arguments of the native segment `function`. Error: the op's inputs do not fit, or nobody told
// what the key stands for.
absl::Status TakeArguments(tensorflow::OpKernelContext* ctx, const std::string& function,
                           SegmentArguments* arguments);

}  // namespace tfengine
