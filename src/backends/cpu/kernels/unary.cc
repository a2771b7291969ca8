// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/unary.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/kernels/convert.h"
#include "backends/cpu/kernels/elementwise_kernels.h"
#include "backends/cpu/kernels/loops.h"
#include "backends/cpu/kernels/typed_blocks.h"

namespace tfengine::cpu {
namespace {

constexpr int64_t kVectorPart = 16384;  // elements worth a task of their own
constexpr int64_t kLibmPart = 512;
constexpr int64_t kBlock = 1024;       // elements of a block in f32

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

UnaryLoop LoopFor(UnaryOp op, CpuIsa isa) {
  const UnaryLoop libm = kLibm[static_cast<int>(op)];
  return libm ? libm : ElementwiseKernelsFor(isa).unary[static_cast<int>(op)];
}
int64_t PartSize(UnaryOp op) { return kLibm[static_cast<int>(op)] ? kLibmPart : kVectorPart; }

// Ops that are a clip run at the speed of a conversion.
bool IsClip(UnaryOp op, float alpha, float beta, float* low, float* high) {
  *low = op == UnaryOp::k_clip ? alpha : 0;
  *high = op == UnaryOp::k_clip ? beta : op == UnaryOp::k_relu6 ? 6 : kUnbounded;
  return op == UnaryOp::k_relu || op == UnaryOp::k_relu6 || op == UnaryOp::k_clip;
}

// Codes have 256 values: results that are slow to compute are looked up.
template <typename T>
void LookUp(const uint8_t* x, const void* table, void* y, int64_t n, Gang& gang) {
  const T* values = static_cast<const T*>(table);
  T* to = static_cast<T*>(y);
  ParallelParts(gang, n, kVectorPart, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = values[x[i]];
  });
}

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
  const UnaryLoop loop = LoopFor(op, isa);
  ParallelParts(gang, n, PartSize(op),
                [&](int64_t begin, int64_t end) { loop(x + begin, y + begin, end - begin, alpha, beta); });
}

void Unary(UnaryOp op, const void* x, const Format& from, void* y, const Format& to, int64_t n, float alpha, float beta,
           Gang& gang, CpuIsa isa) {
  float low, high;
  if (IsClip(op, alpha, beta, &low, &high)) return Convert(x, from, y, to, n, gang, isa, low, high);
  const UnaryLoop loop = LoopFor(op, isa);
  const TypedKernels& kernels = TypedKernelsFor(isa);
  const BlockReader read(kernels, from);
  const BlockWriter write(kernels, to);
  auto block = [&](const void* in, void* out, int64_t count) {
    float buffer[kBlock];
    float* target = write.Target(out, buffer);
    loop(read(in, count, buffer), target, count, alpha, beta);
    write.Flush(target, out, count);
  };
  if (from.storage == Storage::kU8 && n >= 1024 && kLibm[static_cast<int>(op)]) {
    uint8_t codes[256];
    alignas(64) char table[256 * sizeof(float)];
    for (int i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
    block(codes, table, 256);
    const uint8_t* from_codes = static_cast<const uint8_t*>(x);
    switch (to.storage) {
      case Storage::kF32: return LookUp<float>(from_codes, table, y, n, gang);
      case Storage::kBf16: return LookUp<uint16_t>(from_codes, table, y, n, gang);
      case Storage::kU8: return LookUp<uint8_t>(from_codes, table, y, n, gang);
    }
  }
  ParallelParts(gang, n, PartSize(op), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kBlock) block(At(x, from, i), At(y, to, i), std::min(kBlock, end - i));
  });
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
