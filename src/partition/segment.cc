// SPDX-License-Identifier: Apache-2.0
// Segments as graphs, and graphs with segments replaced.
#include <algorithm>
#include <set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "partition/partition.h"
#include "tfgraph/transform.h"

namespace tfengine::partition {
namespace {

using convert::Conversion;
using tfgraph::TensorId;

bool Has(const std::vector<int>& ascending, int v) { return std::binary_search(ascending.begin(), ascending.end(), v); }

bool IsInside(const SegmentNodes& segment, int v) { return Has(segment.nodes, v) || Has(segment.absorbed, v); }

// Nodes outside of the segment that its nodes wait for by control edges, ascending. Waiting for an absorbable node is
// waiting for what that depends on: a copy of it outside might in turn depend on the segment.
std::vector<int> ControlSources(const tfgraph::Graph& graph, const Partition& partition, const SegmentNodes& segment) {
  std::set<int> sources, passed;
  std::vector<int> stack;
  for (const std::vector<int>* list : {&segment.nodes, &segment.absorbed}) {
    for (int v : *list) {
      stack.insert(stack.end(), graph.nodes[v].control_inputs.begin(), graph.nodes[v].control_inputs.end());
    }
  }
  while (!stack.empty()) {
    int c = stack.back();
    stack.pop_back();
    if (IsInside(segment, c)) continue;
    if (!partition.absorbable[c]) {
      sources.insert(c);
    } else if (passed.insert(c).second) {
      for (TensorId t : graph.nodes[c].inputs) stack.push_back(t.node);
      stack.insert(stack.end(), graph.nodes[c].control_inputs.begin(), graph.nodes[c].control_inputs.end());
    }
  }
  return {sources.begin(), sources.end()};
}

// Nodes that stay in the graph: native ones, and absorbable ones that these or the results need.
std::vector<bool> KeptNodes(const tfgraph::Graph& graph, const Partition& partition) {
  const int n = static_cast<int>(graph.nodes.size());
  std::vector<bool> kept(n, false);
  for (int v = 0; v < n; ++v) {
    bool idle = partition.verdicts[v].reason == Reason::kUnused && !graph.nodes[v].stateful;
    kept[v] = partition.segment_of[v] < 0 && !partition.absorbable[v] && !idle;
  }
  for (int a : graph.args) kept[a] = true;
  for (const auto& r : graph.returns) kept[r.tensor.node] = true;
  for (const auto& r : graph.control_returns) kept[r.node] = true;
  for (int v = n - 1; v >= 0; --v) {
    kept[v] = kept[v] && partition.segment_of[v] < 0;
    if (!kept[v]) continue;
    for (TensorId t : graph.nodes[v].inputs) kept[t.node] = true;
    for (int c : graph.nodes[v].control_inputs) kept[c] = true;
  }
  return kept;
}

// A name that no node of the graph has yet.
std::string Unique(std::string name, std::set<std::string>& names) {
  while (!names.insert(name).second) name += "_";
  return name;
}

// True if `d` is linear in `symbol` (at the values that are tried).
bool IsLinear(const DimTable& dims, Dim d, int symbol) {
  std::vector<int64_t> values(dims.num_symbols(), 1);
  auto at = [&](int64_t v) -> Result<int64_t> {
    values[symbol] = v;
    return dims.Eval(d, values);
  };
  Result<int64_t> zero = at(0), one = at(1);
  if (!zero.ok() || !one.ok() || *zero == *one) return false;
  for (int64_t v : {2, 3, 5, 8, 13, 64, 100}) {
    Result<int64_t> got = at(v);
    if (!got.ok() || *got != *zero + v * (*one - *zero)) return false;
  }
  return true;
}

// Writes what is known of the inputs' sizes into the arguments (kDimsAttr). An expression is kept where the sizes of
// the inputs determine its symbols; others become symbols of their own, equal ones the same.
void Annotate(const Conversion& conversion, const std::vector<TensorId>& inputs, tfgraph::Graph* body) {
  const DimTable& dims = conversion.network.dims();
  auto known = [&](size_t i) -> const convert::NodeResult::Output* {
    const convert::NodeResult::Output& out = conversion.nodes[inputs[i].node].outputs[inputs[i].port];
    return out.known_rank && out.dtype != DType::kResource ? &out : nullptr;
  };
  std::vector<bool> bound(dims.num_symbols(), false);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!known(i)) continue;
    for (Dim d : known(i)->shape) {
      if (int s = dims.SymbolIndex(d); s >= 0) bound[s] = true;
    }
  }
  auto unbound = [&](Dim d) {
    std::vector<int> open;
    if (dims.SymbolIndex(d) >= 0) return open;
    for (int s = 0; s < dims.num_symbols(); ++s) {
      if (!bound[s] && dims.DependsOn(d, s)) open.push_back(s);
    }
    return open;
  };
  for (bool progress = true; progress;) {
    progress = false;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!known(i)) continue;
      for (Dim d : known(i)->shape) {
        if (d.is_const()) continue;
        std::vector<int> open = unbound(d);
        if (open.size() == 1 && IsLinear(dims, d, open[0])) bound[open[0]] = progress = true;
      }
    }
  }
  std::vector<std::pair<Dim, std::string>> renamed;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!known(i)) continue;
    std::string text;
    tfgraph::PartialShape shape{.known_rank = true, .dims = {}};
    for (Dim d : known(i)->shape) {
      shape.dims.push_back(d.is_const() ? d.value : -1);
      if (!text.empty()) text += ";";
      if (d.is_const() || unbound(d).empty()) {
        text += dims.ToString(d);
        continue;
      }
      auto it = std::find_if(renamed.begin(), renamed.end(), [&](const auto& r) { return r.first == d; });
      if (it == renamed.end()) {
        it = renamed.insert(renamed.end(), {d, "size_of_input_" + std::to_string(renamed.size())});
      }
      text += it->second;
    }
    tfgraph::Node& arg = body->nodes[body->args[i]];
    arg.attrs[convert::kDimsAttr] = tfgraph::AttrValue::String(text);
    arg.output_shapes = {shape};
  }
}

}  // namespace

