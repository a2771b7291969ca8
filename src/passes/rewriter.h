// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "network/network.h"

namespace tfengine::passes {

// Edits a network with use lists at hand, so that a whole pass costs time linear in the network. New nodes go to the
// end; Finish() sorts. A node all of whose results became unused dies at once, so use counts are exact at all times.
// References to nodes and values are invalid after Add(). One Rewriter at a time may edit a network.
class Rewriter {
 public:
  explicit Rewriter(Network& network);

  Network& network() { return network_; }
  const Network& network() const { return network_; }
  DimTable& dims() { return network_.dims(); }
  // Nodes that exist, including dead ones and those added since.
  int size() const { return static_cast<int>(network_.nodes().size()); }
  bool dead(int node) const { return dead_[node]; }
  const Node& node(int index) const { return network_.nodes()[index]; }
  const Value& value(ValueId id) const { return network_.value(id); }
  const Shape& shape(ValueId id) const { return network_.value(id).shape; }
  DType dtype(ValueId id) const { return network_.value(id).dtype; }

  // The node that makes `id`, or null: inputs, constants, kNoValue.
  const Node* Producer(ValueId id) const;
  // The same if it is of that op (and kind), else null.
  const Node* Producer(ValueId id, Op op) const;
  const Node* Unary(ValueId id, UnaryKind kind) const;
  const Node* Binary(ValueId id, BinaryKind kind) const;

  // Uses as node input plus as network output.
  int NumUses(ValueId id) const;
  bool SingleUse(ValueId id) const { return NumUses(id) == 1; }
  bool IsOutput(ValueId id) const { return output_uses_[id] > 0; }
  // Nodes that read `id`, once per input slot.
  const std::vector<int>& Users(ValueId id) const { return users_[id]; }

  // Network::Add. Does not count as a change until the result is used.
  Result<ValueId> Add(Op op, std::string name, std::vector<ValueId> inputs, Attrs attrs = {});
  Result<ValueId> AddUnary(UnaryKind kind, const std::string& name, ValueId x, double alpha = 0, double beta = 0);
  Result<ValueId> AddBinary(BinaryKind kind, const std::string& name, ValueId a, ValueId b);
  Result<ValueId> AddReshape(const std::string& name, ValueId x, const Shape& shape);
  Result<ValueId> AddTranspose(const std::string& name, ValueId x, std::vector<int64_t> perm);
  ValueId AddConstant(const std::string& name, Tensor tensor);

  // Whether `to` has the type and, as written, the shape of `from`.
  bool Interchangeable(ValueId from, ValueId to) const;
  // All uses of `from` read `to` from now on, if they are interchangeable. Otherwise false, and `to` is discarded if
  // nothing uses it.
  bool Replace(ValueId from, ValueId to);
  // Replaces one input of a node. The caller answers for types and shapes.
  void SetInput(int node, int slot, ValueId to);
  void SetAttr(int node, const std::string& key, Attr value);

  // Removes what is dead, sorts, and says whether anything changed.
  bool Finish();
  bool changed() const { return changed_; }

 private:
  void Grow();
  void DropUse(ValueId id, int node);
  void KillIfUnused(int node);

  Network& network_;
  std::vector<std::vector<int>> users_;
  std::vector<int> output_uses_;
  std::vector<bool> dead_;
  bool changed_ = false;
  int first_size_;
};

// Applies `rule` to every live node, old and new, until nothing changes: the body of most passes. The rule returns
// whether it changed something; it may leave its node dead. Each change must bring the network closer to a normal form
// (a bound on its size stops what does not).
using RewriteRule = Result<bool> (*)(Rewriter&, int node);
Result<bool> RewriteAll(Network& network, RewriteRule rule);

UnaryKind UnaryKindOf(const Node& node);
BinaryKind BinaryKindOf(const Node& node);
// Whether the node applies a fused activation.
bool HasActivation(const Node& node);
// Input number `i`, or kNoValue when absent.
ValueId InputOr(const Node& node, size_t i);
// Inputs up to the last that is present.
size_t NumPresentInputs(const Node& node);
// A matmul without bias, residual and activation.
bool IsBareMatMul(const Node& node);

}  // namespace tfengine::passes
