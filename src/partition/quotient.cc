// SPDX-License-Identifier: Apache-2.0
#include "partition/quotient.h"

#include <algorithm>
#include <queue>

#include "base/errors.h"

namespace tfengine::partition {

Quotient::Quotient(int groups, const std::vector<int>& group_of, const std::vector<std::vector<int>>& preds)
    : parent_(groups), successors_(groups), position_(groups, 0) {
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
  std::vector<std::vector<int>> next(parent_.size());
  size_t live = 0;
  for (size_t g = 0; g < parent_.size(); ++g) {
    if (parent_[g] != static_cast<int>(g)) continue;
    ++live;
    next[g] = Successors(static_cast<int>(g));
    for (int s : next[g]) ++waiting[s];
  }
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;
  for (size_t g = 0; g < parent_.size(); ++g) {
    if (parent_[g] == static_cast<int>(g) && waiting[g] == 0) ready.push(static_cast<int>(g));
  }
  size_t done = 0;
  while (!ready.empty()) {
    int g = ready.top();
    ready.pop();
    position_[g] = static_cast<int>(done++);
    for (int s : next[g]) {
      if (--waiting[s] == 0) ready.push(s);
    }
  }
  TFE_CHECK(done == live);
}

bool Quotient::HasOtherPath(int a, int b) const {
  const int limit = position_[b];
  std::vector<bool> seen(parent_.size(), false);
  std::vector<int> stack;
  for (int s : Successors(a)) {
    if (s != b && position_[s] < limit) stack.push_back(s);
  }
  while (!stack.empty()) {
    int g = stack.back();
    stack.pop_back();
    if (seen[g]) continue;
    seen[g] = true;
    for (int raw : successors_[g]) {
      int s = Find(raw);
      if (s == b) return true;
      if (!seen[s] && position_[s] < limit) stack.push_back(s);
    }
  }
  return false;
}

bool Quotient::TryMerge(int a, int b) {
  a = Find(a);
  b = Find(b);
  if (a == b || HasOtherPath(a, b)) return false;
  parent_[b] = a;
  successors_[a].insert(successors_[a].end(), successors_[b].begin(), successors_[b].end());
  successors_[b].clear();
  successors_[a] = Successors(a);
  Order();
  return true;
}

}  // namespace tfengine::partition
