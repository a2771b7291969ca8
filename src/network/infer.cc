// SPDX-License-Identifier: Apache-2.0
#include "network/infer.h"

#include <algorithm>
#include <span>

#include "base/status_macros.h"

namespace tfengine {
namespace infer {
namespace {

enum class AttrKind { kInt, kFloat, kBool, kStr, kInts, kDims, kDim, kDType, kOut };
constexpr AttrKind kInt = AttrKind::kInt, kFloat = AttrKind::kFloat, kBool = AttrKind::kBool, kStr = AttrKind::kStr,
                   kInts = AttrKind::kInts, kDims = AttrKind::kDims, kDim = AttrKind::kDim, kDType = AttrKind::kDType;

struct AttrRule {
  const char* name;
  AttrKind kind;
  bool required = true;
};
constexpr bool kOptional = false;

#define TFE_ACT_RULES {"act", kStr, kOptional}, {"alpha", kFloat, kOptional}, {"beta", kFloat, kOptional}
constexpr AttrRule kConv2dRules[] = {{"strides", kInts, kOptional}, {"dilations", kInts, kOptional},
                                     {"pads", kDims, kOptional},    {"groups", kInt, kOptional},
                                     TFE_ACT_RULES};
constexpr AttrRule kConv2dTransposeRules[] = {{"strides", kInts, kOptional}, {"dilations", kInts, kOptional},
                                              {"pads", kDims, kOptional},    {"output_shape", kDims},
                                              TFE_ACT_RULES};
constexpr AttrRule kMatMulRules[] = {
    {"transpose_a", kBool, kOptional}, {"transpose_b", kBool, kOptional}, TFE_ACT_RULES};
constexpr AttrRule kAttentionRules[] = {{"scale", kFloat}, {"mask_value", kFloat, kOptional}};
constexpr AttrRule kNormRules[] = {{"epsilon", kFloat}};
constexpr AttrRule kPoolRules[] = {
    {"kind", kStr}, {"ksize", kInts}, {"strides", kInts, kOptional}, {"pads", kDims, kOptional}};
constexpr AttrRule kReduceRules[] = {{"kind", kStr}, {"axes", kInts}, {"keepdims", kBool, kOptional}};
constexpr AttrRule kArgReduceRules[] = {{"kind", kStr}, {"axis", kInt}, {"dtype", kDType}};
constexpr AttrRule kTopKRules[] = {{"k", kDim}};
constexpr AttrRule kUnaryRules[] = {{"kind", kStr}, {"alpha", kFloat, kOptional}, {"beta", kFloat, kOptional}};
constexpr AttrRule kBinaryRules[] = {{"kind", kStr}, TFE_ACT_RULES};
constexpr AttrRule kFakeQuantRules[] = {{"axis", kInt, kOptional}, {"rounding", kStr}};
constexpr AttrRule kCastRules[] = {{"dtype", kDType}};
constexpr AttrRule kShapeRules[] = {{"shape", kDims}};
constexpr AttrRule kTransposeRules[] = {{"perm", kInts}};
constexpr AttrRule kAxisRules[] = {{"axis", kInt}};
constexpr AttrRule kSliceRules[] = {{"begin", kDims}, {"size", kDims}, {"strides", kInts, kOptional}};
constexpr AttrRule kPadRules[] = {
    {"lo", kDims}, {"hi", kDims}, {"value", kFloat, kOptional}, {"mode", kStr, kOptional}};
constexpr AttrRule kGatherRules[] = {{"axis", kInt}, {"batch_dims", kInt, kOptional}, {"wrap", kBool, kOptional}};
constexpr AttrRule kGatherNdRules[] = {{"batch_dims", kInt, kOptional}};
constexpr AttrRule kOneHotRules[] = {
    {"depth", kDim}, {"axis", kInt}, {"on", kFloat}, {"off", kFloat}, {"dtype", kDType}};
constexpr AttrRule kTileRules[] = {{"reps", kDims}};
constexpr AttrRule kResizeRules[] = {
    {"kind", kStr}, {"size", kDims}, {"align_corners", kBool, kOptional}, {"half_pixel", kBool, kOptional}};
constexpr AttrRule kBlockRules[] = {{"block", kInt}};
constexpr AttrRule kCumulativeRules[] = {
    {"kind", kStr}, {"axis", kInt}, {"exclusive", kBool, kOptional}, {"reverse", kBool, kOptional}};
constexpr AttrRule kDimsRules[] = {{"values", kDims}, {"dtype", kDType}, {"shape", kDims}};
constexpr AttrRule kRangeRules[] = {{"start", kDim}, {"size", kDim}, {"delta", kDim}, {"dtype", kDType}};
#undef TFE_ACT_RULES

constexpr AttrRule kOutRules[] = {{"out", AttrKind::kOut},
                                  {"out_scale", kFloat, kOptional},
                                  {"out_zero", kInt, kOptional},
                                  {"out_lo", kInt, kOptional},
                                  {"out_hi", kInt, kOptional}};

struct OpRow {
  Op op;
  Result<Types> (*infer)(Context&);
  std::span<const AttrRule> rules;
};
// In the order of ops.inc.
constexpr OpRow kRows[] = {
    {Op::kConv2d, Conv2d, kConv2dRules},
    {Op::kConv2dTranspose, Conv2dTranspose, kConv2dTransposeRules},
    {Op::kMatMul, MatMul, kMatMulRules},
    {Op::kAttention, Attention, kAttentionRules},
    {Op::kBatchNorm, BatchNorm, kNormRules},
    {Op::kLayerNorm, LayerNorm, kNormRules},
    {Op::kSoftmax, Softmax, {}},
    {Op::kLogSoftmax, Softmax, {}},
    {Op::kPool, Pool, kPoolRules},
    {Op::kReduce, Reduce, kReduceRules},
    {Op::kArgReduce, ArgReduce, kArgReduceRules},
    {Op::kTopK, TopK, kTopKRules},
    {Op::kUnary, Unary, kUnaryRules},
    {Op::kBinary, Binary, kBinaryRules},
    {Op::kSelect, Select, {}},
    {Op::kConvert, Convert, {}},
    {Op::kFakeQuant, FakeQuant, kFakeQuantRules},
    {Op::kCast, Cast, kCastRules},
    {Op::kReshape, Reshape, kShapeRules},
    {Op::kTranspose, Transpose, kTransposeRules},
    {Op::kBroadcast, BroadcastTo, kShapeRules},
    {Op::kConcat, Concat, kAxisRules},
    {Op::kSlice, Slice, kSliceRules},
    {Op::kPad, Pad, kPadRules},
    {Op::kGather, Gather, kGatherRules},
    {Op::kGatherNd, GatherNd, kGatherNdRules},
    {Op::kOneHot, OneHot, kOneHotRules},
    {Op::kTile, Tile, kTileRules},
    {Op::kResize, Resize, kResizeRules},
    {Op::kDepthToSpace, DepthToSpace, kBlockRules},
    {Op::kSpaceToDepth, SpaceToDepth, kBlockRules},
    {Op::kCumulative, Cumulative, kCumulativeRules},
    {Op::kDims, DimsOp, kDimsRules},
    {Op::kRange, RangeOp, kRangeRules},
};
constexpr bool RowsInOrder() {
  for (size_t i = 0; i < std::size(kRows); ++i)
    if (kRows[i].op != static_cast<Op>(i)) return false;
  return true;
}
static_assert(RowsInOrder());

struct Arity {
  int least, most, outputs;
};
constexpr Arity kArity[] = {
#define TFE_OP(enumerator, name, min_inputs, max_inputs, outputs) {min_inputs, max_inputs, outputs},
#include "network/ops.inc"
#undef TFE_OP
};
static_assert(std::size(kArity) == std::size(kRows));

// No tensor of a network has more elements in its constant dims.
constexpr int64_t kMaxElements = int64_t{1} << 40;

bool Matches(const Attr& value, AttrKind kind) {
  const bool is_int = std::holds_alternative<int64_t>(value);
  switch (kind) {
    case AttrKind::kInt: return is_int;
    case AttrKind::kFloat: return is_int || std::holds_alternative<double>(value);
    case AttrKind::kBool: return std::holds_alternative<bool>(value);
    case AttrKind::kStr: return std::holds_alternative<std::string>(value);
    case AttrKind::kInts: return std::holds_alternative<std::vector<int64_t>>(value);
    case AttrKind::kDims:
      return std::holds_alternative<std::vector<int64_t>>(value) || std::holds_alternative<Shape>(value);
    case AttrKind::kDim:
      if (const auto* ints = std::get_if<std::vector<int64_t>>(&value)) return ints->size() == 1;
      if (const auto* shape = std::get_if<Shape>(&value)) return shape->size() == 1;
      return is_int;
    case AttrKind::kDType: case AttrKind::kOut: {
      if (!is_int) return false;
      const auto dtype = static_cast<DType>(std::get<int64_t>(value));
      return IsElement(dtype) && (kind == AttrKind::kOut || dtype != DType::kFloat8E4m3);
    }
  }
  return false;
}

const char* Expected(AttrKind kind) {
  switch (kind) {
    case AttrKind::kInt: return "an integer";
    case AttrKind::kFloat: return "a number";
    case AttrKind::kBool: return "true or false";
    case AttrKind::kStr: return "a word";
    case AttrKind::kInts: return "a list of integers";
    case AttrKind::kDims: return "a list of sizes";
    case AttrKind::kDim: return "one size";
    case AttrKind::kDType: case AttrKind::kOut: return "an element type";
  }
  return "";
}

Status CheckAttrs(const Context& c, std::span<const AttrRule> rules) {
  for (const auto& [key, value] : c.attrs().items()) {
    auto rule = std::find_if(rules.begin(), rules.end(), [&](const AttrRule& r) { return key == r.name; });
    if (rule == rules.end()) {
      const auto out = std::find_if(std::begin(kOutRules), std::end(kOutRules), [&](const AttrRule& r) { return key == r.name; });
      if (out == std::end(kOutRules)) return c.Fail("unknown attribute \"{}\"", key);
      if (!CanBeTyped(c.node().op, c.attrs())) return c.Fail("attribute {}: this op has no typed form", key);
      if (!Matches(value, out->kind)) return c.Fail("attribute {}: expected {}", key, Expected(out->kind));
      continue;
    }
    if (!Matches(value, rule->kind)) return c.Fail("attribute {}: expected {}", key, Expected(rule->kind));
  }
  for (const AttrRule& rule : rules)
    if (rule.required && !c.attrs().Has(rule.name)) return c.Fail("attribute {} is missing", rule.name);
  return OkStatus();
}

Status CheckInputs(const Context& c, const Network& network, const Node& node) {
  const Arity& arity = kArity[static_cast<int>(node.op)];
  const int n = c.num_inputs();
  if (n < arity.least || n > arity.most)
    return c.Fail("expected {} to {} inputs, got {}", arity.least, arity.most, n);
  for (int i = 0; i < n; ++i) {
    const ValueId v = node.inputs[i];
    if (v == kNoValue && i < arity.least) return c.Fail("input {} is missing", i);
    if (v != kNoValue && (v < 0 || v >= static_cast<ValueId>(network.values().size())))
      return c.Fail("input {} does not exist (value {})", i, v);
    if (v == kNoValue && node.op == Op::kConcat) return c.Fail("input {} is missing", i);
    if (v != kNoValue && !IsElement(network.value(v).dtype))
      return c.Fail("input {}: element type {} is not supported", i, DTypeName(network.value(v).dtype));
  }
  return OkStatus();
}

}  // namespace

bool IsFloat(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kFloat16 || dtype == DType::kBfloat16;
}
bool IsInteger(DType dtype) {
  switch (dtype) {
    case DType::kInt8: case DType::kInt16: case DType::kInt32: case DType::kInt64:
    case DType::kUint8: case DType::kUint16: case DType::kUint32: case DType::kUint64: return true;
    default: return false;
  }
}
bool IsNumeric(DType dtype) { return IsFloat(dtype) || IsInteger(dtype) || dtype == DType::kFloat8E4m3; }
bool IsElement(DType dtype) { return IsNumeric(dtype) || dtype == DType::kBool; }
bool IsIndex(DType dtype) { return dtype == DType::kInt32 || dtype == DType::kInt64; }

bool IsSane(const Shape& shape) {
  int64_t elements = 1;
  for (Dim d : shape) {
    if (!d.is_const() || d.value == 1) continue;
    if (d.value < 0 || elements > kMaxElements / std::max<int64_t>(d.value, 1)) return false;
    elements *= std::max<int64_t>(d.value, 1);
  }
  return true;
}

Status Context::FailWith(std::string message) const {
  return Error(ErrorId::kNetworkInvalid, "node \"{}\" ({}): {}", node_.name, OpName(node_.op), message);
}

Status Context::Equal(Dim a, Dim b, const char* what, Dim* result) {
  if (a != b) {
    const Dim difference = dims().Sub(a, b);
    if (difference.is_const() && !difference.is(0)) return Fail("{}: expected {}, got {}", what, text(a), text(b));
    if (!difference.is(0)) network_.AddConstraint(a, b);
  }
  if (result) *result = b.is_const() ? b : a;
  return OkStatus();
}

Status Context::Multiple(Dim d, int64_t divisor, const char* what, Dim* quotient) {
  *quotient = dims().FloorDiv(d, Dim(divisor));
  if (d.is_const() && d.value % divisor != 0) return Fail("{}: {} is not a multiple of {}", what, d.value, divisor);
  return Equal(d, dims().Mul(*quotient, Dim(divisor)), what);
}

Status Context::EqualShapes(const Shape& a, const Shape& b, const char* what) {
  if (a.size() != b.size()) return Fail("{}: expected {}, got {}", what, text(a), text(b));
  for (size_t i = 0; i < a.size(); ++i) TFE_RETURN_IF_ERROR(Equal(a[i], b[i], what));
  return OkStatus();
}

Status Context::Broadcast(const Shape& a, const Shape& b, const char* what, Shape* result) {
  const size_t rank = std::max(a.size(), b.size());
  Shape out(rank);
  for (size_t i = 0; i < rank; ++i) {
    const Dim x = i + a.size() >= rank ? a[i + a.size() - rank] : Dim(1);
    const Dim y = i + b.size() >= rank ? b[i + b.size() - rank] : Dim(1);
    if (x.is(1)) {
      out[i] = y;
    } else if (y.is(1)) {
      out[i] = x;
    } else if (Status s = Equal(x, y, what, &out[i]); !s.ok()) {
      return Fail("{}: shapes {} and {} do not broadcast", what, text(a), text(b));
    }
  }
  *result = std::move(out);
  return OkStatus();
}

Status Context::Rank(int input, int expected) const {
  if (rank(input) == expected) return OkStatus();
  return Fail("input {}: expected rank {}, got shape {}", input, expected, text(shape(input)));
}

Status Context::Type(int input, bool (*accepts)(DType), const char* expected) const {
  if (accepts(dtype(input))) return OkStatus();
  return Fail("input {}: expected element type {}, got {}", input, expected, ShortName(dtype(input)));
}

Status Context::SameType(int first, int last) const {
  for (int i = first; i <= last; ++i)
    if (has(i) && dtype(i) != dtype(0))
      return Fail("input {}: expected element type {}, got {}", i, ShortName(dtype(0)), ShortName(dtype(i)));
  return OkStatus();
}

Status Context::Optional(int i, const Shape& expected) {
  if (!has(i)) return OkStatus();
  TFE_RETURN_IF_ERROR(SameType(i, i));
  const std::string what = fmt::format("shape of input {}", i);
  return EqualShapes(expected, shape(i), what.c_str());
}

Status Context::Range(const char* key, int64_t lo, int64_t hi) const {
  const int64_t v = attrs().Int(key);
  if (v >= lo && v <= hi) return OkStatus();
  return Fail("attribute {}: expected {} to {}, got {}", key, lo, hi, v);
}

Status Context::List(const char* key, size_t n, int64_t least) {
  if (!attrs().Has(key)) return OkStatus();
  const Shape items = attrs().Dims(key);
  if (items.size() != n) return Fail("attribute {}: expected {} items, got {}", key, n, items.size());
  for (Dim d : items)
    if (d.is_const() && d.value < least) return Fail("attribute {}: expected {} or more, got {}", key, least, d.value);
  return OkStatus();
}

Status Context::Activation() const {
  const std::string act = attrs().Str("act", "none");
  UnaryKind kind;
  if (!ParseKind(act, &kind)) return Fail("attribute act: unknown kind \"{}\"", act);
  switch (kind) {
    case UnaryKind::k_none: return OkStatus();
    case UnaryKind::k_is_nan: case UnaryKind::k_is_inf: case UnaryKind::k_is_finite: case UnaryKind::k_logical_not:
      return Fail("attribute act: \"{}\" does not keep the element type", act);
    default: break;
  }
  if (!IsFloat(dtype(0))) return Fail("attribute act: expected a floating-point type, got {}", ShortName(dtype(0)));
  return OkStatus();
}

}  // namespace infer

Result<std::vector<TypeAndShape>> InferNode(Network& network, const Node& node) {
  const auto& row = infer::kRows[static_cast<int>(node.op)];
  infer::Context c(network, node);
  TFE_RETURN_IF_ERROR(infer::CheckInputs(c, network, node));
  TFE_RETURN_IF_ERROR(infer::CheckAttrs(c, row.rules));
  TFE_RETURN_IF_ERROR(infer::BeginTyped(c));
  TFE_ASSIGN_OR_RETURN(auto types, row.infer(c));
  TFE_RETURN_IF_ERROR(infer::EndTyped(c, &types));
  TFE_CHECK(static_cast<int>(types.size()) == infer::kArity[static_cast<int>(node.op)].outputs);
  for (const TypeAndShape& type : types)
    if (!infer::IsSane(type.shape))
      return c.Fail("result shape {} has a negative size or is too large", c.text(type.shape));
  return types;
}

}  // namespace tfengine
