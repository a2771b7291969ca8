// SPDX-License-Identifier: Apache-2.0
#include "partition/partition.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/errors.h"
#include "partition/quotient.h"

namespace tfengine::partition {
namespace {

using convert::Role;
using tfgraph::TensorId;

bool IsAbsorbable(const convert::NodeResult& result) {
  return result.verdict.ok() && result.role != Role::kCompute && result.role != Role::kNative;
}

// Nodes that a return or control return depends on.
std::vector<bool> NeededNodes(const tfgraph::Graph& graph) {
  std::vector<bool> needed(graph.nodes.size(), false);
  for (const auto& r : graph.returns) needed[r.tensor.node] = true;
  for (const auto& r : graph.control_returns) needed[r.node] = true;
  for (int i = static_cast<int>(graph.nodes.size()) - 1; i >= 0; --i) {
    if (!needed[i]) continue;
    for (TensorId t : graph.nodes[i].inputs) needed[t.node] = true;
    for (int c : graph.nodes[i].control_inputs) needed[c] = true;
  }
  return needed;
}

// Dependencies of every node on nodes that are not absorbable: through absorbable ones, data and control.
std::vector<std::vector<int>> Dependencies(const tfgraph::Graph& graph, const std::vector<bool>& absorbable) {
  std::vector<std::vector<int>> deps(graph.nodes.size());
  for (size_t v = 0; v < graph.nodes.size(); ++v) {
    std::vector<int>& list = deps[v];
    auto depend = [&](int u) {
      if (absorbable[u]) {
        list.insert(list.end(), deps[u].begin(), deps[u].end());
      } else {
        list.push_back(u);
      }
    };
    for (TensorId t : graph.nodes[v].inputs) depend(t.node);
    for (int c : graph.nodes[v].control_inputs) depend(c);
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  return deps;
}

// The earliest phase of each node: candidates run in even phases, native nodes in the odd ones between.
// A native node that needs no candidate is in phase -1.
std::vector<int> Phases(const std::vector<bool>& candidate, const std::vector<std::vector<int>>& deps) {
  std::vector<int> phase(deps.size());
  for (size_t v = 0; v < deps.size(); ++v) {
    phase[v] = candidate[v] ? 0 : -1;
    for (int u : deps[v]) phase[v] = std::max(phase[v], phase[u] + (candidate[u] != candidate[v] ? 1 : 0));
  }
  return phase;
}

class UnionFind {
 public:
  explicit UnionFind(size_t n) : parent_(n) { std::iota(parent_.begin(), parent_.end(), 0); }
  int Find(int i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  // The lower number names the set.
  void Unite(int a, int b) {
    a = Find(a);
    b = Find(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<int> parent_;
};

// Groups: connected candidates of one phase, then whatever more of them can be merged without a cycle.
// Returns a group number per node, -1 for absorbable ones.
std::vector<int> GroupNodes(const std::vector<bool>& candidate, const std::vector<bool>& absorbable,
                            const std::vector<std::vector<int>>& deps) {
  const size_t n = deps.size();
  const std::vector<int> phase = Phases(candidate, deps);
  UnionFind sets(n);
  for (size_t v = 0; v < n; ++v) {
    if (!candidate[v]) continue;
    for (int u : deps[v]) {
      if (candidate[u] && phase[u] == phase[v]) sets.Unite(u, static_cast<int>(v));
    }
  }
  std::vector<int> group(n, -1);
  std::vector<bool> is_segment;
  for (size_t v = 0; v < n; ++v) {
    if (absorbable[v]) continue;
    int root = sets.Find(static_cast<int>(v));
    if (root == static_cast<int>(v)) {
      group[v] = static_cast<int>(is_segment.size());
      is_segment.push_back(candidate[v]);
    } else {
      group[v] = group[root];
    }
  }

  Quotient quotient(static_cast<int>(is_segment.size()), group, deps);
  for (bool changed = true; changed;) {
    changed = false;
    std::vector<int> order;
    for (size_t g = 0; g < is_segment.size(); ++g) {
      if (is_segment[g] && quotient.Find(static_cast<int>(g)) == static_cast<int>(g)) order.push_back(static_cast<int>(g));
    }
    std::sort(order.begin(), order.end(), [&](int a, int b) { return quotient.position(a) < quotient.position(b); });
    for (int a : order) {
      if (quotient.Find(a) != a) continue;
      std::vector<int> successors = quotient.Successors(a);
      std::sort(successors.begin(), successors.end(),
                [&](int x, int y) { return quotient.position(x) < quotient.position(y); });
      for (int b : successors) {
        if (is_segment[b] && quotient.Find(b) == b && quotient.TryMerge(a, b)) changed = true;
      }
    }
  }
  for (int& g : group) {
    if (g >= 0) g = quotient.Find(g);
  }
  return group;
}

// Absorbable nodes that the segment's nodes depend on through data edges among absorbable nodes.
std::vector<int> AbsorbedBy(const tfgraph::Graph& graph, const std::vector<int>& nodes,
                            const std::vector<bool>& absorbable) {
  std::vector<int> found;
  std::vector<bool> seen(graph.nodes.size(), false);
  std::vector<int> stack = nodes;
  while (!stack.empty()) {
    int v = stack.back();
    stack.pop_back();
    for (TensorId t : graph.nodes[v].inputs) {
      if (!absorbable[t.node] || seen[t.node]) continue;
      seen[t.node] = true;
      found.push_back(t.node);
      stack.push_back(t.node);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

Partition PartitionGraph(const tfgraph::Graph& graph, const convert::Conversion& conversion,
                         const PartitionOptions& options) {
  const int n = static_cast<int>(graph.nodes.size());
  TFE_CHECK(static_cast<int>(conversion.nodes.size()) == n);
  Partition partition;
  partition.segment_of.assign(n, -1);
  const std::vector<bool> needed = NeededNodes(graph);
  std::vector<bool> candidate(n), absorbable(n);
  for (int v = 0; v < n; ++v) {
    partition.verdicts.push_back(conversion.nodes[v].verdict);
    if (!needed[v] && conversion.nodes[v].verdict.reason != Reason::kGraphBoundary) {
      partition.verdicts[v] = {Reason::kUnused, ""};
    }
    absorbable[v] = needed[v] && IsAbsorbable(conversion.nodes[v]);
    candidate[v] = needed[v] && conversion.nodes[v].verdict.ok() && !absorbable[v];
  }
  const std::vector<std::vector<int>> deps = Dependencies(graph, absorbable);
  const std::vector<int> group = GroupNodes(candidate, absorbable, deps);

  std::map<int, SegmentNodes> by_group;
  for (int v = 0; v < n; ++v) {
    if (!candidate[v]) continue;
    by_group[group[v]].nodes.push_back(v);
    by_group[group[v]].macs += conversion.nodes[v].macs;
  }
  std::vector<SegmentNodes> segments;
  auto drop = [&](const SegmentNodes& segment, Reason reason, const std::string& detail) {
    for (int v : segment.nodes) partition.verdicts[v] = {reason, detail};
  };
  for (auto& [id, segment] : by_group) {
    int size = static_cast<int>(segment.nodes.size());
    if (size < options.minimum_segment_size) {
      drop(segment, Reason::kTooSmall,
           fmt::format("segment of {}, minimum_segment_size is {}", size, options.minimum_segment_size));
    } else if (segment.macs <= 0 || segment.macs < options.minimum_macs) {
      drop(segment, Reason::kNotWorthIt,
           segment.macs <= 0 ? std::string("segment without arithmetic")
                             : fmt::format("segment of {:.3g} multiply-adds", segment.macs));
    } else {
      segments.push_back(std::move(segment));
    }
  }
  if (options.max_engines > 0 && static_cast<int>(segments.size()) > options.max_engines) {
    std::stable_sort(segments.begin(), segments.end(), [](const SegmentNodes& a, const SegmentNodes& b) {
      return a.nodes.size() != b.nodes.size() ? a.nodes.size() > b.nodes.size() : a.nodes[0] < b.nodes[0];
    });
    for (size_t s = options.max_engines; s < segments.size(); ++s) {
      drop(segments[s], Reason::kTooManyEngines,
           fmt::format("{} larger segments, max_engines is {}", s, options.max_engines));
    }
    segments.resize(options.max_engines);
  }
  std::sort(segments.begin(), segments.end(),
            [](const SegmentNodes& a, const SegmentNodes& b) { return a.nodes[0] < b.nodes[0]; });
  std::vector<bool> absorbed(n, false);
  for (size_t s = 0; s < segments.size(); ++s) {
    for (int v : segments[s].nodes) partition.segment_of[v] = static_cast<int>(s);
    segments[s].absorbed = AbsorbedBy(graph, segments[s].nodes, absorbable);
    for (int v : segments[s].absorbed) absorbed[v] = true;
  }
  for (int v = 0; v < n; ++v) {
    if (absorbable[v] && !absorbed[v]) partition.verdicts[v] = {Reason::kNotWorthIt, "no engine uses it"};
  }
  partition.segments = std::move(segments);
  partition.absorbable = absorbable;
  return partition;
}

}  // namespace tfengine::partition
