// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/int8_conv.h"
#include "backends/cuda/lower/lower.h"

// Convolutions and products of quantized tensors (docs/design/02-precision.md).
namespace tfengine::cuda {

// Whether the node multiplies codes with signed 8 bit weights, or E4M3 with E4M3.
bool IsInt8(const ConcreteNode& node);
// The latter.
bool IsFp8(const ConcreteNode& node);
std::vector<std::string> Int8Tactics(const ConcreteNode& node, const Device& device);
// nullopt: only plain loops can do it (groups, weights that are no constants, older devices).
LowerResult LowerInt8(const LowerContext& c);
// The same for matmuls of one input (LowerJointMatMul).
std::vector<std::string> JointInt8Tactics(const std::vector<ConcreteNode>& nodes, const Device& device);
LowerResult LowerJointInt8(const LowerContext& c, const std::vector<ConcreteNode>& nodes);
// The same for a convolution and the one that multiplies its result (LowerConvPair).
std::vector<std::string> Int8PairTactics(const std::vector<ConcreteNode>& nodes, const Device& device);
LowerResult LowerInt8Pair(const LowerContext& c, const std::vector<ConcreteNode>& nodes);

// Depthwise convolutions of codes. nullopt: not one, or with a residual.
LowerResult LowerDepthwiseInt8(const LowerContext& c);

// For lowerings of int8 products: output, residual and activation of the node; a clip becomes bounds of the codes. False if
// a type or an activation is unknown.
bool SetEpilogue(const ConcreteNode& node, Int8Conv* conv);
// Whether weights, their steps and the bias are constants of the types that quant::Assign gives them.
bool HasConstants(const ConcreteNode& node);
// What a sum's unit is, and the bias, of every channel; `sum` is left empty.
Int8Channels ChannelsOf(const ConcreteNode& node, int64_t filters);
// A weight as an integer.
signed char CodeOfWeight(float weight, float step);

// The weights of an 8 bit product as the reals that their codes stand for, on the device, in their own layout.
Result<std::shared_ptr<const DeviceBuffer>> SteppedWeights(const LowerContext& c);

}  // namespace tfengine::cuda
