// SPDX-License-Identifier: Apache-2.0
#include "saved_model/builtin_ops.h"

#include <charconv>
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>

#include "base/errors.h"

namespace tfengine::saved_model {
namespace {

using protozero::pbf_writer;

// Written by tests/make_builtin_ops.py from TensorFlow's op registry.
constexpr std::string_view kCoreOps[] = {
#include "saved_model/builtin_ops.inc"
};

// The ops of converted models: those that TensorFlow 2.17 declared, and ours.
constexpr std::string_view kEngineOps[] = {
    "TRTEngineOp|in_tensor:@InT|out_tensor:@OutT|serialized_segment:string segment_func:func=# "
    "InT:list(type) "
    "OutT:list(type) input_shapes:list(shape)=[] output_shapes:list(shape)=[] "
    "max_cached_engines_count:int=1 "
    "max_batch_size:int=1 workspace_size_bytes:int precision_mode:string "
    "calibration_data:string=\"\" "
    "use_calibration:bool=true segment_funcdef_name:string=\"\" cached_engine_batches:list(int)=[] "
    "fixed_input_size:bool=true static_engine:bool=true profile_strategy:string=\"\" "
    "use_explicit_precision:bool=false|",
    "CreateTRTResourceHandle||resource_handle:resource|resource_name:string|stateful",
    "InitializeTRTResource|resource_handle:resource "
    "filename:string||max_cached_engines_count:int=1|stateful",
    "SerializeTRTResource|resource_name:string filename:string||delete_resource:bool=false "
    "save_gpu_specific_engines:bool=true|stateful",
    "GetCalibrationDataOp|resource_name:string|serialized_resource:string||stateful",
    "TfengineBindVariables|variables:N*resource||engine:string key:int N:int|stateful",
};

std::string_view TakeUntil(std::string_view* s, char separator) {
  size_t at = s->find(separator);
  std::string_view head = s->substr(0, at);
  *s = at == std::string_view::npos ? std::string_view() : s->substr(at + 1);
  return head;
}

bool AppendArgs(std::string_view text, uint32_t field, pbf_writer* op) {
  while (!text.empty()) {
    std::string_view type = TakeUntil(&text, ' ');
    std::string_view name = TakeUntil(&type, ':');
    pbf_writer arg(*op, field);
    arg.add_string(1, name.data(), name.size());
    const bool ref = type.starts_with('&');
    if (ref) type.remove_prefix(1);
    if (size_t star = type.find('*'); star != std::string_view::npos) {
      arg.add_string(5, type.data(), star);
      type.remove_prefix(star + 1);
    }
    if (type.starts_with('$') || type.starts_with('@')) {
      arg.add_string(type[0] == '$' ? 4 : 6, type.data() + 1, type.size() - 1);
    } else {
      DType dtype = DTypeFromName(std::string(type));
      if (dtype == DType::kInvalid) return false;
      arg.add_int32(3, static_cast<int>(dtype));
    }
    if (ref) arg.add_bool(16, true);
  }
  return true;
}

bool DecodeDefault(std::string_view type, std::string_view text, std::string* value) {
  if (text.starts_with('#')) {
    text.remove_prefix(1);
    if (type == "func" && text.empty()) *value = tfgraph::AttrValue::Func("").serialized();
    for (size_t i = 0; i + 1 < text.size(); i += 2) {
      uint8_t byte;
      auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
      if (error != std::errc() || end != text.data() + i + 2) return false;
      value->push_back(static_cast<char>(byte));
    }
    return text.size() % 2 == 0;
  }
  if (text == "[]") {
    *value = tfgraph::AttrValue::StringList({}).serialized();
  } else if (text == "\"\"") {
    *value = tfgraph::AttrValue::String("").serialized();
  } else if (type == "bool" && (text == "true" || text == "false")) {
    *value = tfgraph::AttrValue::Bool(text == "true").serialized();
  } else if (type == "type") {
    *value = tfgraph::AttrValue::Type(DTypeFromName(std::string(text))).serialized();
  } else if (type == "int") {
    int64_t number;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return false;
    *value = tfgraph::AttrValue::Int(number).serialized();
  } else {
    return false;
  }
  return true;
}

bool AppendAttrs(std::string_view text, pbf_writer* op) {
  while (!text.empty()) {
    std::string_view type = TakeUntil(&text, ' ');
    std::string_view name = TakeUntil(&type, ':');
    const bool has_default = type.find('=') != std::string_view::npos;
    std::string_view default_text = type;
    type = TakeUntil(&default_text, '=');
    pbf_writer attr(*op, 4);
    attr.add_string(1, name.data(), name.size());
    attr.add_string(2, type.data(), type.size());
    if (!has_default) continue;
    std::string value;
    if (!DecodeDefault(type, default_text, &value)) return false;
    attr.add_message(3, value);
  }
  return true;
}

}  // namespace

Result<std::string> OpDefFromLine(std::string_view line) {
  std::string bytes;
  pbf_writer op(bytes);
  std::string_view rest = line;
  std::string_view name = TakeUntil(&rest, '|');
  op.add_string(1, name.data(), name.size());
  if (!AppendArgs(TakeUntil(&rest, '|'), 2, &op) || !AppendArgs(TakeUntil(&rest, '|'), 3, &op) ||
      !AppendAttrs(TakeUntil(&rest, '|'), &op)) {
    return Error(ErrorId::kInternalError, "op table: malformed line \"{}\"", line);
  }
  if (rest == "stateful") op.add_bool(17, true);
  return bytes;
}

const OpTable& BuiltinOps() {
  static const OpTable kTable = [] {
    OpTable table;
    auto add = [&](std::string_view line) {
      auto op = OpDefFromLine(line);
      TFE_CHECK(op.ok());
      TFE_CHECK(table.Add(*op).ok());
    };
    for (std::string_view line : kCoreOps) add(line);
    for (std::string_view line : kEngineOps) add(line);
    return table;
  }();
  return kTable;
}

}  // namespace tfengine::saved_model
