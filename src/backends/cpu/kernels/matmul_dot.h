// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>

#include "backends/cpu/kernels/dot.h"
#include "backends/cpu/kernels/matmul.h"

namespace tfengine::cpu {

struct DotKernels;

// The fastest kernels of a type on this CPU for products of `rows` rows, or those named ("avx2") if it can run them, else null.
const DotKernels& BestDotKernels(DotType type, int64_t rows);
const DotKernels* FindDotKernels(DotType type, std::string_view isa_name);
const char* DotKernelsName(const DotKernels& kernels);

// As MatmulArgs (matmul.h): a is u8 codes, bf16 or f32, c as the stage says.
struct DotMatmulArgs {
  const void* a = nullptr;
  int32_t zero = 0;                // kInt8: the code of 0 in a
  const void* b = nullptr;         // plain B of a's type (not for kInt8), or
  const void* packed_b = nullptr;  // packed by DotPackMatmulB for the same kernels
  OutputStage stage;               // channels are columns
  const void* residual = nullptr;
  void* c = nullptr;
};

// One constant B [k, n] for all of the batch. steps: [n] for kInt8, else null. 64-byte aligned storage. kInt8: k at most
// kMaxInt8Terms.
int64_t DotPackedMatmulBBytes(const DotKernels& kernels, int64_t k, int64_t n);
void DotPackMatmulB(const DotKernels& kernels, const float* b, int64_t row_stride, int64_t col_stride, int64_t k, int64_t n,
                    const float* steps, void* packed);

// Everything that follows from a shape, made once for gangs of at most `threads`: it costs as much as a small product.
struct DotMatmulPlan;
std::shared_ptr<const DotMatmulPlan> PlanDotMatmul(const DotKernels& kernels, const MatmulShape& shape, bool packed_b,
                                                   bool has_residual, int threads);

// Bytes of 64-byte aligned scratch.
size_t DotMatmulScratchBytes(const DotMatmulPlan& plan);
size_t DotMatmulScratchBytes(const DotKernels& kernels, const MatmulShape& shape, bool packed_b, int threads);

// Deterministic for a given shape, whatever the gang's size.
void DotMatmul(const DotMatmulPlan& plan, const DotMatmulArgs& args, void* scratch, Gang& gang);
void DotMatmul(const DotKernels& kernels, const MatmulShape& shape, const DotMatmulArgs& args, void* scratch, Gang& gang);

}  // namespace tfengine::cpu
