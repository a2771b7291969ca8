// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>

#include "tfgraph/graph.h"

namespace tfengine::tfgraph {
namespace {

using protozero::pbf_writer;

// AttrValue.tensor with what `fill` adds to a TensorProto of this type and shape.
template <typename Fn>
AttrValue TensorAttr(DType dtype, const std::vector<int64_t>& shape, Fn&& fill) {
  std::string dims;
  pbf_writer dw(dims);
  for (int64_t d : shape) {
    pbf_writer dim(dw, 2);
    dim.add_int64(1, d);
  }
  std::string tensor;
  pbf_writer tw(tensor);
  tw.add_int32(1, static_cast<int>(dtype));
  tw.add_message(2, dims);
  fill(tw);
  std::string attr;
  pbf_writer(attr).add_message(8, tensor);
  return AttrValue(attr);
}

TEST(AttrValue, RoundTripsEveryKind) {
  EXPECT_EQ(AttrValue::Int(-5).i(), -5);
  EXPECT_EQ(AttrValue::Bool(false).b(), false);
  EXPECT_EQ(AttrValue::Float(1.5f).f(), 1.5f);
  EXPECT_EQ(AttrValue::String("a\0b").s(), "a");
  EXPECT_EQ(AttrValue::Type(DType::kBfloat16).type(), DType::kBfloat16);
  EXPECT_EQ(AttrValue::Func("f").func(), "f");
  EXPECT_EQ(AttrValue::IntList({1, -2}).int_list(), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(AttrValue::StringList({"x", ""}).string_list(), (std::vector<std::string>{"x", ""}));
  EXPECT_EQ(AttrValue::TypeList({DType::kInt8}).type_list(), std::vector<DType>{DType::kInt8});
  auto shapes = AttrValue::ShapeList({{true, {}}, {false, {}}, {true, {-1, 0, 3}}}).shape_list();
  ASSERT_TRUE(shapes && shapes->size() == 3u);
  EXPECT_TRUE((*shapes)[0].known_rank && (*shapes)[0].dims.empty());
  EXPECT_FALSE((*shapes)[1].known_rank);
  EXPECT_EQ((*shapes)[2].dims, (std::vector<int64_t>{-1, 0, 3}));
  auto scalar = AttrValue::Shape({true, {}}).shape();
  EXPECT_TRUE(scalar && scalar->known_rank && scalar->dims.empty());
}

TEST(AttrValue, AnEmptyListIsAListOfAnyKindAndNotAScalar) {
  AttrValue empty = AttrValue::IntList({});
  EXPECT_TRUE(empty.int_list() && empty.int_list()->empty());
  EXPECT_TRUE(empty.type_list() && empty.type_list()->empty());
  EXPECT_FALSE(empty.i());
  EXPECT_FALSE(AttrValue().int_list());
  EXPECT_FALSE(AttrValue::IntList({1}).float_list());
}

TEST(AttrValue, TheLastTypedValueFillsTheRest) {
  auto attr = TensorAttr(DType::kFloat32, {2, 3}, [](pbf_writer& w) {
    w.add_float(5, 1.f);
    w.add_float(5, 2.f);
  });
  auto t = attr.tensor();
  ASSERT_TRUE(t.ok()) << t.status().ToString();
  EXPECT_EQ(t->shape(), (std::vector<int64_t>{2, 3}));
  const float expected[] = {1, 2, 2, 2, 2, 2};
  EXPECT_EQ(std::memcmp(t->data(), expected, sizeof(expected)), 0);
}

TEST(AttrValue, NoValueMeansZerosAndAScalarIsASplat) {
  auto zeros = TensorAttr(DType::kInt64, {3}, [](pbf_writer&) {}).tensor();
  ASSERT_TRUE(zeros.ok());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(zeros->as<int64_t>()[i], 0);
  auto half =
      TensorAttr(DType::kFloat16, {2}, [](pbf_writer& w) { w.add_int32(13, 0x3c00); }).tensor();
  ASSERT_TRUE(half.ok());
  EXPECT_EQ(half->as<uint16_t>()[1], 0x3c00);
  auto negative = TensorAttr(DType::kInt8, {1}, [](pbf_writer& w) { w.add_int32(7, -3); }).tensor();
  ASSERT_TRUE(negative.ok());
  EXPECT_EQ(negative->as<int8_t>()[0], -3);
  auto complex = TensorAttr(DType::kComplex64, {2}, [](pbf_writer& w) {
                   w.add_float(9, 1.f);
                   w.add_float(9, 2.f);
                 }).tensor();
  ASSERT_TRUE(complex.ok());
  EXPECT_EQ(complex->as<float>()[3], 2.f);
}

TEST(AttrValue, WrongSizesAreErrors) {
  EXPECT_FALSE(
      TensorAttr(DType::kFloat32, {2}, [](pbf_writer& w) { w.add_bytes(4, "abc"); }).tensor().ok());
  EXPECT_FALSE(TensorAttr(DType::kBool, {1},
                          [](pbf_writer& w) {
                            w.add_bool(11, true);
                            w.add_bool(11, true);
                          })
                   .tensor()
                   .ok());
  EXPECT_FALSE(TensorAttr(DType::kFloat32, {int64_t{1} << 40, int64_t{1} << 40}, [](pbf_writer&) {})
                   .tensor()
                   .ok());
  EXPECT_FALSE(TensorAttr(DType::kFloat64, {int64_t{1} << 40}, [](pbf_writer&) {}).tensor().ok());
  EXPECT_FALSE(
      TensorAttr(DType::kString, {1}, [](pbf_writer& w) { w.add_bytes(8, "s"); }).tensor().ok());
}

TEST(AttrValue, TensorValueRoundTrips) {
  Tensor t(DType::kInt32, {2, 2});
  for (int i = 0; i < 4; ++i) t.mutable_as<int32_t>()[i] = i * 7;
  AttrValue attr = AttrValue::TensorValue(t);
  auto back = attr.tensor();
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(std::memcmp(back->data(), t.data(), 16), 0);
  EXPECT_EQ(attr.tensor_shape(), t.shape());
}

TEST(AttrValue, StringsFollowTheSameRule) {
  auto strings = TensorAttr(DType::kString, {3}, [](pbf_writer& w) {
                   w.add_bytes(8, "a");
                   w.add_bytes(8, "b");
                 }).string_tensor();
  ASSERT_TRUE(strings.ok());
  EXPECT_EQ(*strings, (std::vector<std::string>{"a", "b", "b"}));
}

}  // namespace
}  // namespace tfengine::tfgraph
