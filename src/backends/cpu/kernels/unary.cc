// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/unary.h"

#include <cmath>

#include "backends/cpu/kernels/elementwise_kernels.h"
#include "backends/cpu/kernels/loops.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kVectorPart = 16384;  // elements worth a task of their own
constexpr int64_t kLibmPart = 512;

template <float (*kFunction)(float)>
void RunLibm(const float* x, float* y, int64_t n, float, float) {
  for (int64_t i = 0; i < n; ++i) y[i] = kFunction(x[i]);
}

#define TFE_FORM_vector(name) nullptr
#define TFE_FORM_libm(name) RunLibm<std::name>
constexpr UnaryLoop kLibm[] = {
#define TFE_UNARY(name, form) TFE_FORM_##form(name),
#include "backends/cpu/kernels/unary_list.inc"
#undef TFE_UNARY
};

}  // namespace

const ElementwiseKernels& ElementwiseKernelsFor(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx512: return kElementwiseAvx512;
    case CpuIsa::kAvx2: return kElementwiseAvx2;
    case CpuIsa::kPortable: break;
  }
  return kElementwisePortable;
}

void Unary(UnaryOp op, const float* x, float* y, int64_t n, float alpha, float beta, Gang& gang, CpuIsa isa) {
  const UnaryLoop libm = kLibm[static_cast<int>(op)];
  const UnaryLoop loop = libm ? libm : ElementwiseKernelsFor(isa).unary[static_cast<int>(op)];
  ParallelParts(gang, n, libm ? kLibmPart : kVectorPart,
                [&](int64_t begin, int64_t end) { loop(x + begin, y + begin, end - begin, alpha, beta); });
}

void Unary(UnaryTest op, const float* x, bool* y, int64_t n, Gang& gang, CpuIsa isa) {
  const UnaryTestLoop loop = ElementwiseKernelsFor(isa).unary_test[static_cast<int>(op)];
  ParallelParts(gang, n, kVectorPart, [&](int64_t begin, int64_t end) { loop(x + begin, y + begin, end - begin); });
}

void LogicalNot(const bool* x, bool* y, int64_t n, Gang& gang) {
  ParallelParts(gang, n, 4 * kVectorPart, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = !x[i];
  });
}

}  // namespace tfengine::cpu
