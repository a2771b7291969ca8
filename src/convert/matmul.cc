// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"

namespace tfengine::convert {
namespace {

Verdict Multiply(Context& c, bool transpose_a, bool transpose_b) {
  TFE_REQUIRE(c.dtype(0) == DType::kFloat32 && c.dtype(1) == DType::kFloat32, Reason::kDType,
              "expected float32, got {} and {}", DTypeName(c.dtype(0)), DTypeName(c.dtype(1)));
  TFE_LOWER(ValueId y, c.Emit(Op::kMatMul, {c.value(0), c.value(1), kNoValue, kNoValue},
                              {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}}));
  return c.Set(0, y);
}

}  // namespace

Verdict ConvertMatMul(Context& c) {
  TFE_REQUIRE(c.rank(0) == 2 && c.rank(1) == 2, Reason::kAttribute, "expected matrices, got ranks {} and {}",
              c.rank(0), c.rank(1));
  return Multiply(c, c.Bool("transpose_a", false), c.Bool("transpose_b", false));
}

Verdict ConvertBatchMatMul(Context& c) {
  TFE_REQUIRE(c.rank(0) >= 2 && c.rank(1) >= 2, Reason::kAttribute, "expected rank 2 or more, got {} and {}",
              c.rank(0), c.rank(1));
  // The first version does not broadcast.
  TFE_REQUIRE(c.op() != "BatchMatMul" || c.rank(0) == c.rank(1), Reason::kAttribute, "ranks differ: {} and {}",
              c.rank(0), c.rank(1));
  return Multiply(c, c.Bool("adj_x", false), c.Bool("adj_y", false));
}

}  // namespace tfengine::convert
