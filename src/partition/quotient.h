// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

namespace tfengine::partition {

// A directed acyclic graph of groups of nodes. Merging two groups keeps it acyclic or is refused.
class Quotient {
 public:
  // `group_of[i]` is the group of node i (0 <= group < groups), `preds[i]` the nodes it depends on. Must be acyclic.
  Quotient(int groups, const std::vector<int>& group_of, const std::vector<std::vector<int>>& preds);

  // The group that `group` is part of now.
  int Find(int group) const;
  // Successors of a group, unique, ascending.
  std::vector<int> Successors(int group) const;
  // Position of a group in a topological order; lower comes first.
  int position(int group) const { return position_[Find(group)]; }
  // Merges `b` into `a`, where a -> b is an edge, unless another path leads from a to b. True if merged.
  bool TryMerge(int a, int b);

 private:
  // Groups reachable from `a` other than by the edge a -> b, as far as they come before b; false if b is among them.
  bool ReachWithout(int a, int b, std::vector<int>* reached) const;
  void Order();

  std::vector<int> parent_;
  std::vector<std::vector<int>> successors_;  // per live group; may name merged groups
  std::vector<int> position_;                 // of live groups, in a topological order
  std::vector<int> at_;                       // position -> group; merged groups keep their place, unused
  mutable std::vector<int> mark_;             // last search that saw the group
  mutable int search_ = 0;
};

}  // namespace tfengine::partition
