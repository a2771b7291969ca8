// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <protozero/pbf_reader.hpp>
#include <string_view>

namespace tfengine::saved_model {

// Walks the fields of one serialized message. Hostile input is safe: bad bytes end the walk with
// ok() false, a value asked for as the wrong wire type is zero or empty and clears ok() as well.
//
//   for (WireReader r(bytes); r.Next();) switch (r.field()) { case 1: name = r.Bytes(); ... }
class WireReader {
 public:
  explicit WireReader(std::string_view bytes)
      : reader_(bytes.data(), bytes.size()), at_(bytes.data()) {}

  bool Next() {
    if (!ok_) return false;
    try {
      const char* begin = at_;
      if (!reader_.next()) return false;
      field_ = reader_.tag();
      type_ = reader_.wire_type();
      bytes_ = {};
      value_ = 0;
      switch (type_) {
        case protozero::pbf_wire_type::varint: value_ = reader_.get_uint64(); break;
        case protozero::pbf_wire_type::fixed32: value_ = reader_.get_fixed32(); break;
        case protozero::pbf_wire_type::fixed64: value_ = reader_.get_fixed64(); break;
        case protozero::pbf_wire_type::length_delimited: {
          auto view = reader_.get_view();
          bytes_ = {view.data(), view.size()};
          break;
        }
        default: return ok_ = false;
      }
      at_ = reader_.data().data();
      raw_ = {begin, static_cast<size_t>(at_ - begin)};
      return true;
    } catch (const protozero::exception&) {
      return ok_ = false;
    }
  }

  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  // The field with its tag, as it stands in the message.
  std::string_view raw() const { return raw_; }

  std::string_view Bytes() {
    if (type_ != protozero::pbf_wire_type::length_delimited) ok_ = false;
    return bytes_;
  }
  uint64_t Uint() { return Value(protozero::pbf_wire_type::varint); }
  int64_t Int() { return static_cast<int64_t>(Uint()); }
  int Int32() { return static_cast<int>(static_cast<uint32_t>(Uint())); }
  bool Bool() { return Uint() != 0; }
  uint32_t Fixed32() { return static_cast<uint32_t>(Value(protozero::pbf_wire_type::fixed32)); }
  float Float() { return std::bit_cast<float>(Fixed32()); }

  // Repeated numbers, packed or not: calls fn(uint64 bits) for each value of this field.
  template <protozero::pbf_wire_type kType, typename Fn>
  void Repeated(Fn&& fn) {
    if (type_ == kType) {
      fn(value_);
      return;
    }
    const char* p = Bytes().data();
    const char* end = p + bytes_.size();
    try {
      while (p != end) {
        if constexpr (kType == protozero::pbf_wire_type::varint) {
          fn(protozero::decode_varint(&p, end));
        } else {
          constexpr size_t kSize = kType == protozero::pbf_wire_type::fixed32 ? 4 : 8;
          if (static_cast<size_t>(end - p) < kSize) {
            ok_ = false;
            return;
          }
          uint64_t bits = 0;
          __builtin_memcpy(&bits, p, kSize);
          p += kSize;
          fn(bits);
        }
      }
    } catch (const protozero::exception&) {
      ok_ = false;
    }
  }
  template <typename Fn>
  void Varints(Fn&& fn) {
    Repeated<protozero::pbf_wire_type::varint>(fn);
  }

 private:
  uint64_t Value(protozero::pbf_wire_type type) {
    if (type_ != type) ok_ = false;
    return value_;
  }

  protozero::pbf_reader reader_;
  const char* at_;
  std::string_view raw_;
  std::string_view bytes_;
  uint64_t value_ = 0;
  uint32_t field_ = 0;
  protozero::pbf_wire_type type_ = protozero::pbf_wire_type::unknown;
  bool ok_ = true;
};

// One entry of a map<string, message> field.
struct MapEntry {
  std::string_view key;
  std::string_view value;
};
inline bool ParseMapEntry(std::string_view bytes, MapEntry* entry) {
  WireReader r(bytes);
  while (r.Next()) {
    if (r.field() == 1) entry->key = r.Bytes();
    if (r.field() == 2) entry->value = r.Bytes();
  }
  return r.ok();
}

}  // namespace tfengine::saved_model
