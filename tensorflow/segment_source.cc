// SPDX-License-Identifier: Apache-2.0
#include "segment_source.h"

#include <cstdint>
#include <set>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/function.pb.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/op_def.pb.h"
#include "tensorflow/core/lib/strings/proto_serialization.h"
#include "tf_util.h"

namespace tfengine {
namespace {

using ::tensorflow::FunctionDef;
using ::tensorflow::FunctionDefLibrary;

void CollectOps(const FunctionDef& function, std::set<std::string>* ops) {
  for (const auto& node : function.node_def()) ops->insert(node.op());
}

// FNV-1a.
uint64_t Hash(const std::string& bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  return hash;
}

const FunctionDef* Find(tensorflow::FunctionLibraryRuntime* runtime,
                        const tensorflow::NameAttrList& function) {
  return runtime == nullptr ? nullptr
                            : runtime->GetFunctionLibraryDefinition()->Find(function.name());
}

}  // namespace

Result<SegmentSource> ReadSegment(tensorflow::FunctionLibraryRuntime* runtime,
                                  const tensorflow::NameAttrList& function) {
  const FunctionDef* definition = Find(runtime, function);
  if (definition == nullptr) {
    return EngineFailed(absl::StrCat("there is no native segment '", function.name(), "'"));
  }
  const FunctionDefLibrary library =
      runtime->GetFunctionLibraryDefinition()->ReachableDefinitions(*definition).ToProto();
  std::set<std::string> names;
  CollectOps(*definition, &names);
  for (const FunctionDef& called : library.function()) CollectOps(called, &names);
  tensorflow::OpList ops;
  for (const std::string& name : names) {
    if (const auto* data = tensorflow::OpRegistry::Global()->LookUp(name))
      *ops.add_op() = data->op_def;
  }
  return SegmentSource{definition->SerializeAsString(), library.SerializeAsString(),
                       ops.SerializeAsString()};
}

std::string SegmentFingerprint(tensorflow::FunctionLibraryRuntime* runtime,
                               const tensorflow::NameAttrList& function) {
  const FunctionDef* definition = Find(runtime, function);
  if (definition == nullptr) return "";
  FunctionDef nameless = *definition;  // loading a model renames its functions
  nameless.mutable_signature()->clear_name();
  std::string bytes;
  if (!tensorflow::SerializeToStringDeterministic(nameless, &bytes)) return function.name();
  return absl::StrCat(absl::Hex(Hash(bytes)), "-", bytes.size());
}

}  // namespace tfengine
