// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lower/int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "backends/cuda/lower/staged.h"
#include "backends/cuda/lower/tma.h"
#include "backends/cuda/lower/window.h"
#include "backends/cuda/tma_source.h"
#include "base/float8.h"

namespace tfengine::cuda {
namespace {

// The code that a bound of a clip becomes.
int CodeOf(double real, const Elem& y) {
  return static_cast<int>(std::clamp(std::nearbyint(real / static_cast<double>(y.quant.scale)) + y.quant.zero, static_cast<double>(y.lo), static_cast<double>(y.hi)));
}

}  // namespace

bool SetEpilogue(const ConcreteNode& node, Int8Conv* conv) {
  const auto elems = ElemsOf(node);
  if (!elems) return false;
  conv->y = elems->back();
  conv->zero = node.inputs[0].quant.zero;
  conv->fp8 = IsFp8(node);
  if (node.has_input(3)) conv->residual = (*elems)[3];
  for (const Elem* e : {&conv->y, conv->residual ? &*conv->residual : nullptr}) {
    if (e == nullptr || e->quant.quantized()) continue;
    if (e->dtype != DType::kFloat32 && e->dtype != DType::kFloat16 && e->dtype != DType::kBfloat16) return false;
  }
  const std::string act = node.attrs.Str("act", "none");
  const auto expression = ActivationExpression(node.attrs, "float");
  if (!expression) return false;
  conv->act = conv->y.size() <= 2 ? For16Bits(*expression) : *expression;
  conv->lo = conv->y.lo, conv->hi = conv->y.hi;
  if (!conv->y.quant.quantized()) return true;
  if (conv->y.dtype != conv->codes()) return false;
  const double alpha = act == "clip" ? node.attrs.Float("alpha") : 0, beta = act == "clip" ? node.attrs.Float("beta") : 6;
  if (act == "relu" || act == "relu6" || (act == "clip" && alpha <= beta)) {
    conv->act.clear();
    if (conv->fp8) {
      conv->least = static_cast<float>(alpha) / conv->y.quant.scale;
      if (act != "relu") conv->most = static_cast<float>(beta) / conv->y.quant.scale;
    } else {
      conv->lo = CodeOf(alpha, conv->y);
      if (act != "relu") conv->hi = CodeOf(beta, conv->y);
    }
  }
  return true;
}

bool HasConstants(const ConcreteNode& node) {
  const Operand& w = node.inputs[1];
  if (!w.constant || w.dtype != DType::kFloat32 || !node.has_input(4) || !node.inputs[4].constant) return false;
  return !node.has_input(2) || (node.inputs[2].constant && node.inputs[2].dtype == DType::kFloat32);
}

Int8Channels ChannelsOf(const ConcreteNode& node, int64_t filters) {
  Int8Channels channels;
  for (int64_t ch = 0; ch < filters; ++ch) {
    channels.scale.push_back(node.inputs[0].quant.scale * node.inputs[4].constant->as<float>()[ch]);
    channels.bias.push_back(node.has_input(2) ? node.inputs[2].constant->as<float>()[node.inputs[2].num_elements() == 1 ? 0 : ch] : 0.0f);
  }
  return channels;
}

bool IsFp8(const ConcreteNode& node) { return node.inputs[0].dtype == DType::kFloat8E4m3; }

signed char CodeOfWeight(float weight, float step) { return static_cast<signed char>(std::clamp(std::nearbyint(weight / step), -127.0f, 127.0f)); }

namespace {

// The product, and how x must be laid out for it first.
struct Form {
  Int8Conv conv;
  int64_t channels = 0;  // of x and of a filter
  int64_t padded = 0;    // channels in the layout that the product reads
  int64_t merged = 0;    // > 0: taps of a row that make one run
  bool prepares = false;
  int64_t images = 0, from_h = 0, from_w = 0, shift_y = 0, shift_x = 0;  // of x; where it lies in the prepared image
};

std::optional<Form> ConvForm(const ConcreteNode& node) {
  if (node.attrs.Int("groups", 1) != 1 || !HasConstants(node)) return std::nullopt;
  Form form;
  Int8Conv& c = form.conv;
  if (!SetEpilogue(node, &c)) return std::nullopt;
  const Window w(node.attrs);
  const auto &in = node.inputs[0].shape, &f = node.inputs[1].shape, &out = node.outputs[0].shape;
  c.batch = in[0], c.in_h = in[1], c.in_w = in[2], c.out_h = out[1], c.out_w = out[2];
  c.k_h = f[0], c.k_w = f[1], c.filters = f[3];
  c.stride_h = w.strides[0], c.stride_w = w.strides[1], c.dilation_h = w.dilations[0], c.dilation_w = w.dilations[1];
  c.pad_h = w.pads[0], c.pad_w = w.pads[2];
  form.channels = form.padded = c.pixel = c.run = f[2];
  if (form.channels % 4 == 0) return form;
  // Words of channels, the padding written out; taps of a row that lie together are one run.
  form.prepares = true;
  form.images = in[0], form.from_h = in[1], form.from_w = in[2], form.shift_y = w.pads[0], form.shift_x = w.pads[2];
  form.padded = c.pixel = c.run = RoundUp(form.channels, form.channels <= 4 ? 4 : 16);
  c.in_h = (c.out_h - 1) * c.stride_h + (c.k_h - 1) * c.dilation_h + 1;
  c.in_w = (c.out_w - 1) * c.stride_w + (c.k_w - 1) * c.dilation_w + 1;
  c.pad_h = c.pad_w = 0;
  constexpr int64_t kLongestRun = 64;
  if (c.k_w > 1 && c.dilation_w == 1 && c.k_w * c.pixel <= kLongestRun) {
    const int64_t step = c.stride_w * c.pixel, unit = step % 16 == 0 ? 16 : step % 8 == 0 ? 8 : 4;
    form.merged = c.k_w;
    c.run = RoundUp(c.k_w * c.pixel, unit);
    c.in_w = RoundUp((c.out_w - 1) * step + c.run, 16) / c.pixel;
    c.k_w = 1;
  }
  return form;
}

std::optional<Form> ProductForm(const ConcreteNode& node) {
  const Operand &a = node.inputs[0], &b = node.inputs[1];
  if (node.attrs.Bool("transpose_a") || !HasConstants(node) || Product(b.shape, 0, b.shape.size() - 2) != 1) return std::nullopt;
  Form form;
  Int8Conv& c = form.conv;
  if (!SetEpilogue(node, &c)) return std::nullopt;
  const auto& out = node.outputs[0].shape;
  c.filters = out.back();
  c.batch = c.filters > 0 ? node.outputs[0].num_elements() / c.filters : 0;
  form.channels = form.padded = c.pixel = c.run = a.shape.back();
  if (Product(a.shape, 0, a.shape.size() - 1) != c.batch) return std::nullopt;
  if (form.channels % 4 != 0) {
    form.prepares = true;
    form.images = c.batch, form.from_h = form.from_w = 1;
    form.padded = c.pixel = c.run = RoundUp(form.channels, 16);
  }
  return form;
}

// The product as the tensor memory accelerator would load it, which pads with code 0; m = 0: it cannot.
TmaProduct TmaOf(const Form& form) {
  const Int8Conv& c = form.conv;
  TmaProduct p;
  const bool pads = c.pad_h > 0 || c.pad_w > 0 || (c.out_h - 1) * c.stride_h + (c.k_h - 1) * c.dilation_h >= c.in_h || (c.out_w - 1) * c.stride_w + (c.k_w - 1) * c.dilation_w >= c.in_w;
  if (form.prepares || c.pixel != c.run || (c.zero != 0 && pads)) return p;
  p.type = c.codes(), p.out = c.y, p.residual = c.residual, p.act = c.act, p.folded = c.folded();
  p.m = c.rows(), p.n = c.filters, p.bias = true;
  p.image = !c.plain();
  p.channels = c.run, p.batch = c.batch, p.in_h = c.in_h, p.in_w = c.in_w, p.k_h = c.k_h, p.k_w = c.k_w, p.out_h = c.out_h, p.out_w = c.out_w;
  p.stride_h = c.stride_h, p.stride_w = c.stride_w, p.dilation_h = c.dilation_h, p.dilation_w = c.dilation_w, p.pad_h = c.pad_h, p.pad_w = c.pad_w;
  p.lo = c.lo, p.hi = c.hi, p.least = c.least, p.most = c.most, p.compensates = c.zero != 0;
  p.b_rows = Int8PackedRows(c), p.b_pitch = Int8PackedPitch(c);
  return p;
}

// TmaProduct::columns.
Result<std::shared_ptr<const DeviceBuffer>> TmaColumns(const LowerContext& c, const Int8Conv& conv, const Int8Channels& channels) {
  const size_t n = channels.scale.size();
  std::vector<float> table(3 * n);
  for (size_t i = 0; i < n; ++i) {
    const Int8Channel channel = ChannelOf(conv, channels, i);
    table[i] = channel.scale;
    table[n + i] = channel.bias;
    std::memcpy(&table[2 * n + i], &channel.zero, 4);
  }
  TFE_ASSIGN_OR_RETURN(DeviceBuffer uploaded, DeviceBuffer::Upload(c.device, table.data(), table.size() * 4));
  return std::make_shared<const DeviceBuffer>(std::move(uploaded));
}

std::optional<Form> FormOf(const ConcreteNode& node) { return node.op == Op::kConv2d ? ConvForm(node) : ProductForm(node); }

// Weights by output channel and place in the reduction, as codes.
class Codes {
 public:
  Codes(const ConcreteNode& node, const Form& form)
      : w_(node.inputs[1].constant->as<float>()), steps_(node.inputs[4].constant->as<float>()), form_(form), k_w_(form.merged > 0 ? form.merged : form.conv.k_w),
        rows_(node.op == Op::kMatMul && node.attrs.Bool("transpose_b")) {}

