// SPDX-License-Identifier: Apache-2.0
#include "quant/assign.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/float8.h"
#include "base/status_macros.h"
#include "quant/transposed.h"

namespace tfengine::quant {
namespace {

Quant QuantFor(const Range& range) {
  const QuantParams params = ParamsOf(range);
  return {params.scale, params.zero};
}

constexpr const char* kNames[] = {"fp32", "half", "fp8", "int8"};

// How the values of a group are stored.
struct Storage {
  DType dtype = DType::kFloat32;
  Quant quant;
  bool operator==(const Storage&) const = default;
};

// What a node does with one of its inputs.
enum class Slot {
  kPlain,    // must be f32 (or is no real at all)
  kOwn,      // parameters: constants that stay as they are
  kProduct,  // an operand of a product: read in the node's precision
  kFloat,    // any representation but codes: statistics and scores
  kReal,     // any representation; codes only if the result is stored as codes
  kMove,     // moved: the representation of the result
};

class Assigner {
 public:
  Assigner(const Network& network, const AssignOptions& options) : net_(network), options_(options) {
    for (const Value& v : net_.values()) real_.push_back(v.dtype == DType::kFloat32);
  }

  Result<Assignment> Run() {
    Group();
    FindRanges();
    for (const Node& node : net_.nodes()) Decide(node);
    ChooseStorage();
    TFE_RETURN_IF_ERROR(Rewrite());
    MergeConversions();
    net_.Compact();
    TFE_RETURN_IF_ERROR(Verify(net_));
    return Assignment{std::move(net_), std::move(layers_)};
  }

 private:
  const Value& value(ValueId v) const { return net_.value(v); }
  // Held f32 before types were assigned.
  bool IsReal(ValueId v) const { return v != kNoValue && real_[v]; }

  // Products with constant weights.
  bool IsWeighted(const Node& node) const {
    return (node.op == Op::kConv2d || node.op == Op::kMatMul) && value(node.inputs[1]).constant != nullptr;
  }

  static bool IsProduct(const Node& node) { return node.op == Op::kConv2d || node.op == Op::kMatMul || node.op == Op::kAttention; }

  bool IsDepthwise(const Node& node) const {
    return node.op == Op::kConv2d && node.attrs.Int("groups", 1) > 1 && value(node.inputs[1]).shape[2].is(1) && value(node.inputs[1]).shape[3].is(node.attrs.Int("groups"));
  }

  // E4M3 has one kernel, for one matrix or filter of one group.
  bool HasFp8Form(const Node& node) const {
    if (node.op == Op::kConv2d) return node.attrs.Int("groups", 1) == 1;
    const Shape& w = value(node.inputs[1]).shape;
    return std::all_of(w.begin(), w.end() - 2, [](Dim d) { return d.is(1); });
  }

  // Writes a value instead of moving others' elements into it.
  bool IsWritten(ValueId v) const {
    return IsReal(v) && !value(v).constant && !tfengine::IsMoved(net_, value(v));
  }

  // What an explicit quantization to 8 bits or fewer makes of a tensor; dtype kInvalid for every other node. Roundings
  // differ near ties only.
  OutType ExplicitType(const Node& node) const {
    OutType none;
    if (node.op != Op::kFakeQuant) return none;
    float parameters[3];
    for (int i = 0; i < 3; ++i) {
      const auto& constant = value(node.inputs[i + 1]).constant;
      if (!constant || constant->num_elements() != 1) return none;
      parameters[i] = constant->as<float>()[0];
    }
    const auto [step, lo, hi] = parameters;
    if (!(std::isfinite(step) && step >= std::numeric_limits<float>::min() && lo >= -255 && lo <= 0 && hi >= 0 && hi - lo <= 255))
      return none;
    return {DType::kUint8, {step, static_cast<int>(-lo)}, 0, static_cast<int>(hi - lo)};
  }

