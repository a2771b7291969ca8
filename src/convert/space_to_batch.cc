// SPDX-License-Identifier: Apache-2.0
// SpaceToBatchND and BatchToSpaceND: how older models spell dilated convolutions.
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {
namespace {

// Block sizes b[m] and pairs (paddings or crops) [m,2] over axes 1..m.
Verdict ReadBlocks(Context& c, std::vector<int64_t>* blocks, Shape* pairs) {
  std::optional<std::vector<int64_t>> sizes = c.ConstInts(1);
  TFE_REQUIRE(sizes && c.content(2), Reason::kNotConstant, "block_shape and paddings or crops must be constant");
  const int m = static_cast<int>(sizes->size());
  TFE_REQUIRE(m < c.rank(0) && static_cast<int>(c.content(2)->size()) == 2 * m, Reason::kAttribute,
              "{} block sizes for rank {}", m, c.rank(0));
  for (int64_t b : *sizes) TFE_REQUIRE(b >= 1, Reason::kAttribute, "block_shape: expected 1 or more, got {}", b);
  for (Dim d : *c.content(2)) {
    TFE_REQUIRE(c.dims().IsNonNegative(d), Reason::kAttribute, "paddings or crops: expected 0 or more, got {}",
                c.dims().ToString(d));
  }
  *blocks = *sizes;
  *pairs = *c.content(2);
  return {};
}

}  // namespace

// x [N,s..,rest] -> pad -> [N, s1/b1, b1, .., rest] -> [b1, .., N, s1/b1, .., rest] -> [N*prod(b), s1/b1, .., rest]
Verdict ConvertSpaceToBatch(Context& c) {
  std::vector<int64_t> blocks;
  Shape pairs;
  Verdict verdict = ReadBlocks(c, &blocks, &pairs);
  if (!verdict.ok()) return verdict;
  const int m = static_cast<int>(blocks.size());
  Shape lo(c.rank(0), Dim(0)), hi(c.rank(0), Dim(0));
  bool pads = false;
  for (int i = 0; i < m; ++i) {
    lo[1 + i] = pairs[2 * i];
    hi[1 + i] = pairs[2 * i + 1];
    pads |= !lo[1 + i].is(0) || !hi[1 + i].is(0);
  }
  ValueId x = c.value(0);
  if (pads) {
    TFE_LOWER(x, c.Emit(Op::kPad, {x}, {{"lo", lo}, {"hi", hi}, {"value", 0.0}}));
  }
  const Shape padded = c.ShapeOf(x);
  Shape split{padded[0]}, result{padded[0]};
  std::vector<int64_t> outer, inner;
  for (int i = 0; i < m; ++i) {
    Dim part;
    TFE_REQUIRE(c.dims().DividesExactly(padded[1 + i], blocks[i], &part) || !padded[1 + i].is_const(),
                Reason::kAttribute, "axis {}: {} is not a multiple of {}", 1 + i, padded[1 + i].value, blocks[i]);
    // A size that is open is split by floor division, and the reshape makes the exact one a condition.
    if (c.dims().Mul(part, blocks[i]) != padded[1 + i]) part = c.dims().FloorDiv(padded[1 + i], blocks[i]);
    inner.push_back(static_cast<int64_t>(split.size()));
    split.push_back(part);
    outer.push_back(static_cast<int64_t>(split.size()));
    split.push_back(blocks[i]);
    result[0] = c.dims().Mul(result[0], blocks[i]);
    result.push_back(part);
  }
  std::vector<int64_t> perm = outer;
  perm.push_back(0);
  perm.insert(perm.end(), inner.begin(), inner.end());
  for (int i = m + 1; i < c.rank(0); ++i) {
    perm.push_back(static_cast<int64_t>(split.size()));
    split.push_back(padded[i]);
    result.push_back(padded[i]);
  }
  TFE_LOWER(x, c.Reshape(x, std::move(split)));
  TFE_LOWER(x, c.Transpose(x, std::move(perm)));
  TFE_LOWER(x, c.Reshape(x, std::move(result)));
  return c.Set(0, x);
}

// The inverse, then a crop.
Verdict ConvertBatchToSpace(Context& c) {
  std::vector<int64_t> blocks;
  Shape pairs;
  Verdict verdict = ReadBlocks(c, &blocks, &pairs);
  if (!verdict.ok()) return verdict;
  const int m = static_cast<int>(blocks.size());
  int64_t all = 1;
  for (int64_t b : blocks) all *= b;
  Dim batch;
  if (!c.dims().DividesExactly(c.shape(0)[0], all, &batch)) {
    TFE_REQUIRE(!c.shape(0)[0].is_const(), Reason::kAttribute, "batch: {} is not a multiple of {}",
                c.shape(0)[0].value, all);
    batch = c.dims().FloorDiv(c.shape(0)[0], all);
  }
  Shape split(blocks.begin(), blocks.end());
  split.insert(split.end(), c.shape(0).begin(), c.shape(0).end());
  split[m] = batch;
  std::vector<int64_t> perm{m};
  Shape joined{batch};
  for (int i = 0; i < m; ++i) {
    perm.push_back(m + 1 + i);
    perm.push_back(i);
    joined.push_back(c.dims().Mul(c.shape(0)[1 + i], blocks[i]));
  }
  for (int i = m + 1; i < c.rank(0); ++i) {
    perm.push_back(m + i);
    joined.push_back(c.shape(0)[i]);
  }
  TFE_LOWER(ValueId x, c.Reshape(c.value(0), std::move(split)));
  TFE_LOWER(x, c.Transpose(x, std::move(perm)));
  TFE_LOWER(x, c.Reshape(x, std::move(joined)));
  for (int i = 0; i < m; ++i) {
    Dim size = c.ShapeOf(x)[1 + i];
    Dim cropped = c.dims().Add(pairs[2 * i], pairs[2 * i + 1]);
    verdict = RequireAtMost(c, cropped, size, "crops");
    if (!verdict.ok()) return verdict;
    TFE_LOWER(x, SliceAxis(c, x, 1 + i, pairs[2 * i], c.dims().Sub(size, cropped)));
  }
  return c.Set(0, x);
}

}  // namespace tfengine::convert
