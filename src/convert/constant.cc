// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "convert/converters.h"

namespace tfengine::convert {

Verdict ConvertConst(Context& c) {
  const tfgraph::AttrValue* value = c.node().attr("value");
  TFE_REQUIRE(value, Reason::kAttribute, "attribute value is missing");
  Result<Tensor> tensor = value->tensor();
  TFE_REQUIRE(tensor.ok(), Reason::kDType, "{}", tensor.status().message());
  return c.SetConstant(0, std::make_shared<Tensor>(std::move(tensor).value()));
}

}  // namespace tfengine::convert
