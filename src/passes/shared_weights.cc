// SPDX-License-Identifier: Apache-2.0
#include "passes/shared_weights.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

#include "base/status_macros.h"
#include "passes/linear.h"
#include "passes/rewriter.h"

namespace tfengine::passes {
namespace {

// The matmul `node` of element `at` of an axis of `x`.
struct Part {
  int node;
  ValueId x;
  size_t axis;
  int64_t at;
};

std::optional<Part> PartOf(const Rewriter& r, int index) {
  const Node& node = r.node(index);
  if (node.op != Op::kMatMul || !WeightsOf(r, node) || ResidualOf(node) != kNoValue || node.attrs.Bool("transpose_a"))
    return std::nullopt;
  ValueId source = node.inputs[0];
  const Node* reshape = r.Producer(source, Op::kReshape);
  if (reshape && r.shape(reshape->inputs[0]).back() == r.shape(source).back()) source = reshape->inputs[0];
  const Node* slice = r.Producer(source, Op::kSlice);
  if (!slice) return std::nullopt;
  const ValueId x = slice->inputs[0];
  const Shape &whole = r.shape(x), &size = r.shape(source);
  const Shape begin = slice->attrs.Dims("begin");
  for (int64_t stride : slice->attrs.Ints("strides"))
    if (stride != 1) return std::nullopt;
  std::optional<size_t> axis;
  for (size_t d = 0; d < whole.size(); ++d) {
    if (size[d] == whole[d]) continue;
    if (axis || d + 1 == whole.size() || !(size[d] == Dim(1)) || !whole[d].is_const() || !begin[d].is_const()) return std::nullopt;
    axis = d;
  }
  if (!axis) return std::nullopt;
  return Part{index, x, *axis, begin[*axis].value};
}

Result<bool> Merge(Rewriter& r, const std::vector<Part>& parts) {
  const Node first = r.node(parts[0].node);
  const size_t axis = parts[0].axis;
  ValueId x = parts[0].x;
  if (axis > 0) {
    std::vector<int64_t> perm(r.shape(x).size());
    std::iota(perm.begin(), perm.end(), 0);
    std::rotate(perm.begin(), perm.begin() + static_cast<int64_t>(axis), perm.begin() + static_cast<int64_t>(axis) + 1);
    TFE_ASSIGN_OR_RETURN(x, r.AddTranspose(first.name, x, std::move(perm)));
  }
  std::vector<ValueId> inputs = first.inputs;
  inputs[0] = x;
  TFE_ASSIGN_OR_RETURN(const ValueId y, r.Add(Op::kMatMul, first.name, std::move(inputs), first.attrs));
  for (const Part& part : parts) {
    const Node node = r.node(part.node);
    Shape size = r.shape(y), begin(size.size(), Dim(0));
    size[0] = Dim(1);
    begin[0] = Dim(part.at);
    const Attr strides = std::vector<int64_t>(size.size(), 1);
    TFE_ASSIGN_OR_RETURN(ValueId result, r.Add(Op::kSlice, node.name, {y}, {{"begin", begin}, {"size", size}, {"strides", strides}}));
    if (r.shape(result) != r.shape(node.outputs[0])) {
      TFE_ASSIGN_OR_RETURN(result, r.AddReshape(node.name, result, r.shape(node.outputs[0])));
    }
    r.Replace(node.outputs[0], result);
  }
  return true;
}

}  // namespace

Result<bool> MergeSharedWeights(Network& network) {
  Rewriter r(network);
  std::map<std::tuple<ValueId, size_t, ValueId, ValueId>, std::vector<Part>> groups;
  for (int i = 0; i < r.size(); ++i) {
    if (r.dead(i)) continue;
    if (const auto part = PartOf(r, i)) groups[{part->x, part->axis, r.node(i).inputs[1], BiasOf(r.node(i))}].push_back(*part);
  }
  for (auto& [key, parts] : groups) {
    const Attrs& attrs = r.node(parts[0].node).attrs;
    std::erase_if(parts, [&](const Part& p) { return !(r.node(p.node).attrs == attrs); });
    std::set<int64_t> covered;
    for (const Part& p : parts) covered.insert(p.at);
    const auto extent = static_cast<size_t>(r.shape(parts[0].x)[parts[0].axis].value);
    if (extent > 1 && covered.size() == extent) TFE_RETURN_IF_ERROR(Merge(r, parts).status());
  }
  return r.Finish();
}

}  // namespace tfengine::passes
