// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "network/network.h"
#include "partition/verdict.h"
#include "tfgraph/graph.h"

// TensorFlow nodes → network. One routine per op both answers "supported?" and lowers: Convert walks the graph in
// topological order, lowers each node into one network, and records a verdict. The outputs of a node that cannot be
// lowered become inputs of that network ("holes"), so that the walk goes on behind it and shapes keep flowing.
namespace tfengine::convert {

// What a node is to the engine that holds it.
enum class Role {
  kNative,    // cannot be lowered
  kCompute,   // runs at every inference
  kAlias,     // passes its inputs on (Identity, StopGradient ...)
  kConstant,  // every output depends on constants only
  kShape,     // every output is an expression over the sizes of the inputs, or one number everywhere
};

struct NodeResult {
  Verdict verdict;
  Role role = Role::kNative;
  // What the walk knows of each output: type, shape (symbolic; known_rank false if nothing is known).
  struct Output {
    DType dtype = DType::kInvalid;
    bool known_rank = false;
    Shape shape;
    bool is_constant = false;  // value known at conversion time
  };
  std::vector<Output> outputs;
  // Rough work: multiply-adds of the network nodes this node became, with every symbol taken as 1.
  double macs = 0;
};

struct Conversion {
  Network network;                  // inputs: numeric graph args of known rank, then holes that lowered nodes use
  std::vector<tfgraph::TensorId> inputs;  // which graph tensor each network input is
  std::vector<NodeResult> nodes;    // one per graph node
};

// Nodes that stay native whatever they are.
struct Exclusions {
  std::set<std::string> ops;    // op types
  std::set<std::string> nodes;  // node names
};

// Analyses a whole graph (verdict per node). Network outputs are the graph's returns that were lowered.
// Never fails on unsupported nodes; errors are for corrupt graphs (kGraphInvalid).
Result<Conversion> Analyze(const tfgraph::Graph& graph, const Exclusions& exclusions = {});

// An argument may carry the sizes that the surrounding graph knows, in the attribute kDimsAttr: expressions over symbols,
// separated by ';' ("batch;floordiv(w + 1,2);64"). They replace its static shape.
inline constexpr char kDimsAttr[] = "_tfengine_dims";

// Lowers a segment: a graph in which every node must be convertible (else kSegmentNotConvertible naming the first and
// its verdict). Args of type resource that are bound to frozen variables do not become network inputs. Network inputs
// and outputs are the graph's (non-resource) args and returns, in order; an argument whose
// value is known (`frozen`) is a constant, and its input is not read.
Result<Network> LowerSegment(const tfgraph::Graph& segment);

// Names of the TensorFlow ops that have a converter, sorted (docs, get_registered_op_converters).
std::vector<std::string> ConverterNames();

}  // namespace tfengine::convert
