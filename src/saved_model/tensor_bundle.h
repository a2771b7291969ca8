// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine::saved_model {

// Part of a tensor along one dimension; length -1 means all of it.
struct SliceExtent {
  int64_t start = 0;
  int64_t length = -1;
};
using TensorSlice = std::vector<SliceExtent>;

// Reader of TensorFlow's checkpoint format V2 (<prefix>.index and <prefix>.data-NNNNN-of-MMMMM).
// Thread-safe. Tensors view the mapped shards; only those that are stored in slices, or not aligned
// to their element size, are copied. The checksum of an entry is verified when it is first read.
class TensorBundle {
 public:
  struct Entry {
    DType dtype = DType::kInvalid;
    std::vector<int64_t> shape;
    int shard = 0;
    int64_t offset = 0;
    int64_t size = 0;
    uint32_t crc = 0;                 // masked
    std::vector<TensorSlice> slices;  // not empty: the data are in further entries, one per slice
  };

  // Errors: kFileMissing, kFileUnreadable, kCheckpointCorrupt (file and key named),
  // kUnsupportedDType.
  static Result<std::shared_ptr<const TensorBundle>> Open(const std::string& prefix);

  // Nullptr if the checkpoint has no such tensor.
  const Entry* Find(const std::string& key) const;
  // Names of all tensors, sorted.
  std::vector<std::string> Keys() const;
  // A tensor of fixed-size elements. Errors: kVariableMissing, kCheckpointCorrupt,
  // kUnsupportedDType, kFileMissing.
  Result<std::shared_ptr<const Tensor>> Read(const std::string& key) const;
  // Part of a tensor, for partitioned TensorFlow 1 variables. Mapped if the checkpoint stores
  // exactly that slice.
  Result<std::shared_ptr<const Tensor>> ReadSlice(const std::string& key,
                                                  const TensorSlice& slice) const;
  // A tensor of strings, row-major.
  Result<std::vector<std::string>> ReadStrings(const std::string& key) const;

 private:
  TensorBundle() = default;
  Status ReadIndex(std::string_view bytes);
  Status AddEntry(std::string_view key, std::string_view value);
  Result<std::shared_ptr<const MappedFile>> Shard(int shard) const;
  Result<std::string_view> EntryBytes(const std::string& key, const Entry& entry,
                                      std::shared_ptr<const MappedFile>* file) const;
  Result<std::shared_ptr<const Tensor>> ReadWhole(const std::string& key, const std::string& name,
                                                  const Entry& entry) const;
  Result<std::shared_ptr<const Tensor>> Assemble(const std::string& key, const Entry& entry) const;

  std::string prefix_;
  int num_shards_ = 0;
  std::map<std::string, Entry> entries_;  // slices under their encoded keys
  mutable std::mutex mu_;
  mutable std::map<int, std::shared_ptr<const MappedFile>> shards_;
  mutable std::map<std::string, std::shared_ptr<const Tensor>> read_;
};

// The key under which a slice of tensor `name` is stored (TensorFlow's ordered code).
std::string EncodeSliceKey(std::string_view name, const TensorSlice& slice);

}  // namespace tfengine::saved_model
