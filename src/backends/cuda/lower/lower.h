// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/compile_backend.h"
#include "backends/cuda/codegen.h"
#include "backends/cuda/device.h"
#include "base/errors.h"
#include "base/status_macros.h"

// Network nodes → device kernels: one function per op family, and the one table that names them (backend.cc).
namespace tfengine::cuda {

struct LowerContext {
  const ConcreteNode& node;
  const std::string& tactic;  // wanted; empty: the first
  WeightStore& weights;
  Device& device;
  const BackendOptions& options;
};

// A lowering; nullopt if there is no kernel for this form of the node.
using LowerResult = Result<std::optional<Lowered>>;

LowerResult LowerConv2d(const LowerContext& c);
LowerResult LowerConv2dTranspose(const LowerContext& c);
LowerResult LowerMatMul(const LowerContext& c);
LowerResult LowerAttention(const LowerContext& c);
LowerResult LowerPointwise(const LowerContext& c);  // unary, binary, select, cast, convert, batch_norm, fake_quant
// Neighbouring pointwise nodes, each reading the one before, as one kernel.
LowerResult LowerPointwiseChain(const LowerContext& c, const std::vector<ConcreteNode>& nodes);
LowerResult LowerSoftmax(const LowerContext& c);
LowerResult LowerLayerNorm(const LowerContext& c);
LowerResult LowerLayerNormConverted(const LowerContext& c, const ConcreteNode& convert);  // writes what `convert` makes of the result too
LowerResult LowerReduce(const LowerContext& c);
LowerResult LowerArgReduce(const LowerContext& c);
LowerResult LowerTopK(const LowerContext& c);
LowerResult LowerCumulative(const LowerContext& c);
LowerResult LowerPool(const LowerContext& c);
LowerResult LowerResize(const LowerContext& c);
LowerResult LowerAffine(const LowerContext& c);  // transpose, broadcast, slice, tile, depth_to_space, space_to_depth
LowerResult LowerConcat(const LowerContext& c);
LowerResult LowerPad(const LowerContext& c);
LowerResult LowerGather(const LowerContext& c);
LowerResult LowerGatherNd(const LowerContext& c);
LowerResult LowerOneHot(const LowerContext& c);

// The tactics of a node beyond the first, best guess first; empty: there is one way.
std::vector<std::string> Conv2dTactics(const ConcreteNode& node, const Device& device, const BackendOptions& options);
std::vector<std::string> MatMulTactics(const ConcreteNode& node, const Device& device, const BackendOptions& options);
std::vector<std::string> AttentionTactics(const ConcreteNode& node, const Device& device);
std::vector<std::string> RowTactics(const ConcreteNode& node, const Device& device);  // softmax, log_softmax, layer_norm

// matmul and layer_norm as one kernel, and its tactics; empty if the nodes are not that. `c.node`: the last.
std::vector<std::string> MatMulNormTactics(const std::vector<ConcreteNode>& nodes, const Device& device);
LowerResult LowerMatMulNorm(const LowerContext& c, const std::vector<ConcreteNode>& nodes);

// A convolution and the 1x1 convolution that follows as one kernel, likewise.
std::vector<std::string> ConvPairTactics(const std::vector<ConcreteNode>& nodes, const Device& device);
LowerResult LowerConvPair(const LowerContext& c, const std::vector<ConcreteNode>& nodes);

// Pointwise nodes, [convert,] conv2d [, max pool], an inverted bottleneck, or one of the above as one kernel.
// `c.node`: the last.
LowerResult LowerChainOf(const LowerContext& c, const std::vector<ConcreteNode>& nodes);
// The tactics of inverted bottlenecks; empty if the nodes are not one.
std::vector<std::string> BottleneckTactics(const std::vector<ConcreteNode>& nodes, const Device& device);

// Matmuls of one A that differ in their constants only; results lie one behind the other. `c.node`: the first.
std::vector<std::string> JointMatMulTactics(const std::vector<ConcreteNode>& nodes, const Device& device);
LowerResult LowerJointMatMul(const LowerContext& c, const std::vector<ConcreteNode>& nodes);

// The tactics of a library and of our own kernels, the best guesses of both first.
std::vector<std::string> BothTactics(const std::vector<std::string>& library, const std::vector<std::string>& own, bool own_first);

// Compiles `code` into a lowering.
LowerResult Finish(const LowerContext& c, const Generated& code, std::string tactic, std::vector<int> in, int in_place = -1);
Lowered MakeLowered(std::shared_ptr<const Kernel> kernel, std::string tactic, std::vector<int> in, int in_place = -1);

// The device copy of something that a function makes on the host, once per key; shared by all shapes.
Result<std::shared_ptr<const DeviceBuffer>> DeviceWeights(const LowerContext& c, const std::string& key, size_t bytes,
                                                          FunctionRef<void(void*)> fill);

inline int64_t Product(const std::vector<int64_t>& v, size_t first, size_t last) {
  int64_t n = 1;
  for (size_t i = first; i < last && i < v.size(); ++i) n *= v[i];
  return n;
}
// The present inputs, in order.
std::vector<int> PresentInputs(const ConcreteNode& node);
// An operand whose buffer the result may take over: of the same type and shape.
int InPlaceOperand(const ConcreteNode& node);
// The largest of 8, 4, 2, 1 that divides n and keeps a vector of `size` byte elements within 16 bytes.
inline int VectorWidth(int64_t n, size_t size) {
  int v = size <= 2 ? 8 : size == 4 ? 4 : 2;
  while (n % v != 0) v /= 2;
  return v;
}

}  // namespace tfengine::cuda
