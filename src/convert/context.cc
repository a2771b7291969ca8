// SPDX-License-Identifier: Apache-2.0
#include "convert/context.h"

#include <cmath>
#include <cstring>

#include "base/errors.h"

namespace tfengine::convert {
namespace {

// IEEE half and bfloat16 from a float, round to nearest even.
uint16_t ToBfloat16(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, 4);
  if (std::isnan(v)) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

uint16_t ToHalf(float v) {
  _Float16 half = static_cast<_Float16>(v);
  uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

double FromHalf(uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, 2);
  return static_cast<double>(half);
}

double FromBfloat16(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float v;
  std::memcpy(&v, &wide, 4);
  return v;
}

std::optional<double> ElementAsDouble(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kFloat32: return t.as<float>()[i];
    case DType::kFloat64: return t.as<double>()[i];
    case DType::kInt32: return t.as<int32_t>()[i];
    case DType::kInt64: return static_cast<double>(t.as<int64_t>()[i]);
    case DType::kUint8: return t.as<uint8_t>()[i];
    case DType::kInt8: return t.as<int8_t>()[i];
    case DType::kInt16: return t.as<int16_t>()[i];
    case DType::kUint16: return t.as<uint16_t>()[i];
    case DType::kUint32: return t.as<uint32_t>()[i];
    case DType::kUint64: return static_cast<double>(t.as<uint64_t>()[i]);
    case DType::kBool: return t.as<uint8_t>()[i] != 0;
    case DType::kFloat16: return FromHalf(t.as<uint16_t>()[i]);
    case DType::kBfloat16: return FromBfloat16(t.as<uint16_t>()[i]);
    default: return std::nullopt;
  }
}

// Larger constants are not searched for being the same number everywhere.
constexpr int64_t kMaxUniform = 1 << 16;

template <typename T>
void Store(Tensor& t, int64_t i, double v) {
  t.mutable_as<T>()[i] = static_cast<T>(v);
}

}  // namespace

Verdict Reject(Reason reason, std::string detail) { return {reason, std::move(detail)}; }

Verdict Reject(const Status& status) {
  const std::string& text = status.message();
  bool is_type = text.find("dtype") != std::string::npos || text.find("type") != std::string::npos;
  return {is_type ? Reason::kDType : Reason::kAttribute, text};
}

bool Contains(unsigned set, DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return set & kFloat32Only;
    case DType::kFloat16:
    case DType::kBfloat16:
    case DType::kFloat64: return set & kOtherFloats;
    case DType::kInt32:
    case DType::kInt64: return set & kInts;
    case DType::kInt8:
    case DType::kUint8:
    case DType::kInt16:
    case DType::kUint16:
    case DType::kUint32:
    case DType::kUint64: return set & kSmallInts;
    case DType::kBool: return set & kBools;
    default: return false;
  }
}

Tensor MakeIntTensor(DType dtype, std::vector<int64_t> shape, const std::vector<int64_t>& values) {
  Tensor t(dtype, std::move(shape));
  TFE_CHECK(t.num_elements() == static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kInt64) {
      t.mutable_as<int64_t>()[i] = values[i];
    } else {
      TFE_CHECK(dtype == DType::kInt32);
      t.mutable_as<int32_t>()[i] = static_cast<int32_t>(values[i]);
    }
  }
  return t;
}

Tensor MakeScalar(DType dtype, double v) {
  Tensor t(dtype, {});
  switch (dtype) {
    case DType::kFloat32: Store<float>(t, 0, v); break;
    case DType::kFloat64: Store<double>(t, 0, v); break;
    case DType::kInt32: Store<int32_t>(t, 0, v); break;
    case DType::kInt64: Store<int64_t>(t, 0, v); break;
    case DType::kUint8: Store<uint8_t>(t, 0, v); break;
    case DType::kInt8: Store<int8_t>(t, 0, v); break;
    case DType::kInt16: Store<int16_t>(t, 0, v); break;
    case DType::kUint16: Store<uint16_t>(t, 0, v); break;
    case DType::kUint32: Store<uint32_t>(t, 0, v); break;
    case DType::kUint64: Store<uint64_t>(t, 0, v); break;
    case DType::kBool: t.mutable_as<uint8_t>()[0] = v != 0; break;
    case DType::kFloat16: t.mutable_as<uint16_t>()[0] = ToHalf(static_cast<float>(v)); break;
    case DType::kBfloat16: t.mutable_as<uint16_t>()[0] = ToBfloat16(static_cast<float>(v)); break;
    default: TFE_CHECK(false && "scalar of a type without fixed size");
  }
  return t;
}

