// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tfengine/status.h"

namespace tfengine {

// A file mapped read-only; shared so that tensors can keep the mapping alive.
class MappedFile {
 public:
  // Errors: kFileMissing, kFileUnreadable. An empty file maps to an empty view.
  static Result<std::shared_ptr<const MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::string_view bytes() const { return {static_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }
  // Tells the kernel that the pages are no longer needed; they are read again when touched.
  void Release() const;

 private:
  MappedFile(std::string path, void* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  void* data_;
  size_t size_;
};

}  // namespace tfengine
