// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backends/compile_backend.h"
#include "backends/cpu/kernels/activation.h"
#include "backends/cpu/kernels/format.h"
#include "backends/cpu/kernels/loops.h"
#include "base/errors.h"
#include "base/status_macros.h"

// Network nodes → CPU kernels: one function per op family, and the one table that names them (lower.cc).
namespace tfengine::cpu {

struct LowerContext {
  const ConcreteNode& node;
  const std::string& tactic;  // wanted; empty: the first
  WeightStore& weights;
  int threads;
};

// A lowering; nullopt if no kernel here takes this form (dtype, rank), then the reference kernel runs it.
using LowerResult = Result<std::optional<Lowered>>;

LowerResult LowerConv2d(const LowerContext& c);
LowerResult LowerConv2dTranspose(const LowerContext& c);
LowerResult LowerMatMul(const LowerContext& c);
LowerResult LowerAttention(const LowerContext& c);
LowerResult LowerLayerNorm(const LowerContext& c);
LowerResult LowerBatchNorm(const LowerContext& c);
LowerResult LowerSoftmax(const LowerContext& c);
LowerResult LowerPool(const LowerContext& c);
LowerResult LowerReduce(const LowerContext& c);
LowerResult LowerArgReduce(const LowerContext& c);
LowerResult LowerTopK(const LowerContext& c);
LowerResult LowerCumulative(const LowerContext& c);
LowerResult LowerUnary(const LowerContext& c);
LowerResult LowerBinary(const LowerContext& c);
LowerResult LowerSelect(const LowerContext& c);
LowerResult LowerFakeQuant(const LowerContext& c);
LowerResult LowerCast(const LowerContext& c);
LowerResult LowerConvert(const LowerContext& c);
LowerResult LowerTranspose(const LowerContext& c);
LowerResult LowerBroadcast(const LowerContext& c);
LowerResult LowerConcat(const LowerContext& c);
LowerResult LowerSlice(const LowerContext& c);
LowerResult LowerPad(const LowerContext& c);
LowerResult LowerGather(const LowerContext& c);
LowerResult LowerGatherNd(const LowerContext& c);
LowerResult LowerOneHot(const LowerContext& c);
LowerResult LowerTile(const LowerContext& c);
LowerResult LowerResize(const LowerContext& c);
LowerResult LowerBlocks(const LowerContext& c);  // depth_to_space, space_to_depth

// The convolution tactics' names for a node, best guess first; empty if it cannot run here.
std::vector<std::string> Conv2dTactics(const ConcreteNode& node);

// The fused activation of a node's act/alpha/beta attributes; nullopt for a kind that kernels cannot apply.
std::optional<Activation> ActivationOf(const Attrs& attrs);

// Whether a node has quantized operands or an `out` attribute: the work is on reals (network/ops.inc).
bool IsTyped(const ConcreteNode& node);
// How kernels see a real operand, or write the result; nullopt if no kernel here can (f16, integers).
std::optional<Format> FormatOf(const Operand& o);
std::optional<Format> OutFormat(const ConcreteNode& node);
// Formats of a node whose inputs in `operands` and result are f32, or which is typed and has kernels' formats; the result's
// is last. Plain bf16 nodes are not among them: they compute as TensorFlow does. Absent inputs are f32.
std::optional<std::vector<Format>> RealFormats(const ConcreteNode& node, std::initializer_list<size_t> operands);

// A kernel from a closure `Status(const void* const* in, void* const* out, void* scratch, Gang&)`.
template <typename F>
class ClosureKernel : public Kernel {
 public:
  ClosureKernel(F run, std::function<size_t(int)> scratch) : run_(std::move(run)), scratch_(std::move(scratch)) {}
  Status Run(const void* const* in, void* const* out, void* scratch, Gang& gang) const override {
    return run_(in, out, scratch, gang);
  }
  size_t scratch_bytes(int threads) const override { return scratch_ ? scratch_(threads) : 0; }

 private:
  F run_;
  std::function<size_t(int)> scratch_;
};

template <typename F>
std::optional<Lowered> MakeLowered(std::string tactic, std::vector<int> in, F run, int in_place = -1,
                                   std::function<size_t(int)> scratch = {}) {
  Lowered lowered;
  lowered.kernel = std::make_shared<ClosureKernel<F>>(std::move(run), std::move(scratch));
  lowered.in = std::move(in);
  lowered.in_place = in_place;
  lowered.tactic = std::move(tactic);
  return lowered;
}

// Marks what heeds pitches.
inline std::optional<Lowered> WithViews(std::optional<Lowered> lowered, bool views = true) {
  if (lowered) lowered->views = views;
  return lowered;
}

inline bool IsF32(const Operand& o) { return o.dtype == DType::kFloat32; }
inline const float* F32(const void* p) { return static_cast<const float*>(p); }
inline float* F32(void* p) { return static_cast<float*>(p); }
// Kernels that move elements take these sizes.
inline bool IsMovable(const Operand& o) {
  const size_t size = DTypeSize(o.dtype);
  return size == 1 || size == 2 || size == 4 || size == 8;
}
inline int64_t Product(const std::vector<int64_t>& v, size_t first, size_t last) {
  int64_t n = 1;
  for (size_t i = first; i < last && i < v.size(); ++i) n *= v[i];
  return n;
}
// Padding that was computed from sizes may come out negative for sizes that make no sense.
inline Status CheckPads(const ConcreteNode& node) {
  for (Dim d : node.attrs.Dims("pads"))
    if (d.value < 0) return Error(ErrorId::kShapeUnsupported, "padding is {} at these input shapes", d.value);
  return OkStatus();
}
// Attribute Dims as numbers (they are constant in a ConcreteNode).
inline std::vector<int64_t> Numbers(const Shape& dims) {
  std::vector<int64_t> v;
  for (Dim d : dims) v.push_back(d.value);
  return v;
}

}  // namespace tfengine::cpu
