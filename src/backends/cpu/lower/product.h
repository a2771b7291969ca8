// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/compile_backend.h"
#include "backends/cpu/kernels/dot.h"

namespace tfengine::cpu {

// What typed conv2d and matmul nodes have in common: inputs x, weights, bias?, residual?, steps?.
struct TypedProduct {
  DotType type;
  Format x, residual, out;
  const float* steps = nullptr;                     // of the node's constant: kInt8, per channel
  std::shared_ptr<const std::vector<float>> scale;  // kInt8: of a sum, per channel
  std::shared_ptr<const ActivationLines> lines;     // kInt8: of the node's activation, or null
  bool bounded = false;                             // OutputStage::bounded
  std::string key;                                  // stands for type and steps in keys of packed weights

  // Everything but bias and activation.
  OutputStage Stage() const;
};

// nullopt if the kernels cannot take the node: types, no constant steps, a reduction of `terms` too long for 32 bits.
std::optional<TypedProduct> TypedProductOf(const ConcreteNode& node, int64_t channels, int64_t terms);

}  // namespace tfengine::cpu