std::vector<Segment> ExtractSegments(const tfgraph::Graph& graph, const Conversion& conversion,
                                     const Partition& partition) {
  const int n = static_cast<int>(graph.nodes.size());
  const int count = static_cast<int>(partition.segments.size());
  const std::vector<bool> kept = KeptNodes(graph, partition);
  std::vector<Segment> segments(count);
  std::vector<std::set<TensorId>> outputs(count);
  auto read_from_outside = [&](TensorId t) {
    if (partition.segment_of[t.node] >= 0) outputs[partition.segment_of[t.node]].insert(t);
  };
  for (int v = 0; v < n; ++v) {
    if (!kept[v]) continue;
    for (TensorId t : graph.nodes[v].inputs) read_from_outside(t);
  }
  for (const auto& r : graph.returns) read_from_outside(r.tensor);

  std::vector<std::vector<int>> members(count);
  for (int s = 0; s < count; ++s) {
    const SegmentNodes& nodes = partition.segments[s];
    std::merge(nodes.nodes.begin(), nodes.nodes.end(), nodes.absorbed.begin(), nodes.absorbed.end(),
               std::back_inserter(members[s]));
    std::set<TensorId> seen;
    for (int v : members[s]) {
      for (TensorId t : graph.nodes[v].inputs) {
        if (IsInside(nodes, t.node) || !seen.insert(t).second) continue;
        segments[s].inputs.push_back(t);
        read_from_outside(t);
      }
    }
    segments[s].control_inputs = ControlSources(graph, partition, nodes);
  }

  for (int s = 0; s < count; ++s) {
    Segment& segment = segments[s];
    tfgraph::Graph& body = segment.body;
    // What is needed for its control edges alone still has to be a result of something.
    if (outputs[s].empty()) outputs[s].insert({partition.segments[s].nodes.back(), 0});
    segment.outputs.assign(outputs[s].begin(), outputs[s].end());
    std::set<std::string> names;
    for (int v : members[s]) names.insert(graph.nodes[v].name);
    std::map<TensorId, TensorId> tensor_of;
    for (size_t i = 0; i < segment.inputs.size(); ++i) {
      TensorId t = segment.inputs[i];
      const tfgraph::Node& source = graph.nodes[t.node];
      tfgraph::Node arg;
      arg.name = Unique("input_" + std::to_string(i), names);
      arg.op = "_Arg";
      arg.output_types = {graph.type_of(t)};
      arg.attrs["T"] = tfgraph::AttrValue::Type(graph.type_of(t));
      arg.attrs["index"] = tfgraph::AttrValue::Int(static_cast<int64_t>(i));
      // A variable, or an argument whose value is known: constant for the engine.
      if (!conversion.nodes[t.node].verdict.ok() && source.frozen && source.frozen->dtype() == graph.type_of(t)) {
        arg.frozen = source.frozen;
      }
      body.args.push_back(static_cast<int>(body.nodes.size()));
      tensor_of[t] = {static_cast<int>(body.nodes.size()), 0};
      body.nodes.push_back(std::move(arg));
    }
    Annotate(conversion, segment.inputs, &body);
    std::map<int, int> node_of;
    for (int v : members[s]) {
      tfgraph::Node node = graph.nodes[v];
      for (TensorId& t : node.inputs) {
        auto inner = node_of.find(t.node);
        t = inner != node_of.end() ? TensorId{inner->second, t.port} : tensor_of.at(t);
      }
      std::vector<int> controls;
      for (int c : node.control_inputs) {
        if (auto inner = node_of.find(c); inner != node_of.end()) controls.push_back(inner->second);
      }
      node.control_inputs = std::move(controls);
      node_of[v] = static_cast<int>(body.nodes.size());
      body.nodes.push_back(std::move(node));
    }
    for (size_t i = 0; i < segment.outputs.size(); ++i) {
      TensorId t = segment.outputs[i];
      body.returns.push_back({"output_" + std::to_string(i), {node_of.at(t.node), t.port}});
    }
  }
  return segments;
}

