// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tensorflow/core/framework/function.h"
#include "tfengine/status.h"

namespace tfengine {

// A native segment in the form that BuildSegmentEngine reads.
struct SegmentSource {
  std::string function;  // FunctionDef
  std::string library;   // FunctionDefLibrary: what it calls
  std::string op_list;   // OpList: the ops it uses
};

Result<SegmentSource> ReadSegment(tensorflow::FunctionLibraryRuntime* runtime,
                                  const tensorflow::NameAttrList& function);

// Tells native segments apart; equal for equal contents in this process. "" without a function.
std::string SegmentFingerprint(tensorflow::FunctionLibraryRuntime* runtime,
                               const tensorflow::NameAttrList& function);

}  // namespace tfengine
