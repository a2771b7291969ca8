// SPDX-License-Identifier: Apache-2.0
#include "api/staging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

namespace fs = std::filesystem;

Status Unwritable(const fs::path& path, int error) {
  return Error(ErrorId::kOutputUnwritable, "{}: {}", path.string(), std::strerror(error));
}

Status Exists(const fs::path& path) {
  return Error(ErrorId::kOutputExists, "{} exists already; choose another path or remove it",
               path.string());
}

Status Sync(const fs::path& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Unwritable(path, errno);
  int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  // Some file systems cannot sync what was opened for reading, or directories at all.
  return error == 0 || error == EINVAL ? OkStatus() : Unwritable(path, error);
}

Status SyncTree(const fs::path& root) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(root, error), end; !error && it != end;
       it.increment(error))
    if (!it->is_symlink()) TFE_RETURN_IF_ERROR(Sync(it->path()));
  if (error) return Unwritable(root, error.value());
  return Sync(root);
}

// rename() that never replaces, not even an empty directory.
int RenameNoReplace(const fs::path& from, const fs::path& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL) return errno;  // EINVAL: the file system lacks the flag
  return std::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

}  // namespace

Result<Staging> Staging::Create(const std::string& output) {
  Staging staging;
  std::error_code error;
  fs::path path = fs::path(output).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "out/"
  if (path.empty()) return Error(ErrorId::kOutputUnwritable, "the output path is empty");
  staging.output_ = path;
  if (fs::exists(fs::symlink_status(path, error))) return Exists(path);

  fs::path parent = path.parent_path().empty() ? fs::path(".") : path.parent_path();
  std::vector<fs::path> missing;
  for (fs::path at = parent; !at.empty() && !fs::exists(at, error); at = at.parent_path()) {
    missing.push_back(at);
    if (at == at.parent_path()) break;
  }
  std::reverse(missing.begin(), missing.end());
  for (const fs::path& directory : missing) {
    if (mkdir(directory.c_str(), 0777) != 0) return Unwritable(path, errno);
    staging.made_parents_.push_back(directory);
  }
  std::string pattern = (parent / ("." + path.filename().string() + ".tmp-XXXXXX")).string();
  if (mkdtemp(pattern.data()) == nullptr) return Unwritable(path, errno);
  staging.directory_ = pattern;
  return staging;
}

Staging::Staging(Staging&& other) noexcept
    : output_(std::move(other.output_)),
      directory_(std::exchange(other.directory_, {})),
      made_parents_(std::exchange(other.made_parents_, {})),
      committed_(other.committed_) {}

Staging::~Staging() {
  std::error_code ignored;
  if (!directory_.empty()) fs::remove_all(directory_, ignored);
  if (committed_) return;
  for (auto it = made_parents_.rbegin(); it != made_parents_.rend(); ++it) rmdir(it->c_str());
}

Status Staging::Commit(const std::string& name) {
  fs::path prepared = directory_ / name;
  TFE_RETURN_IF_ERROR(SyncTree(prepared));
  int error = RenameNoReplace(prepared, output_);
  if (error == EEXIST || error == ENOTEMPTY) return Exists(output_);
  if (error != 0) return Unwritable(output_, error);
  committed_ = true;
  return Sync(output_.parent_path().empty() ? fs::path(".") : output_.parent_path());
}

}  // namespace tfengine
