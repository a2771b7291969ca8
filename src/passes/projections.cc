// SPDX-License-Identifier: Apache-2.0
#include "passes/projections.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "base/status_macros.h"
#include "passes/constants.h"
#include "passes/linear.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

bool IsProjection(const Rewriter& r, const Node& node) {
  return node.op == Op::kMatMul && WeightsOf(r, node) && BiasValues(r, node) && ResidualOf(node) == kNoValue &&
         !node.attrs.Bool("transpose_b");
}

// Another matmul can stand beside `first` in one product.
bool Matches(const Rewriter& r, const Node& first, const Node& other) {
  return other.attrs == first.attrs && (BiasOf(first) == kNoValue) == (BiasOf(other) == kNoValue) &&
         WeightsOf(r, first)->shape()[0] == WeightsOf(r, other)->shape()[0];
}

Result<bool> Merge(Rewriter& r, const std::vector<int>& group) {
  const Node first = r.node(group[0]);
  int64_t k = WeightsOf(r, first)->shape()[0], total = 0;
  std::vector<float> bias;
  for (int i : group) {
    total += WeightsOf(r, r.node(i))->shape()[1];
    std::vector<float> part = *BiasValues(r, r.node(i));
    bias.insert(bias.end(), part.begin(), part.end());
  }
  Tensor weights(DType::kFloat32, {k, total});
  int64_t column = 0;
  for (int i : group) {
    const Tensor& part = *WeightsOf(r, r.node(i));
    int64_t n = part.shape()[1];
    for (int64_t row = 0; row < k; ++row)
      std::copy_n(part.as<float>() + row * n, n, weights.mutable_as<float>() + row * total + column);
    column += n;
  }
  std::vector<ValueId> inputs{first.inputs[0], r.AddConstant(first.name + "/weights", std::move(weights))};
  if (BiasOf(first) != kNoValue) inputs.push_back(r.AddConstant(first.name + "/bias", FloatTensor({total}, bias)));
  TFE_ASSIGN_OR_RETURN(ValueId wide, r.Add(Op::kMatMul, first.name, std::move(inputs), first.attrs));
  int64_t begin = 0;
  for (int i : group) {
    const Node node = r.node(i);
    Shape size = r.shape(node.outputs[0]), from(size.size(), Dim(0));
    from.back() = Dim(begin);
    begin += size.back().value;
    TFE_ASSIGN_OR_RETURN(ValueId part, r.Add(Op::kSlice, node.name, {wide}, {{"begin", from}, {"size", size}}));
    r.Replace(node.outputs[0], part);
  }
  return true;
}

}  // namespace

Result<bool> MergeProjections(Network& network) {
  Rewriter r(network);
  std::map<ValueId, std::vector<std::vector<int>>> groups;
  for (int i = 0; i < r.size(); ++i) {
    if (r.dead(i) || !IsProjection(r, r.node(i))) continue;
    auto& candidates = groups[r.node(i).inputs[0]];
    auto it = std::find_if(candidates.begin(), candidates.end(),
                           [&](const std::vector<int>& g) { return Matches(r, r.node(g[0]), r.node(i)); });
    if (it == candidates.end()) candidates.push_back({i});
    else it->push_back(i);
  }
  for (const auto& [input, candidates] : groups)
    for (const std::vector<int>& group : candidates)
      if (group.size() > 1) TFE_RETURN_IF_ERROR(Merge(r, group).status());
  return r.Finish();
}

}  // namespace tfengine::passes
