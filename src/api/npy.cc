// SPDX-License-Identifier: Apache-2.0
#include "api/npy.h"

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxRank = 64;

struct DescrRow {
  std::string_view descr;  // without the byte order
  DType dtype;
};

constexpr DescrRow kDescrs[] = {
    {"f4", DType::kFloat32},  {"f8", DType::kFloat64},   {"f2", DType::kFloat16},
    {"V2", DType::kBfloat16}, {"i1", DType::kInt8},      {"i2", DType::kInt16},
    {"i4", DType::kInt32},    {"i8", DType::kInt64},     {"u1", DType::kUint8},
    {"u2", DType::kUint16},   {"u4", DType::kUint32},    {"u8", DType::kUint64},
    {"b1", DType::kBool},     {"c8", DType::kComplex64}, {"c16", DType::kComplex128},
};

struct Header {
  std::string descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

// Reads the Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), } in any key
// order.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  // An error text, or empty.
  std::string Parse(Header* header) {
    if (!Take('{')) return "the header is not a dictionary";
    while (!Take('}')) {
      std::string key;
      if (!String(&key) || !Take(':')) return "the header is not a dictionary of strings";
      if (key == "descr") {
        if (Peek() == '[') return "structured types are not supported; save one field per file";
        if (!String(&header->descr)) return "'descr' is not a string";
      } else if (key == "fortran_order") {
        bool value = Word("True");
        if (!value && !Word("False")) return "'fortran_order' is neither True nor False";
        header->fortran_order = value;
      } else if (key == "shape") {
        std::vector<int64_t> shape;
        if (!Tuple(&shape)) return "'shape' is not a tuple of sizes";
        header->shape = std::move(shape);
      } else {
        return fmt::format("the header has an unknown key '{}'", key.substr(0, 40));
      }
      if (!Take(',') && Peek() != '}') return "the header is not a dictionary";
    }
    if (header->descr.empty() || !header->fortran_order || !header->shape)
      return "the header lacks one of 'descr', 'fortran_order', 'shape'";
    return "";
  }

 private:
  char Peek() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool Take(char c) {
    if (Peek() != c) return false;
    ++at_;
    return true;
  }
  bool Word(std::string_view word) {
    Peek();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  bool String(std::string* out) {
    char quote = Peek();
    if (quote != '\'' && quote != '"') return false;
    size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) return false;
    *out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return true;
  }
  bool Tuple(std::vector<int64_t>* out) {
    if (!Take('(')) return false;
    while (!Take(')')) {
      Peek();
      int64_t size = 0;
      auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0 || out->size() == kMaxRank) return false;
      at_ = end - text_.data();
      out->push_back(size);
      if (!Take(',') && Peek() != ')') return false;
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

DType DTypeOfDescr(std::string_view descr) {
  for (const DescrRow& row : kDescrs)
    if (row.descr == descr) return row.dtype;
  return DType::kInvalid;
}

// Bytes of an array, or nullopt if the product overflows.
std::optional<size_t> ByteSize(DType dtype, const std::vector<int64_t>& shape) {
  size_t bytes = DTypeSize(dtype);
  for (int64_t size : shape)
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes)) return std::nullopt;
  return bytes;
}

Status Invalid(const std::string& path, const std::string& what) {
  return Error(ErrorId::kNpyInvalid, "{}: {}", path, what);
}

}  // namespace

Result<Tensor> ReadNpy(const std::string& path) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  return ReadNpy(file->bytes(), file, path);
}

