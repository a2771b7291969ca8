// SPDX-License-Identifier: Apache-2.0
#include "network/random_network.h"

#include <gtest/gtest.h>

namespace tfengine {

Network RandomNetwork(std::mt19937& random, int nodes) {
  Network net;
  DimTable& t = net.dims();
  auto pick = [&](size_t n) { return static_cast<int64_t>(random() % n); };
  const Dim batch = t.Symbol("batch"), h = t.Symbol("h");
  std::vector<ValueId> pool = {net.AddInput("x", DType::kFloat32, {batch, h, 6, 4}),
                               net.AddInput("scope/y:0", DType::kFloat32, {batch, t.Add(h, Dim(pick(3))), 6, 4}),
                               net.AddInput("ids", DType::kInt32, {batch})};
  for (int i = 0; i < 3; ++i) {
    auto tensor = std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{3, 3, 4, 4});
    std::fill_n(tensor->mutable_as<float>(), tensor->num_elements(), 0.5f);
    pool.push_back(net.AddConstant("w", tensor));
  }
  using Ints = std::vector<int64_t>;
  const char* unary[] = {"relu", "exp", "gelu_erf", "tanh", "clip", "is_nan"};
  const char* binary[] = {"add", "mul", "less", "max"};
  for (int tries = 0; tries < nodes * 4 && static_cast<int>(net.nodes().size()) < nodes; ++tries) {
    const ValueId a = pool[pick(pool.size())], b = pool[pick(pool.size())];
    const Shape shape = net.value(a).shape;
    const int64_t rank = static_cast<int64_t>(shape.size()), axis = rank ? pick(rank) : 0;
    const std::string name = pick(5) ? "layer/op" : "weird \"name\"\n";
    Attrs attrs;
    Op op = Op::kUnary;
    std::vector<ValueId> inputs = {a};
    switch (pick(14)) {
      case 0: attrs = {{"kind", unary[pick(6)]}, {"alpha", 0.1 * static_cast<double>(pick(9))}, {"beta", 6.0}}; break;
      case 1: op = Op::kBinary, inputs = {a, b}, attrs = {{"kind", binary[pick(4)]}}; break;
      case 2:
        op = Op::kConv2d, inputs = {a, b, kNoValue};
        attrs = {{"strides", Ints{1 + pick(2), 1}}, {"pads", Ints{1, pick(2), 1, 1}}, {"act", "relu"}};
        break;
      case 3: op = Op::kPool, attrs = {{"kind", "avg"}, {"ksize", Ints{2, 2}}, {"strides", Ints{2, 1}}}; break;
      case 4: op = Op::kReduce, attrs = {{"kind", "mean"}, {"axes", Ints{axis}}, {"keepdims", pick(2) == 1}}; break;
      case 5: op = Op::kReshape, attrs = {{"shape", Shape{t.Product(shape)}}}; break;
      case 6: op = Op::kConcat, inputs = {a, b}, attrs = {{"axis", axis}}; break;
      case 7: op = Op::kTopK, attrs.SetDim("k", Dim(1)); break;
      case 8: op = Op::kSoftmax; break;
      case 9: op = Op::kCast, attrs.Set("dtype", DType::kInt64); break;
      case 10: op = Op::kOneHot, attrs = {{"axis", rank}, {"on", 1.0}, {"off", 0.0}};
        attrs.SetDim("depth", h), attrs.Set("dtype", DType::kFloat32);
        break;
      case 11: op = Op::kDims, inputs = {}, attrs = {{"values", shape}, {"shape", Ints{rank}}};
        attrs.Set("dtype", DType::kInt32);
        break;
      case 12: op = Op::kTile, attrs = {{"reps", Ints(static_cast<size_t>(rank), 1 + pick(2))}}; break;
      default: op = Op::kMatMul, inputs = {a, b}, attrs = {{"transpose_b", true}}; break;
    }
    const auto result = net.Add(op, name, inputs, attrs);
    if (result.ok()) pool.push_back(*result);
  }
  for (int i = 0; i < 3; ++i) net.MarkOutput(pool[pick(pool.size())]);
  return net;
}

namespace {

TEST(RandomNetwork, IsValid) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 50; ++i) {
    const Network net = RandomNetwork(random, 20);
    const Status status = Verify(net);
    ASSERT_TRUE(status.ok()) << status.ToString() << "\n" << PrintNetwork(net);
  }
}

}  // namespace
}  // namespace tfengine
