// SPDX-License-Identifier: Apache-2.0
#include "saved_model/structured_value.h"

#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>

namespace tfengine::saved_model {
namespace {

using protozero::pbf_writer;

// Fields of StructuredValue.
enum : uint32_t {
  kNone = 1,
  kTensorSpec = 33,
  kList = 51,
  kTuple = 52,
  kDict = 53,
  kNamedTuple = 54
};

std::string Empty(uint32_t field) {
  std::string bytes;
  pbf_writer w(bytes);
  w.add_message(field, "", 0);
  return bytes;
}

// FullArgSpec() of a function that takes nothing.
std::string EmptyArgSpec() {
  static constexpr struct {
    const char* key;
    uint32_t kind;
  } kFields[] = {{"args", kList},       {"varargs", kNone},    {"varkw", kNone},
                 {"defaults", kNone},   {"kwonlyargs", kList}, {"kwonlydefaults", kNone},
                 {"annotations", kDict}};
  std::string bytes;
  pbf_writer w(bytes);
  pbf_writer named(w, kNamedTuple);
  named.add_string(1, "FullArgSpec");
  for (const auto& field : kFields) {
    pbf_writer pair(named, 2);
    pair.add_string(1, field.key);
    pair.add_message(2, Empty(field.kind));
  }
  return bytes;
}

}  // namespace

std::string SavedFunctionBytes(std::string_view concrete_function) {
  std::string bytes;
  pbf_writer w(bytes);
  w.add_string(1, concrete_function.data(), concrete_function.size());
  pbf_writer spec(w, 2);
  spec.add_message(1, EmptyArgSpec());
  spec.add_message(5, Empty(kTuple));
  return bytes;
}

std::string SavedConcreteFunctionBytes(FunctionResult result,
                                       const std::vector<int>& bound_inputs) {
  std::string bytes;
  pbf_writer w(bytes);
  w.add_packed_int32(2, bound_inputs.begin(), bound_inputs.end());
  {
    // ((), {})
    pbf_writer signature(w, 3);
    pbf_writer tuple(signature, kTuple);
    tuple.add_message(1, Empty(kTuple));
    tuple.add_message(1, Empty(kDict));
  }
  pbf_writer output(w, 4);
  pbf_writer spec(output, kTensorSpec);
  spec.add_string(1, "unknown");
  spec.add_message(2, "", 0);
  spec.add_int32(
      3, static_cast<int>(result == FunctionResult::kResource ? DType::kResource : DType::kInt32));
  return bytes;
}

}  // namespace tfengine::saved_model
