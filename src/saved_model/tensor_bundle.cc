// SPDX-License-Identifier: Apache-2.0
#include "saved_model/tensor_bundle.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/crc32c.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/protos.h"
#include "saved_model/table.h"
#include "saved_model/wire.h"

namespace tfengine::saved_model {
namespace {

constexpr int kMaxRank = 254;  // TensorFlow's own limit
constexpr int kMaxShards = 1 << 20;

// A fully known shape.
bool ParseShape(std::string_view bytes, std::vector<int64_t>* dims) {
  auto shape = ParseTensorShape(bytes);
  if (!shape || !shape->known_rank || std::count(shape->dims.begin(), shape->dims.end(), -1) > 0)
    return false;
  *dims = std::move(shape->dims);
  return true;
}

bool ParseSliceProto(std::string_view bytes, TensorSlice* slice) {
  WireReader r(bytes);
  while (r.Next()) {
    if (r.field() != 1) continue;
    if (slice->size() >= kMaxRank) return false;
    SliceExtent& extent = slice->emplace_back();
    WireReader e(r.Bytes());
    while (e.Next()) {
      if (e.field() == 1) extent.start = e.Int();
      if (e.field() == 2) extent.length = e.Int();
    }
    if (!e.ok() || extent.start < 0 || extent.length < -1) return false;
  }
  return r.ok();
}

// Bytes of a tensor, or -1 if they overflow (zero dimensions not counted, so that strides cannot
// overflow either).
int64_t CheckedBytes(DType dtype, const std::vector<int64_t>& shape) {
  int64_t bytes = static_cast<int64_t>(DTypeSize(dtype));
  bool empty = false;
  for (int64_t d : shape) {
    empty |= d == 0;
    if (d != 0 && __builtin_mul_overflow(bytes, d, &bytes)) return -1;
  }
  return empty ? 0 : bytes;
}

// Resolves "all of it" and checks bounds. False if the slice does not fit the shape.
bool Resolve(const std::vector<int64_t>& shape, const TensorSlice& slice,
             std::vector<int64_t>* start, std::vector<int64_t>* length) {
  if (slice.size() != shape.size()) return false;
  for (size_t d = 0; d < shape.size(); ++d) {
    bool full = slice[d].length < 0;
    start->push_back(full ? 0 : slice[d].start);
    length->push_back(full ? shape[d] : slice[d].length);
    if (start->back() > shape[d] || length->back() > shape[d] - start->back()) return false;
  }
  return true;
}

// Copies a block of shape `length` (no dimension zero) between two row-major buffers of shapes
// `to_shape` and `from_shape`.
void CopyBlock(char* to, const std::vector<int64_t>& to_shape, const std::vector<int64_t>& to_start,
               const char* from, const std::vector<int64_t>& from_shape,
               const std::vector<int64_t>& from_start, const std::vector<int64_t>& length,
               size_t element, size_t dim = 0) {
  if (dim == length.size()) {
    std::memcpy(to, from, element);
    return;
  }
  size_t to_stride = element, from_stride = element;
  for (size_t d = dim + 1; d < length.size(); ++d) {
    to_stride *= static_cast<size_t>(to_shape[d]);
    from_stride *= static_cast<size_t>(from_shape[d]);
  }
  to += to_stride * static_cast<size_t>(to_start[dim]);
  from += from_stride * static_cast<size_t>(from_start[dim]);
  if (dim + 1 == length.size()) {
    std::memcpy(to, from, element * static_cast<size_t>(length[dim]));
    return;
  }
  for (int64_t i = 0; i < length[dim]; ++i, to += to_stride, from += from_stride)
    CopyBlock(to, to_shape, to_start, from, from_shape, from_start, length, element, dim + 1);
}

}  // namespace

Result<std::shared_ptr<const TensorBundle>> TensorBundle::Open(const std::string& prefix) {
  TFE_ASSIGN_OR_RETURN(auto index, MappedFile::Open(prefix + ".index"));
  std::shared_ptr<TensorBundle> bundle(new TensorBundle());
  bundle->prefix_ = prefix;
  TFE_RETURN_IF_ERROR(bundle->ReadIndex(index->bytes()));
  return std::shared_ptr<const TensorBundle>(std::move(bundle));
}

Status TensorBundle::ReadIndex(std::string_view bytes) {
  const std::string path = prefix_ + ".index";
  TFE_RETURN_IF_ERROR(
      ReadTable(bytes, path, [&](std::string_view key, std::string_view value) -> Status {
        if (!key.empty()) return AddEntry(key, value);
        // BundleHeaderProto {num_shards 1, endianness 2, version 3 {producer 1, min_consumer 2}}
        int min_consumer = 0;
        bool big_endian = false;
        WireReader r(value);
        while (r.Next()) {
          if (r.field() == 1) num_shards_ = r.Int32();
          if (r.field() == 2) big_endian = r.Uint() != 0;
          if (r.field() != 3) continue;
          WireReader version(r.Bytes());
          while (version.Next())
            if (version.field() == 2) min_consumer = version.Int32();
        }
        if (!r.ok() || num_shards_ < 1 || num_shards_ > kMaxShards) {
          return Error(ErrorId::kCheckpointCorrupt, "{}: header is malformed ({} shards)", path,
                       num_shards_);
        }
        if (big_endian)
          return Error(ErrorId::kCheckpointCorrupt,
                       "{}: expected little-endian data, got big-endian", path);
        if (min_consumer > 1) {
          return Error(ErrorId::kCheckpointCorrupt,
                       "{}: expected checkpoint format 1, got one that needs readers of version {}",
                       path, min_consumer);
        }
        return OkStatus();
      }));
  if (num_shards_ == 0)
    return Error(ErrorId::kCheckpointCorrupt, "{}: the header entry is missing", path);
  return OkStatus();
}

Status TensorBundle::AddEntry(std::string_view key, std::string_view value) {
  Entry entry;
  bool ok = true;
  WireReader r(value);
  while (ok && r.Next()) {
    switch (r.field()) {
      case 1: entry.dtype = static_cast<DType>(r.Int32()); break;
      case 2: ok = ParseShape(r.Bytes(), &entry.shape); break;
      case 3: entry.shard = r.Int32(); break;
      case 4: entry.offset = r.Int(); break;
      case 5: entry.size = r.Int(); break;
      case 6: entry.crc = r.Fixed32(); break;
      case 7: ok = ParseSliceProto(r.Bytes(), &entry.slices.emplace_back()); break;
    }
  }
  ok = ok && r.ok() && entry.shard >= 0 && entry.shard < num_shards_ && entry.offset >= 0 &&
       entry.size >= 0;
  if (!ok) {
    return Error(ErrorId::kCheckpointCorrupt, "{}.index: the entry of \"{}\" is malformed", prefix_,
                 key);
  }
  entries_.emplace(key, std::move(entry));
  return OkStatus();
}

const TensorBundle::Entry* TensorBundle::Find(const std::string& key) const {
  auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : &it->second;
}

std::vector<std::string> TensorBundle::Keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, entry] : entries_)
    if (key[0] != '\0') keys.push_back(key);  // encoded slice keys start with a zero byte
  return keys;
}

