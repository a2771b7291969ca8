// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/int8_conv.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/status_macros.h"

namespace tfengine::cuda {
namespace {

constexpr int64_t kMostRows = 256;   // of weights that a tile reads: packed rows are a multiple
constexpr int64_t kPitch = 128;      // the largest bk

int64_t Ceil(int64_t n, int64_t by) { return (n + by - 1) / by; }

// The kernel's argument; the source declares the same.
struct Params {
  const void *x, *w, *channels, *residual;
  void* out;
  int32_t rows, filters, table, k_tiles, pitch, n_tiles, tiles;
  int32_t run, pixel, in_h, in_w, out_w, out_hw, stride_h, stride_w, pad_h, pad_w, k_h, k_w, dilation_h, dilation_w;
  uint32_t zero_word;  // four codes of zero of x
  float residual_scale, residual_zero, inverse;
  int32_t zero, lo, hi;
  float least, most;
  int32_t columns, backwards;
};

class Int8Kernel : public DeviceKernel {
 public:
  Int8Kernel(Function function, const Int8Tile& tile, const Params& params, unsigned blocks, bool has_residual,
             std::shared_ptr<const DeviceBuffer> weights, DeviceBuffer channels)
      : function_(std::move(function)), tile_(tile), params_(params), blocks_(blocks), has_residual_(has_residual), weights_(std::move(weights)), channels_(std::move(channels)) {}

  Status Enqueue(const void* const* in, void* const* out, const Launch& launch) const override {
    Params p = params_;
    p.x = in[0];
    if (has_residual_) p.residual = in[1];
    p.out = out[0];
    p.backwards = launch.backwards;
    if (launch.weights != nullptr) p.w = launch.weights;
    void* arguments[] = {&p};
    const Device& device = launch.device;
    // It waits for the kernel in front of it by itself.
    CUlaunchAttribute overlap = {};
    overlap.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    overlap.value.programmaticStreamSerializationAllowed = 1;
    const CUlaunchConfig config = {blocks_, static_cast<unsigned>(tile_.splits), 1, static_cast<unsigned>(tile_.threads()), 1, 1,
                                   static_cast<unsigned>(tile_.shared_bytes()), launch.stream, &overlap, device.architecture() >= 90 ? 1u : 0u};
    return device.Check(device.driver().LaunchKernelEx(&config, function_.handle, arguments, nullptr), "launching a product of codes");
  }
  const DeviceBuffer* weights() const override { return weights_.get(); }
  bool reverses() const override { return true; }

