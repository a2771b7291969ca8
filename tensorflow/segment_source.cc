// SPDX-License-Identifier: Apache-2.0
#include "segment_source.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string_view>
#include <utility>

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

// FNV-1a over 8 bytes at a time: constants can be hundreds of MB.
class Hasher {
 public:
  void Add(std::string_view bytes) {
    AddWord(bytes.size());
    size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + i, 8);
      AddWord(word);
    }
    uint64_t rest = 0;
    if (i < bytes.size()) std::memcpy(&rest, bytes.data() + i, bytes.size() - i);
    AddWord(rest);
  }
  void Add(const tensorflow::protobuf::MessageLite& message) {
    std::string bytes;
    if (tensorflow::SerializeToStringDeterministic(message, &bytes)) Add(bytes);
  }
  uint64_t value() const { return hash_; }

 private:
  void AddWord(uint64_t word) {
    hash_ = (hash_ ^ word) * 0x100000001b3u;
    hash_ ^= hash_ >> 29;  // lets high bits of a word reach low bits of the hash
  }
  uint64_t hash_ = 0xcbf29ce484222325u;
};

void AddNode(const tensorflow::NodeDef& node, Hasher* hasher) {
  hasher->Add(node.name());
  hasher->Add(node.op());
  for (const std::string& input : node.input()) hasher->Add(input);
  std::map<std::string_view, const tensorflow::AttrValue*> sorted;
  for (const auto& attr : node.attr()) sorted.emplace(attr.first, &attr.second);
  for (const auto& [key, value] : sorted) {
    hasher->Add(key);
    if (value->has_tensor() && !value->tensor().tensor_content().empty()) {
      hasher->Add(value->tensor().tensor_shape());
      hasher->Add(std::string_view(value->tensor().tensor_content()));
    } else {
      hasher->Add(*value);
    }
  }
}

}  // namespace

Result<SegmentSource> SegmentSource::Take(tensorflow::FunctionLibraryRuntime* runtime,
                                          const std::string& function) {
  const auto* library = runtime == nullptr ? nullptr : runtime->GetFunctionLibraryDefinition();
  const auto record = library == nullptr ? nullptr : library->FindRecord(function);
  if (record == nullptr)
    return EngineFailed(absl::StrCat("there is no native segment '", function, "'"));
  SegmentSource source;
  source.name_ = function;
  auto reachable = std::make_shared<tensorflow::FunctionLibraryDefinition>(
      library->ReachableDefinitions(record->fdef()));
  if (!reachable->Contains(function)) {
    const absl::Status status = reachable->CopyFunctionDefFrom(function, *library);
    if (!status.ok()) return EngineFailed(status.ToString());
  }
  source.library_ = std::move(reachable);
  return source;
}

SegmentSource::Serialized SegmentSource::Serialize() const {
  Serialized serialized;
  std::set<std::string> op_names = {"Const"};  // what reads of variables become
  FunctionDefLibrary called;
  for (const std::string& name : library_->ListFunctionNames()) {
    const FunctionDef& definition = *library_->Find(name);
    for (const auto& node : definition.node_def()) op_names.insert(node.op());
    if (name == name_) {
      serialized.function = definition.SerializeAsString();
    } else {
      *called.add_function() = definition;
    }
  }
  tensorflow::OpList ops;
  for (const std::string& name : op_names) {
    if (const auto* data = tensorflow::OpRegistry::Global()->LookUp(name))
      *ops.add_op() = data->op_def;
  }
  serialized.library = called.SerializeAsString();
  serialized.op_list = ops.SerializeAsString();
  return serialized;
}

std::string SegmentSource::Fingerprint() const {
  Hasher hasher;
  // Not the function's name: loading a model changes it.
  for (const auto& arg : definition().signature().input_arg()) hasher.Add(arg);
  for (const auto& arg : definition().signature().output_arg()) hasher.Add(arg);
  for (const auto& node : definition().node_def()) AddNode(node, &hasher);
  const std::map<std::string, std::string> results(definition().ret().begin(),
                                                   definition().ret().end());
  for (const auto& [name, source] : results) {
    hasher.Add(name);
    hasher.Add(source);
  }
  return absl::StrCat(absl::Hex(hasher.value()), "-", definition().node_def_size());
}

}  // namespace tfengine
