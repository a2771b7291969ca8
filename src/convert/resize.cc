// SPDX-License-Identifier: Apache-2.0
// Image ops that change the grid: resizing, and blocks moved between depth and space.
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {

Verdict ConvertResize(Context& c) {
  TFE_REQUIRE(c.rank(0) == 4, Reason::kAttribute, "expected rank 4, got {}", c.rank(0));
  const bool align = c.Bool("align_corners", false);
  const bool half_pixel = c.Bool("half_pixel_centers", false);
  TFE_REQUIRE(!(align && half_pixel), Reason::kAttribute, "align_corners and half_pixel_centers exclude each other");
  Shape size;
  Verdict verdict = ReadSizes(c, 1, &size);
  if (!verdict.ok()) return verdict;
  TFE_REQUIRE(size.size() == 2, Reason::kAttribute, "size: expected 2 numbers, got {}", size.size());
  const bool bilinear = c.op() == "ResizeBilinear";
  ValueId x = c.value(0);
  if (bilinear) {
    TFE_REQUIRE(c.dtype(0) != DType::kFloat64, Reason::kDType, "input 0 has dtype float64");
    TFE_LOWER(x, c.Cast(x, DType::kFloat32));
  }
  TFE_LOWER(ValueId y, c.Emit(Op::kResize, {x},
                              {{"kind", bilinear ? "bilinear" : "nearest"},
                               {"size", std::move(size)},
                               {"align_corners", align},
                               {"half_pixel", half_pixel}}));
  return c.Set(0, y);
}

// DepthToSpace and SpaceToDepth.
Verdict ConvertDepthToSpace(Context& c) {
  TFE_REQUIRE(c.rank(0) == 4, Reason::kAttribute, "expected rank 4, got {}", c.rank(0));
  const std::string format = c.Str("data_format", "NHWC");
  TFE_REQUIRE(format == "NHWC" || format == "NCHW", Reason::kAttribute, "data_format: expected NHWC or NCHW, got {}",
              format);
  ValueId x = c.value(0);
  if (format == "NCHW") {
    TFE_LOWER(x, ToNhwc(c, x));
  }
  TFE_LOWER(ValueId y, c.Emit(c.op() == "DepthToSpace" ? Op::kDepthToSpace : Op::kSpaceToDepth, {x},
                              {{"block", c.Int("block_size", 0)}}));
  if (format == "NCHW") {
    TFE_LOWER(y, ToNchw(c, y));
  }
  return c.Set(0, y);
}

}  // namespace tfengine::convert
