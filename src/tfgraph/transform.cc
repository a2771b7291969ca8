// SPDX-License-Identifier: Apache-2.0
#include "tfgraph/transform.h"

#include <algorithm>
#include <queue>
#include <unordered_set>

#include "base/errors.h"

namespace tfengine::tfgraph {
namespace {

bool IsNextIteration(const Node& n) {
  return n.op == "NextIteration" || n.op == "RefNextIteration";
}
bool IsMerge(const Node& n) { return n.op == "Merge" || n.op == "RefMerge"; }

bool IsBackEdge(const Graph& g, int from, int to) {
  return IsNextIteration(g.nodes[from]) && IsMerge(g.nodes[to]);
}

// Calls fn(source) for each data and control input of node i.
template <typename Fn>
void ForEachInput(const Node& node, Fn&& fn) {
  for (TensorId t : node.inputs) fn(t.node);
  for (int c : node.control_inputs) fn(c);
}

void SortUnique(std::vector<int>* v) {
  std::sort(v->begin(), v->end());
  v->erase(std::unique(v->begin(), v->end()), v->end());
}

}  // namespace

void KeepNodes(Graph& graph, const std::vector<int>& order) {
  std::vector<int> to(graph.nodes.size(), -1);
  for (size_t i = 0; i < order.size(); ++i) to[static_cast<size_t>(order[i])] = static_cast<int>(i);
  std::vector<Node> nodes;
  nodes.reserve(order.size());
  for (int i : order) nodes.push_back(std::move(graph.nodes[static_cast<size_t>(i)]));
  for (Node& node : nodes) {
    for (TensorId& t : node.inputs) {
      t.node = to[static_cast<size_t>(t.node)];
      TFE_CHECK(t.node >= 0);
    }
    std::erase_if(node.control_inputs, [&](int c) { return to[static_cast<size_t>(c)] < 0; });
    for (int& c : node.control_inputs) c = to[static_cast<size_t>(c)];
  }
  for (int& a : graph.args) a = to[static_cast<size_t>(a)];
  for (auto& r : graph.returns) r.tensor.node = to[static_cast<size_t>(r.tensor.node)];
  std::erase_if(graph.control_returns,
                [&](const auto& r) { return to[static_cast<size_t>(r.node)] < 0; });
  for (auto& r : graph.control_returns) r.node = to[static_cast<size_t>(r.node)];
  graph.nodes = std::move(nodes);
}

int Prune(Graph& graph) {
  std::vector<bool> needed(graph.nodes.size(), false);
  std::vector<int> stack;
  auto need = [&](int n) {
    if (!needed[static_cast<size_t>(n)]) {
      needed[static_cast<size_t>(n)] = true;
      stack.push_back(n);
    }
  };
  for (int a : graph.args) need(a);
  for (const auto& r : graph.returns) need(r.tensor.node);
  for (const auto& r : graph.control_returns) need(r.node);
  while (!stack.empty()) {
    int n = stack.back();
    stack.pop_back();
    ForEachInput(graph.nodes[static_cast<size_t>(n)], need);
  }
  std::vector<int> keep;
  for (size_t i = 0; i < needed.size(); ++i)
    if (needed[i]) keep.push_back(static_cast<int>(i));
  int removed = static_cast<int>(needed.size() - keep.size());
  if (removed > 0) KeepNodes(graph, keep);
  return removed;
}

Status SortTopologically(Graph& graph) {
  const size_t n = graph.nodes.size();
  std::vector<int> waiting(n, 0);
  std::vector<std::vector<int>> users(n);
  for (size_t i = 0; i < n; ++i) {
    ForEachInput(graph.nodes[i], [&](int from) {
      if (IsBackEdge(graph, from, static_cast<int>(i))) return;
      ++waiting[i];
      users[static_cast<size_t>(from)].push_back(static_cast<int>(i));
    });
  }
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
  for (size_t i = 0; i < n; ++i)
    if (waiting[i] == 0) ready.push(static_cast<int>(i));
  std::vector<int> order;
  order.reserve(n);
  while (!ready.empty()) {
    int i = ready.top();
    ready.pop();
    order.push_back(i);
    for (int user : users[static_cast<size_t>(i)])
      if (--waiting[static_cast<size_t>(user)] == 0) ready.push(user);
  }
  if (order.size() != n) {
    auto stuck =
        std::find_if(waiting.begin(), waiting.end(), [](int w) { return w > 0; }) - waiting.begin();
    return Error(
        ErrorId::kGraphInvalid, "node \"{}\" ({}): expected no cycle, but it depends on itself",
        graph.nodes[static_cast<size_t>(stuck)].name, graph.nodes[static_cast<size_t>(stuck)].op);
  }
  if (!std::is_sorted(order.begin(), order.end())) KeepNodes(graph, order);
  return OkStatus();
}

int RemoveIdleControlEdges(Graph& graph) {
  // effects[i]: the stateful nodes that must have run once node i has; i itself if it is one. A
  // long chain of stateful nodes is cut at the last one, which waits for the earlier ones by
  // itself.
  std::vector<std::vector<int>> effects(graph.nodes.size());
  std::unordered_set<int> args(graph.args.begin(), graph.args.end());
  int removed = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    Node& node = graph.nodes[i];
    std::vector<int> control;
    for (int c : node.control_inputs) {
      const auto& e = effects[static_cast<size_t>(c)];
      if (static_cast<size_t>(c) >= i) {
        control.push_back(c);  // back edge of a loop
      } else {
        control.insert(control.end(), e.begin(), e.end());
      }
    }
    SortUnique(&control);
    removed += std::max<int>(
        0, static_cast<int>(node.control_inputs.size()) - static_cast<int>(control.size()));
    node.control_inputs = std::move(control);
    std::vector<int>& mine = effects[i];
    mine = node.control_inputs;
    if (node.frozen || node.op == "VarHandleOp" || args.contains(static_cast<int>(i))) continue;
    for (TensorId input : node.inputs) {
      const auto& e = effects[static_cast<size_t>(input.node)];
      mine.insert(mine.end(), e.begin(), e.end());
    }
    SortUnique(&mine);
    // Too many to carry along: this node stands for them.
    if (node.stateful || mine.size() > 64) mine = {static_cast<int>(i)};
  }
  auto idle = [&](const Graph::ControlReturn& r) {
    return effects[static_cast<size_t>(r.node)].empty();
  };
  removed += static_cast<int>(std::erase_if(graph.control_returns, idle));
  return removed;
}

