// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/concat.h"

#include <cstring>

#include "backends/cpu/kernels/elements.h"
#include "backends/cpu/kernels/loops.h"

namespace tfengine::cpu {
namespace {

// Calls copy(part, row, offset within the part's row, bytes) for pieces that together cover `outer` rows of all parts. A piece
// is a range of whole rows, or a range of a single one if the rows are few and long.
template <typename Part, typename Copy>
void ForPieces(std::span<const Part> parts, int64_t outer, Gang& gang, const Copy& copy) {
  int64_t row = 0;
  for (const Part& part : parts) row += part.bytes;
  if (row == 0 || outer == 0) return;
  ParallelParts(
      gang, outer * row, kMovePart,
      [&](int64_t begin, int64_t end) {
        int64_t r = begin / row, at = begin % row;  // `at`: within the row
        while (begin < end) {
          int64_t offset = 0;
          for (const Part& part : parts) {
            const int64_t from = at > offset ? at : offset;
            const int64_t stop = begin - at + offset + part.bytes < end ? offset + part.bytes : end - (begin - at);
            if (from < stop) copy(part, r, from - offset, stop - from);
            offset += part.bytes;
          }
          begin += row - at;
          at = 0;
          ++r;
        }
      },
      64);
}

}  // namespace

void Concat(std::span<const ConcatInput> inputs, int64_t outer, void* y, int64_t distance, Gang& gang) {
  char* to = static_cast<char*>(y);
  ForPieces(inputs, outer, gang, [&](const ConcatInput& input, int64_t row, int64_t offset, int64_t bytes) {
    std::memcpy(to + row * distance + input.at + offset, static_cast<const char*>(input.data) + row * input.distance + offset, bytes);
  });
}

}  // namespace tfengine::cpu
