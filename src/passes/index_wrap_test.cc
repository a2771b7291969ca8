// SPDX-License-Identifier: Apache-2.0
#include "passes/index_wrap.h"

#include "passes/test_util.h"

namespace tfengine::passes {
namespace {

constexpr DType kInt = DType::kInt32;

// gather(params, select(i < zero, i + n, i)).
ValueId Embedding(Builder& b, ValueId params, ValueId i, double n, double zero = 0, int64_t axis = 0) {
  const ValueId wrapped = b.Do(Op::kSelect, {b.Binary("less", i, b.Scalar(zero, kInt)), b.Add(i, b.Scalar(n, kInt)), i});
  return b.Do(Op::kGather, {params, wrapped}, {{"axis", axis}});
}

TEST(IndexWrap, MovesIntoTheGather) {
  ExpectRewrite(FoldIndexWrap, [](Builder& b) { b.Return(Embedding(b, b.Const("table", {7, 5}), b.Input("i", {b.batch, 3}, kInt), 7)); }, "gather");
  ExpectRewrite(FoldIndexWrap, [](Builder& b) { b.Return(Embedding(b, b.Const("table", {2, 4, 5}), b.Input("i", {6}, kInt), 4, 0, 1)); }, "gather");
  ExpectRewrite(FoldIndexWrap, [](Builder& b) {  // n + i, of any rank
    ValueId i = b.Input("i", {b.batch, 3}, kInt);
    ValueId wrapped = b.Do(Op::kSelect, {b.Binary("less", i, b.Scalar(0, kInt, {1, 1})), b.Add(b.Scalar(7, kInt, {3}), i), i});
    b.Return(b.Do(Op::kGather, {b.Const("table", {7, 5}), wrapped}, {{"axis", int64_t{0}}}));
  }, "gather");
}

TEST(IndexWrap, OtherReadersKeepTheSelect) {
  ExpectRewrite(FoldIndexWrap, [](Builder& b) {
    ValueId y = Embedding(b, b.Const("table", {7, 5}), b.Input("i", {3}, kInt), 7);
    b.Return(y);
    b.Return(b.net.nodes().back().inputs[1]);
  }, "less add select gather");
}

TEST(IndexWrap, EveryIndexGivesWhatItGave) {
  const Builder b([](Builder& builder) { builder.Return(Embedding(builder, builder.Const("table", {4, 2}), builder.Input("i", {1}, kInt), 4)); });
  Network after = b.net;
  Result<bool> changed = FoldIndexWrap(after);
  ASSERT_TRUE(changed.ok() && *changed);
  EXPECT_NE(PrintNetwork(after).find("wrap=true"), std::string::npos) << PrintNetwork(after);
  for (int32_t i : {-2147483647, -9, -5, -4, -3, -1, 0, 1, 3, 4, 5, 2147483647}) {
    Tensor index(kInt, {1});
    index.mutable_as<int32_t>()[0] = i;
    const auto want = ref::Execute(b.net, {index}), got = ref::Execute(after, {index});
    ASSERT_EQ(want.ok(), got.ok()) << i;
    EXPECT_EQ(got.ok(), i >= -4 && i < 4) << i;
    if (!got.ok()) {
      EXPECT_EQ(want.status().error_id(), got.status().error_id());
      continue;
    }
    for (int64_t e = 0; e < 2; ++e) EXPECT_EQ((*want)[0].as<float>()[e], (*got)[0].as<float>()[e]) << i;
  }
}

TEST(IndexWrap, LeavesOtherIndicesAlone) {
  ExpectUntouched(FoldIndexWrap, [](Builder& b) {  // another size
    b.Return(Embedding(b, b.Const("table", {7, 5}), b.Input("i", {3}, kInt), 6));
  });
  ExpectUntouched(FoldIndexWrap, [](Builder& b) {  // another bound
    b.Return(Embedding(b, b.Const("table", {7, 5}), b.Input("i", {3}, kInt), 7, 1));
  });
  ExpectUntouched(FoldIndexWrap, [](Builder& b) {  // the size of another axis
    b.Return(Embedding(b, b.Const("table", {7, 5}), b.Input("i", {3}, kInt), 5));
  });
  ExpectUntouched(FoldIndexWrap, [](Builder& b) {  // a size that is not known
    b.Return(Embedding(b, b.Input("table", {b.batch, 5}), b.Input("i", {3}, kInt), 7));
  });
  ExpectUntouched(FoldIndexWrap, [](Builder& b) {  // the condition is about other indices
    ValueId i = b.Input("i", {3}, kInt), j = b.Input("j", {3}, kInt);
    ValueId wrapped = b.Do(Op::kSelect, {b.Binary("less", j, b.Scalar(0, kInt)), b.Add(i, b.Scalar(7, kInt)), i});
    b.Return(b.Do(Op::kGather, {b.Const("table", {7, 5}), wrapped}, {{"axis", int64_t{0}}}));
  });
  ExpectUntouched(FoldIndexWrap, [](Builder& b) {  // the select is larger than the indices
    ValueId i = b.Input("i", {3}, kInt);
    ValueId wrapped = b.Do(Op::kSelect, {b.Binary("less", i, b.Scalar(0, kInt, {2, 1})), b.Add(i, b.Scalar(7, kInt)), i});
    b.Return(b.Do(Op::kGather, {b.Const("table", {7, 5}), wrapped}, {{"axis", int64_t{0}}}));
  });
}

}  // namespace
}  // namespace tfengine::passes
