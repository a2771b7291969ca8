// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "base/status_macros.h"
#include "convert/converters.h"

namespace tfengine::convert {

Verdict ConvertSoftmax(Context& c) {
  TFE_REQUIRE(c.dtype() == DType::kFloat32, Reason::kDType, "expected float32, got {}", DTypeName(c.dtype()));
  TFE_REQUIRE(c.rank() >= 1, Reason::kAttribute, "expected rank 1 or more");
  TFE_LOWER(ValueId y, c.Emit(c.op() == "Softmax" ? Op::kSoftmax : Op::kLogSoftmax, {c.value(0)}));
  return c.Set(0, y);
}

}  // namespace tfengine::convert
