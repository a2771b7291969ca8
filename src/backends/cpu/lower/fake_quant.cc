// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/fake_quant.h"

#include "backends/cpu/lower/lower.h"

namespace tfengine::cpu {

LowerResult LowerFakeQuant(const LowerContext& c) {
  const std::vector<int64_t>& shape = c.node.inputs[0].shape;
  FakeQuantArgs base;
  const std::string rounding = c.node.attrs.Str("rounding");
  base.rounding = rounding == "even" ? CodeRounding::kEven : rounding == "up" ? CodeRounding::kUp : CodeRounding::kOffset;
  if (c.node.inputs[1].shape.empty()) {
    base.inner = c.node.inputs[0].num_elements();
  } else {
    const auto axis = static_cast<size_t>(c.node.attrs.Int("axis"));
    base.outer = Product(shape, 0, axis);
    base.channels = shape[axis];
    base.inner = Product(shape, axis + 1, shape.size());
  }
  std::vector<int> in = {0, 1, 2, 3};
  const bool divides = !c.node.has_input(4);
  if (!divides) in.push_back(4);
  auto run = [=](const void* const* in, void* const* out, void*, Gang& gang) {
    FakeQuantArgs args = base;
    args.x = F32(in[0]);
    args.y = F32(out[0]);
    args.step = F32(in[1]);
    args.lo = F32(in[2]);
    args.hi = F32(in[3]);
    if (!divides) args.inverse = F32(in[4]);
    FakeQuant(args, gang);
    return OkStatus();
  };
  return MakeLowered("vector", std::move(in), std::move(run), 0);
}

}  // namespace tfengine::cpu
