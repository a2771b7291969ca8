// SPDX-License-Identifier: Apache-2.0
#include "quant/transposed.h"

#include <algorithm>
#include <optional>

#include "base/status_macros.h"

namespace tfengine::quant {
namespace {

// One axis of the image. Output s * q + r sums x[q + first - j] * w[tap + s * j] over j < count.
struct Axis {
  struct Phase {
    int64_t tap, first, count;
  };
  std::vector<Phase> phases;
  int64_t low = 0, high = 0;  // of the pixels that a block reads, from its own one on
  int64_t taps() const { return high - low + 1; }

  Axis(int64_t kernel, int64_t stride, int64_t pad) {
    for (int64_t r = 0; r < stride; ++r) {
      const int64_t tap = (r + pad) % stride;
      const Phase phase = {tap, (r + pad) / stride, tap < kernel ? (kernel - tap + stride - 1) / stride : 0};
      phases.push_back(phase);
      if (phase.count == 0) continue;
      low = std::min(low, phase.first - phase.count + 1);
      high = std::max(high, phase.first);
    }
  }
  // The tap of the original filter for an output and a tap of the block's filter; -1: none.
  int64_t TapOf(int64_t r, int64_t u) const {
    const Phase& p = phases[static_cast<size_t>(r)];
    const int64_t j = p.first - (low + u);
    return j >= 0 && j < p.count ? p.tap + static_cast<int64_t>(phases.size()) * j : -1;
  }
};

struct Block {
  Axis rows, columns;
  Shape pads;  // of the convolution
};

std::optional<int64_t> Constant(const Dim& d) { return d.is_const() ? std::optional(d.value) : std::nullopt; }

class Rewrite {
 public:
  Rewrite(Network& network, AssignOptions& options) : net_(network), options_(options) {}

  Result<bool> Run(size_t index) {
    const Node node = net_.nodes()[index];
    const ValueId out = node.outputs[0];
    const std::string name = net_.value(out).name;
    const auto filter = net_.value(node.inputs[1]).constant;
    const auto limit = options_.limits.find(name);
    if (!filter || filter->dtype() != DType::kFloat32 || (limit != options_.limits.end() && limit->second == Precision::kF32)) return false;
    const auto bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue ? net_.value(node.inputs[2]).constant : nullptr;
    if (node.inputs.size() > 2 && node.inputs[2] != kNoValue && !bias) return false;
    const std::optional<Block> block = BlockOf(node, filter->shape());
    if (!block || !Pays(*block, node, name)) return false;

    const int64_t s = static_cast<int64_t>(block->rows.phases.size());
    std::vector<ValueId> inputs = {node.inputs[0], net_.AddConstant(name + "/blocks/filter", Filter(*block, *filter))};
    if (bias) inputs.push_back(net_.AddConstant(name + "/blocks/bias", Repeated(*bias, s * s)));
    Attrs attrs;
    attrs.Set("pads", block->pads);
    for (const char* key : {"alpha", "beta"})
      if (node.attrs.Has(key)) attrs.Set(key, node.attrs.Float(key));
    if (node.attrs.Has("act")) attrs.Set("act", node.attrs.Str("act"));
    TFE_ASSIGN_OR_RETURN(const ValueId conv, net_.Add(Op::kConv2d, name + "/blocks", std::move(inputs), std::move(attrs)));
    Attrs blocks;
    blocks.Set("block", s);
    TFE_ASSIGN_OR_RETURN(const ValueId result, net_.Add(Op::kDepthToSpace, name + "/pixels", {conv}, std::move(blocks)));
    if (net_.value(result).shape != net_.value(out).shape) return false;  // nobody reads the new nodes
    net_.ReplaceUses(out, result);
    std::swap(net_.mutable_value(out).name, net_.mutable_value(result).name);
    const std::string& own = net_.value(conv).name;
    if (const auto range = options_.ranges.find(name); range != options_.ranges.end()) options_.ranges.try_emplace(own, range->second);
    if (limit != options_.limits.end()) options_.limits.try_emplace(own, limit->second);
    return true;
  }

