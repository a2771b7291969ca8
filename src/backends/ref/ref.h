// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "network/network.h"

// The reference backend: every op by plain loops, accumulating in f64 or 64-bit integers. It defines what the other
// backends must compute, which is what TensorFlow computes on x86 CPUs; it is written to be read, not to be fast.
//
// Where TensorFlow contradicts itself (its vectorised and its scalar code differ), this is one of its answers:
// casts of numbers that the target integer cannot hold, top_k of NaN, max pooling of NaN, softmax of NaN or +inf (here: NaN), erf of an infinite f64 (here: ±1). Results of f16 and bf16 ops
// are rounded once, at the end.
namespace tfengine::ref {

// Runs one node. Every Dim in `attrs` is constant (ConcreteAttrs); `inputs` has nullptr where an input is absent;
// `outputs` are allocated with the inferred dtypes and shapes. Errors: kIndexOutOfRange (gather, gather_nd),
// kArithmetic (integer division by zero, negative integer power), kShapeUnsupported (a slice, padding or arg_reduce
// that does not fit its input).
// `quants`: how the inputs are quantized; empty: none is. Typed nodes round as network/ops.inc says.
Status RunNode(Op op, const Attrs& attrs, const std::vector<const Tensor*>& inputs,
               const std::vector<Tensor*>& outputs, const std::vector<Quant>& quants = {});

// Runs a network: binds its symbols to the shapes of `inputs`, runs every node. Also kInputMismatch, kOutOfMemory.
Result<std::vector<Tensor>> Execute(const Network& network, const std::vector<Tensor>& inputs);

}  // namespace tfengine::ref
