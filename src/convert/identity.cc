// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"
#include "convert/converters.h"

namespace tfengine::convert {

Verdict ConvertIdentity(Context& c) {
  TFE_REQUIRE(c.num_inputs() == c.num_outputs(), Reason::kAttribute, "expected as many outputs as inputs");
  for (int i = 0; i < c.num_inputs(); ++i) {
    Verdict verdict = c.Alias(i, i);
    if (!verdict.ok()) return verdict;
  }
  return {};
}

// A shape that does not fit is an error in TensorFlow: sizes that are open become conditions on the engine's shapes.
Verdict ConvertEnsureShape(Context& c) {
  const tfgraph::AttrValue* attr = c.node().attr("shape");
  std::optional<tfgraph::PartialShape> shape = attr ? attr->shape() : std::nullopt;
  TFE_REQUIRE(shape, Reason::kAttribute, "attribute shape is missing");
  if (shape->known_rank) {
    TFE_REQUIRE(static_cast<int>(shape->dims.size()) == c.rank(), Reason::kAttribute,
                "shape: expected rank {}, the input has rank {}", shape->dims.size(), c.rank());
    for (int i = 0; i < c.rank(); ++i) {
      Dim have = c.shape()[i];
      int64_t want = shape->dims[i];
      if (want < 0 || have.is(want)) continue;
      TFE_REQUIRE(!have.is_const(), Reason::kAttribute, "shape: axis {} must be {}, is {}", i, want, have.value);
      c.network().AddConstraint(have, want);
    }
  }
  return c.Alias(0, 0);
}

}  // namespace tfengine::convert
