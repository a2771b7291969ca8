// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "convert/context.h"

namespace tfengine::convert {

// One row of the table of converters.
struct Row {
  std::string_view op;  // TensorFlow's op name
  Converter convert;
  int inputs;                 // data inputs, or if negative the least number of them; the walk checks it
  // Element types that inputs may have; the walk checks them. Rows that name some do arithmetic, for which engines have
  // fast code in float32 and integers: of other floating-point types they take constants only.
  unsigned types = kAnyType;
};

// All rows, sorted by op name.
std::span<const Row> Converters();
// The row of an op, or nullptr.
const Row* FindConverter(std::string_view op);

// One function per family; each reads the op name where it serves several ops.
Verdict ConvertConst(Context& c);               // constant.cc
Verdict ConvertIdentity(Context& c);            // identity.cc
Verdict ConvertEnsureShape(Context& c);
Verdict ConvertConv2D(Context& c);              // conv.cc
Verdict ConvertDepthwiseConv2D(Context& c);
Verdict ConvertConv2DBackpropInput(Context& c);
Verdict ConvertBiasAdd(Context& c);
Verdict ConvertPool(Context& c);                // pool.cc
Verdict ConvertMatMul(Context& c);              // matmul.cc
Verdict ConvertBatchMatMul(Context& c);
Verdict ConvertEinsum(Context& c);              // einsum.cc
Verdict ConvertFusedBatchNorm(Context& c);      // norm.cc
Verdict ConvertSoftmax(Context& c);             // softmax.cc
Verdict ConvertUnary(Context& c);               // elementwise.cc
Verdict ConvertBinary(Context& c);
Verdict ConvertSelect(Context& c);
Verdict ConvertSelectV2(Context& c);
Verdict ConvertClipByValue(Context& c);
Verdict ConvertAddN(Context& c);
Verdict ConvertCast(Context& c);                // cast.cc
Verdict ConvertFakeQuant(Context& c);           // fake_quant.cc
Verdict ConvertQuantizeAndDequantize(Context& c);
Verdict ConvertReduce(Context& c);              // reduce.cc
Verdict ConvertArgReduce(Context& c);
Verdict ConvertTopK(Context& c);
Verdict ConvertCumulative(Context& c);
Verdict ConvertShape(Context& c);               // shape_ops.cc
Verdict ConvertSize(Context& c);
Verdict ConvertRank(Context& c);
Verdict ConvertReshape(Context& c);
Verdict ConvertSqueeze(Context& c);
Verdict ConvertExpandDims(Context& c);
Verdict ConvertTranspose(Context& c);
Verdict ConvertSlice(Context& c);               // slice.cc
Verdict ConvertStridedSlice(Context& c);
Verdict ConvertReverse(Context& c);
Verdict ConvertRoll(Context& c);
Verdict ConvertPack(Context& c);                // concat.cc
Verdict ConvertUnpack(Context& c);
Verdict ConvertConcat(Context& c);
Verdict ConvertSplit(Context& c);
Verdict ConvertSplitV(Context& c);
Verdict ConvertPad(Context& c);                 // pad.cc
Verdict ConvertMirrorPad(Context& c);
Verdict ConvertFill(Context& c);                // fill.cc
Verdict ConvertBroadcastTo(Context& c);
Verdict ConvertLike(Context& c);
Verdict ConvertTile(Context& c);
Verdict ConvertRange(Context& c);
Verdict ConvertGather(Context& c);              // gather.cc
Verdict ConvertResourceGather(Context& c);
Verdict ConvertGatherNd(Context& c);
Verdict ConvertOneHot(Context& c);
Verdict ConvertResize(Context& c);              // resize.cc
Verdict ConvertDepthToSpace(Context& c);
Verdict ConvertSpaceToBatch(Context& c);        // space_to_batch.cc
Verdict ConvertBatchToSpace(Context& c);

}  // namespace tfengine::convert
