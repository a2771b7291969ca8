// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "tensorflow/core/framework/function.h"
#include "tfengine/status.h"

namespace tfengine {

// A native segment and what it calls, held by reference: cheap to take in a request, read later on
// another thread.
class SegmentSource {
 public:
  // Takes the segment out of `runtime`'s library, which need not stay alive. Error: kEngineFailed
  // if it is not there.
  static Result<SegmentSource> Take(tensorflow::FunctionLibraryRuntime* runtime,
                                    const std::string& function);

  const tensorflow::FunctionDef& definition() const { return *library_->Find(name_); }

  // In the form that BuildSegmentEngine reads.
  struct Serialized {
    std::string function;  // FunctionDef
    std::string library;   // FunctionDefLibrary: what it calls
    std::string op_list;   // OpList: the ops they use
  };
  Serialized Serialize() const;

  // Tells segments apart; equal for equal contents in this process. Reads all constants.
  std::string Fingerprint() const;

 private:
  std::string name_;
  std::shared_ptr<const tensorflow::FunctionLibraryDefinition> library_;  // the segment too
};

}  // namespace tfengine