 private:
  const Function function_;
  const Int8Tile tile_;
  const Params params_;
  const unsigned blocks_;
  const bool has_residual_;
  const std::shared_ptr<const DeviceBuffer> weights_;
  const DeviceBuffer channels_;
};

// bm, bn, bk, warps along m and n, stages, splits, group.
constexpr Int8Tile kTiles[] = {
    {128, 256, 128, 8, 1, 4, 1, true}, {128, 128, 128, 8, 1, 3, 1, true}, {128, 128, 128, 8, 1, 6, 1, true}, {128, 64, 128, 8, 1, 4, 1, true},
    {128, 128, 64, 8, 1, 4, 1, true},  {128, 64, 64, 8, 1, 4, 1, true},   {64, 128, 128, 4, 1, 4, 1, true},  {64, 64, 128, 4, 1, 4, 1, true},
    {64, 256, 128, 4, 1, 4, 1, true},  {64, 256, 64, 4, 1, 3, 1, true},   {128, 256, 64, 8, 1, 4, 1, true},  {64, 128, 64, 4, 1, 4, 1, true},
    {64, 128, 128, 4, 1, 4, 2, true},  {64, 128, 128, 4, 1, 4, 4, true},  {64, 64, 128, 4, 1, 4, 2, true},   {64, 64, 128, 4, 1, 4, 4, true},
    {128, 128, 128, 8, 1, 4, 2, true},
    {64, 64, 64, 4, 1, 4, 1, true},    {128, 128, 64, 2, 2, 4},           {128, 128, 64, 4, 2, 4},           {128, 64, 64, 4, 1, 4},
    {256, 64, 64, 4, 1, 3},            {64, 128, 64, 2, 2, 4},            {64, 64, 64, 4, 1, 3},             {64, 64, 128, 4, 1, 4},
    {64, 32, 64, 4, 1, 4},             {128, 32, 64, 4, 1, 4},            {32, 64, 128, 2, 2, 4},            {32, 32, 128, 2, 1, 4},
    {64, 64, 128, 4, 1, 4, 2},         {64, 64, 128, 4, 1, 4, 4},         {64, 64, 128, 4, 1, 4, 8},         {32, 64, 128, 2, 2, 4, 2},
    {32, 64, 128, 2, 2, 4, 4},         {32, 64, 128, 2, 2, 4, 8},         {32, 32, 128, 2, 1, 4, 4},         {64, 32, 128, 4, 1, 4, 2},
    {64, 32, 128, 4, 1, 4, 4},         {64, 32, 128, 4, 1, 4, 8},
};
constexpr size_t kMostTrials = 18;
constexpr int kMostFp8Sums = 64;  // of a thread, twice in registers

// Loads divide evenly among the threads, and shared memory permutes in rows of 8.
bool Fits(const Int8Tile& t, int unit) {
  const int units = t.bk / unit, chunks = t.bk / 16;
  return t.threads() % units == 0 && t.bm * units % t.threads() == 0 && t.threads() % chunks == 0 && t.bn * chunks % t.threads() == 0;
}

// A guess in clock cycles of a multiprocessor. Only the order counts.
double Cost(const Int8Conv& conv, const Int8Tile& t, int processors) {
  const double blocks = static_cast<double>(Ceil(conv.rows(), t.bm) * Ceil(conv.filters, t.bn) * t.splits);
  const double steps = std::ceil(static_cast<double>(Ceil(conv.reduction(), t.bk)) / t.splits);
  const double area = static_cast<double>(t.bm) * t.bn;
  const double rate = t.group ? 1500 + 6.0 * std::sqrt(area) : 380 + 8.3 * std::sqrt(area);  // multiply-adds a cycle, of a full processor
  const double loads = (t.bm + t.bn) * static_cast<double>(t.bk) / 36;                       // bytes a cycle
  const double step = std::max(area * t.bk / rate, loads);
  const double out = area * (conv.residual ? 2.6 : 1) * static_cast<double>(conv.y.size()) / 45;
  const double work = steps * step + out + 150;
  const double latency = 2400 + steps * 220 + (t.splits > 1 ? 400 + 200 * t.splits : 0);
  return std::max(std::ceil(blocks / processors) * work, latency) + 0.2 * latency;
}

}  // namespace

int Int8Tile::resident(bool fp8) const {
  constexpr int kRegisters = 65536, kShared = 227 << 10, kMostThreads = 2048;
  // Sums, those of a step in E4M3, the residual's codes, fragments, and what loads and addresses take.
  const int fragments = group ? 0 : bm / warps_m / 4 + bn / warps_n / 4;
  const int registers = (sums() * (fp8 ? 2 : 1) + sums() / 4 + fragments + (group ? 40 : 24) + 7) / 8 * 8;
  return std::max(1, std::min({kRegisters / (threads() * std::min(registers, 255)), kShared / static_cast<int>(shared_bytes() + 1024), kMostThreads / threads()}));
}

size_t Int8Tile::shared_bytes() const {
  const size_t ring = static_cast<size_t>(stages) * static_cast<size_t>((bm + bn) * bk);
  const size_t parts = splits > 1 ? static_cast<size_t>(bm * bn) * 4 : 0;
  return std::max(ring, parts) + 1024;  // it starts at a multiple of 1024
}

std::string Int8Tile::name() const {
  return fmt::format("{}_{}x{}x{}_w{}_s{}{}", group ? "wgmma" : "mma", bm, bn, bk, warps_m * warps_n, stages, splits > 1 ? fmt::format("_z{}", splits) : "");
}

int Int8Conv::unit() const {
  // Every place that a unit is read from is a multiple of it.
  for (const int u : {16, 8, 4}) {
    const bool starts = plain() ? pixel % u == 0 : in_w * pixel % u == 0 && stride_w * pixel % u == 0 && pad_w * pixel % u == 0;
    if (run % u == 0 && starts && (k_w == 1 || dilation_w * pixel % u == 0)) return u;
  }
  return 0;
}

bool Int8Possible(const Int8Conv& conv, const Device& device) {
  const int64_t most = std::numeric_limits<int32_t>::max() / 2;
  // int32 sums: 255 * 127 a term.
  return device.architecture() >= (conv.fp8 ? kFp8Architecture : 80) && conv.unit() > 0 && conv.rows() > 0 && conv.reduction() > 0 &&
         (conv.fp8 || conv.reduction() <= 60000) && conv.batch * conv.in_h * conv.in_w * conv.pixel < most && conv.rows() < most && conv.filters < most / 4;
}

std::vector<Int8Tile> Int8Tiles(const Int8Conv& conv, const Device& device) {
  std::vector<std::pair<double, Int8Tile>> guesses;
  for (Int8Tile t : kTiles) {
    if (t.group && device.architecture() != 90) continue;
    if (conv.fp8 && t.sums() > kMostFp8Sums) continue;
    if (t.splits > 1 && (device.architecture() < 90 || conv.reduction() < t.bk * t.splits)) continue;
    if (t.bn > 64 && conv.filters <= t.bn / 2) continue;
    if (static_cast<int64_t>(t.shared_bytes()) > SharedMemory(device.architecture()) - 1024) continue;
    if (conv.unit() < 16 && !Fits(t, conv.unit())) continue;
    if (conv.unit() == 4 && t.bk > 64) continue;
    guesses.push_back({Cost(conv, t, device.processors()), t});
  }
  std::stable_sort(guesses.begin(), guesses.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Int8Tile> tiles;
  for (const auto& [cost, tile] : guesses)
    if (tiles.size() < kMostTrials) tiles.push_back(tile);
  return tiles;
}

int64_t Int8PackedRows(const Int8Conv& conv) { return RoundUp(conv.filters, kMostRows); }
int64_t Int8PackedPitch(const Int8Conv& conv) { return RoundUp(conv.reduction(), kPitch); }

void PackInt8Weights(const Int8Conv& conv, int run, FunctionRef<signed char(int64_t, int64_t)> code, signed char* to) {
  const int64_t pitch = Int8PackedPitch(conv);
  std::memset(to, 0, static_cast<size_t>(Int8PackedRows(conv) * pitch));
  for (int64_t ch = 0; ch < conv.filters; ++ch)
    for (int64_t i = 0; i < conv.reduction(); ++i) to[RowOfColumn(ch, run) * pitch + i] = code(ch, i);
}

Int8Channel ChannelOf(const Int8Conv& conv, const Int8Channels& channels, size_t channel) {
  const double unit = conv.folded() ? 1 / static_cast<double>(conv.y.quant.scale) : 1;
  return {static_cast<float>(channels.scale[channel] * unit), static_cast<float>(channels.bias[channel] * unit + (conv.folded() ? conv.y.quant.zero : 0)),
          static_cast<int32_t>(-conv.zero * channels.sum[channel])};
}

Result<std::shared_ptr<const DeviceKernel>> MakeInt8Conv(Device& device, const std::string& cache_dir, const Int8Conv& conv,
                                                         const Int8Tile& tile, std::shared_ptr<const DeviceBuffer> weights,
                                                         const Int8Channels& channels) {
  TFE_ASSIGN_OR_RETURN(Function function, CompileKernel(device, cache_dir, Int8Source(conv, tile)));
  const bool codes = conv.y.quant.quantized();
  const auto n = static_cast<size_t>(Int8PackedRows(conv));
  std::vector<float> table(3 * n, 0.0f);
  for (size_t i = 0; i < static_cast<size_t>(conv.filters); ++i) {
    // Four channels of each of the four threads that have a group, then the next four of each: one line of memory.
    const size_t run = static_cast<size_t>(tile.run()), in = i % (4 * run), at = i - in + in % run / 4 * 16 + in / run * 4 + in % 4;
    const Int8Channel channel = ChannelOf(conv, channels, i);
    table[at] = channel.scale;
    table[n + at] = channel.bias;
    std::memcpy(&table[2 * n + at], &channel.zero, 4);
  }
  TFE_ASSIGN_OR_RETURN(DeviceBuffer uploaded, DeviceBuffer::Upload(device, table.data(), table.size() * 4));
  auto i32 = [](int64_t v) { return static_cast<int32_t>(v); };
  Params p = {};
  p.w = weights->data();
  p.channels = uploaded.data();
  p.zero_word = static_cast<uint32_t>(conv.zero) * 0x01010101u;
  p.rows = i32(conv.rows());
  p.filters = i32(conv.filters);
  p.table = i32(static_cast<int64_t>(n));
  p.k_tiles = i32(Ceil(conv.reduction(), tile.bk));
  p.pitch = i32(Int8PackedPitch(conv));
  p.n_tiles = i32(Ceil(conv.filters, tile.bn));
  p.run = i32(conv.run), p.pixel = i32(conv.pixel), p.in_h = i32(conv.in_h), p.in_w = i32(conv.in_w);
  p.out_w = i32(conv.out_w), p.out_hw = i32(conv.out_h * conv.out_w);
  p.stride_h = i32(conv.stride_h), p.stride_w = i32(conv.stride_w), p.pad_h = i32(conv.pad_h), p.pad_w = i32(conv.pad_w);
  p.k_h = i32(conv.k_h), p.k_w = i32(conv.k_w), p.dilation_h = i32(conv.dilation_h), p.dilation_w = i32(conv.dilation_w);
  if (conv.residual) {
    const double unit = conv.folded() ? 1 / static_cast<double>(conv.y.quant.scale) : 1;
    p.residual_scale = conv.code_residual() ? static_cast<float>(conv.residual->quant.scale * unit) : 1;
    p.residual_zero = static_cast<float>(8388608 + conv.residual->quant.zero);
  }
  p.inverse = codes ? 1 / conv.y.quant.scale : 1;
  p.zero = conv.y.quant.zero, p.lo = conv.lo, p.hi = conv.hi;
  p.least = conv.least, p.most = conv.most;
  p.columns = i32(conv.columns);
  p.tiles = i32(Ceil(conv.rows(), tile.bm) * p.n_tiles);
  int resident = tile.resident(conv.fp8);
  if (!device.offline()) {
    const Device::Scope scope(device);
    const DriverApi& api = device.driver();
    TFE_RETURN_IF_ERROR(device.Check(api.FuncSetAttribute(function.handle, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(tile.shared_bytes())),
                                     "asking for shared memory"));
    int found = 0;
    if (api.OccupancyMaxActiveBlocks(&found, function.handle, tile.threads(), tile.shared_bytes()) == 0 && found > 0) resident = found;
  }
  // As many blocks as run at once, each with about the same number of tiles.
  const int64_t at_once = tile.splits > 1 ? p.tiles : int64_t{device.processors()} * resident;
  const auto blocks = static_cast<unsigned>(Ceil(p.tiles, Ceil(p.tiles, at_once)));
  return std::shared_ptr<const DeviceKernel>(std::make_shared<Int8Kernel>(std::move(function), tile, p, blocks, conv.residual.has_value(), std::move(weights), std::move(uploaded)));
}

}  // namespace tfengine::cuda