Status Validate(const Graph& graph) {
  const int n = static_cast<int>(graph.nodes.size());
  auto bad = [](std::string_view name, std::string_view what) {
    return Error(ErrorId::kGraphInvalid, "node \"{}\": {}", name, what);
  };
  auto valid = [&](TensorId t) {
    return t.node >= 0 && t.node < n && t.port >= 0 &&
           t.port < static_cast<int>(graph.nodes[static_cast<size_t>(t.node)].output_types.size());
  };
  std::unordered_set<std::string_view> names;
  for (const Node& node : graph.nodes) {
    if (!names.insert(node.name).second)
      return bad(node.name, "expected unique names, this one appears twice");
    for (TensorId t : node.inputs)
      if (!valid(t)) return bad(node.name, "an input refers to an output that does not exist");
    for (int c : node.control_inputs)
      if (c < 0 || c >= n)
        return bad(node.name, "a control input refers to a node that does not exist");
  }
  for (int a : graph.args)
    if (a < 0 || a >= n) return bad("", "an argument refers to a node that does not exist");
  for (const auto& r : graph.returns)
    if (!valid(r.tensor)) return bad(r.name, "a return refers to an output that does not exist");
  for (const auto& r : graph.control_returns)
    if (r.node < 0 || r.node >= n)
      return bad(r.name, "a control return refers to a node that does not exist");
  return OkStatus();
}

}  // namespace tfengine::tfgraph
