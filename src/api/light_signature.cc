// SPDX-License-Identifier: Apache-2.0
#include "api/light_signature.h"

#include <algorithm>
#include <map>
#include <set>

#include "tfgraph/transform.h"

namespace tfengine {

using tfgraph::AttrValue;
using tfgraph::Graph;
using tfgraph::Node;
using tfgraph::TensorId;

namespace {

template <class T>
std::vector<T> Select(const std::vector<T>& all, const std::vector<size_t>& kept) {
  std::vector<T> selected;
  for (size_t i : kept) selected.push_back(all[i]);
  return selected;
}

}  // namespace

std::optional<LightSignature> MakeLightSignature(const Graph& graph,
                                                 const std::vector<int>& objects) {
  if (objects.size() != graph.args.size()) return std::nullopt;
  LightSignature light;
  light.graph = graph;
  Graph& g = light.graph;
  std::map<int, int> object_of;  // argument's node → object
  for (size_t i = 0; i < g.args.size(); ++i) object_of[g.args[i]] = objects[i];

  for (Node& op : g.nodes) {
    if (op.op != "TRTEngineOp") continue;
    saved_model::VariableList list;
    // Calls of one engine read the same variables.
    list.engine = op.name.substr(op.name.rfind('/') + 1);
    std::vector<size_t> kept, variables;
    bool all_bound = true;
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      if (g.type_of(op.inputs[i]) != DType::kResource) {
        kept.push_back(i);
        continue;
      }
      auto object = object_of.find(op.inputs[i].node);
      list.objects.push_back(object == object_of.end() ? -1 : object->second);
      all_bound = all_bound && list.objects.back() >= 0;
      variables.push_back(i);
    }
    const AttrValue *types = op.attr("InT"), *shapes = op.attr("input_shapes");
    if (!all_bound || variables.size() < 2 || types == nullptr || shapes == nullptr) continue;
    auto old_types = types->type_list();
    auto old_shapes = shapes->shape_list();
    if (!old_types || !old_shapes || old_types->size() != op.inputs.size() ||
        old_shapes->size() != op.inputs.size())
      continue;
    // The first in the model: keys keep other variables alive, and must not do so in a circle.
    auto first = std::min_element(list.objects.begin(), list.objects.end());
    list.key = static_cast<int>(first - list.objects.begin());
    kept.push_back(variables[static_cast<size_t>(list.key)]);
    op.inputs = Select(op.inputs, kept);
    op.attrs["InT"] = AttrValue::TypeList(Select(*old_types, kept));
    op.attrs["input_shapes"] = AttrValue::ShapeList(Select(*old_shapes, kept));
    light.lists.push_back(std::move(list));
  }
  if (light.lists.empty()) return std::nullopt;

  std::set<int> read, dropped;
  for (const Node& node : g.nodes)
    for (TensorId input : node.inputs) read.insert(input.node);
  for (const auto& ret : g.returns) read.insert(ret.tensor.node);
  std::vector<int> args;
  for (size_t i = 0; i < g.args.size(); ++i) {
    if (objects[i] >= 0 && !read.contains(g.args[i])) {
      dropped.insert(g.args[i]);
    } else {
      light.kept.push_back(static_cast<int>(i));
      args.push_back(g.args[i]);
    }
  }
  g.args = std::move(args);
  std::vector<int> order;
  for (int v = 0; v < static_cast<int>(g.nodes.size()); ++v)
    if (!dropped.contains(v)) order.push_back(v);
  tfgraph::KeepNodes(g, order);
  return light;
}

}  // namespace tfengine
