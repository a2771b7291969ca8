// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>

#include "base/errors.h"
#include "saved_model/protos.h"
#include "saved_model/wire.h"
#include "tfgraph/graph.h"

namespace tfengine::tfgraph {
namespace {

using protozero::pbf_wire_type;
using protozero::pbf_writer;
using saved_model::WireReader;

// Fields of AttrValue, and (other than list) the same kinds inside AttrValue.ListValue.
enum : uint32_t {
  kList = 1,
  kS = 2,
  kI = 3,
  kF = 4,
  kB = 5,
  kTypeField = 6,
  kShapeField = 7,
  kTensor = 8,
  kPlaceholder = 9,
  kFunc = 10
};

// Calls fn(reader) if the value is of kind `field` and well-formed.
template <typename T, typename Fn>
std::optional<T> Get(const std::string& bytes, uint32_t field, Fn&& fn) {
  std::optional<T> value;
  WireReader r(bytes);
  while (r.Next())
    if (r.field() == field) value = fn(r);
  return r.ok() ? value : std::nullopt;
}

// The elements of a list attribute of one kind. A list whose elements are of another kind yields
// nullopt; an empty list is a list of any kind.
template <typename T, typename Fn>
std::optional<std::vector<T>> GetList(const std::string& bytes, uint32_t field, Fn&& add) {
  std::vector<T> values;
  bool found = false, other = false, ok = true;
  WireReader r(bytes);
  while (r.Next()) {
    if (r.field() != kList) continue;
    found = true;
    WireReader list(r.Bytes());
    while (list.Next()) {
      if (list.field() == field) {
        ok = ok && add(list, &values);
      } else {
        other = true;
      }
    }
    ok = ok && list.ok();
  }
  if (!found || other || !ok || !r.ok()) return std::nullopt;
  return values;
}

// Built apart and added whole, because a nested pbf_writer drops a message without fields (a
// scalar's shape).
void WriteShape(pbf_writer* parent, uint32_t field, const PartialShape& shape) {
  std::string bytes;
  pbf_writer w(bytes);
  if (!shape.known_rank) w.add_bool(3, true);
  for (int64_t d : shape.dims) {
    pbf_writer dim(w, 2);
    dim.add_int64(1, d);
  }
  parent->add_message(field, bytes);
}

template <typename Fn>
AttrValue Make(Fn&& fn) {
  std::string bytes;
  pbf_writer w(bytes);
  fn(w);
  return AttrValue(std::move(bytes));
}

template <typename Fn>
AttrValue MakeList(Fn&& fn) {
  std::string list;
  pbf_writer lw(list);
  fn(lw);
  return Make([&](pbf_writer& w) { w.add_message(kList, list); });
}

// What a TensorProto says before its values are decoded.
struct TensorHeader {
  DType dtype = DType::kInvalid;
  std::vector<int64_t> shape;
  int64_t elements = 1;
  std::string_view content;
  bool has_content = false;
};

Status Malformed(std::string_view what) {
  return Error(ErrorId::kProtoCorrupt, "TensorProto: {}", what);
}

Result<TensorHeader> ParseHeader(std::string_view bytes) {
  TensorHeader h;
  WireReader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 1: h.dtype = static_cast<DType>(r.Int32()); break;
      case 2: {
        auto shape = saved_model::ParseTensorShape(r.Bytes());
        if (!shape || !shape->known_rank) return Malformed("shape is malformed or unknown");
        h.shape = std::move(shape->dims);
        break;
      }
      case 4:
        h.content = r.Bytes();
        h.has_content = !h.content.empty();
        break;
    }
  }
  if (!r.ok()) return Malformed("truncated or malformed bytes");
  // 16 is the largest element: the number of bytes must not overflow either.
  int64_t bound = 16;
  bool empty = false;
  for (int64_t d : h.shape) {
    if (d < 0 || (d > 0 && __builtin_mul_overflow(bound, d, &bound)))
      return Malformed("shape is negative or overflows");
    empty |= d == 0;
  }
  h.elements = empty ? 0 : bound / 16;
  return h;
}

