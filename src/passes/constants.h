// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "network/network.h"

// Reading and making constants inside passes.
namespace tfengine::passes {

// The constant's tensor, or null.
const Tensor* ConstantOf(const Network& network, ValueId id);
bool IsFloat(DType dtype);
// The element of a floating-point, integer or bool constant all of whose elements are equal; nullopt otherwise (also
// for empty, NaN and constants of more than 64 Ki elements).
std::optional<double> SplatOf(const Network& network, ValueId id);
// Element i as double. dtype: float32/64/16, bfloat16, integers, bool.
double ElementAt(const Tensor& tensor, int64_t i);
// A tensor of that type with every element `value`.
Tensor FilledTensor(DType dtype, std::vector<int64_t> shape, double value);
Tensor FloatTensor(std::vector<int64_t> shape, const std::vector<float>& data);

// A float32 constant that differs along the last axis only, when broadcast to `shape`: its shape is [...1,C] or one
// element, where C is the last dim (constant). nullopt otherwise, or when an element is not finite.
std::optional<std::vector<float>> PerChannel(const Network& network, ValueId id, const Shape& shape);

// The dims as numbers, if all are constant.
std::optional<std::vector<int64_t>> StaticShape(const Shape& shape);

}  // namespace tfengine::passes
