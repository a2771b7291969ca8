// SPDX-License-Identifier: Apache-2.0
// Depthwise convolutions of codes: four taps of a channel are one dot product of bytes (dp4a).
#include <cmath>
#include <cstring>

#include "backends/cuda/lower/int8.h"
#include "backends/cuda/lower/window.h"

namespace tfengine::cuda {
namespace {

// Taps by fours: a word of four codes per channel and four.
void PackTaps(const Tensor& filter, const float* steps, signed char* to) {
  const int64_t channels = filter.shape()[3], taps = filter.shape()[0] * filter.shape()[1];
  for (int64_t t = 0; t < (taps + 3) / 4 * 4; ++t)
    for (int64_t ch = 0; ch < channels; ++ch)
      to[(t / 4 * channels + ch) * 4 + t % 4] = t < taps ? CodeOfWeight(filter.as<float>()[t * channels + ch], steps[ch]) : int8_t{0};
}

// The kernel of one pixel and `v` channels a thread. `conv`: the epilogue, sizes of images and window.
Generated DepthwiseCode(const Int8Conv& conv, int v) {
  const int64_t channels = conv.filters, taps = conv.k_h * conv.k_w, n = conv.rows() * channels / v;
  Generated g;
  g.inputs = 3;
  g.source = fmt::format(
      "__forceinline__ int dot(unsigned a, int b, int c) {{ int d; asm(\"dp4a.u32.s32 %0, %1, %2, %3;\" : \"=r\"(d) : \"r\"(a), \"r\"(b), \"r\"(c)); return d; }}\n"
      "extern \"C\" __global__ void k(const u8* in, const int* weights, const float* table, {0}* out, i64 n) {{\n  typedef {1} index;\n"
      "  index i = (index)blockIdx.x * 256u + threadIdx.x;\n  if (i >= n) return;\n  const i64 at = i;\n  const int ch = (int)(i % {2}u) * {3}; i /= {2}u;\n"
      "  const int x0 = (int)(i % {4}u) * {5} - {6}; i /= {4}u;\n  const int y0 = (int)(i % {7}u) * {8} - {9};\n  const u8* image = in + (i64)(i / {7}u) * {10} + ch;\n"
      "  int a[{3}];\n#pragma unroll\n  for (int e = 0; e < {3}; ++e) a[e] = 0;\n",
      conv.y.storage(), IndexType(n * v), channels / v, v, conv.out_w, conv.stride_w, conv.pad_w, conv.out_h, conv.stride_h, conv.pad_h,
      conv.in_h * conv.in_w * channels);
  // Outside lies the code of zero; what it adds is taken back for all taps alike.
  g.source += fmt::format(
      "#pragma unroll\n  for (int four = 0; four < {0}; ++four) {{\n    vec<unsigned, {1}> u[4];\n#pragma unroll\n    for (int j = 0; j < 4; ++j) {{\n"
      "      const int tap = four * 4 + j, y = y0 + tap / {2} * {3}, x = x0 + tap % {2} * {4};\n#pragma unroll\n      for (int q = 0; q < {1}; ++q) u[j].v[q] = {5}u;\n"
      "      if (tap < {6} && y >= 0 && y < {7} && x >= 0 && x < {8}) u[j] = *(const vec<unsigned, {1}>*)(image + ((i64)y * {8} + x) * {9});\n    }}\n",
      (taps + 3) / 4, v / 4, conv.k_w, conv.dilation_h, conv.dilation_w, static_cast<uint32_t>(conv.zero) * 0x01010101u, taps, conv.in_h, conv.in_w, channels);
  g.source += fmt::format(
      "#pragma unroll\n    for (int q = 0; q < {0}; ++q) {{\n      const vec<int, 4> w = *(const vec<int, 4>*)(weights + four * {1} + ch + q * 4);\n"
      "      const unsigned low0 = __byte_perm(u[0].v[q], u[1].v[q], 0x5140), low1 = __byte_perm(u[2].v[q], u[3].v[q], 0x5140);\n"
      "      const unsigned high0 = __byte_perm(u[0].v[q], u[1].v[q], 0x7362), high1 = __byte_perm(u[2].v[q], u[3].v[q], 0x7362);\n"
      "      a[q * 4] = dot(__byte_perm(low0, low1, 0x5410), w.v[0], a[q * 4]);\n      a[q * 4 + 1] = dot(__byte_perm(low0, low1, 0x7632), w.v[1], a[q * 4 + 1]);\n"
      "      a[q * 4 + 2] = dot(__byte_perm(high0, high1, 0x5410), w.v[2], a[q * 4 + 2]);\n      a[q * 4 + 3] = dot(__byte_perm(high0, high1, 0x7632), w.v[3], a[q * 4 + 3]);\n"
      "    }}\n  }}\n",
      v / 4, channels);
  const bool codes = conv.y.quant.quantized();
  std::string store = conv.y.Store("z");
  if (codes)
    store = fmt::format("(u8)max(min(z != z ? {0} : __float2int_rn(fminf(fmaxf(z * {1}, -1024.0f), 1024.0f)) + {0}, {2}), {3})", conv.y.quant.zero,
                        Literal(1 / conv.y.quant.scale, "float"), conv.hi, conv.lo);
  g.source += fmt::format(
      "  vec<{0}, {1}> r;\n#pragma unroll\n  for (int e = 0; e < {1}; ++e) {{\n    typedef float W;\n"
      "    W z = fmaf((float)(a[e] + __float_as_int(table[{2} + ch + e])), table[ch + e], table[{3} + ch + e]);\n{4}    r.v[e] = {5};\n  }}\n"
      "  *(vec<{0}, {1}>*)(out + at * {1}) = r;\n}}\n",
      conv.y.storage(), v, 2 * channels, channels, conv.act.empty() ? "" : fmt::format("    {{ const W x = z; z = {}; }}\n", conv.act), store);
  g.OneThreadEach(n);
  return g;
}

}  // namespace

LowerResult LowerDepthwiseInt8(const LowerContext& c) {
  const ConcreteNode& node = c.node;
  const auto &in = node.inputs[0].shape, &f = node.inputs[1].shape, &out = node.outputs[0].shape;
  constexpr int64_t kMostTaps = 49;  // they are unrolled
  if (f[2] != 1 || node.attrs.Int("groups", 1) != f[3] || in[3] != f[3] || f[3] % 4 != 0 || f[0] * f[1] > kMostTaps) return std::optional<Lowered>();
  if (IsFp8(node) || !HasConstants(node) || node.has_input(3)) return std::optional<Lowered>();
  Int8Conv conv;
  if (!SetEpilogue(node, &conv)) return std::optional<Lowered>();
  const Window w(node.attrs);
  conv.batch = in[0], conv.in_h = in[1], conv.in_w = in[2], conv.out_h = out[1], conv.out_w = out[2], conv.filters = f[3];
  conv.k_h = f[0], conv.k_w = f[1], conv.run = 1;
  conv.stride_h = w.strides[0], conv.stride_w = w.strides[1], conv.dilation_h = w.dilations[0], conv.dilation_w = w.dilations[1];
  conv.pad_h = w.pads[0], conv.pad_w = w.pads[2];
  const Tensor &filter = *node.inputs[1].constant, &steps = *node.inputs[4].constant;
  const int64_t channels = conv.filters, taps = conv.k_h * conv.k_w;
  TFE_ASSIGN_OR_RETURN(auto weights, DeviceWeights(c, fmt::format("depthwise {} {}", filter.data(), steps.data()), static_cast<size_t>((taps + 3) / 4 * 4 * channels),
                                                   [&](void* to) { PackTaps(filter, steps.as<float>(), static_cast<signed char*>(to)); }));
  const Int8Channels real = ChannelsOf(node, channels);
  std::vector<float> table(static_cast<size_t>(3 * channels));
  for (int64_t ch = 0; ch < channels; ++ch) {
    int32_t sum = 0;
    for (int64_t t = 0; t < taps; ++t) sum -= conv.zero * CodeOfWeight(filter.as<float>()[t * channels + ch], steps.as<float>()[ch]);
    table[static_cast<size_t>(ch)] = real.scale[static_cast<size_t>(ch)];
    table[static_cast<size_t>(channels + ch)] = real.bias[static_cast<size_t>(ch)];
    std::memcpy(&table[static_cast<size_t>(2 * channels + ch)], &sum, 4);
  }
  TFE_ASSIGN_OR_RETURN(DeviceBuffer uploaded, DeviceBuffer::Upload(c.device, table.data(), table.size() * sizeof(float)));
  Generated g = DepthwiseCode(conv, channels % 8 == 0 ? 8 : 4);
  g.bound.push_back({1, std::move(weights), true});
  g.bound.push_back({2, std::make_shared<const DeviceBuffer>(std::move(uploaded))});
  return Finish(c, g, "depthwise_int8", {0});
}

}  // namespace tfengine::cuda
