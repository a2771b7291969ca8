// SPDX-License-Identifier: Apache-2.0
// How attention is cut; flash_source.cc has the kernel.
#include "backends/cuda/flash.h"

#include <algorithm>
#include <array>
#include <set>

namespace tfengine::cuda {
namespace {

constexpr int64_t kMostColumns = 8192;  // keys whose masks are kept in shared memory

int64_t To16(int64_t n) { return CeilDiv(n, 16) * 16; }

// Cycles that a cut takes, roughly; only the order matters, and that only where nothing is timed.
double Cost(const FlashProblem& p, const FlashShape& s, const FlashPlan& plan, int processors) {
  const int64_t blocks = CeilDiv(p.queries, s.queries()) * p.heads * p.batch;
  const double mine = static_cast<double>(CeilDiv(blocks, processors));
  const double keys = static_cast<double>(plan.tiles * plan.warp_keys);
  // A warp's instructions for 16 queries and a key: products, and 4 elements of softmax by 2 threads of each.
  const double width = static_cast<double>(plan.depth + plan.value_depth);
  const double serial = keys * s.rows * (s.wgmma ? 6.0 + width / 64 : 5.0 + width / 16);
  const double loads = static_cast<double>(plan.q_bytes + plan.tiles * (plan.k_bytes + plan.v_bytes)) / 45;
  const double busy = std::max(mine * s.query_warps * s.key_warps / 4 * serial * 0.6, mine * loads);
  const int64_t resident = std::max<int64_t>(1, std::min({(227 << 10) / (plan.shared + 1024), 65536 / (plan.Registers(s) * s.threads()), int64_t{32}}));
  const double waits = static_cast<double>(CeilDiv(static_cast<int64_t>(mine), resident)) * (serial + 1500 + static_cast<double>(plan.tiles) * 100 + (s.key_warps > 1 ? 300 : 0));
  return std::max(busy, waits) + 0.3 * std::min(busy, waits);
}

}  // namespace

std::vector<int64_t> FlashProblem::MaskStrides() const { return BroadcastStrides(mask_shape, {batch, heads, queries, keys}); }

FlashPlan FlashPlanOf(const FlashProblem& p, const FlashShape& s) {
  FlashPlan plan;
  plan.depth = To16(p.depth), plan.value_depth = To16(p.value_depth);
  // Tiles of one size, no larger than there are keys.
  plan.tiles = CeilDiv(p.keys, int64_t{s.keys} * s.key_warps);
  plan.warp_keys = To16(CeilDiv(p.keys, plan.tiles * s.key_warps));
  plan.tile = plan.warp_keys * s.key_warps;
  plan.tiles = CeilDiv(p.keys, plan.tile);
  plan.stages = std::min<int64_t>(plan.tiles, 2);
  // wgmma: panels of 64 columns in 128-byte swizzle. mma: rows 16 bytes apart from a multiple of 32, without bank conflicts.
  auto bytes = [&](int64_t rows, int64_t width) { return s.wgmma ? CeilDiv(width, 64) * rows * 128 : rows * (width * 2 + 16); };
  plan.q_bytes = CeilDiv(std::max(bytes(s.queries(), plan.depth), s.queries() * (plan.value_depth * 2 + 16)), 1024) * 1024;
  plan.k_bytes = bytes(plan.tile, plan.depth);
  plan.v_bytes = bytes(plan.tile, plan.value_depth);
  plan.shared = plan.q_bytes + plan.stages * (plan.k_bytes + plan.v_bytes);
  if (p.mask) {
    plan.masks = p.MaskStrides()[2] == 0 && plan.tiles * plan.tile <= kMostColumns ? FlashPlan::Masks::kColumns : FlashPlan::Masks::kEach;
    if (plan.masks == FlashPlan::Masks::kColumns) plan.shared += plan.tiles * plan.tile * 4;
  }
  if (s.key_warps > 1) plan.shared = std::max(plan.shared, int64_t{s.queries()} * s.key_warps * (plan.value_depth + 8) * 4);
  return plan;
}

int64_t FlashPlan::Registers(const FlashShape& s) const {
  const int64_t scores = warp_keys / 2, sums = value_depth / 2;
  if (s.wgmma) return std::max(scores + (tiles > 1 ? sums : 0), scores / 2 + sums) + (tiles > 1 ? 64 : 34);
  return s.rows * (scores + sums + (s.rows == 1 && depth <= 128 ? depth / 4 : 4)) + 48;
}

std::string FlashShape::Name() const {
  return fmt::format("{}{}x{}{}{}", wgmma ? "wg" : "mma", queries(), keys * key_warps, rows > 1 ? "w" : "", key_warps > 1 ? fmt::format("/{}", key_warps) : "");
}

std::vector<FlashShape> FlashShapes(const FlashProblem& p, int architecture, int processors) {
  std::vector<std::pair<double, FlashShape>> found;
  auto fits = [](int64_t depth) { return depth > 0 && depth % 8 == 0 && depth <= 256; };
  const bool type = p.type.dtype == DType::kFloat16 || p.type.dtype == DType::kBfloat16;
  if (architecture < 80 || !type || !fits(p.depth) || !fits(p.value_depth) || p.keys == 0) return {};
  std::vector<FlashShape> all;
  if (architecture == 90)
    for (auto [warps, keys] : {std::array{4, 128}, {4, 64}, {8, 64}, {8, 128}}) all.push_back({.wgmma = true, .query_warps = warps, .keys = keys});
  for (auto [warps, rows, split, keys] : {std::array{4, 1, 1, 64}, {4, 1, 1, 32}, {8, 1, 1, 64}, {8, 1, 1, 32}, {4, 2, 1, 64}, {4, 2, 1, 32}, {2, 1, 1, 64}, {2, 1, 1, 32},
                                          {4, 1, 2, 64}, {2, 1, 2, 64}, {2, 1, 4, 32}, {1, 1, 4, 32}, {1, 1, 8, 16}, {2, 1, 8, 16}})
    all.push_back({.query_warps = warps, .rows = rows, .key_warps = split, .keys = keys});
  std::set<std::array<int64_t, 5>> known;  // short sequences: tiles that differ in name only
  for (const FlashShape& s : all) {
    const FlashPlan plan = FlashPlanOf(p, s);
    if (plan.shared + 2048 > SharedMemory(architecture) - 1024 || plan.Registers(s) > std::min<int64_t>(250, 65536 / s.threads())) continue;
    if (s.key_warps > 1 && p.keys <= 16 * (s.key_warps - 1)) continue;
    if (!known.insert({s.wgmma, s.query_warps, s.rows, s.key_warps, plan.warp_keys}).second) continue;
    found.emplace_back(Cost(p, s, plan, processors), s);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<FlashShape> shapes;
  for (const auto& [cost, shape] : found) shapes.push_back(shape);
  return shapes;
}

}  // namespace tfengine::cuda
