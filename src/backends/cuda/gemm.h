// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/device.h"
#include "tfengine/types.h"

namespace tfengine::cuda {

// Row-major C[m,n] = epilogue(A[m,k] B[k,n] + residual + bias), in cuBLASLt. Batches lie at strides (0: the same matrix).
struct Gemm {
  DType type = DType::kFloat32;  // of a and b: f16, bf16, f32 or f64; sums are f32 or f64
  DType out = DType::kFloat32;   // of the result, the residual and the bias: `type`, or f32
  int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;
  int64_t batch = 1, stride_a = 0, stride_b = 0, stride_bias = 0;
  bool bias = false, residual = false;
  enum class Act { kNone, kRelu, kGeluTanh } act = Act::kNone;
  bool tf32 = false;
  int64_t workspace_bytes = int64_t{32} << 20;  // at most

  // Where the operands come from: numbers of the step's inputs, or buffers of our own.
  int a_at = 0, b_at = 1, bias_at = 2, residual_at = 3;
  std::shared_ptr<const DeviceBuffer> b_buffer, bias_buffer;
};

// The kernel of cuBLASLt's guess number `rank`; nullptr: the library has no (further) algorithm for it.
Result<std::shared_ptr<const DeviceKernel>> MakeGemm(const Device& device, const Gemm& gemm, int rank);

}  // namespace tfengine::cuda
