// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

Verdict CheckIndices(Context& c, int input) {
  TFE_REQUIRE(Contains(kInts, c.dtype(input)), Reason::kDType, "input {} (indices): expected int32 or int64, got {}",
              input, DTypeName(c.dtype(input)));
  return {};
}

// Elements of a rank-1 content at constant indices; nullopt if one is out of range.
std::optional<Content> Picked(const Content& params, const std::vector<int64_t>& indices) {
  Content picked;
  for (int64_t i : indices) {
    if (i < 0 || i >= static_cast<int64_t>(params.size())) return std::nullopt;
    picked.push_back(params[i]);
  }
  return picked;
}

}  // namespace

// Gather (axis 0) and GatherV2.
Verdict ConvertGather(Context& c) {
  Verdict verdict = CheckIndices(c, 1);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(c.rank(0) >= 1, Reason::kAttribute, "params: expected rank 1 or more");
  int axis = 0;
  if (c.op() == "GatherV2") verdict = ReadAxis(c, 2, c.rank(0), &axis);
  if (!verdict.ok()) return verdict;
  int64_t batch_dims = c.Int("batch_dims", 0);
  if (batch_dims < 0) batch_dims += c.rank(1);
  TFE_REQUIRE(batch_dims >= 0 && batch_dims <= axis && batch_dims <= c.rank(1), Reason::kAttribute,
              "batch_dims: expected 0 to {}, got {}", axis, batch_dims);
  std::optional<std::vector<int64_t>> indices = c.ConstInts(1);
  if (c.content(0) && c.rank(0) == 1 && indices) {
    if (std::optional<Content> picked = Picked(*c.content(0), *indices)) {
      return c.SetContent(0, c.shape(1), std::move(*picked));
    }
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kGather, {c.value(0), c.value(1)},
                              {{"axis", static_cast<int64_t>(axis)}, {"batch_dims", batch_dims}}));
  return c.Set(0, y);
}

// Rows of a variable whose value is known.
Verdict ConvertResourceGather(Context& c) {
  TFE_REQUIRE(c.node().frozen, Reason::kResource, "the variable may change, or has no value in the checkpoint");
  TFE_REQUIRE(c.num_inputs() == 2 && c.input(1).known_rank, Reason::kUnknownShape, "indices have unknown rank");
  Verdict verdict = CheckIndices(c, 1);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(c.Int("batch_dims", 0) == 0, Reason::kAttribute, "batch_dims: expected 0, got {}",
              c.Int("batch_dims", 0));
  TFE_REQUIRE(Contains(kAnyType, c.node().frozen->dtype()) && c.node().frozen->rank() >= 1, Reason::kDType,
              "the variable has dtype {} and rank {}", DTypeName(c.node().frozen->dtype()), c.node().frozen->rank());
  ValueId params = c.network().AddConstant(c.node().name + "/variable", c.node().frozen);
  TFE_LOWER(ValueId y, c.Emit(Op::kGather, {params, c.value(1)}, {{"axis", int64_t{0}}}));
  return c.Set(0, y);
}

Verdict ConvertGatherNd(Context& c) {
  Verdict verdict = CheckIndices(c, 1);
  if (!verdict.ok()) return verdict;
  const std::string policy = c.Str("bad_indices_policy", "");
  TFE_REQUIRE(policy.empty() || policy == "DEFAULT" || policy == "ERROR", Reason::kAttribute,
              "bad_indices_policy: expected DEFAULT or ERROR, got {}", policy);
  TFE_REQUIRE(c.rank(1) >= 1, Reason::kAttribute, "indices: expected rank 1 or more");
  TFE_REQUIRE(c.shape(1).back().is_const(), Reason::kUnknownShape, "indices: the last size is not known");
  TFE_LOWER(ValueId y, c.Emit(Op::kGatherNd, {c.value(0), c.value(1)}, {{"batch_dims", c.Int("batch_dims", 0)}}));
  return c.Set(0, y);
}

Verdict ConvertOneHot(Context& c) {
  TFE_REQUIRE(Contains(kInts | kSmallInts, c.dtype(0)), Reason::kDType, "indices have dtype {}",
              DTypeName(c.dtype(0)));
  Dim depth;
  Verdict verdict = ReadSize(c, 1, &depth);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(c.dims().IsNonNegative(depth), Reason::kAttribute, "depth: expected 0 or more, got {}",
              c.dims().ToString(depth));
  std::optional<double> on = c.ConstScalar(2);
  std::optional<double> off = c.ConstScalar(3);
  TFE_REQUIRE(on && off, Reason::kNotConstant, "on_value and off_value must be constant");
  int64_t axis = c.Int("axis", -1);
  if (axis == -1) axis = c.rank(0);
  TFE_REQUIRE(axis >= 0 && axis <= c.rank(0), Reason::kAttribute, "axis: expected -1 to {}, got {}", c.rank(0), axis);
  TFE_LOWER(ValueId y, c.Emit(Op::kOneHot, {c.value(0)},
                              {{"depth", DimAttr(depth)},
                               {"axis", axis},
                               {"on", *on},
                               {"off", *off},
                               {"dtype", static_cast<int64_t>(c.dtype(2))}}));
  return c.Set(0, y);
}

}  // namespace tfengine::convert
