// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tensorflow/core/framework/device_base.h"
#include "tfengine/engine.h"

namespace tfengine {

// For engines on a device of TensorFlow. They take their threads from its intra-op pool; on a GPU
// their memory from its allocator, and TF32 from TensorFlow's switch. The device's allocator and
// stream must outlive them (TensorFlow never destroys those of GPUs).
EngineOptions OptionsFor(tensorflow::DeviceBase* device, int max_cached_engines);

}  // namespace tfengine
