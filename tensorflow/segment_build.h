// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "segment_source.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tfengine/engine.h"

namespace tfengine {

// What is known of a segment's inputs.
struct SegmentInputs {
  std::vector<tensorflow::PartialTensorShape>
      declared;                                 // the op's attribute `input_shapes`; may be empty
  std::vector<tensorflow::TensorShape> seen;    // those of the request that asked for the engine
  std::map<int, tensorflow::Tensor> variables;  // values of the inputs that are variables
};

// Builds an engine from a native segment. Reads of variables become constants, as at conversion.
//
// Early models say nothing about the shapes of a segment's inputs: then the engine is built for as
// many shapes as possible, at first for all shapes of the ranks that were seen, and if the segment
// cannot be lowered without more sizes, for other batch sizes only, or just for what was seen.
Result<std::shared_ptr<Engine>> BuildFromSegment(const SegmentSource& segment,
                                                 const SegmentInputs& inputs,
                                                 const EngineOptions& options);

}  // namespace tfengine
