// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <list>
#include <span>
#include <string>
#include <vector>

#include "backends/compile_backend.h"
#include "compiler/tactics.h"

// Timing of layers on memory of their own, for those who choose tactics.
namespace tfengine {

// Everything that decides a layer's time: op, attributes, operand types and shapes, which operands are constant.
std::string LayerKey(const ConcreteNode& node, int threads);

// The inputs of all nodes, one node after the other.
std::vector<const Operand*> InputsOf(std::span<const ConcreteNode> nodes);

// Kernels that run one after the other, on memory of their own.
class Sequence {
 public:
  struct Part {
    Lowered lowered;
    std::vector<const Operand*> inputs;  // of the lowered node or chain, in Lowered::in's numbers
    const ConcreteNode* node;            // whose outputs it writes
  };

  explicit Sequence(std::vector<Part> parts, int threads);
  bool Run(Gang& gang);
  // What the last part wrote.
  const Tensor& result() const { return *result_; }

 private:
  const void* Filled(const Operand& o);

  std::vector<Part> parts_;
  std::list<Tensor> buffers_;
  std::vector<std::vector<const void*>> in_;
  std::vector<std::vector<void*>> out_;
  const Tensor* result_ = nullptr;
  AlignedBuffer scratch_;
};

// Least time of a few runs on the host, in milliseconds; infinity if a kernel fails. Gives up early on what is many times slower
// than `best_so_far`. `cold`: weights to evict before each run, or null.
double TimeSequence(Sequence& sequence, const WeightStore* cold, const TacticOptions& options, double best_so_far);

// The sum of the kernels' times on a device, which measures kernel by kernel.
double MeasureParts(const CompileBackend& backend, const std::vector<Sequence::Part>& parts, bool cold);

}  // namespace tfengine