// Appends the values of one repeated field as elements of `size` bytes; a varint is cut to that
// size.
bool AppendValues(WireReader* r, pbf_wire_type type, size_t size, int64_t limit, std::string* out) {
  bool fits = true;
  auto add = [&](uint64_t bits) {
    if (out->size() >= static_cast<size_t>(limit)) {
      fits = false;
    } else {
      out->append(reinterpret_cast<const char*>(&bits), size);
    }
  };
  switch (type) {
    case pbf_wire_type::varint: r->Repeated<pbf_wire_type::varint>(add); break;
    case pbf_wire_type::fixed32: r->Repeated<pbf_wire_type::fixed32>(add); break;
    default: r->Repeated<pbf_wire_type::fixed64>(add); break;
  }
  return fits;
}

// Which typed field of TensorProto holds the values of a type, its wire type, and the bytes of one
// of its entries (a complex element is two entries).
struct ValueField {
  DType dtype;
  uint32_t field;
  pbf_wire_type wire;
  size_t bytes;
};
constexpr ValueField kValueFields[] = {
    {DType::kFloat32, 5, pbf_wire_type::fixed32, 4},
    {DType::kFloat64, 6, pbf_wire_type::fixed64, 8},
    {DType::kInt32, 7, pbf_wire_type::varint, 4},
    {DType::kUint8, 7, pbf_wire_type::varint, 1},
    {DType::kInt16, 7, pbf_wire_type::varint, 2},
    {DType::kInt8, 7, pbf_wire_type::varint, 1},
    {DType::kUint16, 7, pbf_wire_type::varint, 2},
    {DType::kComplex64, 9, pbf_wire_type::fixed32, 4},
    {DType::kInt64, 10, pbf_wire_type::varint, 8},
    {DType::kBool, 11, pbf_wire_type::varint, 1},
    {DType::kComplex128, 12, pbf_wire_type::fixed64, 8},
    {DType::kFloat16, 13, pbf_wire_type::varint, 2},
    {DType::kBfloat16, 13, pbf_wire_type::varint, 2},
    {DType::kUint32, 16, pbf_wire_type::varint, 4},
    {DType::kUint64, 17, pbf_wire_type::varint, 8},
};

}  // namespace

AttrValue AttrValue::Int(int64_t v) {
  return Make([&](pbf_writer& w) { w.add_int64(kI, v); });
}
AttrValue AttrValue::Bool(bool v) {
  return Make([&](pbf_writer& w) { w.add_bool(kB, v); });
}
AttrValue AttrValue::Float(float v) {
  return Make([&](pbf_writer& w) { w.add_float(kF, v); });
}
AttrValue AttrValue::String(std::string_view v) {
  return Make([&](pbf_writer& w) { w.add_bytes(kS, v.data(), v.size()); });
}
AttrValue AttrValue::Type(DType v) {
  return Make([&](pbf_writer& w) { w.add_int32(kTypeField, static_cast<int>(v)); });
}
AttrValue AttrValue::Shape(const PartialShape& v) {
  return Make([&](pbf_writer& w) { WriteShape(&w, kShapeField, v); });
}
AttrValue AttrValue::Func(std::string_view function_name) {
  return Make([&](pbf_writer& w) {
    pbf_writer f(w, kFunc);
    f.add_string(1, function_name.data(), function_name.size());
  });
}
AttrValue AttrValue::TypeList(const std::vector<DType>& v) {
  std::vector<int32_t> numbers;
  for (DType t : v) numbers.push_back(static_cast<int32_t>(t));
  return MakeList(
      [&](pbf_writer& list) { list.add_packed_int32(kTypeField, numbers.begin(), numbers.end()); });
}
AttrValue AttrValue::ShapeList(const std::vector<PartialShape>& v) {
  return MakeList([&](pbf_writer& list) {
    for (const auto& shape : v) WriteShape(&list, kShapeField, shape);
  });
}
AttrValue AttrValue::StringList(const std::vector<std::string>& v) {
  return MakeList([&](pbf_writer& list) {
    for (const auto& s : v) list.add_bytes(kS, s.data(), s.size());
  });
}
AttrValue AttrValue::IntList(const std::vector<int64_t>& v) {
  return MakeList([&](pbf_writer& list) { list.add_packed_int64(kI, v.begin(), v.end()); });
}
AttrValue AttrValue::TensorValue(const Tensor& v) {
  return Make([&](pbf_writer& w) {
    pbf_writer t(w, kTensor);
    t.add_int32(1, static_cast<int>(v.dtype()));
    WriteShape(&t, 2, {true, v.shape()});
    if (v.num_bytes() > 0) t.add_bytes(4, v.as<char>(), v.num_bytes());
  });
}

