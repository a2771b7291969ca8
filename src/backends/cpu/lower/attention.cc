// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/attention.h"

#include <algorithm>

#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {

LowerResult LowerAttention(const LowerContext& c) {
  const auto& q = c.node.inputs[0].shape;
  const auto& k = c.node.inputs[1].shape;
  const auto& v = c.node.inputs[2].shape;
  for (int i = 0; i < 3; ++i)
    if (!IsF32(c.node.inputs[i])) return std::optional<Lowered>();
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
    } else if (IsF32(m)) {
      s.mask = AttentionMask::kAdd;
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
    args.q = F32(in[0]);
    args.k = F32(in[1]);
    args.v = F32(in[2]);
    args.mask = mask ? in[3] : nullptr;
    args.o = F32(out[0]);
    Attention(s, args, scratch, gang);
    return OkStatus();
  };
  return MakeLowered("flash", std::move(in), std::move(run), -1,
                     [s](int threads) { return AttentionScratchBytes(s, threads); });
}

}  // namespace tfengine::cpu
