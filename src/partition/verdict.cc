// SPDX-License-Identifier: Apache-2.0
#include "partition/verdict.h"

namespace tfengine {

const char* ReasonName(Reason reason) {
  switch (reason) {
    case Reason::kConverted: return "converted";
    case Reason::kNoConverter: return "no-converter";
    case Reason::kDType: return "dtype";
    case Reason::kAttribute: return "attribute";
    case Reason::kUnknownShape: return "unknown-shape";
    case Reason::kDataDependent: return "data-dependent";
    case Reason::kNotConstant: return "not-constant";
    case Reason::kControlFlow: return "control-flow";
    case Reason::kStateful: return "stateful";
    case Reason::kResource: return "resource";
    case Reason::kString: return "string";
    case Reason::kGraphBoundary: return "graph-boundary";
    case Reason::kExcluded: return "excluded";
    case Reason::kTooSmall: return "too-small";
    case Reason::kTooManyEngines: return "too-many-engines";
    case Reason::kNotWorthIt: return "not-worth-it";
    case Reason::kUnused: return "unused";
  }
  return "unknown";
}

}  // namespace tfengine