const std::string& AttrValue::serialized() const {
  static const std::string kEmpty;
  return serialized_ ? *serialized_ : kEmpty;
}

std::optional<int64_t> AttrValue::i() const {
  return Get<int64_t>(serialized(), kI, [](WireReader& r) { return r.Int(); });
}
std::optional<bool> AttrValue::b() const {
  return Get<bool>(serialized(), kB, [](WireReader& r) { return r.Bool(); });
}
std::optional<float> AttrValue::f() const {
  return Get<float>(serialized(), kF, [](WireReader& r) { return r.Float(); });
}
std::optional<std::string> AttrValue::s() const {
  return Get<std::string>(serialized(), kS, [](WireReader& r) { return std::string(r.Bytes()); });
}
std::optional<std::string> AttrValue::placeholder() const {
  return Get<std::string>(serialized(), kPlaceholder,
                          [](WireReader& r) { return std::string(r.Bytes()); });
}
std::optional<DType> AttrValue::type() const {
  return Get<DType>(serialized(), kTypeField,
                    [](WireReader& r) { return static_cast<DType>(r.Int32()); });
}
std::optional<PartialShape> AttrValue::shape() const {
  auto bytes =
      Get<std::string_view>(serialized(), kShapeField, [](WireReader& r) { return r.Bytes(); });
  return bytes ? saved_model::ParseTensorShape(*bytes) : std::nullopt;
}
std::optional<std::string> AttrValue::func() const {
  auto bytes = Get<std::string_view>(serialized(), kFunc, [](WireReader& r) { return r.Bytes(); });
  if (!bytes) return std::nullopt;
  std::string name;
  WireReader r(*bytes);
  while (r.Next())
    if (r.field() == 1) name = r.Bytes();
  return r.ok() ? std::optional(name) : std::nullopt;
}

std::map<std::string, AttrValue> AttrValue::func_attrs() const {
  std::map<std::string, AttrValue> attrs;
  auto bytes = Get<std::string_view>(serialized(), kFunc, [](WireReader& r) { return r.Bytes(); });
  WireReader r(bytes.value_or(std::string_view()));
  while (r.Next()) {
    saved_model::MapEntry entry;
    if (r.field() == 2 && saved_model::ParseMapEntry(r.Bytes(), &entry))
      attrs.insert_or_assign(std::string(entry.key), AttrValue(std::string(entry.value)));
  }
  return attrs;
}

std::optional<std::vector<int64_t>> AttrValue::int_list() const {
  return GetList<int64_t>(serialized(), kI, [](WireReader& r, std::vector<int64_t>* to) {
    r.Varints([&](uint64_t v) { to->push_back(static_cast<int64_t>(v)); });
    return true;
  });
}
std::optional<std::vector<float>> AttrValue::float_list() const {
  return GetList<float>(serialized(), kF, [](WireReader& r, std::vector<float>* to) {
    r.Repeated<pbf_wire_type::fixed32>(
        [&](uint64_t v) { to->push_back(std::bit_cast<float>(static_cast<uint32_t>(v))); });
    return true;
  });
}
std::optional<std::vector<std::string>> AttrValue::string_list() const {
  return GetList<std::string>(serialized(), kS, [](WireReader& r, std::vector<std::string>* to) {
    to->emplace_back(r.Bytes());
    return true;
  });
}
std::optional<std::vector<DType>> AttrValue::type_list() const {
  return GetList<DType>(serialized(), kTypeField, [](WireReader& r, std::vector<DType>* to) {
    r.Varints([&](uint64_t v) { to->push_back(static_cast<DType>(static_cast<int>(v))); });
    return true;
  });
}
std::optional<std::vector<PartialShape>> AttrValue::shape_list() const {
  return GetList<PartialShape>(serialized(), kShapeField,
                               [](WireReader& r, std::vector<PartialShape>* to) {
                                 auto shape = saved_model::ParseTensorShape(r.Bytes());
                                 if (shape) to->push_back(*std::move(shape));
                                 return shape.has_value();
                               });
}
std::optional<std::vector<std::string>> AttrValue::func_list() const {
  return GetList<std::string>(serialized(), 9, [](WireReader& r, std::vector<std::string>* to) {
    WireReader f(r.Bytes());
    std::string name;
    while (f.Next())
      if (f.field() == 1) name = f.Bytes();
    to->push_back(std::move(name));
    return f.ok();
  });
}

