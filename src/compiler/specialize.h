// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/compile_backend.h"
#include "network/network.h"
#include "runtime/executable.h"

namespace tfengine {

// Node → tactic, keyed by the name of the node's first output value.
using TacticMap = std::map<std::string, std::string>;

// A chain is recorded under the name of its first node's output plus kChainSuffix: its number of nodes and, where there is a
// choice, ":" and the backend's tactic.
inline constexpr char kChainSuffix[] = "#chain";
std::string ChainRecord(int length, const std::string& tactic);
// Most nodes from `index` on that may run as one kernel: each reads the one before as its first input, and nobody else does.
// kLongestChain where all are pointwise, else three. 1: no chain. `uses`: network.UseCounts().
inline constexpr int kLongestChain = 8;
int ChainLength(const Network& network, const std::vector<int>& uses, int index);

// How the matmuls of JointProducts run is recorded under the name of the first one's output plus kJointSuffix: a tactic, or
// kSeparately. Without a record they run together where the backend can.
inline constexpr char kJointSuffix[] = "#joint";
inline constexpr char kSeparately[] = "separately";
// `index` and every later matmul that differs from it in its constants only: same input, shapes and attributes.
std::vector<int> JointProducts(const Network& network, int index);

// The node with every dim a number. `constants[v]` overrides a value's constant (values known at these shapes).
Result<ConcreteNode> MakeConcrete(const Network& network, const Node& node, const std::vector<int64_t>& symbols,
                                  const std::vector<std::shared_ptr<const Tensor>>& constants);

// Lowers `network` at fixed symbol values: evaluates shapes, folds what is constant at these shapes, lowers every node
// with its tactic, lets reshapes alias and elementwise steps run in place, and plans the arena. Cheap once the weights
// are in `weights`. Thread-safe for a const network. `views`: values may lie inside others (compiler/views.h), then a step's
// results need not be dense.
Result<std::shared_ptr<const Executable>> Specialize(const Network& network, const CompileBackend& backend,
                                                     const std::vector<int64_t>& symbols, const TacticMap& tactics,
                                                     WeightStore& weights, int threads, bool views = true);

}  // namespace tfengine
