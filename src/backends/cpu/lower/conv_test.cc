// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>

#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {
namespace {

Operand Of(DType type, std::vector<int64_t> shape) {
  Operand o;
  o.present = true;
  o.dtype = type;
  o.shape = std::move(shape);
  return o;
}

TEST(Conv2dTactics, ListNoProductPerChannelForDepthwiseShapes) {
  for (DType type : {DType::kFloat32, DType::kBfloat16}) {
    ConcreteNode node{Op::kConv2d, {}, {Of(type, {1, 14, 14, 96}), Of(DType::kFloat32, {3, 3, 1, 96})}, {Of(type, {1, 12, 12, 96})}};
    node.inputs[1].constant = std::make_shared<const Tensor>(DType::kFloat32, node.inputs[1].shape);
    node.attrs.Set("groups", int64_t{96});
    if (type != DType::kFloat32) SetOutType({type, {}}, &node.attrs);
    const auto depthwise = Conv2dTactics(node);
    ASSERT_FALSE(depthwise.empty());
    for (const std::string& name : depthwise) EXPECT_EQ(name.substr(0, 9), "depthwise") << name;

    node.inputs[1] = Of(DType::kFloat32, {3, 3, 96, 96});
    node.inputs[1].constant = std::make_shared<const Tensor>(DType::kFloat32, node.inputs[1].shape);
    node.attrs.Set("groups", int64_t{1});
    bool direct = false;
    for (const std::string& name : Conv2dTactics(node)) direct = direct || name.substr(0, 6) == "direct";
    EXPECT_TRUE(direct);
  }
}

}  // namespace
}  // namespace tfengine::cpu
