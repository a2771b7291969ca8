// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"

namespace tfengine::convert {

Verdict ConvertCast(Context& c) {
  const DType to = c.Type("DstT", DType::kInvalid);
  TFE_REQUIRE(Contains(kAnyType, to), Reason::kDType, "DstT: {} is not supported", DTypeName(to));
  TFE_REQUIRE(!c.Bool("Truncate", false), Reason::kAttribute, "Truncate: expected false");
  if (to == c.dtype()) return c.Alias(0, 0);
  if (c.content(0) && Contains(kInts, to)) {
    bool fits = true;
    for (Dim d : *c.content(0)) {
      fits &= !d.is_const() || to == DType::kInt64 || (d.value >= INT32_MIN && d.value <= INT32_MAX);
    }
    if (fits) return c.SetContent(0, c.shape(), *c.content(0));
  }
  TFE_LOWER(ValueId y, c.Cast(c.value(0), to));
  return c.Set(0, y);
}

}  // namespace tfengine::convert
