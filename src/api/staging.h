// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tfengine/status.h"

namespace tfengine {

// A directory beside its final place, where an output is prepared. Commit() makes the output appear
// there, complete and synced to disk; if it is not called, everything that was written disappears
// with this object.
class Staging {
 public:
  // `output` must not exist; missing parent directories are made. Errors: kOutputExists,
  // kOutputUnwritable.
  static Result<Staging> Create(const std::string& output);
  ~Staging();
  Staging(Staging&& other) noexcept;
  Staging& operator=(Staging&& other) = delete;

  // An existing, private directory.
  const std::filesystem::path& directory() const { return directory_; }

  // Moves directory()/`name` to the output path. Errors: kOutputExists, kOutputUnwritable.
  Status Commit(const std::string& name);

 private:
  Staging() = default;

  std::filesystem::path output_;
  std::filesystem::path directory_;                  // empty: moved from
  std::vector<std::filesystem::path> made_parents_;  // outermost first
  bool committed_ = false;
};

}  // namespace tfengine