  // The largest step of which every weight w[0], w[stride] ... is a multiple of at most 127: these were quantized when the
  // model was trained, and must stay what they are. 0 for others.
  static float GridStep(const float* w, int64_t count, int64_t stride, float most) {
    for (int k = 1; k <= 127; ++k) {
      const float step = most / static_cast<float>(k);
      bool fits = step >= std::numeric_limits<float>::min();
      for (int64_t i = 0; fits && i < count; ++i) {
        const float codes = w[i * stride] / step;
        fits = std::fabs(codes - std::nearbyint(codes)) < 1e-3f;
      }
      if (fits) return step;
    }
    return 0;
  }

  // The step of every output channel, for the node under decision: its largest weight becomes 127 (448 in E4M3), unless the
  // weights lie on a grid of integers already. False for weights that are not finite.
  bool FindSteps(const Node& node) {
    const Tensor& w = *value(node.inputs[1]).constant;
    const bool rows = node.op == Op::kMatMul && node.attrs.Bool("transpose_b");
    const int64_t columns = w.shape().back(), lines = columns > 0 ? w.num_elements() / columns : 0;
    std::vector<float> most(static_cast<size_t>(rows ? w.shape()[w.rank() - 2] : columns), 0.0f);
    float sum = 0;  // 0, or NaN if a weight is not finite
    for (int64_t line = 0; line < lines; ++line) {
      const float* at = w.as<float>() + line * columns;
      float* m = most.data();
      if (rows) {
        m += line % static_cast<int64_t>(most.size());
        for (int64_t i = 0; i < columns; ++i) *m = std::max(*m, std::fabs(at[i])), sum += 0 * at[i];
      } else {
        for (int64_t i = 0; i < columns; ++i) m[i] = std::max(m[i], std::fabs(at[i])), sum += 0 * at[i];
      }
    }
    if (options_.weights_read) options_.weights_read(w.num_bytes());
    if (sum != 0) return false;
    Tensor steps(DType::kFloat32, {static_cast<int64_t>(most.size())});
    for (size_t k = 0; k < most.size(); ++k) {
      const auto channel = static_cast<int64_t>(k);
      float step = fp8_ || (rows && lines > static_cast<int64_t>(most.size()))
                       ? 0  // also of a stack of matrices
                       : GridStep(w.as<float>() + (rows ? channel * columns : channel), rows ? columns : lines, rows ? 1 : columns, most[k]);
      if (step == 0) step = most[k] / (fp8_ ? kE4m3Max : 127);
      steps.mutable_as<float>()[k] = step >= std::numeric_limits<float>::min() ? step : 1.0f;
    }
    steps_.resize(precision_.size() + 1);
    steps_.back() = std::make_shared<Tensor>(std::move(steps));
    return true;
  }

  // The precision of a node, and why.
  void Decide(const Node& node) {
    Precision precision = Precision::kF32;
    const char* why = "";
    const std::string& name = value(node.outputs[0]).name;
    auto limit = options_.limits.find(name);
    const Precision most = limit == options_.limits.end() ? options_.precision : std::min(limit->second, options_.precision);
    const bool half = options_.half != DType::kFloat32;
    const bool eight = EightBits() && most == options_.precision && IsWeighted(node);
    const bool products = fp8_ ? options_.fp8 : options_.int8, form = !fp8_ || !eight || HasFp8Form(node);
    if (!CanBeTyped(node.op, node.attrs) || !IsReal(node.inputs[0]) || !IsReal(node.outputs[0])) {
      why = MovesElements(node.op, node.attrs) ? kMovesElements : "no reduced form";
    } else if (options_.precision == Precision::kF32) {
      why = "fp32 was asked for";
    } else if (!options_.runs_typed(node)) {
      why = "no reduced kernel on this device";
    } else if (most == Precision::kF32) {
      why = "raised for accuracy";
    } else if (eight && products && form && !node.attrs.Bool("transpose_a") && ranged_[Find(node.inputs[0])] && FindSteps(node)) {
      precision = options_.precision;
      why = modelled_[Find(node.inputs[0])] ? "quantized by the model" : "calibrated";
    } else {
      precision = half ? Precision::kHalf : Precision::kF32;
      why = eight && !products               ? (fp8_ ? "no fp8 products on this device" : "no int8 products on this device")
            : eight && !form                 ? "no fp8 form"
            : eight                          ? "no range for its input"
            : limit != options_.limits.end() ? "raised for accuracy"
            : !half                          ? "no 16-bit products on this device"
                                             : "";
    }
    steps_.resize(precision_.size() + 1);
    precision_.push_back(precision);
    layers_.push_back({name, precision, why});
    // A typed node may read quantized operands although it works in f32.
    typed_.push_back(options_.precision != Precision::kF32 && most != Precision::kF32 && CanBeTyped(node.op, node.attrs) &&
                     IsReal(node.inputs[0]) && IsReal(node.outputs[0]) && options_.runs_typed(node));
  }