std::optional<std::vector<int64_t>> AttrValue::tensor_shape() const {
  auto bytes =
      Get<std::string_view>(serialized(), kTensor, [](WireReader& r) { return r.Bytes(); });
  if (!bytes) return std::nullopt;
  auto header = ParseHeader(*bytes);
  return header.ok() ? std::optional(std::move(header->shape)) : std::nullopt;
}

Result<Tensor> AttrValue::tensor() const {
  auto bytes =
      Get<std::string_view>(serialized(), kTensor, [](WireReader& r) { return r.Bytes(); });
  if (!bytes) return Malformed("expected a tensor attribute");
  auto parsed = ParseHeader(*bytes);
  if (!parsed.ok()) return parsed.status();
  TensorHeader& h = *parsed;
  const ValueField* field = nullptr;
  for (const ValueField& row : kValueFields)
    if (row.dtype == h.dtype) field = &row;
  if (field == nullptr) {
    return Error(ErrorId::kUnsupportedDType,
                 "TensorProto: elements of type {} ({}) have no fixed size that is known here",
                 DTypeName(h.dtype), static_cast<int>(h.dtype));
  }
  const size_t size = DTypeSize(h.dtype);
  const size_t total = static_cast<size_t>(h.elements) * size;
  if (h.has_content) {
    if (h.content.size() != total) {
      return Malformed(fmt::format("{}{} needs {} bytes, got {}", DTypeName(h.dtype),
                                   ShapeToString(h.shape), total, h.content.size()));
    }
    if (reinterpret_cast<uintptr_t>(h.content.data()) % std::min<size_t>(size, 8) == 0) {
      return Tensor(h.dtype, std::move(h.shape), h.content.data(), serialized_);
    }
  }
  std::string values;
  WireReader r(*bytes);
  while (!h.has_content && r.Next()) {
    if (r.field() == field->field &&
        !AppendValues(&r, field->wire, field->bytes, static_cast<int64_t>(total), &values)) {
      return Malformed(fmt::format("more values than {} has elements", ShapeToString(h.shape)));
    }
  }
  if (!r.ok() || values.size() % size != 0) return Malformed("values are malformed");
  // A few bytes may stand for a large constant (the last value fills the rest), but not for an
  // absurd one.
  constexpr size_t kMaxSplat = size_t{4} << 30;
  if (total > kMaxSplat && !h.has_content)
    return Malformed("a repeated value fills more than 4 GiB");
  Tensor tensor;
  try {
    tensor = Tensor(h.dtype, std::move(h.shape));
  } catch (const std::bad_alloc&) {
    return Error(ErrorId::kOutOfMemory, "TensorProto: cannot allocate {} bytes for a constant",
                 total);
  }
  char* to = tensor.mutable_as<char>();
  if (h.has_content) {
    std::memcpy(to, h.content.data(), total);
    return tensor;
  }
  if (values.empty()) {
    std::memset(to, 0, total);  // no value at all means zeros
    return tensor;
  }
  std::memcpy(to, values.data(), values.size());
  for (size_t at = values.size(); at < total; at += size)
    std::memcpy(to + at, to + values.size() - size, size);
  return tensor;
}

Result<std::vector<std::string>> AttrValue::string_tensor() const {
  auto bytes =
      Get<std::string_view>(serialized(), kTensor, [](WireReader& r) { return r.Bytes(); });
  if (!bytes) return Malformed("expected a tensor attribute");
  auto h = ParseHeader(*bytes);
  if (!h.ok()) return h.status();
  if (h->dtype != DType::kString) {
    return Error(ErrorId::kUnsupportedDType, "TensorProto: expected strings, got {}",
                 DTypeName(h->dtype));
  }
  std::vector<std::string> strings;
  WireReader r(*bytes);
  while (r.Next())
    if (r.field() == 8) strings.emplace_back(r.Bytes());
  constexpr int64_t kMaxStrings = 1 << 26;
  if (!r.ok() || static_cast<int64_t>(strings.size()) > h->elements || h->elements > kMaxStrings) {
    return Malformed("string values are malformed");
  }
  strings.resize(static_cast<size_t>(h->elements),
                 strings.empty() ? std::string() : strings.back());
  return strings;
}

}  // namespace tfengine::tfgraph
