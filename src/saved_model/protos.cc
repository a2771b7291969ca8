// SPDX-License-Identifier: Apache-2.0
#include "saved_model/protos.h"

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/builtin_ops.h"
#include "saved_model/wire.h"

namespace tfengine::saved_model {
namespace {

Status Corrupt(std::string_view message, std::string_view name) {
  return Error(ErrorId::kProtoCorrupt, "{} \"{}\": truncated or malformed bytes", message, name);
}

bool ParseArg(std::string_view bytes, ArgDef* arg) {
  WireReader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 1: arg->name = r.Bytes(); break;
      case 3: arg->type = static_cast<DType>(r.Int32()); break;
      case 4: arg->type_attr = r.Bytes(); break;
      case 5: arg->number_attr = r.Bytes(); break;
      case 6: arg->type_list_attr = r.Bytes(); break;
      case 16: arg->is_ref = r.Bool(); break;
    }
  }
  return r.ok();
}

bool ParseAttrDef(std::string_view bytes, AttrDef* attr) {
  WireReader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 1: attr->name = r.Bytes(); break;
      case 2: attr->type = r.Bytes(); break;
      case 3:
        attr->has_default = true;
        attr->default_value = tfgraph::AttrValue(std::string(r.Bytes()));
        break;
    }
  }
  return r.ok();
}

}  // namespace

std::optional<tfgraph::PartialShape> ParseTensorShape(std::string_view bytes) {
  constexpr size_t kMaxRank = 254;  // TensorFlow's own limit
  tfgraph::PartialShape shape;
  shape.known_rank = true;
  WireReader r(bytes);
  while (r.Next()) {
    if (r.field() == 3 && r.Bool()) shape.known_rank = false;
    if (r.field() != 2) continue;
    int64_t size = 0;
    WireReader dim(r.Bytes());
    while (dim.Next())
      if (dim.field() == 1) size = dim.Int();
    if (!dim.ok() || size < -1 || shape.dims.size() >= kMaxRank) return std::nullopt;
    shape.dims.push_back(size);
  }
  if (!r.ok()) return std::nullopt;
  if (!shape.known_rank) shape.dims.clear();
  return shape;
}

Result<OpDef> OpDef::Parse(std::string_view serialized) {
  OpDef op;
  bool ok = true;
  WireReader r(serialized);
  while (ok && r.Next()) {
    switch (r.field()) {
      case 1: op.name = r.Bytes(); break;
      case 2: ok = ParseArg(r.Bytes(), &op.inputs.emplace_back()); break;
      case 3: ok = ParseArg(r.Bytes(), &op.outputs.emplace_back()); break;
      case 4: ok = ParseAttrDef(r.Bytes(), &op.attrs.emplace_back()); break;
      case 17: op.is_stateful = r.Bool(); break;
      case 20: op.control_outputs.emplace_back(r.Bytes()); break;
    }
  }
  if (!ok || !r.ok()) return Corrupt("OpDef", op.name);
  op.serialized = serialized;
  return op;
}

std::string_view NodeDef::attr(std::string_view key) const {
  for (const auto& [k, value] : attrs)
    if (k == key) return value;
  return {};
}

Result<NodeDef> NodeDef::Parse(std::string_view serialized) {
  NodeDef node;
  node.serialized = serialized;
  bool ok = true;
  WireReader r(serialized);
  while (ok && r.Next()) {
    switch (r.field()) {
      case 1: node.name = r.Bytes(); break;
      case 2: node.op = r.Bytes(); break;
      case 3: node.inputs.push_back(r.Bytes()); break;
      case 4: node.device = r.Bytes(); break;
      case 5: {
        MapEntry entry;
        ok = ParseMapEntry(r.Bytes(), &entry);
        node.attrs.emplace_back(entry.key, entry.value);
        break;
      }
    }
  }
  if (!ok || !r.ok()) return Corrupt("NodeDef", node.name);
  return node;
}

