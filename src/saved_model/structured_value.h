// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tfengine/types.h"

namespace tfengine::saved_model {

// What a function of an engine resource takes or returns besides its captures.
enum class FunctionResult { kResource, kInt32 };

// Serialized SavedFunction of a function without Python arguments that stands for one concrete
// function.
std::string SavedFunctionBytes(std::string_view concrete_function);

// Serialized SavedConcreteFunction without arguments, with one scalar result. bound_inputs: the
// objects it captures.
std::string SavedConcreteFunctionBytes(FunctionResult result,
                                       const std::vector<int>& bound_inputs);

}  // namespace tfengine::saved_model