  // Integers, or the bits of E4M3.
  signed char operator()(int64_t channel, int64_t at) const {
    const Int8Conv& c = form_.conv;
    int64_t tap = at / c.run, in = at % c.run;
    if (form_.merged > 0) {
      tap = tap * form_.merged + in / form_.padded;
      if (in / form_.padded >= k_w_) return 0;
      in %= form_.padded;
    }
    if (in >= form_.channels) return 0;
    const float v = rows_ ? w_[channel * form_.channels + in] : w_[(tap * form_.channels + in) * c.filters + channel];
    return c.fp8 ? static_cast<signed char>(FloatToE4m3(v / steps_[channel])) : CodeOfWeight(v, steps_[channel]);
  }

 private:
  const float *w_, *steps_;
  const Form& form_;
  const int64_t k_w_;
  const bool rows_;
};

// The constants of a node, or of matmuls of one input, one behind the other.
class Constants {
 public:
  Constants(std::span<const ConcreteNode> nodes, const Form& form) : form_(form), key_(fmt::format("{} {}", form.conv.fp8 ? "fp8" : "int8", form.conv.run)) {
    for (const ConcreteNode& node : nodes) {
      members_.emplace_back(node, form);
      const Int8Channels own = ChannelsOf(node, form.conv.filters);
      channels_.scale.insert(channels_.scale.end(), own.scale.begin(), own.scale.end());
      channels_.bias.insert(channels_.bias.end(), own.bias.begin(), own.bias.end());
      key_ += fmt::format(" {} {}", node.inputs[1].constant->data(), node.inputs[4].constant->data());
    }
  }