Result<Tensor> ReadNpy(std::string_view bytes, std::shared_ptr<const void> owner,
                       const std::string& path) {
  if (bytes.substr(0, kMagic.size()) != kMagic || bytes.size() < kMagic.size() + 4)
    return Invalid(path, "not a .npy file; write it with numpy.save");
  int major = static_cast<unsigned char>(bytes[kMagic.size()]);
  if (major < 1 || major > 3)
    return Invalid(path, fmt::format("expected format version 1, 2 or 3, got {}", major));
  size_t length_at = kMagic.size() + 2;
  size_t length_size = major == 1 ? 2 : 4;
  if (bytes.size() < length_at + length_size) return Invalid(path, "truncated in its header");
  uint32_t header_size = 0;
  std::memcpy(&header_size, bytes.data() + length_at,
              length_size);  // little-endian, as this machine
  size_t data_at = length_at + length_size + header_size;
  if (data_at > bytes.size()) return Invalid(path, "truncated in its header");

  Header header;
  std::string problem =
      HeaderParser(bytes.substr(length_at + length_size, header_size)).Parse(&header);
  if (!problem.empty()) return Invalid(path, problem);
  if (header.descr[0] == '>')
    return Invalid(path, fmt::format("expected little-endian data, got '{}'; save "
                                     "array.astype(array.dtype.newbyteorder('<'))",
                                     header.descr));
  DType dtype = DTypeOfDescr(std::string_view(header.descr).substr(1));
  if (dtype == DType::kInvalid ||
      std::string_view("<|=").find(header.descr[0]) == std::string_view::npos)
    return Invalid(path, fmt::format("expected a numeric or bool array, got type '{}'",
                                     header.descr.substr(0, 40)));
  if (*header.fortran_order && header.shape->size() > 1)
    return Invalid(path,
                   "the array is stored in Fortran order; save numpy.ascontiguousarray(array)");
  std::optional<size_t> size = ByteSize(dtype, *header.shape);
  if (!size || *size != bytes.size() - data_at)
    return Invalid(
        path, fmt::format("shape {} of {} and the {} bytes of data that follow do not match",
                          ShapeToString(*header.shape), DTypeName(dtype), bytes.size() - data_at));

  const char* data = bytes.data() + data_at;
  if (reinterpret_cast<uintptr_t>(data) % DTypeSize(dtype) == 0)
    return Tensor(dtype, std::move(*header.shape), data, std::shared_ptr<const void>(owner, data));
  Tensor tensor(dtype, std::move(*header.shape));
  std::memcpy(tensor.mutable_data(), data, *size);
  return tensor;
}

Status WriteNpy(const std::string& path, const Tensor& tensor) {
  std::string_view descr;
  for (const DescrRow& row : kDescrs)
    if (row.dtype == tensor.dtype()) descr = row.descr;
  if (descr.empty())
    return Error(ErrorId::kUnsupportedDType, "{}: a {} tensor cannot be written as .npy", path,
                 DTypeName(tensor.dtype()));
  std::string shape;
  for (int64_t size : tensor.shape()) shape += fmt::format("{}, ", size);
  if (tensor.rank() > 1) shape.resize(shape.size() - 2);
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}",
                                   DTypeSize(tensor.dtype()) == 1 ? '|' : '<', descr, shape);
  // NumPy wants the data to start at a multiple of 64, after a newline.
  size_t prefix = kMagic.size() + 4;
  header.append((64 - (prefix + header.size() + 1) % 64) % 64, ' ');
  header += '\n';
  uint16_t header_size = static_cast<uint16_t>(header.size());

  std::string beside = path + ".tmp";
  std::FILE* file = std::fopen(beside.c_str(), "wb");
  auto put = [&](const void* data, size_t size) {
    return size == 0 || std::fwrite(data, 1, size, file) == size;
  };
  bool ok = file != nullptr && put(kMagic.data(), kMagic.size()) && put("\x01\x00", 2) &&
            put(&header_size, 2) && put(header.data(), header.size()) &&
            put(tensor.data(), tensor.num_bytes());
  if (file != nullptr && std::fclose(file) != 0) ok = false;
  if (ok && std::rename(beside.c_str(), path.c_str()) == 0) return OkStatus();
  Status status =
      Error(ErrorId::kOutputUnwritable, "{}: cannot be written: {}", path, std::strerror(errno));
  std::remove(beside.c_str());
  return status;
}

}  // namespace tfengine
