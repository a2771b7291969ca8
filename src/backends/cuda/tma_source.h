// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "backends/cuda/tma_product.h"

// What a TmaProduct's kernels have in common.
namespace tfengine::cuda {

// The start of a source: sizes of the operands (BN, ROW, SIZE, RUN, OUT_SIZE; PROMOTE and FLOATS, of their sums); barriers, loads and
// stores of the tensor memory accelerator, descriptors of tiles in shared memory; multiply(acc, a, b, add), of 64 rows and bn columns
// of a warp group; what TmaFinish is made of.
std::string TmaFunctions(const TmaProduct& p, int bn);
// Between the end of TmaFunctions(p, bn) and the use of TmaFinish() again, for p.then: the sizes and macros of its own. BN is then its `bn`.
std::string TmaThenFunctions(const TmaProduct& p, int bn);  // outside of functions: multiply_then(acc, a, b, add), a in registers
std::string TmaThenEpilogue(const TmaProduct& p, int bn);   // within the kernel
// A thread's results become the left operand of p.then: kept[4]s of 32 bytes of a row each.
std::string TmaKeep();
// Which channel of a row the left operand has at place `at` where it is made by TmaKeep(): elements of `size` bytes.
int64_t ChannelInRegisters(int64_t at, size_t size);
// The kernel's first parameters: x, w, columns (if any), with p.then its then_w and then_columns (if any), residual (if any), out;
// the number of then_w; what they are bound to.
std::string TmaParameters(const TmaProduct& p);
size_t ThenWeights(const TmaProduct& p);
void BindTmaOperands(const TmaProduct& p, Generated* g);
// A warp group's sums `acc` become results: `lane` of a warp has rows h = 0 and 1, 8 apart, of which column `at`, counted in bytes
// of the result, comes next. `column` is where the numbers of the thread's first column lie. The kernel defines, for 16 bytes v
// of a row's run: RESULT_AT(h, v), RESIDUAL_AT(h, v), and INSIDE(h), whether they are there.
std::string TmaFinish();
// The same where the blocks of a cluster have a row's columns, CLUSTER times BN of n: means and deviations of their parts go from
// block to block (kClusterFunctions). The kernel has two barriers at `rows_known` for them, of which `turn` and `turn_parity` are
// the next phase, and 2 * CLUSTER * BM pairs at `rows_at`; COLUMN_INSIDE(g) is whether the thread's g-th run of columns is there.
std::string TmaNormFinish();
// The same where SPLIT blocks of a cluster, the calling one `rank`, have sums of a part of the terms each; they send each other what
// the other finishes (`parts_known`, a barrier), to the start of the `memory` at `base`, and write results without staging. The
// kernel has WARPS warps that multiply and defines COLUMNS_AT, where the numbers of the thread's first column lie.
std::string TmaSplitFinish();
// What blocks of a cluster do to each other.
extern const char kClusterFunctions[];

// Whether the accelerator can load the rows of A, and the results can be stored; images beside.
bool TmaOperands(const TmaProduct& p, const Device& device);
// A map of B that loads `bn` rows.
TensorMap TmaWeightsMap(const TmaProduct& p, int bn, size_t operand = 1);

}  // namespace tfengine::cuda