  // `pieces` times the rows of `packed`. From registers: with terms in the order of ChannelInRegisters().
  Result<std::shared_ptr<const DeviceBuffer>> Weights(const LowerContext& c, const Int8Conv& packed, size_t pieces, int run, bool from_registers) const {
    const size_t piece = static_cast<size_t>(Int8PackedRows(packed) * Int8PackedPitch(packed));
    return DeviceWeights(c, fmt::format("{} x{} {}{}", key_, run, pieces, from_registers ? " registers" : ""), pieces * piece, [&](void* to) {
      for (size_t i = 0; i < pieces; ++i) {
        auto code = [&](int64_t ch, int64_t at) { return Code(static_cast<int64_t>(i) * packed.filters + ch, from_registers ? ChannelInRegisters(at, 1) : at); };
        PackInt8Weights(packed, run, code, static_cast<signed char*>(to) + i * piece);
      }
    });
  }

  // Those of all channels, with the sums of their weights.
  Result<Int8Channels> Channels(const LowerContext& c) const {
    Int8Channels channels = channels_;
    const size_t count = channels.scale.size(), bytes = count * sizeof(int64_t);
    const auto sums = c.weights.Get(key_ + " sums", bytes, [&](void* to) {
      for (size_t ch = 0; ch < count; ++ch) {
        int64_t& sum = static_cast<int64_t*>(to)[ch] = 0;
        for (int64_t i = 0; i < form_.conv.reduction() && !form_.conv.fp8; ++i) sum += Code(static_cast<int64_t>(ch), i);
      }
    });
    if (!sums) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", bytes);
    channels.sum.assign(static_cast<const int64_t*>(sums->data()), static_cast<const int64_t*>(sums->data()) + count);
    return channels;
  }

 private:
  signed char Code(int64_t ch, int64_t at) const { return members_[static_cast<size_t>(ch / form_.conv.filters)](ch % form_.conv.filters, at); }