Result<std::shared_ptr<const MappedFile>> TensorBundle::Shard(int shard) const {
  std::lock_guard<std::mutex> lock(mu_);
  auto& file = shards_[shard];
  if (!file) {
    TFE_ASSIGN_OR_RETURN(file, MappedFile::Open(fmt::format("{}.data-{:05d}-of-{:05d}", prefix_,
                                                            shard, num_shards_)));
  }
  return file;
}

Result<std::string_view> TensorBundle::EntryBytes(const std::string& key, const Entry& entry,
                                                  std::shared_ptr<const MappedFile>* file) const {
  TFE_ASSIGN_OR_RETURN(*file, Shard(entry.shard));
  std::string_view bytes = (*file)->bytes();
  if (static_cast<uint64_t>(entry.offset) > bytes.size() ||
      static_cast<uint64_t>(entry.size) > bytes.size() - static_cast<uint64_t>(entry.offset)) {
    return Error(ErrorId::kCheckpointCorrupt,
                 "{}: \"{}\": expected {} bytes at {}, the file has {}", (*file)->path(), key,
                 entry.size, entry.offset, bytes.size());
  }
  return bytes.substr(static_cast<size_t>(entry.offset), static_cast<size_t>(entry.size));
}

Result<std::shared_ptr<const Tensor>> TensorBundle::ReadWhole(const std::string& key,
                                                              const std::string& name,
                                                              const Entry& entry) const {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (auto it = read_.find(key); it != read_.end()) return it->second;
  }
  const size_t element = DTypeSize(entry.dtype);
  if (element == 0) {
    return Error(ErrorId::kUnsupportedDType,
                 "{}.index: \"{}\": expected elements of a fixed size, got {}", prefix_, name,
                 DTypeName(entry.dtype));
  }
  if (int64_t expected = CheckedBytes(entry.dtype, entry.shape); expected != entry.size) {
    return Error(ErrorId::kCheckpointCorrupt,
                 "{}.index: \"{}\": {}{} needs {} bytes, the entry has {}", prefix_, name,
                 DTypeName(entry.dtype), ShapeToString(entry.shape), expected, entry.size);
  }
  std::shared_ptr<const MappedFile> file;
  TFE_ASSIGN_OR_RETURN(std::string_view bytes, EntryBytes(name, entry, &file));
  if (Crc32c(bytes) != UnmaskCrc(entry.crc)) {
    return Error(ErrorId::kCheckpointCorrupt, "{}: \"{}\": wrong checksum over {} bytes at {}",
                 file->path(), name, entry.size, entry.offset);
  }
  std::shared_ptr<const Tensor> tensor;
  // complex128 is two aligned doubles.
  if (reinterpret_cast<uintptr_t>(bytes.data()) % std::min<size_t>(element, 8) == 0) {
    tensor = std::make_shared<Tensor>(entry.dtype, entry.shape, bytes.data(), file);
  } else {
    Tensor copy(entry.dtype, entry.shape);
    if (!bytes.empty()) std::memcpy(copy.mutable_data(), bytes.data(), bytes.size());
    tensor = std::make_shared<Tensor>(std::move(copy));
  }
  std::lock_guard<std::mutex> lock(mu_);
  return read_.try_emplace(key, std::move(tensor)).first->second;
}