TensorInfo ConstantInfo(std::shared_ptr<const Tensor> tensor) {
  TensorInfo info;
  info.dtype = tensor->dtype();
  info.known_rank = true;
  info.shape.assign(tensor->shape().begin(), tensor->shape().end());
  info.is_constant = true;
  int64_t n = tensor->num_elements();
  if ((info.dtype == DType::kInt32 || info.dtype == DType::kInt64) && n <= kMaxContent) {
    Content content;
    for (int64_t i = 0; i < n; ++i) {
      content.push_back(info.dtype == DType::kInt32 ? tensor->as<int32_t>()[i] : tensor->as<int64_t>()[i]);
    }
    info.content = std::move(content);
  }
  if (n > 0 && n <= kMaxUniform) {
    std::optional<double> first = ElementAsDouble(*tensor, 0);
    bool uniform = first.has_value();
    for (int64_t i = 1; i < n && uniform; ++i) uniform = ElementAsDouble(*tensor, i) == first;
    if (uniform) info.uniform = first;
  }
  info.constant = std::move(tensor);
  return info;
}

ValueId Materialize(Network& network, TensorInfo& info) {
  if (info.value != kNoValue) return info.value;
  if (info.is_input) {
    info.value = network.AddInput(info.name, info.dtype, info.shape);
    return info.value;
  }
  if (!info.constant && info.content) {
    std::vector<int64_t> numbers;
    for (Dim d : *info.content) {
      if (d.is_const()) numbers.push_back(d.value);
    }
    if (numbers.size() == info.content->size()) {
      std::vector<int64_t> shape;
      for (Dim d : info.shape) shape.push_back(d.value);
      info.constant = std::make_shared<Tensor>(MakeIntTensor(info.dtype, std::move(shape), numbers));
    }
  }
  if (info.constant) {
    info.value = network.AddConstant(info.name, info.constant);
    return info.value;
  }
  TFE_CHECK(info.content.has_value());
  // A `dims` node has rank 0 or 1; more axes are a reshape of that.
  Shape flat = info.shape.empty() ? Shape{} : Shape{Dim(static_cast<int64_t>(info.content->size()))};
  Result<ValueId> v = network.Add(Op::kDims, info.name, {},
                                  {{"values", Shape(*info.content)},
                                   {"dtype", static_cast<int64_t>(info.dtype)},
                                   {"shape", flat}});
  TFE_CHECK(v.ok());
  info.value = *v;
  if (info.shape.size() > 1) {
    Result<ValueId> r = network.Add(Op::kReshape, info.name, {info.value}, {{"shape", info.shape}});
    TFE_CHECK(r.ok());
    info.value = *r;
  }
  return info.value;
}

std::string ShapeText(const DimTable& dims, const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ",";
    text += dims.ToString(shape[i]);
  }
  return text + "]";
}

bool IsStatic(const Shape& shape) { return StaticElements(shape).has_value(); }

std::optional<int64_t> StaticElements(const Shape& shape) {
  int64_t n = 1;
  for (Dim d : shape) {
    if (!d.is_const() || __builtin_mul_overflow(n, d.value, &n)) return std::nullopt;
  }
  return n;
}

Context::Context(const tfgraph::Node& node, std::vector<TensorInfo*> inputs,
                 std::vector<TensorInfo>* outputs, std::vector<bool> used, Network* network)
    : node_(node), inputs_(std::move(inputs)), outputs_(*outputs), used_(std::move(used)), network_(*network) {}

int64_t Context::Int(const std::string& key, int64_t fallback) const {
  const tfgraph::AttrValue* a = node_.attr(key);
  return a ? a->i().value_or(fallback) : fallback;
}
bool Context::Bool(const std::string& key, bool fallback) const {
  const tfgraph::AttrValue* a = node_.attr(key);
  return a ? a->b().value_or(fallback) : fallback;
}
float Context::Float(const std::string& key, float fallback) const {
  const tfgraph::AttrValue* a = node_.attr(key);
  return a ? a->f().value_or(fallback) : fallback;
}
std::string Context::Str(const std::string& key, const std::string& fallback) const {
  const tfgraph::AttrValue* a = node_.attr(key);
  return a ? a->s().value_or(fallback) : fallback;
}
DType Context::Type(const std::string& key, DType fallback) const {
  const tfgraph::AttrValue* a = node_.attr(key);
  return a ? a->type().value_or(fallback) : fallback;
}
std::vector<int64_t> Context::Ints(const std::string& key) const {
  const tfgraph::AttrValue* a = node_.attr(key);
  if (!a) return {};
  return a->int_list().value_or(std::vector<int64_t>());
}

