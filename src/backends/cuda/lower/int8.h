// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/lower/lower.h"

// Convolutions and products of quantized tensors (docs/design/02-precision.md).
namespace tfengine::cuda {

// Whether the node multiplies codes with signed 8 bit weights.
bool IsInt8(const ConcreteNode& node);
std::vector<std::string> Int8Tactics(const ConcreteNode& node, const Device& device);
// nullopt: only plain loops can do it (groups, weights that are no constants, older devices).
LowerResult LowerInt8(const LowerContext& c);

// The weights of an int8 product as the reals that their codes stand for, on the device, in their own layout.
Result<std::shared_ptr<const DeviceBuffer>> SteppedWeights(const LowerContext& c);

}  // namespace tfengine::cuda
