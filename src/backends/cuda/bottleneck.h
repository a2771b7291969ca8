// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/codegen.h"
#include "backends/cuda/device.h"

// An inverted bottleneck in f16 or bf16 as one kernel: a 1x1 convolution that expands the channels, a depthwise convolution, and a
// 1x1 convolution that projects them, with bias and activation each and a residual at the end; or two neighbours of the three.
// A block makes a rectangle of results of one or more images. It keeps what it reads of the image in shared memory and goes
// through the expanded channels in chunks: their tensor, which is the largest by far, never leaves the multiprocessor.
namespace tfengine::cuda {

// A function of the sums and then bounds, which must be numbers of the type; infinite: none.
struct BottleneckActivation {
  std::string expression;  // in x, or ""
  float lo = -std::numeric_limits<float>::infinity(), hi = std::numeric_limits<float>::infinity();
};

struct Bottleneck {
  DType type = DType::kFloat16;  // of everything that is read or written: f16 or bf16
  bool expands = true, projects = true;
  int64_t batch = 0, in_h = 0, in_w = 0, out_h = 0, out_w = 0;  // images of the depthwise convolution
  int64_t channels = 0, expanded = 0, filters = 0;              // read, in between, written; channels or filters: 0 where nothing expands or projects
  int64_t k_h = 3, k_w = 3, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;  // pads: top and left
  bool residual = false;
  BottleneckActivation expand_act, depthwise_act, project_act;

  std::shared_ptr<const DeviceBuffer> weights, numbers;  // as the functions of BottleneckPlan fill them; `type` and f32
};

// Constants of the layers; biases may be null. Filters as in the network: [.., channels, filters].
struct BottleneckConstants {
  const float *expand = nullptr, *expand_bias = nullptr, *depthwise = nullptr, *depthwise_bias = nullptr, *project = nullptr, *project_bias = nullptr;
};

// How the work is cut, and what follows from it.
struct BottleneckPlan {
  int64_t rows = 0, columns = 0, images = 1;  // of results a block makes
  int64_t chunk = 0;                          // expanded channels at a time
  int64_t splits = 1;                         // blocks that share out the chunks; clusters (9.0) where they are projected
  int64_t warps = 8;
  int64_t strip_rows = 1, strip_columns = 1;  // of depthwise results a thread makes at a time
  int64_t tiles = 1;                          // of 16 pixels a warp expands at a time
  int64_t warps_across = 1;                   // of the projection: that share out the filters

  // Shapes of the layer that the plan was made for.
  int64_t read_channels = 0, channels = 0;        // of the expansion; in whole steps of 16
  int64_t expanded = 0, filters = 0, taps = 0, k_w = 0, stride_w = 0;
  int64_t wide_rows = 0, wide_columns = 0;        // of the expanded rectangle with its border
  int64_t read_rows = 0, read_columns = 0;        // of it, at most, that lies in the image
  bool expands = true, projects = true;

  int64_t threads() const { return warps * 32; }
  int64_t chunks() const { return (expanded + chunk - 1) / chunk; }
  int64_t read_pixels() const { return images * read_rows * read_columns; }
  int64_t pixels() const { return images * rows * columns; }
  int64_t strips() const { return pixels() / (strip_rows * strip_columns); }
  bool shares_sums() const { return projects && splits > 1; }
  // Tiles of 16 pixels of the expansion, in whole steps of `tiles`; of the projection.
  int64_t read_tiles() const;
  int64_t pixel_tiles() const { return (pixels() + 15) / 16; }
  // Tiles of a warp of the projection: of pixels, and of 8 filters (an even number).
  int64_t tiles_down() const;
  int64_t tiles_across() const;
  // Elements from one pixel to the next in shared memory.
  int64_t read_pitch() const { return channels + 8; }
  int64_t wide_pitch() const;
  int64_t narrow_pitch() const { return chunk + 8; }
  // Rectangles of expanded channels in shared memory: without an expansion, the next chunk is read early.
  int64_t wide_buffers() const { return expands || chunks() == 1 ? 1 : 2; }
  int64_t sum_pitch() const { return warps_across * tiles_across() * 8 + 8; }
  // Bytes of shared memory.
  int64_t read_bytes() const { return expands ? read_tiles() * 16 * read_pitch() * 2 : 0; }
  int64_t wide_bytes() const { return images * wide_rows * wide_columns * wide_pitch() * 2; }
  int64_t narrow_bytes() const { return projects ? pixel_tiles() * 16 * narrow_pitch() * 2 : 0; }
  int64_t expand_weights() const { return expands ? channels * chunk : 0; }
  int64_t project_weights() const { return projects ? chunk * warps_across * tiles_across() * 8 : 0; }
  int64_t chunk_numbers() const { return (2 + taps) * chunk; }
  int64_t shared_bytes() const;
  // Registers that a thread needs at least, and blocks that a multiprocessor holds.
  int64_t registers() const;
  int64_t resident(int architecture) const;

  std::string Name() const;  // "bottleneck8x14c48w8": rows, columns, chunk, warps; "i2": images; "s4": splits

  // Per chunk: the expansion's weights, then the projection's, in the order in which threads read them.
  int64_t WeightCount() const { return chunks() * (expand_weights() + project_weights()); }
  void FillWeights(const BottleneckConstants& c, float* to) const;
  // Per chunk: biases of the expansion and of the depthwise convolution, and the taps, as `type` keeps them; at the end the projection's biases.
  int64_t NumberCount() const { return chunks() * chunk_numbers() + filters; }
  void FillNumbers(const BottleneckConstants& c, float* to) const;
};

// The plans worth timing, best guess first. Empty: not for this kernel, or not for this device.
std::vector<BottleneckPlan> BottleneckPlans(const Bottleneck& b, int architecture, int processors);
// The plan of that name, else the best guess; nullopt: as above.
std::optional<BottleneckPlan> FindBottleneckPlan(const Bottleneck& b, int architecture, int processors, const std::string& name);

// The kernel: inputs image, weights, numbers, residual (if any).
Generated BottleneckCode(const Bottleneck& b, const BottleneckPlan& plan, int architecture);

}  // namespace tfengine::cuda