Result<std::shared_ptr<const Tensor>> TensorBundle::Assemble(const std::string& key,
                                                             const Entry& entry) const {
  {
    std::lock_guard<std::mutex> lock(mu_);
    if (auto it = read_.find(key); it != read_.end()) return it->second;
  }
  auto corrupt = [&](std::string_view what) {
    return Error(ErrorId::kCheckpointCorrupt, "{}.index: \"{}\": {} slices of {}: {}", prefix_, key,
                 entry.slices.size(), ShapeToString(entry.shape), what);
  };
  const int64_t total = CheckedBytes(entry.dtype, entry.shape);
  if (total < 0) return corrupt("the size overflows");
  std::vector<std::shared_ptr<const Tensor>> parts;
  std::set<std::string> keys;
  int64_t sum = 0;
  for (const TensorSlice& slice : entry.slices) {
    std::string slice_key = EncodeSliceKey(key, slice);
    const Entry* part = Find(slice_key);
    std::vector<int64_t> start, length;
    if (part == nullptr || !part->slices.empty() || part->dtype != entry.dtype)
      return corrupt("a slice is missing");
    if (!Resolve(entry.shape, slice, &start, &length) || part->shape != length)
      return corrupt("a slice has a wrong shape");
    if (!keys.insert(slice_key).second) return corrupt("a slice appears twice");
    TFE_ASSIGN_OR_RETURN(auto tensor, ReadWhole(slice_key, key, *part));
    sum += part->size;
    if (sum > total) return corrupt("they overlap");
    parts.push_back(std::move(tensor));
  }
  if (sum != total) return corrupt("they do not cover the tensor");
  // Not larger than the data just read, so a hostile shape cannot ask for more memory than the file
  // has bytes.
  Tensor whole(entry.dtype, entry.shape);
  std::memset(whole.mutable_data(), 0, whole.num_bytes());
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i]->num_elements() == 0) continue;
    std::vector<int64_t> start, length;
    Resolve(entry.shape, entry.slices[i], &start, &length);
    CopyBlock(whole.mutable_as<char>(), entry.shape, start, parts[i]->as<char>(), length,
              std::vector<int64_t>(length.size(), 0), length, DTypeSize(entry.dtype));
  }
  std::lock_guard<std::mutex> lock(mu_);
  return read_.try_emplace(key, std::make_shared<Tensor>(std::move(whole))).first->second;
}