  bool IsMoved(const Node& node, size_t i) const {
    if (!IsReal(node.inputs[i]) || !MovesElements(node.op, node.attrs)) return false;
    const auto [first, last] = MovedInputs(node);
    return static_cast<int>(i) >= first && static_cast<int>(i) < last;
  }

  Slot SlotOf(int node_index, size_t i) const {
    const Node& node = net_.nodes()[node_index];
    const ValueId v = node.inputs[i];
    if (!IsReal(v)) return Slot::kPlain;
    if (MovesElements(node.op, node.attrs)) return IsMoved(node, i) ? Slot::kMove : Slot::kPlain;
    if (value(v).constant && node.op != Op::kBinary) return Slot::kOwn;
    if (node.op == Op::kFakeQuant) return Slot::kFloat;
    if (!typed_[node_index]) return Slot::kPlain;
    if (node.op == Op::kConv2d) return i == 0 ? Slot::kProduct : i == 3 ? Slot::kReal : Slot::kPlain;
    if (node.op == Op::kMatMul) return i < 2 ? Slot::kProduct : i == 3 ? Slot::kReal : Slot::kPlain;
    if (node.op == Op::kAttention) return i < 3 ? Slot::kProduct : Slot::kPlain;
    if (node.op == Op::kBatchNorm || node.op == Op::kLayerNorm || node.op == Op::kSoftmax || node.op == Op::kLogSoftmax)
      return i == 0 || (node.op == Op::kLayerNorm && i == 3) ? Slot::kFloat : Slot::kPlain;
    return Slot::kReal;
  }

  int Find(int v) {
    while (group_[v] != v) v = group_[v] = group_[group_[v]];
    return v;
  }

  // Values that moving ops tie together are stored alike.
  void Group() {
    group_.resize(net_.values().size());
    std::iota(group_.begin(), group_.end(), 0);
    for (const Node& node : net_.nodes())
      for (size_t i = 0; i < node.inputs.size(); ++i)
        if (IsMoved(node, i)) group_[Find(node.inputs[i])] = Find(node.outputs[0]);
  }

  void Cover(int g, const Range& range) { range_[g] = {std::min(range_[g].lo, range.lo), std::max(range_[g].hi, range.hi)}; }

