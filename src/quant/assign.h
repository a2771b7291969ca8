// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "network/network.h"
#include "quant/range.h"

// Which layer works in which precision, and the typed network that says so (docs/design/02-precision.md).
namespace tfengine::quant {

// From the most exact on. kHalf is the device's 16-bit type. A network's 8-bit layers are all of one kind.
enum class Precision { kF32, kHalf, kFp8, kInt8 };

const char* PrecisionName(Precision precision);  // "fp32", "half", "fp8", "int8"
bool ParsePrecision(std::string_view name, Precision* precision);

struct AssignOptions {
  Precision precision = Precision::kF32;
  DType half = DType::kFloat32;  // the device's 16-bit type for products; kFloat32: none
  bool int8 = false;             // the device has int8 products
  bool fp8 = false;              // the device has E4M3 products
  // By value name. Without one a layer that reads the value has no 8 bits.
  std::map<std::string, Range> ranges;
  // The most reduced precision allowed for a layer, by the name of its first output.
  std::map<std::string, Precision> limits;
  // Whether the device has a kernel for this node with 16-bit and quantized operands.
  std::function<bool(const Node&)> runs_typed;
  // Called after that many bytes of weights were looked at; may be empty.
  std::function<void(size_t bytes)> weights_read;
};

// The reason of layers that have no precision of their own.
inline constexpr char kMovesElements[] = "moves elements";

struct LayerPrecision {
  std::string name;  // of the first output
  Precision precision;
  const char* why;   // in words
};

struct Assignment {
  Network network;
  std::vector<LayerPrecision> layers;  // in the network's order
};

// `network`: f32 and verified. Its inputs, outputs and value names are kept (of transposed convolutions see transposed.h).
Result<Assignment> Assign(const Network& network, const AssignOptions& options);

}  // namespace tfengine::quant
