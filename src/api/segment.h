// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tfengine/engine.h"
#include "tfengine/export.h"

namespace tfengine {

// Builds an engine from a native segment function (legacy models, or when an engine file cannot be used).
//   function_def: serialized tensorflow.FunctionDef
//   library: serialized tensorflow.FunctionDefLibrary with the functions it calls (may be empty)
//   op_list: serialized tensorflow.OpList with the OpDefs of every op used
// Inputs and outputs are the function's non-resource arguments and its results, in order.
TFENGINE_API Result<std::shared_ptr<Engine>> BuildSegmentEngine(std::string_view function_def, std::string_view library,
                                                                std::string_view op_list, const EngineOptions& options);

}  // namespace tfengine