 private:
  std::optional<Block> BlockOf(const Node& node, const std::vector<int64_t>& filter) const {
    const auto strides = node.attrs.Ints("strides"), dilations = node.attrs.Ints("dilations");
    const Shape pads = node.attrs.Dims("pads");
    const Shape &x = net_.value(node.inputs[0]).shape, &y = net_.value(node.outputs[0]).shape;
    if (strides.size() != 2 || strides[0] != strides[1] || strides[0] < 2) return std::nullopt;
    if (std::any_of(dilations.begin(), dilations.end(), [](int64_t d) { return d != 1; })) return std::nullopt;
    const auto top = pads.empty() ? 0 : Constant(pads[0]), left = pads.empty() ? 0 : Constant(pads[2]);
    if (!top || !left || *top < 0 || *left < 0) return std::nullopt;
    Block block = {Axis(filter[0], strides[0], *top), Axis(filter[1], strides[1], *left), {}};
    for (int axis = 0; axis < 2; ++axis) {
      const Axis& a = axis == 0 ? block.rows : block.columns;
      // As many blocks as pixels, unless sizes are known.
      int64_t more = 0;
      if (x[1 + axis].is_const() && y[1 + axis].is_const()) {
        if (y[1 + axis].value % strides[0] != 0) return std::nullopt;
        more = y[1 + axis].value / strides[0] - x[1 + axis].value;
      }
      const int64_t behind = a.high + more;
      if (a.low > 0 || behind < 0) return std::nullopt;
      block.pads.push_back(Dim{-a.low});
      block.pads.push_back(Dim{behind});
    }
    return block;
  }

  // Multiplying zeros costs less than is gained: by 8 bits three quarters of the time, by 16 half of it.
  bool Pays(const Block& block, const Node& node, const std::string& name) const {
    const Shape& filter = net_.value(node.inputs[1]).shape;
    const auto s = static_cast<int64_t>(block.rows.phases.size());
    const double waste = static_cast<double>(block.rows.taps() * block.columns.taps() * s * s) /
                         static_cast<double>(std::max<int64_t>(1, filter[0].value * filter[1].value));
    const auto limit = options_.limits.find(name);
    const bool products = options_.precision == Precision::kInt8 ? options_.int8 : options_.precision == Precision::kFp8 && options_.fp8;
    const bool eight = products && options_.ranges.count(net_.value(node.inputs[0]).name) > 0 &&
                       (limit == options_.limits.end() || limit->second >= options_.precision);
    return eight ? waste <= 2.6 : options_.half != DType::kFloat32 && waste <= 1.3;
  }

  // [KH,KW,K,C] to [taps, taps, C, s * s * K].
  static std::shared_ptr<const Tensor> Filter(const Block& block, const Tensor& filter) {
    const auto& shape = filter.shape();
    const int64_t s = static_cast<int64_t>(block.rows.phases.size()), k = shape[2], c = shape[3];
    auto to = std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{block.rows.taps(), block.columns.taps(), c, s * s * k});
    float* w = to->mutable_as<float>();
    std::fill_n(w, to->num_elements(), 0.0f);
    for (int64_t u = 0; u < block.rows.taps(); ++u) {
      for (int64_t v = 0; v < block.columns.taps(); ++v, w += c * s * s * k) {
        for (int64_t phase = 0; phase < s * s; ++phase) {
          const int64_t ky = block.rows.TapOf(phase / s, u), kx = block.columns.TapOf(phase % s, v);
          if (ky < 0 || kx < 0) continue;
          const float* from = filter.as<float>() + (ky * shape[1] + kx) * k * c;
          for (int64_t i = 0; i < c; ++i)
            for (int64_t o = 0; o < k; ++o) w[i * s * s * k + phase * k + o] = from[o * c + i];
        }
      }
    }
    return to;
  }

  static std::shared_ptr<const Tensor> Repeated(const Tensor& bias, int64_t times) {
    const int64_t n = bias.num_elements();
    auto to = std::make_shared<Tensor>(DType::kFloat32, std::vector<int64_t>{n * times});
    for (int64_t i = 0; i < times; ++i) std::copy_n(bias.as<float>(), n, to->mutable_as<float>() + i * n);
    return to;
  }

  Network& net_;
  AssignOptions& options_;
};

}  // namespace

Result<bool> TransposedToBlocks(Network& network, AssignOptions& options) {
  bool changed = false;
  if (options.precision == Precision::kF32) return false;
  const size_t nodes = network.nodes().size();
  for (size_t n = 0; n < nodes; ++n) {
    const Node& node = network.nodes()[n];
    if (node.op != Op::kConv2dTranspose || network.value(node.outputs[0]).dtype != DType::kFloat32 || !options.runs_typed(node)) continue;
    TFE_ASSIGN_OR_RETURN(const bool rewritten, Rewrite(network, options).Run(n));
    changed = changed || rewritten;
  }
  network.Compact();
  return changed;
}

}  // namespace tfengine::quant