Result<tfgraph::Graph> ReplaceSegments(const tfgraph::Graph& graph, const Partition& partition,
                                       const std::vector<Segment>& segments, const std::vector<EngineNode>& engines) {
  const int n = static_cast<int>(graph.nodes.size());
  if (segments.size() != partition.segments.size() || engines.size() != segments.size() ||
      static_cast<int>(partition.segment_of.size()) != n) {
    return Error(ErrorId::kGraphInvalid, "{} segments and {} engine nodes for a partition of {}", segments.size(),
                 engines.size(), partition.segments.size());
  }
  const std::vector<bool> kept = KeptNodes(graph, partition);
  tfgraph::Graph result;
  std::vector<int> new_index(n, -1);
  std::vector<int> engine_index(segments.size(), -1);
  // An engine takes the place of its segment's last node; the order is mended afterwards.
  for (int v = 0; v < n; ++v) {
    if (kept[v]) {
      new_index[v] = static_cast<int>(result.nodes.size());
      result.nodes.push_back(graph.nodes[v]);
    }
    int s = partition.segment_of[v];
    if (s >= 0 && partition.segments[s].nodes.back() == v) {
      engine_index[s] = static_cast<int>(result.nodes.size());
      tfgraph::Node engine;
      engine.name = engines[s].name;
      engine.op = engines[s].op;
      engine.device = engines[s].device;
      engine.attrs = engines[s].attrs;
      engine.inputs = segments[s].inputs;
      engine.control_inputs = segments[s].control_inputs;
      for (TensorId t : segments[s].outputs) {
        engine.output_types.push_back(graph.type_of(t));
        const auto& shapes = graph.nodes[t.node].output_shapes;
        engine.output_shapes.push_back(t.port < static_cast<int>(shapes.size()) ? shapes[t.port]
                                                                                : tfgraph::PartialShape{});
      }
      result.nodes.push_back(std::move(engine));
    }
  }
  std::map<TensorId, TensorId> engine_output;
  for (size_t s = 0; s < segments.size(); ++s) {
    for (size_t k = 0; k < segments[s].outputs.size(); ++k) {
      engine_output[segments[s].outputs[k]] = {engine_index[s], static_cast<int>(k)};
    }
  }
  auto tensor = [&](TensorId* t) {
    if (partition.segment_of[t->node] >= 0) {
      auto it = engine_output.find(*t);
      if (it == engine_output.end()) return false;
      *t = it->second;
    } else {
      t->node = new_index[t->node];
    }
    return t->node >= 0;
  };
  auto node = [&](int v) { return partition.segment_of[v] >= 0 ? engine_index[partition.segment_of[v]] : new_index[v]; };
  bool fits = true;
  for (size_t i = 0; i < result.nodes.size(); ++i) {
    tfgraph::Node& copy = result.nodes[i];
    for (TensorId& t : copy.inputs) fits &= tensor(&t);
    std::set<int> controls;
    for (int c : copy.control_inputs) {
      fits &= node(c) >= 0;
      if (node(c) != static_cast<int>(i)) controls.insert(node(c));
    }
    copy.control_inputs.assign(controls.begin(), controls.end());
  }
  for (int a : graph.args) {
    fits &= new_index[a] >= 0;
    result.args.push_back(new_index[a]);
  }
  for (const auto& r : graph.returns) {
    result.returns.push_back(r);
    fits &= tensor(&result.returns.back().tensor);
  }
  for (const auto& r : graph.control_returns) {
    result.control_returns.push_back({r.name, node(r.node)});
    fits &= result.control_returns.back().node >= 0;
  }
  if (!fits) return Error(ErrorId::kGraphInvalid, "the segments were not made of this graph and partition");
  TFE_RETURN_IF_ERROR(tfgraph::SortTopologically(result));
  return result;
}

}  // namespace tfengine::partition
