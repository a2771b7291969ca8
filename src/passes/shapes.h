// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "network/network.h"

// Arithmetic on permutations and shapes that several passes share.
namespace tfengine::passes {

// The permutation of transpose(transpose(x, first), second).
std::vector<int64_t> Compose(const std::vector<int64_t>& first, const std::vector<int64_t>& second);
std::vector<int64_t> Inverse(const std::vector<int64_t>& perm);
// Whether the permutation exchanges the last two of two or more axes and nothing else.
bool SwapsLastTwo(const std::vector<int64_t>& perm);
// Whether it leaves the order of the dims that are not 1: then the data do not move.
bool KeepsOrder(const std::vector<int64_t>& perm, const Shape& shape);
// Whether NumPy broadcasting of the operands gives `result`, dim for dim as written.
bool BroadcastGives(const std::vector<Shape>& operands, const Shape& result);
// `shape` with leading 1s up to that rank.
Shape WithRank(const Shape& shape, size_t rank);

}  // namespace tfengine::passes
