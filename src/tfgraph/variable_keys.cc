// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/variable_keys.h"

#include <charconv>
#include <set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/wire.h"
#include "tfgraph/build.h"

namespace tfengine::tfgraph {
namespace {

using saved_model::MapEntry;
using saved_model::MetaGraph;
using saved_model::ParseMapEntry;
using saved_model::SavedModel;
using saved_model::SliceExtent;
using saved_model::TensorSlice;
using saved_model::WireReader;

// The node behind Identity nodes.
TensorId Source(const Graph& graph, TensorId t) {
  while (graph.nodes[static_cast<size_t>(t.node)].op == "Identity") {
    t = graph.nodes[static_cast<size_t>(t.node)].inputs[0];
  }
  return t;
}

// "10 4 0,5:-": full shape, then start,length or "-" per dimension; "" is the whole tensor.
bool ParseSlice(std::string_view text, TensorSlice* slice) {
  if (text.empty()) return true;
  size_t space = text.rfind(' ');
  std::string_view extents = space == std::string_view::npos ? text : text.substr(space + 1);
  while (true) {
    size_t colon = extents.find(':');
    std::string_view part = extents.substr(0, colon);
    SliceExtent& extent = slice->emplace_back();
    if (part != "-") {
      const char* end = part.data() + part.size();
      auto start = std::from_chars(part.data(), end, extent.start);
      if (start.ec != std::errc() || start.ptr == end || *start.ptr != ',') return false;
      auto length = std::from_chars(start.ptr + 1, end, extent.length);
      if (length.ec != std::errc() || length.ptr != end || extent.start < 0 || extent.length < 0)
        return false;
    }
    if (colon == std::string_view::npos) return true;
    extents = extents.substr(colon + 1);
  }
}

// The strings of a constant input; empty if it is not one.
std::vector<std::string> ConstStrings(const Graph& graph, TensorId t) {
  const Node& node = graph.nodes[static_cast<size_t>(Source(graph, t).node)];
  const AttrValue* value = node.op == "Const" ? node.attr("value") : nullptr;
  if (value == nullptr) return {};
  auto strings = value->string_tensor();
  return strings.ok() ? *std::move(strings) : std::vector<std::string>();
}

// Children and, for variables, the checkpoint key of one node of a TrackableObjectGraph or
// SavedObjectGraph (the fields in question have the same numbers in both).
struct Object {
  std::map<std::string, int> children;
  std::string key;
};

Result<std::vector<Object>> ParseObjects(std::string_view bytes) {
  std::vector<Object> objects;
  WireReader r(bytes);
  bool ok = true;
  while (ok && r.Next()) {
    if (r.field() != 1) continue;
    Object& object = objects.emplace_back();
    WireReader node(r.Bytes());
    while (node.Next()) {
      if (node.field() == 1) {
        int id = 0;
        std::string name;
        WireReader child(node.Bytes());
        while (child.Next()) {
          if (child.field() == 1) id = child.Int32();
          if (child.field() == 2) name = child.Bytes();
        }
        ok = ok && child.ok();
        object.children[name] = id;
      } else if (node.field() == 2) {
        std::string name, key;
        WireReader attribute(node.Bytes());
        while (attribute.Next()) {
          if (attribute.field() == 1) name = attribute.Bytes();
          if (attribute.field() == 3) key = attribute.Bytes();
        }
        ok = ok && attribute.ok();
        if (name == "VARIABLE_VALUE") object.key = key;
      }
    }
    ok = ok && node.ok();
  }
  if (!ok || !r.ok())
    return Error(ErrorId::kProtoCorrupt, "object graph: truncated or malformed bytes");
  return objects;
}

}  // namespace

std::string VariableId(const Node& node) {
  auto text = [&](const char* key) {
    const AttrValue* a = node.attr(key);
    return a != nullptr ? a->s().value_or("") : std::string();
  };
  std::string name = text("shared_name");
  return text("container") + "/" + (name.empty() ? node.name : name);
}

Result<std::map<std::string, CheckpointKey>> KeysFromSaver(const MetaGraph& meta) {
  std::map<std::string, CheckpointKey> keys;
  if (!meta.saver || meta.saver->restore_op.empty()) return keys;
  std::string restore = meta.saver->restore_op;
  auto built = BuildTargets(meta, {restore.substr(0, restore.find(':'))});
  if (!built.ok()) return built.status().WithContext("restore op \"" + restore + "\"");
  const Graph& graph = *built;
  // One RestoreV2 serves many variables: decode its names and slices once.
  std::map<int, std::pair<std::vector<std::string>, std::vector<std::string>>> readers;
  for (const Node& assign : graph.nodes) {
    if ((assign.op != "AssignVariableOp" && assign.op != "Assign") || assign.inputs.size() < 2)
      continue;
    TensorId value = Source(graph, assign.inputs[1]);
    const Node& variable = graph.nodes[static_cast<size_t>(Source(graph, assign.inputs[0]).node)];
    const Node& reader = graph.nodes[static_cast<size_t>(value.node)];
    if (reader.op != "RestoreV2" || reader.inputs.size() < 3) continue;
    auto [it, inserted] = readers.try_emplace(value.node);
    auto& [names, slices] = it->second;
    if (inserted) {
      names = ConstStrings(graph, reader.inputs[1]);
      slices = ConstStrings(graph, reader.inputs[2]);
    }
    const auto port = static_cast<size_t>(value.port);
    if (port >= names.size() || port >= slices.size()) continue;
    CheckpointKey key{names[port], {}};
    if (!ParseSlice(slices[port], &key.slice)) {
      return Error(ErrorId::kGraphInvalid, "node \"{}\" (RestoreV2): malformed slice \"{}\"",
                   reader.name, slices[port]);
    }
    keys[VariableId(variable)] = std::move(key);
  }
  return keys;
}

Result<std::map<int, CheckpointKey>> KeysFromObjects(const SavedModel& model, const MetaGraph& meta,
                                                     const std::string& function) {
  std::map<int, CheckpointKey> keys;
  const saved_model::FunctionDef* def = meta.functions.Find(function);
  if (meta.object_graph.empty() || def == nullptr) return keys;
  std::vector<int> bound;
  WireReader r(meta.object_graph);
  while (r.Next()) {
    MapEntry entry;
    if (r.field() != 2 || !ParseMapEntry(r.Bytes(), &entry) || entry.key != function) continue;
    WireReader concrete(entry.value);
    while (concrete.Next())
      if (concrete.field() == 2)
        concrete.Varints([&](uint64_t v) { bound.push_back(static_cast<int>(v)); });
  }
  const size_t arg_count = def->signature.inputs.size();
  if (bound.empty() || bound.size() > arg_count) return keys;
  auto bundle = model.variables();
  if (!bundle.ok()) return bundle.status();
  if ((*bundle)->Find("_CHECKPOINTABLE_OBJECT_GRAPH") == nullptr) return keys;
  TFE_ASSIGN_OR_RETURN(auto strings, (*bundle)->ReadStrings("_CHECKPOINTABLE_OBJECT_GRAPH"));
  if (strings.size() != 1) return keys;
  TFE_ASSIGN_OR_RETURN(std::vector<Object> saved, ParseObjects(meta.object_graph));
  TFE_ASSIGN_OR_RETURN(std::vector<Object> stored, ParseObjects(strings[0]));
  // Node numbers may differ between the two graphs; the names of the edges from the root do not.
  std::map<int, int> same;  // saved -> stored
  std::vector<std::pair<int, int>> stack = {{0, 0}};
  while (!stack.empty()) {
    auto [a, b] = stack.back();
    stack.pop_back();
    if (a < 0 || b < 0 || a >= static_cast<int>(saved.size()) ||
        b >= static_cast<int>(stored.size()))
      continue;
    if (!same.emplace(a, b).second) continue;
    for (const auto& [name, child] : saved[static_cast<size_t>(a)].children) {
      const auto& others = stored[static_cast<size_t>(b)].children;
      if (auto it = others.find(name); it != others.end()) stack.push_back({child, it->second});
    }
  }
  for (size_t i = 0; i < bound.size(); ++i) {
    auto it = same.find(bound[i]);
    if (it == same.end()) continue;
    const std::string& key = stored[static_cast<size_t>(it->second)].key;
    if (!key.empty()) keys[static_cast<int>(arg_count - bound.size() + i)] = {key, {}};
  }
  return keys;
}

}  // namespace tfengine::tfgraph
