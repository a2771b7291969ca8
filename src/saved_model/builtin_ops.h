// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "saved_model/protos.h"
#include "tfengine/status.h"

namespace tfengine::saved_model {

// The serialized OpDef of an op that is written one line per op:
//
//   name | inputs | outputs | attrs | flags
//   Concat | axis:int32 values:N*$T | output:$T | N:int T:type | stateful
//
// An argument is name:type, with type a dtype name, "$T" (attr T), "@Ts" (one per type of attr Ts)
// or "N*" in front of one of the first two (attr N of them); "&" before it marks a reference. An
// attr is name:type or name:type=default; defaults: a number, true, false, a dtype name, "" or []
// (empty), or # and the AttrValue in hexadecimal. Error: kInternalError for a malformed line.
Result<std::string> OpDefFromLine(std::string_view line);

// OpDefs known without a model: core ops of TensorFlow that SavedModels use (models of
// TensorFlow 2.0 do not list the ops of their functions), and the ops that converted models add.
// Built on first use; thread-safe.
const OpTable& BuiltinOps();

}  // namespace tfengine::saved_model
