// SPDX-License-Identifier: Apache-2.0
#include "api/npz.h"

#include <cstring>

#include "api/npy.h"
#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50,
                   kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kEnd64Size = 56,
                 kLocatorSize = 20;
constexpr size_t kMaxComment = 0xffff;
constexpr uint16_t kExtra64 = 1;      // extra field with sizes and offsets of 64 bits
constexpr uint32_t kIn64 = 0xffffffff;  // "see the extra field"
constexpr std::string_view kSuffix = ".npy";

// Little-endian numbers at any offset; reading outside gives 0, which the callers' checks refuse.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  bool Has(uint64_t at, uint64_t size) const {
    return at <= bytes_.size() && size <= bytes_.size() - at;
  }
  std::string_view Piece(uint64_t at, uint64_t size) const {
    return Has(at, size) ? bytes_.substr(at, size) : std::string_view();
  }
  template <typename T>
  T Get(uint64_t at) const {
    T value = 0;
    if (Has(at, sizeof(T))) std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }
  size_t size() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
};

struct Directory {
  uint64_t at = 0, entries = 0;
};

bool FindDirectory(const Bytes& file, Directory* directory) {
  if (file.size() < kEndSize) return false;
  const size_t last = file.size() - kEndSize;
  for (size_t back = 0; back <= std::min(last, kMaxComment); ++back) {
    const size_t at = last - back;
    if (file.Get<uint32_t>(at) != kEnd || file.Get<uint16_t>(at + 20) != back) continue;
    directory->entries = file.Get<uint16_t>(at + 10);
    directory->at = file.Get<uint32_t>(at + 16);
    if (at >= kLocatorSize && file.Get<uint32_t>(at - kLocatorSize) == kEnd64Locator) {
      const auto end64 = file.Get<uint64_t>(at - kLocatorSize + 8);
      if (!file.Has(end64, kEnd64Size) || file.Get<uint32_t>(end64) != kEnd64) return false;
      directory->entries = file.Get<uint64_t>(end64 + 32);
      directory->at = file.Get<uint64_t>(end64 + 48);
    }
    return true;
  }
  return false;
}

struct Entry {
  std::string name;
  uint16_t flags = 0, method = 0;
  uint64_t packed = 0, size = 0, local = 0;  // bytes in the file, of the array, offset of its header
};

// Reads the entry at *at and moves on.
bool ReadEntry(const Bytes& file, uint64_t* at, Entry* entry) {
  if (!file.Has(*at, kCentralSize) || file.Get<uint32_t>(*at) != kCentralHeader) return false;
  const auto name_size = file.Get<uint16_t>(*at + 28), extra_size = file.Get<uint16_t>(*at + 30),
             comment_size = file.Get<uint16_t>(*at + 32);
  const uint64_t name_at = *at + kCentralSize, extra_at = name_at + name_size;
  if (!file.Has(name_at, uint64_t{name_size} + extra_size + comment_size)) return false;
  entry->name = file.Piece(name_at, name_size);
  entry->flags = file.Get<uint16_t>(*at + 8);
  entry->method = file.Get<uint16_t>(*at + 10);
  const auto packed = file.Get<uint32_t>(*at + 20), size = file.Get<uint32_t>(*at + 24),
             local = file.Get<uint32_t>(*at + 42);
  entry->packed = packed;
  entry->size = size;
  entry->local = local;
  const uint64_t extra_end = extra_at + extra_size;
  for (uint64_t field = extra_at; field + 4 <= extra_end;) {
    const uint64_t data = field + 4, end = data + file.Get<uint16_t>(field + 2);
    if (file.Get<uint16_t>(field) == kExtra64) {
      // Only what did not fit, in this order.
      uint64_t next = data;
      for (auto [narrow, wide] :
           {std::pair(size, &entry->size), {packed, &entry->packed}, {local, &entry->local}}) {
        if (narrow != kIn64) continue;
        if (next + 8 > end || end > extra_end) return false;
        *wide = file.Get<uint64_t>(next);
        next += 8;
      }
    }
    field = end;
  }
  *at = extra_end + comment_size;
  return true;
}

}  // namespace

Result<std::map<std::string, Tensor>> ReadNpz(const std::string& path) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> mapped, MappedFile::Open(path));
  const Bytes file(mapped->bytes());
  Directory directory;
  if (!FindDirectory(file, &directory))
    return Error(ErrorId::kNpyInvalid,
                 "{}: expected a .npz file, found no ZIP directory; write it with numpy.savez",
                 path);
  std::map<std::string, Tensor> arrays;
  uint64_t at = directory.at;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    Entry entry;
    if (!ReadEntry(file, &at, &entry))
      return Error(ErrorId::kNpyInvalid, "{}: its ZIP directory is damaged at entry {} of {}", path,
                   i + 1, directory.entries);
    const std::string where = fmt::format("{}: {}", path, entry.name);
    if (!entry.name.ends_with(kSuffix))
      return Error(ErrorId::kNpyInvalid, "{}: expected a .npy file; write the archive with numpy.savez",
                   where);
    if (entry.method != 0 || (entry.flags & 1) != 0)
      return Error(ErrorId::kNpyInvalid,
                   "{}: expected a stored array, it is compressed or encrypted; write the archive "
                   "with numpy.savez instead of numpy.savez_compressed",
                   where);
    if (!file.Has(entry.local, kLocalSize) || file.Get<uint32_t>(entry.local) != kLocalHeader ||
        entry.packed != entry.size)
      return Error(ErrorId::kNpyInvalid, "{}: its ZIP header is damaged", where);
    // Name and extra field have their own lengths here.
    const uint64_t data = entry.local + kLocalSize + file.Get<uint16_t>(entry.local + 26) +
                          file.Get<uint16_t>(entry.local + 28);
    if (!file.Has(data, entry.size))
      return Error(ErrorId::kNpyInvalid, "{}: truncated", where);
    TFE_ASSIGN_OR_RETURN(Tensor tensor, ReadNpy(file.Piece(data, entry.size), mapped, where));
    const std::string name = entry.name.substr(0, entry.name.size() - kSuffix.size());
    if (!arrays.emplace(name, std::move(tensor)).second)
      return Error(ErrorId::kNpyInvalid, "{}: the archive has two arrays of that name", where);
  }
  return arrays;
}

}  // namespace tfengine