ValueId Context::value(int i) { return Materialize(network_, *inputs_[i]); }

std::optional<std::vector<int64_t>> Context::ConstInts(int i) const {
  const Content* c = content(i);
  if (!c) return std::nullopt;
  std::vector<int64_t> numbers;
  for (Dim d : *c) {
    if (!d.is_const()) return std::nullopt;
    numbers.push_back(d.value);
  }
  return numbers;
}

std::optional<double> Context::ConstScalar(int i) const {
  if (StaticElements(inputs_[i]->shape) != 1) return std::nullopt;
  return inputs_[i]->uniform;
}

Result<ValueId> Context::Emit(Op op, std::vector<ValueId> inputs, Attrs attrs) {
  return network_.Add(op, node_.name, std::move(inputs), std::move(attrs));
}

ValueId Context::Scalar(DType dtype, double value) {
  return network_.AddConstant(node_.name + "/c", std::make_shared<Tensor>(MakeScalar(dtype, value)));
}

Result<ValueId> Context::Reshape(ValueId v, Shape shape) {
  if (ShapeOf(v) == shape) return v;
  return Emit(Op::kReshape, {v}, {{"shape", std::move(shape)}});
}

Result<ValueId> Context::Transpose(ValueId v, std::vector<int64_t> perm) {
  bool identity = true;
  for (size_t i = 0; i < perm.size(); ++i) identity &= perm[i] == static_cast<int64_t>(i);
  if (identity) return v;
  return Emit(Op::kTranspose, {v}, {{"perm", std::move(perm)}});
}

Result<ValueId> Context::Cast(ValueId v, DType dtype) {
  if (TypeOf(v) == dtype) return v;
  return Emit(Op::kCast, {v}, {{"dtype", static_cast<int64_t>(dtype)}});
}

Verdict Context::CheckOutput(int port, DType dtype) const {
  if (port >= num_outputs()) return Reject(Reason::kAttribute, fmt::format("the node has no output {}", port));
  if (outputs_[port].dtype == dtype) return {};
  return Reject(Reason::kDType, fmt::format("output {}: the graph declares {}, but it is {}", port,
                                            DTypeName(outputs_[port].dtype), DTypeName(dtype)));
}

Verdict Context::Set(int port, ValueId v) {
  Verdict verdict = CheckOutput(port, TypeOf(v));
  if (!verdict.ok()) return verdict;
  TensorInfo& out = outputs_[port];
  out.value = v;
  out.known_rank = true;
  out.shape = ShapeOf(v);
  return {};
}

Verdict Context::SetContent(int port, Shape shape, Content content) {
  if (port >= num_outputs() || !Contains(kInts, outputs_[port].dtype)) return CheckOutput(port, DType::kInt32);
  TensorInfo& out = outputs_[port];
  out.known_rank = true;
  out.shape = std::move(shape);
  out.content = std::move(content);
  out.is_constant = true;
  for (Dim d : *out.content) out.is_constant &= d.is_const();
  if (out.content->size() == 1 && out.is_constant) out.uniform = static_cast<double>(out.content->front().value);
  return {};
}

Verdict Context::SetConstant(int port, std::shared_ptr<const Tensor> tensor) {
  Verdict verdict = CheckOutput(port, tensor->dtype());
  if (!verdict.ok()) return verdict;
  std::string name = std::move(outputs_[port].name);
  outputs_[port] = ConstantInfo(std::move(tensor));
  outputs_[port].name = std::move(name);
  return {};
}

Verdict Context::Alias(int port, int input) {
  Verdict verdict = CheckOutput(port, inputs_[input]->dtype);
  if (!verdict.ok()) return verdict;
  value(input);  // so that the copy does not make it a second time
  ++aliases_;
  outputs_[port] = *inputs_[input];
  return {};
}

}  // namespace tfengine::convert
