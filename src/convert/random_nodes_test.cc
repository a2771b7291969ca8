// SPDX-License-Identifier: Apache-2.0
// Nodes with arbitrary operands and attributes: a verdict or a valid network, never a crash.
#include <gtest/gtest.h>

#include <random>

#include "convert/converters.h"
#include "convert/convert.h"
#include "convert/test_graph.h"

namespace tfengine::convert {
namespace {

using tfgraph::AttrValue;

class Generator {
 public:
  explicit Generator(int seed) : random_(seed) {}
  int Below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  template <typename T>
  T Pick(std::initializer_list<T> items) {
    return items.begin()[Below(static_cast<int>(items.size()))];
  }
  std::vector<int64_t> IntList(int n, int lo, int hi) {
    std::vector<int64_t> list;
    for (int i = 0; i < n; ++i) list.push_back(lo + Below(hi - lo));
    return list;
  }

  // Tensors of all sorts, known and unknown.
  void Operands(TestGraph& g) {
    for (int i = 0; i < 6; ++i) {
      DType type = Pick({DType::kFloat32, DType::kFloat32, DType::kInt32, DType::kBool, DType::kInt64});
      g.Arg("x" + std::to_string(i), IntList(Below(6), -1, 5), type);
    }
    g.Arg("image", {-1, 5, -1, 4});
    g.Arg("cube", {2, -1, 3});
    for (int i = 0; i < 4; ++i) g.Ints("i" + std::to_string(i), IntList(Below(6), -3, 5), /*scalar=*/false);
    for (int i = 0; i < 3; ++i) g.Ints("s" + std::to_string(i), IntList(1, -3, 5), /*scalar=*/true);
    g.Floats("filter", {3, 3, 4, 2}, 0.5f);
    g.Floats("vector", {4}, 0.5f);
    g.Floats("scalar", {}, 0.5f);
    g.Add("shape", "Shape", {6}, {}, {DType::kInt32});
  }

  TestGraph::Attrs RandomAttrs() {
    TestGraph::Attrs attrs{
        {"data_format", AttrValue::String(Pick({"NHWC", "NCHW", "odd"}))},
        {"padding", AttrValue::String(Pick({"SAME", "VALID", "EXPLICIT", ""}))},
        {"strides", AttrValue::IntList({1, 1 + Below(2), 1 + Below(2), 1})},
        {"ksize", AttrValue::IntList({1, Below(4), 1 + Below(3), 1})},
        {"explicit_paddings", AttrValue::IntList(IntList(8, 0, 2))},
        {"equation", AttrValue::String(Pick({"ab,bc->ac", "...a,ab->...b", "a->", "ab->ba", "..", "->", ",->", "abc,cd->"}))},
        {"axis", AttrValue::Int(Below(7) - 3)},
        {"block_size", AttrValue::Int(Below(4))},
        {"batch_dims", AttrValue::Int(Below(4) - 1)},
        {"squeeze_dims", AttrValue::IntList(IntList(Below(3), -3, 3))},
        {"mode", AttrValue::String(Pick({"REFLECT", "SYMMETRIC", "x"}))},
        {"DstT", AttrValue::Type(Pick({DType::kFloat32, DType::kInt32, DType::kString, DType::kBool}))},
        {"value", AttrValue::TensorValue(Tensor(DType::kInt32, {0}))},
    };
    for (const char* mask : {"begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"}) {
      attrs[mask] = AttrValue::Int(Below(3) ? 0 : Below(16));
    }
    for (const char* flag : {"keep_dims", "exclusive", "reverse", "transpose_a", "transpose_b", "adj_x", "adj_y",
                             "is_training", "align_corners", "half_pixel_centers", "incompatible_shape_error"}) {
      attrs[flag] = AttrValue::Bool(Below(2) == 0);
    }
    for (auto it = attrs.begin(); it != attrs.end();) it = Below(8) == 0 ? attrs.erase(it) : std::next(it);
    return attrs;
  }

 private:
  std::mt19937 random_;
};

class RandomNodes : public ::testing::TestWithParam<int> {};

TEST_P(RandomNodes, GetAVerdictOrAValidNetwork) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  Generator random(GetParam());
  TestGraph g;
  random.Operands(g);
  for (const Row& row : Converters()) {
    for (int repeat = 0; repeat < 8; ++repeat) {
      int count = random.Below(12) == 0 ? random.Below(7) : row.inputs >= 0 ? row.inputs : -row.inputs + random.Below(3);
      std::vector<int> inputs;
      for (int i = 0; i < count; ++i) inputs.push_back(random.Below(static_cast<int>(g.graph.nodes.size())));
      DType type = inputs.empty() || g.graph.nodes[inputs[0]].output_types.empty()
                       ? DType::kFloat32
                       : g.graph.nodes[inputs[0]].output_types[0];
      if (random.Below(4) == 0) type = random.Pick({DType::kFloat32, DType::kInt32, DType::kBool, DType::kInt64});
      int v = g.Add(std::string(row.op) + std::to_string(repeat), std::string(row.op), inputs, random.RandomAttrs(),
                    std::vector<DType>(1 + random.Below(3), type));
      for (tfgraph::TensorId& t : g.graph.nodes[v].inputs) {
        t.port = random.Below(static_cast<int>(g.graph.nodes[t.node].output_types.size()));
      }
      if (random.Below(3) == 0) g.Return(v);
    }
  }
  Result<Conversion> conversion = Analyze(g.graph);
  ASSERT_TRUE(conversion.ok()) << conversion.status().ToString();
  Status valid = Verify(conversion->network);
  EXPECT_TRUE(valid.ok()) << valid.ToString();
}
INSTANTIATE_TEST_SUITE_P(Seeds, RandomNodes, ::testing::Range(1, 31));

}  // namespace
}  // namespace tfengine::convert
