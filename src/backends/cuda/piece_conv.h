// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/tma_product.h"

// Convolutions of stride 1 on compute capability 9.0 that load a piece of the image once and multiply it with all taps. In
// shared memory a piece is lines of `width` pixels one behind the other; between neighbouring lines, and images, lies one gap of
// zeros that both use as padding. So the pixels that a tap needs for the results numbered m, m + 1, ... (gaps counted) are
// neighbours too, and A of every tap is the same memory at another start. What is computed for gaps is dropped.
namespace tfengine::cuda {

// How the work is cut. A team of warp groups has a tile of results; teams take turns, so that one multiplies while another
// finishes its tile.
struct PieceShape {
  int teams = 1, groups = 1;  // groups: warp groups of a team
  int blocks = 1;             // of 64 rows of a warp group
  int bn = 64;                // columns
  int resident = 1;           // blocks of a multiprocessor

  int bm() const { return 64 * groups * blocks; }
  int warps() const { return 4 * teams * groups; }
  int threads() const { return 32 * warps() + 32; }
  std::string Name() const;  // "piece256x64t2": rows of a warp group, columns; "g": warp groups, "t": teams, "r": resident
};

// What a tile of bm rows covers, and the piece of the image for it.
struct Piece {
  int64_t images = 0;  // 0: there is none
  int64_t lines = 0;   // of results in an image
  int64_t per_image = 1;
  int64_t width = 0, box_lines = 0;  // of the image, with gaps, and of each image in the piece
  int64_t used = 0;                  // pixels that results depend on: those behind the box are zeros

  int64_t box_pixels() const { return images * box_lines * width; }
};
Piece PieceOf(const TmaProduct& p, int bm);

// Shared memory: a ring of pieces; weights, all of them or a ring of those of a tap; numbers of columns and places of rows; barriers.
struct PieceMemory {
  int slots = 0, slot = 0;  // of a chunk of a piece's channels each; 0: it does not fit
  int filters = 0;          // slots of a tap and chunk
  bool streams = false;     // weights pass through their ring once for every tile
  size_t bytes = 0;
};
PieceMemory MemoryOf(const TmaProduct& p, const PieceShape& shape);

// As the functions of tma_product.h.
std::vector<PieceShape> PieceShapes(const TmaProduct& p, const Device& device);
std::optional<PieceShape> FindPieceShape(const TmaProduct& p, const Device& device, const std::string& name);
std::vector<std::string> PieceNames();
Generated PieceConvCode(const TmaProduct& p, const PieceShape& shape, int processors);

}  // namespace tfengine::cuda
