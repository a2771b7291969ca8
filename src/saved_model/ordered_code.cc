// SPDX-License-Identifier: Apache-2.0
#include <bit>

#include "saved_model/tensor_bundle.h"

// The order-preserving key encoding under which TensorFlow stores the slices of partitioned
// tensors.
namespace tfengine::saved_model {
namespace {

void AppendNumber(std::string* out, uint64_t value) {
  int bytes = (std::bit_width(value) + 7) / 8;
  out->push_back(static_cast<char>(bytes));
  for (int i = bytes - 1; i >= 0; --i) out->push_back(static_cast<char>(value >> (8 * i)));
}

void AppendString(std::string* out, std::string_view s) {
  for (char c : s) {
    out->push_back(c);
    if (c == '\x00') out->push_back('\xff');
    if (c == '\xff') out->push_back('\x00');
  }
  out->append(std::string_view("\x00\x01", 2));
}

// n bytes hold 7n - 1 bits and the sign; the n-1 high bits tell the length (inverted for negative
// numbers).
void AppendSigned(std::string* out, int64_t value) {
  uint64_t magnitude = static_cast<uint64_t>(value < 0 ? ~value : value);
  int length = std::bit_width(magnitude) / 7 + 1;
  char buffer[10];
  char fill = value < 0 ? '\xff' : '\x00';
  for (int i = 0; i < 10; ++i) {
    int shift = 8 * (9 - i);
    buffer[i] = shift < 64 ? static_cast<char>(static_cast<uint64_t>(value) >> shift) : fill;
  }
  char* begin = buffer + 10 - length;
  // The first `length` bits of the encoding are flipped relative to the sign fill.
  uint16_t header = static_cast<uint16_t>(0xffff << (16 - length));
  begin[0] ^= static_cast<char>(header >> 8);
  if (length > 1) begin[1] ^= static_cast<char>(header & 0xff);
  out->append(begin, static_cast<size_t>(length));
}

}  // namespace

std::string EncodeSliceKey(std::string_view name, const TensorSlice& slice) {
  std::string key;
  AppendNumber(&key, 0);
  AppendString(&key, name);
  AppendNumber(&key, slice.size());
  for (const SliceExtent& extent : slice) {
    AppendSigned(&key, extent.length < 0 ? 0 : extent.start);
    AppendSigned(&key, extent.length < 0 ? -1 : extent.length);
  }
  return key;
}

}  // namespace tfengine::saved_model
