// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/attention.h"

#include <algorithm>

#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {

LowerResult LowerAttention(const LowerContext& c) {
  const auto& q = c.node.inputs[0].shape;
  const auto& k = c.node.inputs[1].shape;
  const auto& v = c.node.inputs[2].shape;
  const auto formats = RealFormats(c.node, {0, 1, 2});
  if (!formats) return std::optional<Lowered>();
  AttentionFormats f{(*formats)[0], (*formats)[1], (*formats)[2], {}, (*formats)[3]};
  AttentionShape s;
  s.batch = q[0], s.queries = q[1], s.heads = q[2], s.depth = q[3];
  s.keys = k[1];
  s.value_depth = v[3];
  s.q = AttentionBSHD(s.queries, s.heads, s.depth);
  s.k = AttentionBSHD(s.keys, s.heads, s.depth);
  s.v = AttentionBSHD(s.keys, s.heads, s.value_depth);
  s.o = AttentionBSHD(s.queries, s.heads, s.value_depth);
  s.scale = static_cast<float>(c.node.attrs.Float("scale", 1));
  s.masked = static_cast<float>(c.node.attrs.Float("mask_value", -1e9));
  const bool mask = c.node.has_input(3);
  if (mask) {
    const Operand& m = c.node.inputs[3];
    if (m.dtype == DType::kBool) {
      s.mask = AttentionMask::kBoolAdd;
    } else if (const auto format = FormatOf(m); format && (IsF32(m) || IsTyped(c.node))) {
      s.mask = AttentionMask::kAdd;
      f.mask = *format;
    } else {
      return std::optional<Lowered>();
    }
    std::vector<int64_t> shape(4, 1);
    if (m.shape.size() > 4) return std::optional<Lowered>();
    std::copy(m.shape.begin(), m.shape.end(), shape.end() - static_cast<int64_t>(m.shape.size()));
    s.mask_layout.key = shape[3] == 1 ? 0 : 1;
    s.mask_layout.query = shape[2] == 1 ? 0 : shape[3];
    s.mask_layout.head = shape[1] == 1 ? 0 : shape[2] * shape[3];
    s.mask_layout.batch = shape[0] == 1 ? 0 : shape[1] * shape[2] * shape[3];
  }
  std::vector<int> in = {0, 1, 2};
  if (mask) in.push_back(3);
  auto run = [=](const void* const* in, void* const* out, void* scratch, Gang& gang) {
    AttentionArgs args;
    args.q = in[0];
    args.k = in[1];
    args.v = in[2];
    args.mask = mask ? in[3] : nullptr;
    args.o = out[0];
    args.formats = f;
    Attention(s, args, scratch, gang);
    return OkStatus();
  };
  return MakeLowered("flash", std::move(in), std::move(run), -1,
                     [s, f](int threads) { return AttentionScratchBytes(s, threads, HostCpu().isa, f); });
}

}  // namespace tfengine::cpu
