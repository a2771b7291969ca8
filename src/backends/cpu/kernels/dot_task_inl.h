// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "backends/cpu/kernels/dot_output_inl.h"

namespace tfengine::cpu::TFE_SIMD {

// What one task of a DotPlan works on: ranges of tiles and panels of one group, and where their operands are.
template <typename D>
struct DotTaskView {
  using Value = typename D::Value;

  TFE_INLINE DotTaskView(const DotPlan& plan, const DotArgs& args, int64_t task) : plan(plan), args(args) {
    const DirectPlan& p = plan.d;
    const int64_t per_group = p.pixel_parts * p.panel_parts;
    group = task / per_group;
    task -= group * per_group;
    const int64_t pixel_part = task % p.pixel_parts, panel_part = task / p.pixel_parts;
    tile_begin = p.tiles * pixel_part / p.pixel_parts;
    tile_end = p.tiles * (pixel_part + 1) / p.pixel_parts;
    panel_begin = p.panels * panel_part / p.panel_parts;
    panel_end = p.panels * (panel_part + 1) / p.panel_parts;
    word_bytes = plan.word_total * kLanes * 4;
    weight_sums = static_cast<const int32_t*>(args.packed) + group * p.vectors * kLanes;
    weights = static_cast<const char*>(args.packed) + plan.weights_offset + group * p.vectors * word_bytes;
    x = static_cast<const Value*>(args.x) + group * p.group_in;
    padding = static_cast<Value>(D::kInteger ? args.zero : 0);
    const Storage own = sizeof(Value) == 1 ? Storage::kU8 : sizeof(Value) == 2 ? Storage::kBf16 : Storage::kF32;
    constants = MakeConstants(*args.stage, args.residual != nullptr, kWritesInRegisters, own);
    auto bytes = [](Storage s) { return s == Storage::kF32 ? 4 : s == Storage::kBf16 ? 2 : 1; };
    y_bytes = bytes(args.stage->out.storage);
    residual_bytes = bytes(args.stage->residual.storage);
  }
  DotTaskView(const DotTaskView&) = delete;

  // A call with what all tiles share; it points into this view.
  TFE_INLINE DotCall Call() const {
    DotCall call = {};
    call.zero = args.zero;
    call.stage = args.stage;
    call.out = &constants;
    call.residual_stride = plan.d.g.residual_pixel;
    call.y_stride = plan.d.g.y_pixel;
    return call;
  }

  TFE_INLINE int64_t Vectors(int64_t panel) const { return plan.d.vectors - panel * 2 < 2 ? plan.d.vectors - panel * 2 : 2; }
  TFE_INLINE int64_t Pixels(int64_t first) const { return plan.d.pixels - first < plan.d.tile ? plan.d.pixels - first : plan.d.tile; }

  // The weights and columns of a panel.
  TFE_INLINE void SetPanel(int64_t panel, DotCall& call) const {
    const DirectPlan& p = plan.d;
    const OutputStage& stage = *args.stage;
    const int64_t nv = Vectors(panel), first = panel * 2 * kLanes, channel = group * p.group_out + first;
    call.width = p.group_out - first < nv * kLanes ? p.group_out - first : nv * kLanes;
    call.tail = Tail(call.width - (nv - 1) * kLanes);
    call.full = call.width == nv * kLanes;
    call.w = weights + panel * 2 * word_bytes;
    call.weight_sums = weight_sums + first;
    call.scale = stage.scale ? stage.scale + channel : nullptr;
    call.bias = stage.bias ? stage.bias + channel : nullptr;
    call.writer = constants.writer;
    if (call.writer != DotWriter::kBuffer && !stage.bounded && !FitsRegisters(call, nv, plan.word_total * kPerWord<D>)) call.writer = DotWriter::kBuffer;
  }

  // Where the pixels from `pixel` on are written in a panel.
  TFE_INLINE void SetOutput(int64_t panel, int64_t pixel, DotCall& call) const {
    const int64_t channel = group * plan.d.group_out + panel * 2 * kLanes;
    call.y = static_cast<char*>(args.y) + (pixel * plan.d.g.y_pixel + channel) * y_bytes;
    call.residual = args.residual ? static_cast<const char*>(args.residual) + (pixel * plan.d.g.residual_pixel + channel) * residual_bytes
                                  : nullptr;
  }

  const DotPlan& plan;
  const DotArgs& args;
  int64_t group, tile_begin, tile_end, panel_begin, panel_end;
  int64_t word_bytes;  // of one vector's weights
  const int32_t* weight_sums;
  const char* weights;
  const Value* x;
  Value padding;
  OutputConstants constants;
  int64_t y_bytes, residual_bytes;
};

}  // namespace tfengine::cpu::TFE_SIMD
