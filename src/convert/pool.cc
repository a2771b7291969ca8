// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"
#include "convert/operands.h"

namespace tfengine::convert {

// MaxPool, MaxPoolV2 (window and strides as inputs), AvgPool.
Verdict ConvertPool(Context& c) {
  TFE_REQUIRE(c.dtype() == DType::kFloat32, Reason::kDType, "expected float32, got {}", DTypeName(c.dtype()));
  TFE_REQUIRE(c.rank() == 4, Reason::kAttribute, "expected rank 4, got {}", c.rank());
  Window window;
  Verdict verdict = ReadWindow(c, &window);
  if (!verdict.ok()) return verdict;
  const int h = window.nchw ? 2 : 1;
  const int channel = window.nchw ? 1 : 3;
  std::vector<int64_t> ksize = c.Ints("ksize");
  if (c.op() == "MaxPoolV2") {
    std::optional<std::vector<int64_t>> window_size = c.ConstInts(1);
    std::optional<std::vector<int64_t>> strides = c.ConstInts(2);
    TFE_REQUIRE(window_size && strides, Reason::kNotConstant, "ksize and strides must be constant");
    TFE_REQUIRE(strides->size() == 4 && (*strides)[0] == 1 && (*strides)[channel] == 1 && (*strides)[h] > 0 &&
                    (*strides)[h + 1] > 0,
                Reason::kAttribute, "strides: expected four positive numbers, 1 for batch and channels");
    ksize = *window_size;
    window.strides = {(*strides)[h], (*strides)[h + 1]};
  }
  TFE_REQUIRE(ksize.size() == 4 && ksize[0] == 1 && ksize[channel] == 1 && ksize[h] > 0 && ksize[h + 1] > 0,
              Reason::kAttribute, "ksize: expected four positive numbers, 1 for batch and channels");
  ValueId x = c.value(0);
  if (window.nchw) {
    TFE_LOWER(x, ToNhwc(c, x));
  }
  const Shape& in = c.ShapeOf(x);
  Shape pads;
  verdict = ReadPads(c, window, {in[1], in[2]}, {ksize[h], ksize[h + 1]}, &pads);
  if (!verdict.ok()) return verdict;
  TFE_LOWER(ValueId y, c.Emit(Op::kPool, {x},
                              {{"kind", c.op() == "AvgPool" ? "avg" : "max"},
                               {"ksize", std::vector<int64_t>{ksize[h], ksize[h + 1]}},
                               {"strides", window.strides},
                               {"pads", pads}}));
  if (window.nchw) {
    TFE_LOWER(y, ToNchw(c, y));
  }
  return c.Set(0, y);
}

}  // namespace tfengine::convert
