// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "network/network.h"

// The routines behind RunNode, one per op or pair of ops.
namespace tfengine::ref {

struct Call {
  Op op;
  const Attrs& attrs;
  const std::vector<const Tensor*>& inputs;
  const std::vector<Tensor*>& outputs;

  const Tensor& in(size_t i) const { return *inputs[i]; }
  // nullptr if the optional input is absent
  const Tensor* optional(size_t i) const { return i < inputs.size() ? inputs[i] : nullptr; }
  Tensor* out() const { return outputs[0]; }
};

using Routine = Status (*)(const Call&);

// typed.cc. A typed node, or an op that moves quantized elements.
bool IsTyped(const Call& c, const std::vector<Quant>& quants);
// Reads every operand as f32, runs `routine`, rounds to the type of the output.
Status RunTyped(Routine routine, const Call& c, const std::vector<Quant>& quants);

// One number through a unary kind of floating point, as infinitely precise as double is.
double ApplyUnary(UnaryKind kind, double x, double alpha, double beta);

// The attributes act, alpha and beta.
struct Activation {
  explicit Activation(const Attrs& attrs);
  double operator()(double x) const { return ApplyUnary(kind, x, alpha, beta); }
  // Integers have no activation but "none".
  int64_t operator()(int64_t x) const { return x; }
  uint64_t operator()(uint64_t x) const { return x; }
  UnaryKind kind = UnaryKind::k_none;
  double alpha, beta;
};

Status RunConv2d(const Call& c);
Status RunConv2dTranspose(const Call& c);
Status RunPool(const Call& c);
Status RunResize(const Call& c);
Status RunDepthSpace(const Call& c);
Status RunMatMul(const Call& c);
Status RunAttention(const Call& c);
Status RunBatchNorm(const Call& c);
Status RunLayerNorm(const Call& c);
Status RunSoftmax(const Call& c);
Status RunReduce(const Call& c);
Status RunArgReduce(const Call& c);
Status RunTopK(const Call& c);
Status RunCumulative(const Call& c);
Status RunUnary(const Call& c);
Status RunBinary(const Call& c);
Status RunSelect(const Call& c);
Status RunConvert(const Call& c);
Status RunFakeQuant(const Call& c);
Status RunCast(const Call& c);
Status RunReshape(const Call& c);
Status RunTranspose(const Call& c);
Status RunBroadcast(const Call& c);
Status RunConcat(const Call& c);
Status RunSlice(const Call& c);
Status RunPad(const Call& c);
Status RunTile(const Call& c);
Status RunGather(const Call& c);
Status RunGatherNd(const Call& c);
Status RunOneHot(const Call& c);
Status RunDims(const Call& c);
Status RunRange(const Call& c);

}  // namespace tfengine::ref
