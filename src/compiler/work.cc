// SPDX-License-Identifier: Apache-2.0
#include "compiler/work.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/status_macros.h"
#include "compiler/specialize.h"

namespace tfengine {
namespace {

double BytesOf(DType type, const Operand& o) { return static_cast<double>(o.num_elements()) * static_cast<double>(DTypeSize(type)); }

double FlopsOf(const ConcreteNode& node) {
  const auto& in = node.inputs;
  const auto results = static_cast<double>(node.outputs[0].num_elements());
  if (node.op == Op::kConv2d) return 2 * results * static_cast<double>(in[1].shape[0] * in[1].shape[1] * in[1].shape[2]);
  if (node.op == Op::kMatMul) return 2 * results * static_cast<double>(node.attrs.Bool("transpose_a") ? in[0].shape[in[0].shape.size() - 2] : in[0].shape.back());
  if (node.op == Op::kAttention) return 4 * static_cast<double>(in[0].num_elements()) * static_cast<double>(in[1].shape[1]);
  return 0;
}

// What a node reads of an operand: of constant factors, as many elements as the kernel's own form has; of a table, what is gathered.
double BytesRead(const ConcreteNode& node, size_t k) {
  const Operand& operand = node.inputs[k];
  const double bytes = BytesOf(operand.constant && k == 1 ? node.inputs[0].dtype : operand.dtype, operand);
  return node.op == Op::kGather && k == 0 ? std::min(bytes, BytesOf(node.outputs[0].dtype, node.outputs[0])) : bytes;
}

}  // namespace

Result<Work> WorkOf(const Network& network, const std::vector<int>& uses, const Step& step, const std::vector<int64_t>& symbols) {
  Work work;
  struct Own {
    int reads = 0;  // by the step's nodes
    double bytes = 0;
  };
  std::map<ValueId, Own> made;
  std::set<ValueId> seen;
  for (int i : step.nodes) {
    const Node& node = network.nodes()[i];
    TFE_ASSIGN_OR_RETURN(const ConcreteNode concrete, MakeConcrete(network, node, symbols, {}));
    work.flops += FlopsOf(concrete);
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const ValueId v = node.inputs[k];
      if (v == kNoValue) continue;
      if (const auto own = made.find(v); own != made.end()) {
        ++own->second.reads;
      } else if (seen.insert(v).second) {
        work.bytes += BytesRead(concrete, k);
      }
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) made[node.outputs[k]].bytes = BytesOf(concrete.outputs[k].dtype, concrete.outputs[k]);
  }
  for (const auto& [v, own] : made)
    if (own.reads == 0 || own.reads < uses[v]) work.bytes += own.bytes;
  return work;
}

}  // namespace tfengine
