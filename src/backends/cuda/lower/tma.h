// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/piece_conv.h"
#include "backends/cuda/tma_product.h"

// The kernels of a TmaProduct by their tactics: tma_product.h and piece_conv.h.
namespace tfengine::cuda {

inline std::vector<std::string> TmaTactics(const TmaProduct& p, const Device& device) {
  std::vector<std::string> names;
  for (const TmaShape& s : TmaShapes(p, device)) names.push_back(s.Name());
  for (const PieceShape& s : PieceShapes(p, device)) names.push_back(s.Name());
  return names;
}

inline bool IsTmaTactic(const TmaProduct& p, const Device& device, const std::string& tactic) {
  return FindTmaShape(p, device, tactic) || FindPieceShape(p, device, tactic);
}

// Of a tactic that is one of these.
inline Generated TmaCode(const TmaProduct& p, const Device& device, const std::string& tactic) {
  if (const auto piece = FindPieceShape(p, device, tactic)) return PieceConvCode(p, *piece, device.processors());
  return TmaProductCode(p, *FindTmaShape(p, device, tactic), device.processors());
}

}  // namespace tfengine::cuda