Result<FunctionDef> FunctionDef::Parse(std::string_view serialized) {
  FunctionDef f;
  f.serialized = serialized;
  bool ok = true;
  auto entry_to = [&](std::string_view bytes, NamedBytes* to) {
    MapEntry entry;
    ok = ok && ParseMapEntry(bytes, &entry);
    to->emplace_back(entry.key, entry.value);
  };
  WireReader r(serialized);
  while (ok && r.Next()) {
    switch (r.field()) {
      case 1: {
        TFE_ASSIGN_OR_RETURN(f.signature, OpDef::Parse(r.Bytes()));
        break;
      }
      case 3: f.nodes.push_back(r.Bytes()); break;
      case 4: entry_to(r.Bytes(), &f.ret); break;
      case 5: entry_to(r.Bytes(), &f.attrs); break;
      case 6: entry_to(r.Bytes(), &f.control_ret); break;
      case 7: {
        uint32_t index = 0;
        std::string_view attrs;
        WireReader entry(r.Bytes());
        while (entry.Next()) {
          if (entry.field() == 1) index = static_cast<uint32_t>(entry.Uint());
          if (entry.field() == 2) attrs = entry.Bytes();
        }
        WireReader list(attrs);
        while (list.Next())
          if (list.field() == 1) entry_to(list.Bytes(), &f.arg_attrs[index]);
        ok = ok && entry.ok() && list.ok();
        break;
      }
    }
  }
  if (!ok || !r.ok()) return Corrupt("FunctionDef", f.signature.name);
  return f;
}

Status OpTable::Add(std::string_view serialized_op_def) {
  TFE_ASSIGN_OR_RETURN(OpDef op, OpDef::Parse(serialized_op_def));
  std::string name = op.name;
  ops_.try_emplace(std::move(name), std::move(op));
  return OkStatus();
}

const OpDef* OpTable::Find(std::string_view name) const {
  if (auto it = ops_.find(name); it != ops_.end()) return &it->second;
  const OpTable& builtin = BuiltinOps();
  return this == &builtin ? nullptr : builtin.Find(name);
}

Status FunctionLibrary::Add(std::string_view serialized_function_def) {
  TFE_ASSIGN_OR_RETURN(FunctionDef function, FunctionDef::Parse(serialized_function_def));
  std::string name = function.name();
  if (!functions_.try_emplace(name, std::move(function)).second) {
    return Error(ErrorId::kProtoCorrupt,
                 "function library: expected unique names, got \"{}\" twice", name);
  }
  return OkStatus();
}

Status FunctionLibrary::AddOwned(std::string serialized_function_def) {
  owned_.push_back(std::make_shared<const std::string>(std::move(serialized_function_def)));
  return Add(*owned_.back());
}

const FunctionDef* FunctionLibrary::Find(std::string_view name) const {
  auto it = functions_.find(name);
  return it == functions_.end() ? nullptr : &it->second;
}

namespace {

const tfgraph::AttrValue* FindAttr(const OpDef& op, const std::string& key,
                                   const std::map<std::string, tfgraph::AttrValue>& attrs) {
  if (auto it = attrs.find(key); it != attrs.end()) return &it->second;
  for (const AttrDef& attr : op.attrs)
    if (attr.name == key && attr.has_default) return &attr.default_value;
  return nullptr;
}

Status BadAttr(const OpDef& op, const ArgDef& arg, const std::string& key) {
  return Error(ErrorId::kGraphInvalid, "op {}: the types of \"{}\" need a valid attr \"{}\"",
               op.name, arg.name, key);
}

}  // namespace

namespace {

// TensorFlow 1 reference types are their base types plus 100.
DType BaseType(DType type) {
  int number = static_cast<int>(type);
  return number > 100 ? static_cast<DType>(number - 100) : type;
}

}  // namespace

Result<std::vector<DType>> ArgTypes(const OpDef& op, const ArgDef& arg,
                                    const std::map<std::string, tfgraph::AttrValue>& attrs) {
  // A node with more tensors in one list than this is an attack, not a model.
  constexpr int64_t kMaxList = 1 << 20;
  if (!arg.type_list_attr.empty()) {
    const auto* value = FindAttr(op, arg.type_list_attr, attrs);
    auto types = value ? value->type_list() : std::nullopt;
    if (!types) return BadAttr(op, arg, arg.type_list_attr);
    for (DType& type : *types) type = BaseType(type);
    return *std::move(types);
  }
  DType type = arg.type;
  if (!arg.type_attr.empty()) {
    const auto* value = FindAttr(op, arg.type_attr, attrs);
    auto found = value ? value->type() : std::nullopt;
    if (!found) return BadAttr(op, arg, arg.type_attr);
    type = *found;
  }
  int64_t count = 1;
  if (!arg.number_attr.empty()) {
    const auto* value = FindAttr(op, arg.number_attr, attrs);
    auto found = value ? value->i() : std::nullopt;
    if (!found || *found < 0 || *found > kMaxList) return BadAttr(op, arg, arg.number_attr);
    count = *found;
  }
  return std::vector<DType>(static_cast<size_t>(count), BaseType(type));
}

}  // namespace tfengine::saved_model
