// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv_transpose.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "backends/cpu/kernels/conv_direct.h"
#include "backends/cpu/kernels/conv_plan.h"

namespace tfengine::cpu {
namespace {

const ConvKernels& KernelsFor(CpuIsa isa) {
  return isa == CpuIsa::kAvx512 ? ConvKernelsAvx512() : isa == CpuIsa::kAvx2 ? ConvKernelsAvx2() : ConvKernelsPortable();
}

DirectConv DirectFor(CpuIsa isa) { return DirectConv("transpose", KernelsFor(isa)); }

// The taps of one axis that reach output positions i with (i + pad) % stride == residue: first + n * step, n < count.
// In units of input positions neighbouring taps are `dilation` apart.
struct Taps {
  int64_t first = 0, step = 1, count = 0, dilation = 1;
};

Taps TapsOf(int64_t residue, int64_t kernel, int64_t stride, int64_t dilation) {
  const int64_t common = std::gcd(stride, dilation);
  Taps t;
  t.step = stride / common;
  t.dilation = dilation / common;
  t.first = 0;
  while (t.first < kernel && (residue - t.first * dilation) % stride != 0 && t.first < t.step) ++t.first;
  const bool none = t.first >= kernel || (residue - t.first * dilation) % stride != 0;
  t.count = none ? 0 : (kernel - 1 - t.first) / t.step + 1;
  return t;
}

// The output positions of one axis with a given residue, and the padding of the convolution that gives them.
struct Phase {
  Taps taps;
  int64_t start, size, pad;
};

Phase PhaseOf(int64_t residue, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad, int64_t out) {
  Phase p;
  p.taps = TapsOf(residue, kernel, stride, dilation);
  p.start = ((residue - pad) % stride + stride) % stride;
  p.size = p.start < out ? (out - p.start - 1) / stride + 1 : 0;
  // Position start + j * stride reads input j + (start + pad - tap * dilation) / stride; taps are taken in falling order.
  const int64_t last = p.taps.first + (p.taps.count - 1) * p.taps.step;
  p.pad = -(p.start + pad - last * dilation) / stride;  // exact
  return p;
}

ConvShape SubShape(const ConvTransposeShape& s, const Phase& y, const Phase& x) {
  ConvShape c;
  c.batch = s.batch;
  c.in_h = s.in_h;
  c.in_w = s.in_w;
  c.in_c = s.in_c;
  c.out_h = y.size;
  c.out_w = x.size;
  c.out_c = s.out_c;
  c.k_h = y.taps.count;
  c.k_w = x.taps.count;
  c.dil_h = y.taps.dilation;
  c.dil_w = x.taps.dilation;
  c.pad_top = y.pad;
  c.pad_left = x.pad;
  return c;
}

// Calls fn(sub-convolution, phases, offset of its packed filter) for each residue pair.
template <typename Fn>
int64_t ForEachPhase(const ConvTransposeShape& s, const DirectConv& direct, Fn fn) {
  int64_t offset = 0;
  for (int64_t ry = 0; ry < s.stride_h; ++ry) {
    for (int64_t rx = 0; rx < s.stride_w; ++rx) {
      const Phase y = PhaseOf(ry, s.k_h, s.stride_h, s.dil_h, s.pad_top, s.out_h);
      const Phase x = PhaseOf(rx, s.k_w, s.stride_w, s.dil_w, s.pad_left, s.out_w);
      const ConvShape sub = SubShape(s, y, x);
      fn(sub, y, x, offset);
      if (sub.k_h * sub.k_w > 0) offset += direct.PackedBytes(sub);
    }
  }
  return offset;
}

}  // namespace

int64_t ConvTransposePackedBytes(const ConvTransposeShape& s, CpuIsa isa) {
  return ForEachPhase(s, DirectFor(isa), [](auto&&...) {});
}

void ConvTransposePack(const ConvTransposeShape& s, CpuIsa isa, const float* w, void* packed) {
  const DirectConv direct = DirectFor(isa);
  std::vector<float> hwio;
  ForEachPhase(s, direct, [&](const ConvShape& sub, const Phase& y, const Phase& x, int64_t offset) {
    if (sub.k_h * sub.k_w == 0) return;
    hwio.clear();
    for (int64_t j = sub.k_h - 1; j >= 0; --j) {
      for (int64_t k = sub.k_w - 1; k >= 0; --k) {
        const int64_t tap = (y.taps.first + j * y.taps.step) * s.k_w + x.taps.first + k * x.taps.step;
        for (int64_t i = 0; i < s.in_c; ++i) {
          for (int64_t o = 0; o < s.out_c; ++o) hwio.push_back(w[(tap * s.out_c + o) * s.in_c + i]);
        }
      }
    }
    direct.Pack(sub, hwio.data(), static_cast<char*>(packed) + offset);
  });
}

int64_t ConvTransposeScratchBytes(const ConvTransposeShape& s, CpuIsa isa, int threads) {
  const DirectConv direct = DirectFor(isa);
  int64_t part = 0, scratch = 0;
  ForEachPhase(s, direct, [&](const ConvShape& sub, const Phase&, const Phase&, int64_t) {
    part = std::max(part, RoundUp(sub.Pixels() * sub.out_c * 4, kCacheLine));
    if (sub.k_h * sub.k_w > 0 && sub.Pixels() > 0) scratch = std::max(scratch, direct.ScratchBytes(sub, threads));
  });
  return part + scratch;
}

void ConvTransposeRun(const ConvTransposeShape& s, CpuIsa isa, const ConvTransposeArgs& args, Gang& gang) {
  const ConvKernels& kernels = KernelsFor(isa);
  const DirectConv direct = DirectFor(isa);
  float* part = static_cast<float*>(args.scratch);
  ForEachPhase(s, direct, [&](const ConvShape& sub, const Phase& y, const Phase& x, int64_t offset) {
    if (sub.Pixels() == 0 || s.out_c == 0) return;
    const bool taps = sub.k_h * sub.k_w > 0;
    if (taps) {
      ConvArgs a;
      a.x = args.x;
      a.packed = static_cast<const char*>(args.packed) + offset;
      a.y = part;
      a.scratch = reinterpret_cast<char*>(part) + RoundUp(sub.Pixels() * sub.out_c * 4, kCacheLine);
      direct.Run(sub, a, gang);
    }
    // Spread the part over y, row by row.
    gang.Run(s.batch * y.size, [&](int64_t row, int) {
      const int64_t n = row / y.size, oy = y.start + (row - n * y.size) * s.stride_h;
      for (int64_t j = 0; j < x.size; ++j) {
        const int64_t at = ((n * s.out_h + oy) * s.out_w + x.start + j * s.stride_w) * s.out_c;
        const float* from = part + (row * x.size + j) * s.out_c;
        float* to = args.y + at;
        for (int64_t o = 0; o < s.out_c; ++o) {
          float sum = taps ? from[o] : 0.0f;
          if (args.bias) sum += args.bias[o];
          if (args.residual) sum += args.residual[at + o];
          to[o] = sum;
        }
        if (args.activation.kind != ActivationKind::kNone) kernels.activate(args.activation, to, to, s.out_c);
      }
    });
  });
}

}  // namespace tfengine::cpu
