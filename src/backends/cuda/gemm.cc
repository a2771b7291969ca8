// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/gemm.h"

#include "base/status_macros.h"

namespace tfengine::cuda {
namespace {

int CudaType(DType type) {
  switch (type) {
    case DType::kFloat16: return CUDA_R_16F;
    case DType::kBfloat16: return CUDA_R_16BF;
    case DType::kFloat64: return CUDA_R_64F;
    default: return CUDA_R_32F;
  }
}

// The descriptors of one product. cuBLASLt thinks in columns: it computes C' = B' A'.
class Descriptors {
 public:
  explicit Descriptors(const CublasLtApi& api) : api_(api) {}
  ~Descriptors() {
    if (op_) api_.MatmulDescDestroy(op_);
    for (void* layout : layouts_)
      if (layout) api_.MatrixLayoutDestroy(layout);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  Status Init(const Gemm& g, const void* bias) {
    const bool wide = g.type == DType::kFloat64;
    const int compute = wide ? CUBLAS_COMPUTE_64F : g.tf32 && g.type == DType::kFloat32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    TFE_RETURN_IF_ERROR(CheckCublasLt(api_.MatmulDescCreate(&op_, compute, wide ? CUDA_R_64F : CUDA_R_32F), "describing a product"));
    auto set = [&](int attribute, const auto& value) { return CheckCublasLt(api_.MatmulDescSetAttribute(op_, attribute, &value, sizeof(value)), "describing a product"); };
    const int32_t first = g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, second = g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    TFE_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_TRANSA, first));
    TFE_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_TRANSB, second));
    uint32_t epilogue = g.act == Gemm::Act::kRelu ? CUBLASLT_EPILOGUE_RELU : g.act == Gemm::Act::kGeluTanh ? CUBLASLT_EPILOGUE_GELU : 0;
    if (g.bias) epilogue |= CUBLASLT_EPILOGUE_BIAS;
    if (epilogue == 0) epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    TFE_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue));
    if (g.bias) {
      const int32_t type = CudaType(g.out);
      TFE_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type));
      TFE_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias));
      if (g.stride_bias != 0) TFE_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, g.stride_bias));
    }
    const int type = CudaType(g.type);
    TFE_RETURN_IF_ERROR(g.transpose_b ? Layout(0, type, g.k, g.n, g.batch, g.stride_b) : Layout(0, type, g.n, g.k, g.batch, g.stride_b));
    TFE_RETURN_IF_ERROR(g.transpose_a ? Layout(1, type, g.m, g.k, g.batch, g.stride_a) : Layout(1, type, g.k, g.m, g.batch, g.stride_a));
    return Layout(2, CudaType(g.out), g.n, g.m, g.batch, g.m * g.n);
  }

  void* op() const { return op_; }
  void* a() const { return layouts_[0]; }
  void* b() const { return layouts_[1]; }
  void* c() const { return layouts_[2]; }

 private:
  Status Layout(int which, int type, int64_t rows, int64_t columns, int64_t batch, int64_t stride) {
    void*& layout = layouts_[which];
    TFE_RETURN_IF_ERROR(CheckCublasLt(api_.MatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), rows), "describing a matrix"));
    if (batch == 1) return OkStatus();
    const auto count = static_cast<int32_t>(batch);
    TFE_RETURN_IF_ERROR(CheckCublasLt(api_.MatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof(count)), "describing a matrix"));
    return CheckCublasLt(api_.MatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof(stride)), "describing a matrix");
  }

  const CublasLtApi& api_;
  void* op_ = nullptr;
  void* layouts_[3] = {nullptr, nullptr, nullptr};
};

class GemmKernel : public DeviceKernel {
 public:
  GemmKernel(const Gemm& gemm, const cublasLtMatmulHeuristicResult_t& choice) : gemm_(gemm), choice_(choice) {}

  Status Enqueue(const void* const* in, void* const* out, const Launch& launch) const override {
    const CublasLtApi& api = launch.device.blas();
    const void* bias = !gemm_.bias ? nullptr : gemm_.bias_buffer ? gemm_.bias_buffer->data() : in[gemm_.bias_at];
    const void* b = gemm_.b_buffer ? launch.weights ? launch.weights : gemm_.b_buffer->data() : in[gemm_.b_at];
    const void* c = gemm_.residual ? in[gemm_.residual_at] : out[0];
    Descriptors d(api);
    TFE_RETURN_IF_ERROR(d.Init(gemm_, bias));
    const float one = 1, zero = 0;
    const double one64 = 1, zero64 = 0;
    const bool wide = gemm_.type == DType::kFloat64;
    const void* alpha = wide ? static_cast<const void*>(&one64) : &one;
    const void* beta = gemm_.residual ? alpha : wide ? static_cast<const void*>(&zero64) : &zero;
    return CheckCublasLt(api.Matmul(launch.device.blas_handle(), d.op(), alpha, b, d.a(), in[gemm_.a_at], d.b(), beta, c, d.c(), out[0], d.c(),
                                    &choice_.algo, launch.scratch, choice_.workspaceSize, launch.stream),
                         "cublasLtMatmul");
  }
  size_t scratch_bytes(int) const override { return choice_.workspaceSize; }
  const DeviceBuffer* weights() const override { return gemm_.b_buffer.get(); }

 private:
  const Gemm gemm_;
  const cublasLtMatmulHeuristicResult_t choice_;
};

}  // namespace

Result<std::shared_ptr<const DeviceKernel>> MakeGemm(const Device& device, const Gemm& gemm, int rank) {
  constexpr int kMost = 16;
  const std::shared_ptr<const DeviceKernel> none;
  if (rank >= kMost || device.offline()) return none;
  const CublasLtApi& api = device.blas();
  const Device::Scope scope(device);
  Descriptors d(api);
  // Only the alignment of the bias counts here.
  TFE_RETURN_IF_ERROR(d.Init(gemm, reinterpret_cast<const void*>(uintptr_t{64})));
  void* preference = nullptr;
  TFE_RETURN_IF_ERROR(CheckCublasLt(api.MatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate"));
  const auto workspace = static_cast<uint64_t>(gemm.workspace_bytes);
  api.MatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace));
  const uint32_t alignment = 16;  // of what an arena or a caller gives us at least
  for (int operand = 5; operand <= 8; ++operand) api.MatmulPreferenceSetAttribute(preference, operand, &alignment, sizeof(alignment));
  cublasLtMatmulHeuristicResult_t results[kMost] = {};
  int found = 0;
  const int status = api.MatmulAlgoGetHeuristic(device.blas_handle(), d.op(), d.a(), d.b(), d.c(), d.c(), preference, rank + 1, results, &found);
  api.MatmulPreferenceDestroy(preference);
  if (status != 0 || found <= rank || results[rank].state != 0) return none;
  return std::shared_ptr<const DeviceKernel>(std::make_shared<GemmKernel>(gemm, results[rank]));
}

}  // namespace tfengine::cuda
