// SPDX-License-Identifier: Apache-2.0
#include "passes/rewriter.h"

#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine::passes {

Rewriter::Rewriter(Network& network) : network_(network), first_size_(static_cast<int>(network.nodes().size())) {
  Grow();
  for (ValueId id : network_.outputs()) ++output_uses_[id];
  // What is dead already is left to Finish: only uses by live nodes may count.
  for (int i = size() - 1; i >= 0; --i) KillIfUnused(i);
}

void Rewriter::Grow() {
  size_t first_new = dead_.size();
  users_.resize(network_.values().size());
  output_uses_.resize(network_.values().size());
  dead_.resize(network_.nodes().size(), false);
  for (size_t i = first_new; i < dead_.size(); ++i)
    for (ValueId id : network_.nodes()[i].inputs)
      if (id != kNoValue) users_[id].push_back(static_cast<int>(i));
}

const Node* Rewriter::Producer(ValueId id) const {
  if (id == kNoValue) return nullptr;
  int producer = network_.value(id).producer;
  return producer < 0 ? nullptr : &network_.nodes()[producer];
}

const Node* Rewriter::Producer(ValueId id, Op op) const {
  const Node* node = Producer(id);
  return node && node->op == op ? node : nullptr;
}

const Node* Rewriter::Unary(ValueId id, UnaryKind kind) const {
  const Node* node = Producer(id, Op::kUnary);
  return node && UnaryKindOf(*node) == kind ? node : nullptr;
}

const Node* Rewriter::Binary(ValueId id, BinaryKind kind) const {
  const Node* node = Producer(id, Op::kBinary);
  return node && BinaryKindOf(*node) == kind && !HasActivation(*node) ? node : nullptr;
}

int Rewriter::NumUses(ValueId id) const { return static_cast<int>(users_[id].size()) + output_uses_[id]; }

Result<ValueId> Rewriter::Add(Op op, std::string name, std::vector<ValueId> inputs, Attrs attrs) {
  TFE_ASSIGN_OR_RETURN(ValueId id, network_.Add(op, name, std::move(inputs), std::move(attrs)));
  Grow();
  return id;
}

Result<ValueId> Rewriter::AddUnary(UnaryKind kind, const std::string& name, ValueId x, double alpha, double beta) {
  Attrs attrs{{"kind", std::string(KindName(kind))}};
  if (alpha != 0) attrs.Set("alpha", Attr(alpha));
  if (beta != 0) attrs.Set("beta", Attr(beta));
  return Add(Op::kUnary, name, {x}, std::move(attrs));
}

Result<ValueId> Rewriter::AddBinary(BinaryKind kind, const std::string& name, ValueId a, ValueId b) {
  return Add(Op::kBinary, name, {a, b}, {{"kind", std::string(KindName(kind))}});
}

Result<ValueId> Rewriter::AddReshape(const std::string& name, ValueId x, const Shape& shape) {
  if (this->shape(x) == shape) return x;
  return Add(Op::kReshape, name, {x}, {{"shape", shape}});
}

Result<ValueId> Rewriter::AddTranspose(const std::string& name, ValueId x, std::vector<int64_t> perm) {
  if (std::is_sorted(perm.begin(), perm.end())) return x;
  return Add(Op::kTranspose, name, {x}, {{"perm", std::move(perm)}});
}

ValueId Rewriter::AddConstant(const std::string& name, Tensor tensor) {
  ValueId id = network_.AddConstant(name, std::make_shared<const Tensor>(std::move(tensor)));
  Grow();
  return id;
}

bool Rewriter::Interchangeable(ValueId from, ValueId to) const {
  return dtype(from) == dtype(to) && shape(from) == shape(to);
}

bool Rewriter::Replace(ValueId from, ValueId to) {
  if (from == to || !Interchangeable(from, to)) {
    if (value(to).producer >= 0) KillIfUnused(value(to).producer);
    return false;
  }
  changed_ = true;
  std::vector<int> users = std::move(users_[from]);
  users_[from].clear();
  for (int user : users) {
    for (ValueId& input : network_.mutable_nodes()[user].inputs) {
      if (input != from) continue;
      input = to;
      users_[to].push_back(user);
    }
  }
  for (ValueId& output : network_.mutable_outputs())
    if (output == from) output = to;
  output_uses_[to] += std::exchange(output_uses_[from], 0);
  if (value(from).producer >= 0) KillIfUnused(value(from).producer);
  return true;
}

void Rewriter::SetInput(int node, int slot, ValueId to) {
  ValueId& input = network_.mutable_nodes()[node].inputs[slot];
  ValueId from = std::exchange(input, to);
  if (from == to) return;
  changed_ = true;
  users_[to].push_back(node);
  DropUse(from, node);
}

void Rewriter::SetAttr(int node, const std::string& key, Attr value) {
  network_.mutable_nodes()[node].attrs.Set(key, std::move(value));
  changed_ = true;
}

void Rewriter::DropUse(ValueId id, int node) {
  if (id == kNoValue) return;
  auto& users = users_[id];
  users.erase(std::find(users.begin(), users.end(), node));
  if (value(id).producer >= 0) KillIfUnused(value(id).producer);
}

void Rewriter::KillIfUnused(int index) {
  std::vector<int> work{index};
  while (!work.empty()) {
    int i = work.back();
    work.pop_back();
    if (dead_[i]) continue;
    const Node& node = network_.nodes()[i];
    bool used = std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) { return NumUses(id) > 0; });
    if (used) continue;
    dead_[i] = true;
    for (ValueId id : node.inputs) {
      if (id == kNoValue) continue;
      auto& users = users_[id];
      users.erase(std::find(users.begin(), users.end(), i));
      if (value(id).producer >= 0) work.push_back(value(id).producer);
    }
  }
}

bool Rewriter::Finish() {
  if (changed_ || size() != first_size_) network_.Compact();
  return changed_;
}

Result<bool> RewriteAll(Network& network, RewriteRule rule) {
  Rewriter rewriter(network);
  const int max_size = 8 * rewriter.size() + 1000;
  for (bool again = true; again && rewriter.size() < max_size;) {
    again = false;
    for (int i = 0; i < rewriter.size() && rewriter.size() < max_size; ++i) {
      if (rewriter.dead(i)) continue;
      TFE_ASSIGN_OR_RETURN(bool changed, rule(rewriter, i));
      again |= changed;
    }
  }
  return rewriter.Finish();
}

UnaryKind UnaryKindOf(const Node& node) {
  UnaryKind kind = UnaryKind::k_none;
  TFE_CHECK(ParseKind(node.attrs.Str("kind"), &kind));
  return kind;
}

BinaryKind BinaryKindOf(const Node& node) {
  BinaryKind kind = BinaryKind::k_add;
  TFE_CHECK(ParseKind(node.attrs.Str("kind"), &kind));
  return kind;
}

bool HasActivation(const Node& node) { return node.attrs.Str("act", "none") != "none"; }

ValueId InputOr(const Node& node, size_t i) { return i < node.inputs.size() ? node.inputs[i] : kNoValue; }

size_t NumPresentInputs(const Node& node) {
  size_t n = node.inputs.size();
  while (n > 0 && node.inputs[n - 1] == kNoValue) --n;
  return n;
}

bool IsBareMatMul(const Node& node) {
  return node.op == Op::kMatMul && NumPresentInputs(node) == 2 && !HasActivation(node);
}

}  // namespace tfengine::passes
