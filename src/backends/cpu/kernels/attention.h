// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/cpu_features.h"
#include "backends/cpu/kernels/format.h"
#include "base/gang.h"

namespace tfengine::cpu {

// Where element (batch, head, row, 0) of an operand lies, in elements; the last axis is dense. So both [B,S,H,D] and
// [B,H,S,D] are described without a transpose.
struct AttentionLayout {
  int64_t batch = 0, head = 0, row = 0;
};
AttentionLayout AttentionBSHD(int64_t rows, int64_t heads, int64_t depth);
AttentionLayout AttentionBHSD(int64_t rows, int64_t heads, int64_t depth);

enum class AttentionMask {
  kNone,
  kAdd,         // f32, added to the scaled scores
  kBoolAdd,     // bool; `masked` is added to the scores where it is false (Keras's Softmax layer)
  kBoolSelect,  // bool; the score becomes `masked` where it is false (tf.where)
};

// Where mask element (batch, head, query, key) lies, in elements; 0 broadcasts.
struct AttentionMaskLayout {
  int64_t batch = 0, head = 0, query = 0, key = 1;
};

struct AttentionShape {
  int64_t batch = 0, heads = 0, queries = 0, keys = 0;
  int64_t depth = 0;        // of q and k
  int64_t value_depth = 0;  // of v and o
  AttentionLayout q, k, v, o;
  AttentionMask mask = AttentionMask::kNone;
  AttentionMaskLayout mask_layout;
  float scale = 1;
  // Must be finite: a row whose keys are all masked then has all scores (nearly) equal, and the softmax over them is
  // that of TensorFlow (uniform for kBoolSelect), not NaN.
  float masked = -1e9f;
};

// How the operands are stored; mask: of kAdd.
struct AttentionFormats {
  Format q, k, v, mask, o;
};

struct AttentionArgs {
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  const void* mask = nullptr;  // as formats.mask, or bool
  void* o = nullptr;           // must not overlap an input
  AttentionFormats formats = {};
};

// O = softmax(Q K^T * scale + mask) V per batch and head, without storing the scores. Flash attention: keys are taken in
// blocks with a running maximum and sum (arXiv:2205.14135). keys == 0 gives zeros. A score of NaN or +inf makes its row
// NaN; a row whose scores are all -inf is NaN, as in TensorFlow.
// Where the CPU multiplies bf16, bf16 q, k and v are multiplied as they are, and the exponentials of the scores (at most 1)
// are rounded to bf16 for the product with v; else products are those of f32.
size_t AttentionScratchBytes(const AttentionShape& shape, int threads, CpuIsa isa = HostCpu().isa, const AttentionFormats& formats = {});
void Attention(const AttentionShape& shape, const AttentionArgs& args, void* scratch, Gang& gang,
               CpuIsa isa = HostCpu().isa);

}  // namespace tfengine::cpu