  // What codes of a group must cover, where everything that is written to it has a range.
  void FindRanges() {
    ranged_.assign(group_.size(), true);
    range_.resize(group_.size());
    explicit_.resize(group_.size());
    modelled_.resize(group_.size());
    std::vector<bool> measured(group_.size());
    for (ValueId v = 0; v < static_cast<ValueId>(group_.size()); ++v) {
      if (!IsWritten(v)) continue;
      const int g = Find(v);
      if (const OutType type = value(v).producer >= 0 ? ExplicitType(net_.nodes()[value(v).producer]) : OutType();
          type.dtype == DType::kUint8) {
        const Range range = {type.quant.scale * static_cast<float>(-type.quant.zero), type.quant.scale * static_cast<float>(type.hi - type.quant.zero)};
        modelled_[g] = true;
        if (fp8_) {  // only the range: E4M3 does not hold the model's codes
          Cover(g, range);
          continue;
        }
        OutType& known = explicit_[g];
        if (known.dtype == DType::kUint8 && (known.quant != type.quant || known.lo != type.lo || known.hi != type.hi)) ranged_[g] = false;
        known = type;
        range_[g] = range;
        continue;
      }
      measured[g] = true;
      auto r = options_.ranges.find(value(v).name);
      if (r == options_.ranges.end()) {
        ranged_[g] = false;
      } else {
        Cover(g, r->second);
      }
    }
    for (size_t g = 0; g < group_.size(); ++g)  // two kinds of ranges in one tensor
      if (measured[g] && explicit_[g].dtype == DType::kUint8) ranged_[g] = false;
    // Constants that are moved in among the values (paddings, masks) must not stretch it.
    auto check = [&](ValueId v, float constant) {
      const int g = Find(v);
      if (!(constant >= range_[g].lo && constant <= range_[g].hi)) ranged_[g] = false;
    };
    for (const Node& node : net_.nodes()) {
      if (node.op == Op::kPad && IsReal(node.outputs[0])) check(node.outputs[0], static_cast<float>(node.attrs.Float("value")));
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const auto constant = IsMoved(node, i) ? value(node.inputs[i]).constant : nullptr;
        for (int64_t k = 0; constant && k < constant->num_elements(); ++k) check(node.inputs[i], constant->as<float>()[k]);
      }
    }
  }

  void ChooseStorage() {
    const size_t n = net_.values().size();
    storage_.resize(n);
    std::vector<bool> quantized(n), is_output(n);
    std::vector<int> reduced(n), plain(n);  // readers and writers that gain from, or suffer under, 16 bits
    for (ValueId v : net_.outputs()) is_output[Find(v)] = true;
    for (ValueId v = 0; v < static_cast<ValueId>(n); ++v) {
      if (!IsWritten(v)) continue;
      const int p = value(v).producer;
      ++(p >= 0 && precision_[p] != Precision::kF32 ? reduced : plain)[Find(v)];
    }
    ForEachRead([&](int node, size_t i, Slot slot) {
      if (slot == Slot::kMove || slot == Slot::kOwn) return;
      const int g = Find(net_.nodes()[node].inputs[i]);
      ++(slot != Slot::kPlain && precision_[node] != Precision::kF32 ? reduced : plain)[g];
    });

    // Codes where an 8-bit product reads them and nobody else minds: the greatest set that is consistent.
    for (size_t g = 0; g < n; ++g) quantized[g] = EightBits() && ranged_[g] && !is_output[g];
    for (size_t p = 0; p < net_.nodes().size(); ++p)
      if (!MayWriteCodes(net_.nodes()[p], precision_[p])) quantized[Find(net_.nodes()[p].outputs[0])] = false;
    for (bool changed = true; changed;) {
      changed = false;
      std::vector<bool> wanted(n), refused(n);
      ForEachRead([&](int node, size_t i, Slot slot) {
        if (slot == Slot::kMove || slot == Slot::kOwn) return;
        const int g = Find(net_.nodes()[node].inputs[i]);
        const bool result = quantized[Find(net_.nodes()[node].outputs[0])];
        const bool reads = (slot == Slot::kProduct && precision_[node] > Precision::kHalf && i == 0) || (slot == Slot::kReal && result);
        (reads ? wanted : refused)[g] = true;
      });
      for (size_t g = 0; g < n; ++g) {
        if (!quantized[g] || (wanted[g] && !refused[g])) continue;
        quantized[g] = false;
        changed = true;
      }
    }
    for (ValueId v = 0; v < static_cast<ValueId>(n); ++v) {
      const int g = Find(v);
      if (!IsReal(v) || value(v).constant) continue;
      if (quantized[g]) {
        storage_[v] = CodesOf(g);
      } else if (!is_output[g] && reduced[g] > plain[g] && explicit_[g].dtype != DType::kUint8) {  // 16 bits would round codes
        storage_[v] = {options_.half, {}};
      }
    }
  }

