// SPDX-License-Identifier: Apache-2.0
#include "compiler/views.h"

#include <algorithm>

namespace tfengine {
namespace {

using Dims = std::vector<int64_t>;

int64_t Product(const Dims& dims, size_t first, size_t last) {
  int64_t n = 1;
  for (size_t d = first; d < last; ++d) n *= dims[d];
  return n;
}

class Planner {
 public:
  explicit Planner(const ViewRequest& r) : r_(r), nodes_(r.network.nodes()) {
    const size_t n = r.network.values().size();
    plan_.places.resize(n);
    plan_.pitches.resize(n);
    members_.resize(n);
    readers_.resize(n);
    makers_.assign(n, -1);
    for (size_t v = 0; v < n; ++v) members_[r.roots[v]].push_back(static_cast<ValueId>(v));
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].op == Op::kReshape) continue;
      for (ValueId v : nodes_[i].outputs) makers_[v] = static_cast<int>(i);
      for (ValueId v : nodes_[i].inputs)
        if (v != kNoValue && (readers_[r.roots[v]].empty() || readers_[r.roots[v]].back() != static_cast<int>(i)))
          readers_[r.roots[v]].push_back(static_cast<int>(i));
    }
  }

  ViewPlan Run() {
    // From the last concat to the first: a result has its place before its inputs get theirs.
    for (size_t i = nodes_.size(); i-- > 0;)
      if (nodes_[i].op == Op::kConcat) PlaceInputs(static_cast<int>(i));
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (nodes_[i].op == Op::kSlice) PlaceSlice(static_cast<int>(i));
    return std::move(plan_);
  }

 private:
  // Elements from one row of v to the next.
  int64_t PitchOf(ValueId v) const {
    const int64_t pitch = plan_.pitches[r_.roots[v]];
    return pitch > 0 ? pitch : r_.shapes[v].back();
  }

  void PlaceInputs(int node) {
    const ValueId whole = nodes_[node].outputs[0];
    const Dims& shape = r_.shapes[whole];
    const auto axis = static_cast<size_t>(nodes_[node].attrs.Int("axis"));
    if (shape.empty() || Product(shape, 0, shape.size()) == 0) return;
    const bool last = axis + 1 == shape.size();
    if (Product(shape, 0, axis) != 1 && !last) return;  // an input is several pieces of several rows
    // Elements of `whole` for one step along the axis.
    const int64_t unit = last ? 1 : Product(shape, axis + 1, shape.size() - 1) * PitchOf(whole);
    int64_t at = 0;
    for (size_t k = 0; k < nodes_[node].inputs.size(); ++k) {
      const ValueId v = nodes_[node].inputs[k];
      if (makers_[r_.roots[v]] >= 0) Place(v, {whole, static_cast<int>(k), at * unit}, PitchOf(whole), node);
      at += r_.shapes[v][axis];
    }
  }

  void PlaceSlice(int node) {
    const ValueId x = nodes_[node].inputs[0], y = nodes_[node].outputs[0];
    const Dims &from = r_.shapes[x], &to = r_.shapes[y];
    const auto strides = nodes_[node].attrs.Ints("strides");
    if (from.empty() || std::any_of(strides.begin(), strides.end(), [](int64_t s) { return s != 1; })) return;
    const Dims begin = r_.slice_begin(node);
    for (size_t d = 0; d < from.size(); ++d)
      if (begin[d] < 0 || begin[d] + to[d] > from[d]) return;
    int64_t offset = begin.back(), unit = PitchOf(x);
    bool whole = true;  // all further dims but the last are whole
    for (size_t d = from.size() - 1; d-- > 0;) {
      if (!whole && to[d] != 1) return;  // rows at more than one distance
      whole = whole && to[d] == from[d];
      offset += begin[d] * unit;
      unit *= from[d];
    }
    Place(y, {x, -1, offset}, PitchOf(x), node);
  }

  // Moves v to a place whose rows lie `pitch` apart, for `node`, if that can be.
  void Place(ValueId v, const ViewPlan::Place& place, int64_t pitch, int node) {
    const int root = r_.roots[v];
    const Dims& shape = r_.shapes[v];
    if (r_.fixed[root] || plan_.places[root].in != kNoValue || Product(shape, 0, shape.size()) == 0) return;
    if (Product(shape, 0, shape.size() - 1) == 1 || pitch == shape.back()) pitch = 0;
    plan_.places[root] = place;
    plan_.pitches[root] = pitch;
    if (pitch == 0 || Accepted(root, shape.back(), node)) return;
    plan_.places[root] = {};
    plan_.pitches[root] = 0;
  }

  // Whether all that make and read the values of a root, but `node`, accept rows that lie apart.
  bool Accepted(int root, int64_t row, int node) const {
    for (ValueId v : members_[root])
      if (r_.shapes[v].empty() || r_.shapes[v].back() != row) return false;
    if (makers_[root] != node && !r_.accepts(makers_[root], plan_)) return false;
    return std::all_of(readers_[root].begin(), readers_[root].end(),
                       [&](int reader) { return reader == node || r_.accepts(reader, plan_); });
  }

  const ViewRequest& r_;
  const std::vector<Node>& nodes_;
  ViewPlan plan_;
  std::vector<std::vector<ValueId>> members_;  // by root
  std::vector<std::vector<int>> readers_;      // nodes, by root
  std::vector<int> makers_;                    // node of a root; -1: none
};

}  // namespace

ViewPlan PlanViews(const ViewRequest& request) { return Planner(request).Run(); }

}  // namespace tfengine