Result<std::shared_ptr<const Tensor>> TensorBundle::Read(const std::string& key) const {
  const Entry* entry = Find(key);
  if (entry == nullptr) {
    return Error(ErrorId::kVariableMissing, "{}.index: expected a tensor \"{}\" among the {} there",
                 prefix_, key, entries_.size());
  }
  return entry->slices.empty() ? ReadWhole(key, key, *entry) : Assemble(key, *entry);
}

Result<std::shared_ptr<const Tensor>> TensorBundle::ReadSlice(const std::string& key,
                                                              const TensorSlice& slice) const {
  const Entry* entry = Find(key);
  if (entry != nullptr && !entry->slices.empty()) {
    std::string slice_key = EncodeSliceKey(key, slice);
    if (const Entry* part = Find(slice_key); part != nullptr && part->slices.empty()) {
      return ReadWhole(slice_key, key, *part);
    }
  }
  TFE_ASSIGN_OR_RETURN(auto whole, Read(key));
  std::vector<int64_t> start, length;
  if (!Resolve(whole->shape(), slice, &start, &length)) {
    return Error(ErrorId::kCheckpointCorrupt,
                 "{}.index: \"{}\": the graph restores a slice that does not fit {}", prefix_, key,
                 ShapeToString(whole->shape()));
  }
  if (length == whole->shape()) return whole;
  Tensor part(whole->dtype(), length);
  if (part.num_elements() > 0) {
    CopyBlock(part.mutable_as<char>(), length, std::vector<int64_t>(length.size(), 0),
              whole->as<char>(), whole->shape(), start, length, DTypeSize(whole->dtype()));
  }
  return std::make_shared<const Tensor>(std::move(part));
}

// Layout of string tensors: one varint length per element, a masked CRC of the lengths (each taken
// as 4 bytes, or 8 if it does not fit), the bytes of all elements. The entry's checksum covers the
// lengths in that form and all that follows.
Result<std::vector<std::string>> TensorBundle::ReadStrings(const std::string& key) const {
  const Entry* entry = Find(key);
  if (entry == nullptr) {
    return Error(ErrorId::kVariableMissing, "{}.index: expected a tensor \"{}\" among the {} there",
                 prefix_, key, entries_.size());
  }
  if (entry->dtype != DType::kString || !entry->slices.empty()) {
    return Error(ErrorId::kUnsupportedDType, "{}.index: \"{}\": expected unsliced strings, got {}",
                 prefix_, key, DTypeName(entry->dtype));
  }
  std::shared_ptr<const MappedFile> file;
  TFE_ASSIGN_OR_RETURN(std::string_view bytes, EntryBytes(key, *entry, &file));
  auto corrupt = [&](std::string_view what) {
    return Error(ErrorId::kCheckpointCorrupt, "{}: \"{}\": {}", file->path(), key, what);
  };
  int64_t count = 1;
  for (int64_t d : entry->shape)
    if (__builtin_mul_overflow(count, d, &count)) return corrupt("shape overflows");
  if (static_cast<uint64_t>(count) > bytes.size()) return corrupt("too short for its shape");
  std::vector<uint64_t> lengths;
  uint32_t crc = 0;
  const char* p = bytes.data();
  const char* end = p + bytes.size();
  try {
    for (int64_t i = 0; i < count; ++i) {
      uint64_t length = protozero::decode_varint(&p, end);
      crc = Crc32c(
          {reinterpret_cast<const char*>(&length), length <= UINT32_MAX ? size_t{4} : size_t{8}},
          crc);
      lengths.push_back(length);
    }
  } catch (const protozero::exception&) {
    return corrupt("string lengths are malformed");
  }
  std::string_view rest(p, static_cast<size_t>(end - p));
  uint32_t stored;
  if (rest.size() < 4) return corrupt("truncated");
  std::memcpy(&stored, rest.data(), 4);
  if (UnmaskCrc(stored) != crc) return corrupt("wrong checksum over the string lengths");
  if (Crc32c(rest, crc) != UnmaskCrc(entry->crc)) return corrupt("wrong checksum");
  rest.remove_prefix(4);
  std::vector<std::string> strings;
  for (uint64_t length : lengths) {
    if (length > rest.size()) return corrupt("strings reach past the end");
    strings.emplace_back(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  return strings;
}

}  // namespace tfengine::saved_model