  template <typename F>
  void ForEachRead(F f) {
    for (size_t n = 0; n < net_.nodes().size(); ++n)
      for (size_t i = 0; i < net_.nodes()[n].inputs.size(); ++i)
        if (IsReal(net_.nodes()[n].inputs[i])) f(static_cast<int>(n), i, SlotOf(static_cast<int>(n), i));
  }

  // `v`, which is stored now as `is`, in another representation; converted at most once each.
  Result<ValueId> As(ValueId v, const Storage& is, const Storage& want) {
    if (is == want) return v;
    for (const auto& c : converts_)
      if (c.from == v && c.storage == want) return c.to;
    Attrs attrs;
    SetOutType({want.dtype, want.quant}, &attrs);
    TFE_ASSIGN_OR_RETURN(ValueId to, net_.Add(Op::kConvert, value(v).name + "/as_" + ShortName(want.dtype), {v}, attrs));
    converts_.push_back({v, want, to});
    return to;
  }

  Status Rewrite() {
    const size_t nodes = net_.nodes().size();
    // Inputs, constants and what plain nodes write stay f32 whatever their group is; readers convert.
    std::vector<Storage> now(real_.size());
    for (size_t n = 0; n < nodes; ++n) {
      const Op op = net_.nodes()[n].op;
      const bool moves = MovesElements(op, net_.nodes()[n].attrs);
      const ValueId out = net_.nodes()[n].outputs[0];
      const bool quantizes = op == Op::kFakeQuant && storage_[out].dtype == DType::kUint8;
      const Storage result = typed_[n] || quantizes || (moves && IsReal(out)) ? storage_[out] : Storage();
      std::vector<ValueId> inputs = net_.nodes()[n].inputs;
      bool typed = result != Storage();
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (!IsReal(inputs[i])) continue;
        const Slot slot = SlotOf(static_cast<int>(n), i);
        Storage want = now[inputs[i]];
        if (slot == Slot::kPlain || (slot == Slot::kFloat && want.quant.quantized()) || (op == Op::kFakeQuant && !quantizes)) want = {};
        if (slot == Slot::kMove) want = result;
        if (slot == Slot::kProduct) want = ProductStorage(static_cast<int>(n), inputs[i], i);
        typed = typed || want != Storage();
        TFE_ASSIGN_OR_RETURN(inputs[i], As(inputs[i], now[inputs[i]], want));
      }
      if (quantizes) {
        Node& node = net_.mutable_nodes()[n];
        inputs.resize(1);
        node.op = Op::kConvert;
        node.attrs = Attrs();
        SetOutType(explicit_[Find(out)], &node.attrs);
        layers_[n].why = "quantized by the model";
      } else if (!moves && typed) {
        if (precision_[n] > Precision::kHalf) {
          inputs.resize(5, kNoValue);
          inputs[4] = net_.AddConstant(value(out).name + "/steps", steps_[n]);
        }
        SetOutType({result.dtype, result.quant}, &net_.mutable_nodes()[n].attrs);
      }
      net_.mutable_nodes()[n].inputs = std::move(inputs);
      if (IsReal(out) && result != Storage()) {
        now[out] = result;
        net_.mutable_value(out).dtype = result.dtype;
        net_.mutable_value(out).quant = result.quant;
      }
    }
    return OkStatus();
  }

  Storage ProductStorage(int node, ValueId v, size_t i) {
    const Precision p = precision_[node];
    if (p == Precision::kF32) return {};
    if (p == Precision::kHalf || i > 0) return {options_.half, {}};
    if (storage_[v].quant.quantized()) return storage_[v];
    return CodesOf(Find(v));
  }

