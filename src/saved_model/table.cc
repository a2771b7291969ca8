// SPDX-License-Identifier: Apache-2.0
#include "saved_model/table.h"

#include <cstring>
#include <protozero/varint.hpp>

#include "base/crc32c.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine::saved_model {
namespace {

constexpr size_t kFooterSize = 48;
constexpr size_t kTrailerSize = 5;  // compression type, masked checksum
constexpr uint64_t kMagic = 0xdb4775248b80fb57;
// Prefix compression lets a few bytes stand for a long key; these bounds keep a hostile file from
// using up memory.
constexpr size_t kMaxKey = 1 << 16;
constexpr size_t kMaxKeyBytes = size_t{1} << 30;

uint32_t Load32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, 4);
  return v;
}

bool TakeVarint(std::string_view* s, uint64_t* value) {
  try {
    const char* p = s->data();
    *value = protozero::decode_varint(&p, s->data() + s->size());
    s->remove_prefix(static_cast<size_t>(p - s->data()));
    return true;
  } catch (const protozero::exception&) {
    return false;
  }
}

class TableReader {
 public:
  TableReader(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  Status Read(FunctionRef<Status(std::string_view, std::string_view)> fn) {
    if (bytes_.size() < kFooterSize)
      return Corrupt("expected at least 48 bytes, got {}", bytes_.size());
    std::string_view footer = bytes_.substr(bytes_.size() - kFooterSize);
    uint64_t magic;
    std::memcpy(&magic, footer.data() + 40, 8);
    if (magic != kMagic)
      return Corrupt("expected table magic {:#x} at the end, got {:#x}", kMagic, magic);
    uint64_t ignored, offset, size;
    if (!TakeVarint(&footer, &ignored) || !TakeVarint(&footer, &ignored) ||
        !TakeVarint(&footer, &offset) || !TakeVarint(&footer, &size)) {
      return Corrupt("{}", "footer is malformed");
    }
    std::string last_key;
    bool first = true;
    return ForEach(offset, size, [&](std::string_view, std::string_view handle) -> Status {
      uint64_t block, length;
      if (!TakeVarint(&handle, &block) || !TakeVarint(&handle, &length))
        return Corrupt("{}", "block handle is malformed");
      return ForEach(block, length, [&](std::string_view key, std::string_view value) -> Status {
        if (!first && key <= last_key) return Corrupt("keys are out of order at \"{}\"", key);
        first = false;
        last_key = key;
        return fn(key, value);
      });
    });
  }

 private:
  template <typename... Args>
  Status Corrupt(fmt::format_string<Args...> format, Args&&... args) {
    return Error(ErrorId::kCheckpointCorrupt, "{}: {}", path_,
                 fmt::format(format, std::forward<Args>(args)...));
  }

  Status ForEach(uint64_t offset, uint64_t size,
                 FunctionRef<Status(std::string_view, std::string_view)> fn) {
    if (offset > bytes_.size() || size > bytes_.size() - offset ||
        bytes_.size() - offset - size < kTrailerSize) {
      return Corrupt("block at {} of {} bytes reaches past the end ({} bytes)", offset, size,
                     bytes_.size());
    }
    std::string_view block = bytes_.substr(offset, size);
    const char* trailer = block.data() + size;
    if (UnmaskCrc(Load32(trailer + 1)) != Crc32c({block.data(), size + 1})) {
      return Corrupt("block at {} has a wrong checksum", offset);
    }
    if (*trailer != 0) {
      return Corrupt(
          "block at {} is compressed (type {}); expected the uncompressed form that TensorFlow "
          "writes",
          offset, static_cast<int>(*trailer));
    }
    if (size < 4) return Corrupt("block at {} is too short", offset);
    uint64_t restarts = Load32(block.data() + size - 4);
    if (restarts > (size - 4) / 4)
      return Corrupt("block at {} has {} restart points", offset, restarts);
    block.remove_suffix(4 + 4 * restarts);
    std::string key;
    while (!block.empty()) {
      uint64_t shared, unshared, length;
      if (!TakeVarint(&block, &shared) || !TakeVarint(&block, &unshared) ||
          !TakeVarint(&block, &length) || shared > key.size() || unshared > block.size() ||
          length > block.size() - unshared || shared + unshared > kMaxKey) {
        return Corrupt("block at {} has a malformed entry", offset);
      }
      key.resize(shared);
      key.append(block.substr(0, unshared));
      key_bytes_ += key.size();
      if (key_bytes_ > kMaxKeyBytes) return Corrupt("keys take more than {} bytes", kMaxKeyBytes);
      TFE_RETURN_IF_ERROR(fn(key, block.substr(unshared, length)));
      block.remove_prefix(unshared + length);
    }
    return OkStatus();
  }

  std::string_view bytes_;
  const std::string& path_;
  size_t key_bytes_ = 0;
};

}  // namespace

Status ReadTable(std::string_view bytes, const std::string& path,
                 FunctionRef<Status(std::string_view, std::string_view)> fn) {
  return TableReader(bytes, path).Read(fn);
}

}  // namespace tfengine::saved_model
