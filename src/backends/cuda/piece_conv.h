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
//
// A product that follows (TmaProduct::then, a 1x1 convolution) is multiplied from registers: a team has all channels of its rows. Its
// columns come in chunks of 128 bytes. A ring of such pieces of the result brings the residual and takes the results, and the
// accelerator, which knows where images end, drops the gaps.
namespace tfengine::cuda {

// How the work is cut. A team of warp groups has a tile of results; teams take turns, so that one multiplies while another
// finishes its tile.
struct PieceShape {
  int teams = 1, groups = 1;  // groups: warp groups of a team
  int blocks = 1;             // of 64 rows of a warp group
  int bn = 64;                // columns
  int resident = 1;           // blocks of a multiprocessor
  bool pairs = false;         // two blocks of a cluster load half of the weights each, for both: where those pass, and with `then`

  int bm() const { return 64 * groups * blocks; }
  int warps() const { return 4 * teams * groups; }
  int threads(const TmaProduct& p) const { return 32 * (warps() + (p.then ? 2 : 1)); }  // the last warps load
  std::string Name() const;  // "piece256x64t2": rows of a warp group, columns; "g": warp groups, "t": teams, "r": resident, "p": pairs
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

// Shared memory: a ring of pieces; weights, all of them or a ring of those of a tap; those of `then` alike, and a ring of its results;
// numbers of columns and places of rows; barriers.
struct PieceMemory {
  int slots = 0, slot = 0;  // of a chunk of a piece's channels each; 0: it does not fit
  int filters = 0;          // slots of a tap and chunk
  bool streams = false;     // weights pass through their ring once for every tile
  int then_filters = 0;     // slots of a chunk of `then`'s columns and of its terms: all of them, or of each team
  bool then_streams = false;
  int results = 0, result = 0;  // slots of a team, of a chunk of `then`'s columns each
  size_t bytes = 0;
};
PieceMemory MemoryOf(const TmaProduct& p, const PieceShape& shape);

// As the functions of tma_product.h.
std::vector<PieceShape> PieceShapes(const TmaProduct& p, const Device& device);
std::optional<PieceShape> FindPieceShape(const TmaProduct& p, const Device& device, const std::string& name);
std::vector<std::string> PieceNames();
Generated PieceConvCode(const TmaProduct& p, const PieceShape& shape, int processors);

}  // namespace tfengine::cuda
