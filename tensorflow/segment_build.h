// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "segment_source.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tfengine/engine.h"

namespace tfengine {

// What is known of a segment's inputs (resources included; theirs are ignored).
struct InputShapes {
  std::vector<tensorflow::PartialTensorShape>
      declared;                               // the op's attribute `input_shapes`; may be empty
  std::vector<tensorflow::TensorShape> seen;  // those of the request that asked for the engine
};

// Builds an engine from a native segment. Early models say nothing about the shapes of a segment's
// inputs: then the engine is built for as many shapes as possible, at first for all shapes of the
// ranks that were seen, and if the segment cannot be lowered without more sizes, for other batch
// sizes only, or just for what was seen.
Result<std::shared_ptr<Engine>> BuildFromSegment(const SegmentSource& segment,
                                                 const InputShapes& shapes,
                                                 const EngineOptions& options);

}  // namespace tfengine
