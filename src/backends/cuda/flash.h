// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/codegen.h"

// Attention on tensor cores (Dao et al., arXiv:2205.14135): scores of a tile of keys stay in registers, sums are scaled
// when a row's maximum grows. f16 or bf16, head sizes that are multiples of 8.
namespace tfengine::cuda {

struct FlashProblem {
  Elem type, out;  // of query, key and value; of the result
  int64_t batch = 1, queries = 1, heads = 1, depth = 16, keys = 1, value_depth = 16;
  double scale = 1;
  bool mask = false;
  Elem mask_elem;
  std::vector<int64_t> mask_shape;  // broadcasts to [batch, heads, queries, keys]
  double mask_value = -1e9;         // where a bool mask is false

  std::vector<int64_t> MaskStrides() const;  // of batch, heads, queries, keys
};

// How the work is cut. A block has 16 * query_warps * rows queries; the keys of its tiles are shared out among key_warps
// warps, which join their sums at the end.
struct FlashShape {
  bool wgmma = false;   // 9.0: products of warp groups, 4 warps of one row tile each
  int query_warps = 4;
  int rows = 1;         // tiles of 16 queries a warp
  int key_warps = 1;
  int keys = 64;        // of a tile and warp, at most

  int queries() const { return 16 * query_warps * rows; }
  int threads() const { return 32 * query_warps * key_warps; }
  std::string Name() const;
};

// Sizes in elements and places in bytes of shared memory: queries (later results), tiles of keys and values, masks.
struct FlashPlan {
  // What masks depend on decides where they are read.
  enum class Masks { kNone, kColumns, kEach };

  int64_t depth, value_depth;  // padded to 16
  int64_t warp_keys, tile, tiles, stages;
  int64_t q_bytes, k_bytes, v_bytes, shared;
  Masks masks = Masks::kNone;

  // Of a thread, roughly: scores, sums, queries, addresses.
  int64_t Registers(const FlashShape& s) const;
};
FlashPlan FlashPlanOf(const FlashProblem& p, const FlashShape& s);

// What can run, best guess first; empty: no tensor cores for this.
std::vector<FlashShape> FlashShapes(const FlashProblem& p, int architecture, int processors);
Generated FlashCode(const FlashProblem& p, const FlashShape& s);

}  // namespace tfengine::cuda
