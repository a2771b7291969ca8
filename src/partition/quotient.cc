// SPDX-License-Identifier: Apache-2.0
#include "partition/quotient.h"

#include <algorithm>
#include <queue>

#include "base/errors.h"

namespace tfengine::partition {

Quotient::Quotient(int groups, const std::vector<int>& group_of, const std::vector<std::vector<int>>& preds)
    : parent_(groups), successors_(groups), position_(groups, 0), at_(groups, 0), mark_(groups, 0) {
  for (int g = 0; g < groups; ++g) parent_[g] = g;
  for (size_t v = 0; v < preds.size(); ++v) {
    if (group_of[v] < 0) continue;
    for (int u : preds[v]) {
      if (group_of[u] != group_of[v]) successors_[group_of[u]].push_back(group_of[v]);
    }
  }
  for (std::vector<int>& list : successors_) {
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }
  Order();
}

int Quotient::Find(int group) const {
  while (parent_[group] != group) group = parent_[group];
  return group;
}

std::vector<int> Quotient::Successors(int group) const {
  group = Find(group);
  std::vector<int> result;
  for (int s : successors_[group]) {
    int live = Find(s);
    if (live != group) result.push_back(live);
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

// Kahn's algorithm; of the groups that are ready the lowest number goes first.
void Quotient::Order() {
  std::vector<int> waiting(parent_.size(), 0);
  for (const std::vector<int>& list : successors_) {
    for (int s : list) ++waiting[s];
  }
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
  for (size_t g = 0; g < parent_.size(); ++g) {
    if (waiting[g] == 0) ready.push(static_cast<int>(g));
  }
  size_t done = 0;
  while (!ready.empty()) {
    int g = ready.top();
    ready.pop();
    at_[done] = g;
    position_[g] = static_cast<int>(done++);
    for (int s : successors_[g]) {
      if (--waiting[s] == 0) ready.push(s);
    }
  }
  TFE_CHECK(done == parent_.size());
}

bool Quotient::ReachWithout(int a, int b, std::vector<int>* reached) const {
  const int limit = position_[b];
  ++search_;
  std::vector<int> stack;
  auto visit = [&](int s) {
    if (mark_[s] == search_ || position_[s] >= limit) return;
    mark_[s] = search_;
    reached->push_back(s);
    stack.push_back(s);
  };
  for (int raw : successors_[a]) {
    if (int s = Find(raw); s != a) visit(s);
  }
  while (!stack.empty()) {
    int g = stack.back();
    stack.pop_back();
    for (int raw : successors_[g]) {
      int s = Find(raw);
      if (s == b) return false;
      if (s != g) visit(s);
    }
  }
  return true;
}

// The order is mended as in Pearce and Kelly, "A dynamic topological sort algorithm for directed acyclic graphs" (2006):
// between a and b, what a leads to moves behind the merged group, the rest before it.
bool Quotient::TryMerge(int a, int b) {
  a = Find(a);
  b = Find(b);
  std::vector<int> reached;
  if (a == b || !ReachWithout(a, b, &reached)) return false;
  std::vector<int> before, behind;
  for (int p = position_[a] + 1; p < position_[b]; ++p) {
    int g = at_[p];
    if (parent_[g] != g) continue;
    (mark_[g] == search_ ? behind : before).push_back(g);
  }
  int place = position_[a];
  auto put = [&](int g) {
    at_[place] = g;
    position_[g] = place++;
  };
  for (int g : before) put(g);
  put(a);
  for (int g : behind) put(g);
  const int end = position_[b];
  parent_[b] = a;
  for (; place <= end; ++place) at_[place] = b;  // merged: skipped
  successors_[a].insert(successors_[a].end(), successors_[b].begin(), successors_[b].end());
  successors_[b].clear();
  successors_[a] = Successors(a);
  return true;
}

}  // namespace tfengine::partition
