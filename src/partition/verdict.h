// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace tfengine {

// Why a TensorFlow node is not inside an engine. Closed list: `explain` prints it, tests count it.
enum class Reason {
  kConverted,         // it is inside an engine (or is a constant that an engine absorbed)
  kNoConverter,       // no converter for this op type
  kDType,             // an input or output has an element type that the converter does not take
  kAttribute,         // an attribute has a value that the converter does not take
  kUnknownShape,      // a needed rank or size is not known before run time
  kDataDependent,     // the output's shape depends on input data, not only on input shapes
  kNotConstant,       // an operand must be constant and is not
  kControlFlow,       // If, While, Case, Switch, Merge ... and calls that cannot be inlined
  kStateful,          // has side effects or reads state that may change
  kResource,          // works on a resource (table, variable that is assigned, iterator)
  kString,            // strings stay in TensorFlow
  kGraphBoundary,     // argument, placeholder, return value, NoOp
  kExcluded,          // excluded by the user
  kTooSmall,          // its segment is below minimum_segment_size
  kTooManyEngines,    // its segment is beyond the maximum number of engines
  kNotWorthIt,        // its segment has no compute worth an engine call
  kUnused,            // no output needs it
};

const char* ReasonName(Reason reason);  // "no-converter"

struct Verdict {
  Reason reason = Reason::kConverted;
  std::string detail;  // one line: which input, attribute or shape; expected, got. Empty if converted.
  bool ok() const { return reason == Reason::kConverted; }
};

}  // namespace tfengine
