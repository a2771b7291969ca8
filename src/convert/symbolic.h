// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "convert/context.h"

// Arithmetic on symbolic contents: what TensorFlow computes on shapes at run time becomes expressions now.
namespace tfengine::convert {

// Elementwise `kind` (add, sub, mul, floor_div, floor_mod, min, max) of two inputs that both have content. Shapes must
// be equal, or one operand a single element of no higher rank. Nullopt if it cannot be expressed.
struct SymbolicResult {
  Shape shape;
  Content content;
};
std::optional<SymbolicResult> BinaryContent(Context& c, const std::string& kind);

// Sum, prod, min or max of a rank-1 content over its axis.
std::optional<Dim> ReduceContent(Context& c, const std::string& kind);

// All elements are numbers.
bool IsNumeric(const Content& content);

}  // namespace tfengine::convert