  Storage CodesOf(int g) const {
    if (fp8_) return {DType::kFloat8E4m3, {Fp8ScaleOf(range_[g]), 0}};
    return {DType::kUint8, explicit_[g].dtype == DType::kUint8 ? explicit_[g].quant : QuantFor(range_[g])};
  }

  bool EightBits() const { return options_.precision > Precision::kHalf; }

  // Layers of 16 bits would need loops of their own for results in E4M3; what converts them is cheaper.
  bool MayWriteCodes(const Node& node, Precision precision) const {
    return !fp8_ || precision == Precision::kFp8 || !IsProduct(node) || IsDepthwise(node) || node.op == Op::kAttention;
  }

  // A product that only feeds a conversion writes what the conversion would make of its result.
  void MergeConversions() {
    const std::vector<int> uses = net_.UseCounts();
    for (const Node& convert : net_.nodes()) {
      if (convert.op != Op::kConvert) continue;
      const ValueId in = convert.inputs[0];
      const int p = value(in).producer;
      if (p < 0 || uses[in] != 1 || value(in).dtype != DType::kFloat32 || value(in).quant.quantized()) continue;
      Node& producer = net_.mutable_nodes()[p];
      if (!CanBeTyped(producer.op, producer.attrs) || producer.outputs.size() != 1 || value(producer.outputs[0]).dtype != DType::kFloat32 ||
          !options_.runs_typed(producer) || !MayWrite(producer))
        continue;
      const OutType type = OutTypeOf(convert.attrs);
      if (type.quant.quantized() && static_cast<size_t>(p) < precision_.size() && !MayWriteCodes(producer, precision_[p])) continue;
      SetOutType(type, &producer.attrs);
      net_.mutable_value(in).dtype = type.dtype;
      net_.mutable_value(in).quant = type.quant;
      net_.ReplaceUses(convert.outputs[0], in);
    }
  }

  // Layers that were limited to FP32 keep writing it.
  bool MayWrite(const Node& node) const {
    auto limit = options_.limits.find(value(node.outputs[0]).name);
    return limit == options_.limits.end() || limit->second != Precision::kF32;
  }

  struct Converted {
    ValueId from;
    Storage storage;
    ValueId to;
  };

  Network net_;
  const AssignOptions& options_;
  const bool fp8_ = options_.precision == Precision::kFp8;
  std::vector<bool> real_;            // per original value
  std::vector<Precision> precision_;  // per node
  std::vector<bool> typed_;           // per node
  std::vector<LayerPrecision> layers_;
  std::vector<int> group_;
  std::vector<bool> ranged_;      // per group
  std::vector<bool> modelled_;    // per group: its range is the model's own
  std::vector<Range> range_;
  std::vector<OutType> explicit_;  // dtype kUint8 where the model says how a group is quantized
  std::vector<Storage> storage_;  // per value
  std::vector<Converted> converts_;
  std::vector<std::shared_ptr<const Tensor>> steps_;  // per node; null for all but 8-bit products
};

}  // namespace

const char* PrecisionName(Precision precision) { return kNames[static_cast<int>(precision)]; }

bool ParsePrecision(std::string_view name, Precision* precision) {
  for (int i = 0; i < static_cast<int>(std::size(kNames)); ++i) {
    if (name != kNames[i]) continue;
    *precision = static_cast<Precision>(i);
    return true;
  }
  return false;
}

Result<Assignment> Assign(const Network& network, const AssignOptions& options) {
  const bool transposed = std::any_of(network.nodes().begin(), network.nodes().end(), [](const Node& n) { return n.op == Op::kConv2dTranspose; });
  if (!transposed) return Assigner(network, options).Run();
  Network rewritten = network;
  AssignOptions own = options;
  TFE_RETURN_IF_ERROR(TransposedToBlocks(rewritten, own).status());
  return Assigner(rewritten, own).Run();
}

}  // namespace tfengine::quant