  const Form& form_;
  std::vector<Codes> members_;
  Int8Channels channels_;  // without sums
  std::string key_;
};

// Copies x, padded with the code of zero, into the form's layout: four channels a thread.
Generated PrepareCode(const Form& form) {
  const Int8Conv& c = form.conv;
  const int64_t words = form.padded / 4, n = form.images * c.in_h * c.in_w * words;
  Generated g;
  g.source = fmt::format(
      "extern \"C\" __global__ void k(const u8* in, unsigned* out, i64 n) {{\n  typedef {0} index;\n  index i = (index)blockIdx.x * 256u + threadIdx.x;\n"
      "  if (i >= n) return;\n  const index at = i;\n  const int ch = (int)(i % {1}u) * 4; i /= {1}u;\n  const int x = (int)(i % {2}u) - {3}; i /= {2}u;\n"
      "  const int y = (int)(i % {4}u) - {5};\n  const bool inside = x >= 0 && x < {6} && y >= 0 && y < {7};\n"
      "  const u8* from = in + (((i64)(i / {4}u) * {7} + y) * {6} + x) * {8} + ch;\n  unsigned r = 0;\n#pragma unroll\n"
      "  for (int e = 0; e < 4; ++e) r |= (inside && ch + e < {8} ? from[e] : {9}u) << 8 * e;\n  out[at] = r;\n}}\n",
      IndexType(4 * n), words, c.in_w, form.shift_x, c.in_h, form.shift_y, form.from_w, form.from_h, form.channels, c.zero);
  g.OneThreadEach(n);
  return g;
}

// A node, or matmuls of one input as one product.
struct Products {
  Form form;      // of each
  Int8Conv conv;  // all of them: the first's filters, then the second's ...
  TmaProduct tma;
};

std::optional<Products> ProductsOf(std::span<const ConcreteNode> nodes) {
  auto form = FormOf(nodes[0]);
  if (!form) return std::nullopt;
  Products p{*std::move(form), {}, {}};
  p.conv = p.form.conv;
  p.tma = TmaOf(p.form);
  if (nodes.size() == 1) return p;
  for (const ConcreteNode& node : nodes)
    if (!HasConstants(node)) return std::nullopt;
  p.tma.groups = static_cast<int>(nodes.size());
  p.conv.columns = p.conv.filters;
  p.conv.filters *= p.tma.groups;
  return p;
}

std::vector<std::string> TacticsOf(std::span<const ConcreteNode> nodes, const Device& device) {
  std::vector<std::string> names;
  const auto products = ProductsOf(nodes);
  if (!products || !Int8Possible(products->conv, device)) return names;
  for (const Int8Tile& tile : Int8Tiles(products->conv, device)) names.push_back(tile.name());
  return BothTactics(TmaTactics(products->tma, device), names, false);
}

LowerResult LowerProducts(const LowerContext& c, std::span<const ConcreteNode> nodes) {
  const auto products = ProductsOf(nodes);
  if (!products || !Int8Possible(products->conv, c.device)) return std::optional<Lowered>();
  const Form& form = products->form;
  const Int8Conv& conv = products->conv;
  const std::vector<Int8Tile> tiles = Int8Tiles(conv, c.device);
  const auto wanted = std::find_if(tiles.begin(), tiles.end(), [&](const Int8Tile& t) { return t.name() == c.tactic; });
  const Int8Tile& tile = wanted == tiles.end() ? tiles.front() : *wanted;

  const bool tma = IsTmaTactic(products->tma, c.device, c.tactic);
  const int run = tma ? products->tma.run() : tile.run();

  const Constants constants(nodes, form);
  // The accelerator's boxes are of one product each, whose weights start with a row of their own.
  TFE_ASSIGN_OR_RETURN(auto weights, constants.Weights(c, tma ? form.conv : conv, tma ? nodes.size() : 1, run, false));
  TFE_ASSIGN_OR_RETURN(const Int8Channels channels, constants.Channels(c));
  std::vector<int> in = {0};
  if (conv.residual) in.push_back(3);
  if (tma) {
    TmaProduct p = products->tma;
    p.table = static_cast<int64_t>(channels.scale.size());
    p.weights = std::move(weights);
    TFE_ASSIGN_OR_RETURN(p.columns, TmaColumns(c, conv, channels));
    return Finish(c, TmaCode(p, c.device, c.tactic), c.tactic, std::move(in));
  }
  TFE_ASSIGN_OR_RETURN(auto kernel, MakeInt8Conv(c.device, c.options.kernel_cache, conv, tile, std::move(weights), channels));
  if (!form.prepares) return std::optional<Lowered>(MakeLowered(std::move(kernel), tile.name(), std::move(in)));
  TFE_ASSIGN_OR_RETURN(auto prepare, MakeKernel(c.device, c.options.kernel_cache, PrepareCode(form)));
  std::vector<int> conv_in = {StagedKernel::kBuffer};
  if (conv.residual) conv_in.push_back(1);
  auto staged = std::make_shared<StagedKernel>(
      std::vector<StagedKernel::Stage>{{prepare, {0}, StagedKernel::kBuffer}, {kernel, conv_in, StagedKernel::kOutput}},
      std::vector<size_t>{static_cast<size_t>(form.images * conv.in_h * conv.in_w * form.padded)});
  return std::optional<Lowered>(MakeLowered(std::move(staged), tile.name(), std::move(in)));
}

// A convolution and what multiplies its result.
struct Pair {
  Form first, then;
  TmaProduct tma;
};

std::optional<Pair> PairOf(const std::vector<ConcreteNode>& nodes) {
  auto first = FormOf(nodes[0]), then = FormOf(nodes[1]);
  if (!first || !then) return std::nullopt;
  Pair pair{*std::move(first), *std::move(then), {}};
  pair.tma = TmaOf(pair.first);
  pair.tma.then = std::make_shared<const TmaProduct>(TmaOf(pair.then));
  return pair;
}

}  // namespace

std::vector<std::string> Int8PairTactics(const std::vector<ConcreteNode>& nodes, const Device& device) {
  const auto pair = PairOf(nodes);
  return pair ? TmaTactics(pair->tma, device) : std::vector<std::string>();
}

LowerResult LowerInt8Pair(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  const auto pair = PairOf(nodes);
  if (!pair || !IsTmaTactic(pair->tma, c.device, c.tactic)) return std::optional<Lowered>();
  auto complete = [&](size_t i, const Form& form, TmaProduct* p) -> Status {
    const Constants constants({&nodes[i], 1}, form);
    TFE_ASSIGN_OR_RETURN(p->weights, constants.Weights(c, form.conv, 1, p->run(), i == 1));
    TFE_ASSIGN_OR_RETURN(const Int8Channels channels, constants.Channels(c));
    p->table = p->n;
    TFE_ASSIGN_OR_RETURN(p->columns, TmaColumns(c, form.conv, channels));
    return OkStatus();
  };
  TmaProduct p = pair->tma, then = *p.then;
  TFE_RETURN_IF_ERROR(complete(0, pair->first, &p));
  TFE_RETURN_IF_ERROR(complete(1, pair->then, &then));
  std::vector<int> in = {0};
  if (then.residual) in.push_back(static_cast<int>(nodes[0].inputs.size()) + 3);
  p.then = std::make_shared<const TmaProduct>(std::move(then));
  return Finish(c, TmaCode(p, c.device, c.tactic), c.tactic, std::move(in));
}

bool IsInt8(const ConcreteNode& node) { return node.inputs[0].quant.quantized(); }

std::vector<std::string> Int8Tactics(const ConcreteNode& node, const Device& device) { return TacticsOf({&node, 1}, device); }

LowerResult LowerInt8(const LowerContext& c) { return LowerProducts(c, {&c.node, 1}); }

std::vector<std::string> JointInt8Tactics(const std::vector<ConcreteNode>& nodes, const Device& device) { return TacticsOf(nodes, device); }

LowerResult LowerJointInt8(const LowerContext& c, const std::vector<ConcreteNode>& nodes) { return LowerProducts(c, nodes); }

Result<std::shared_ptr<const DeviceBuffer>> SteppedWeights(const LowerContext& c) {
  const Tensor &w = *c.node.inputs[1].constant, &steps = *c.node.inputs[4].constant;
  const bool rows = c.node.op == Op::kMatMul && c.node.attrs.Bool("transpose_b");
  const bool fp8 = IsFp8(c.node);
  return DeviceWeights(c, fmt::format("stepped {} {} {}", fp8, w.data(), steps.data()), w.num_bytes(), [&](void* to) {
    const int64_t columns = w.shape().back(), count = steps.num_elements();
    for (int64_t i = 0; i < w.num_elements(); ++i) {
      const float step = steps.as<float>()[rows ? i / columns % count : i % columns];
      const float v = w.as<float>()[i];
      static_cast<float*>(to)[i] = step * (fp8 ? E4m3ToFloat(FloatToE4m3(v / step)) : static_cast<float>(CodeOfWeight(v, step)));
    }
  });
}

}  // namespace tfengine::cuda
