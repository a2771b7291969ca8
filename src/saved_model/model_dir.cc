// SPDX-License-Identifier: Apache-2.0
#include "saved_model/model_dir.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine::saved_model {
namespace {

namespace fs = std::filesystem;

Status Unwritable(const fs::path& path, const std::error_code& error) {
  return Error(ErrorId::kOutputUnwritable, "{}: {}", path.string(), error.message());
}

Status WriteFile(const fs::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  return out ? OkStatus()
             : Error(ErrorId::kOutputUnwritable, "{}: cannot write {} bytes", path.string(),
                     bytes.size());
}

Status Fill(const fs::path& from, const fs::path& to, std::string_view saved_model_pb,
            const std::map<std::string, std::string>& assets) {
  std::error_code error;
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    const fs::path name = it->path().filename();
    if (name == "saved_model.pb" || name == "saved_model.pbtxt" || name == "fingerprint.pb")
      continue;
    std::error_code copy_error;
    fs::copy(it->path(), to / name, fs::copy_options::recursive, copy_error);
    if (copy_error) return Unwritable(to / name, copy_error);
  }
  if (error) return Error(ErrorId::kFileUnreadable, "{}: {}", from.string(), error.message());
  if (!assets.empty()) fs::create_directories(to / "assets", error);
  if (error) return Unwritable(to / "assets", error);
  for (const auto& [name, source] : assets) {
    if (source.empty()) {
      TFE_RETURN_IF_ERROR(WriteFile(to / "assets" / name, ""));
      continue;
    }
    fs::copy_file(source, to / "assets" / name, error);
    if (error == std::errc::no_such_file_or_directory)
      return Error(ErrorId::kFileMissing, "{}: no such file", source);
    if (error) return Unwritable(to / "assets" / name, error);
  }
  return WriteFile(to / "saved_model.pb", saved_model_pb);
}

}  // namespace

Status WriteModelDir(const std::string& from, const std::string& to,
                     std::string_view saved_model_pb,
                     const std::map<std::string, std::string>& assets) {
  std::error_code error;
  fs::path target = fs::absolute(fs::path(to), error).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();  // trailing slash
  auto occupied = [&] {
    std::error_code ignored;
    return fs::exists(target, ignored) &&
           !(fs::is_directory(target, ignored) && fs::is_empty(target, ignored));
  };
  if (occupied())
    return Error(ErrorId::kOutputExists,
                 "{}: expected a path that does not exist or an empty directory", to);
  const fs::path partial =
      target.parent_path() / fmt::format("{}.partial-{}", target.filename().string(), getpid());
  fs::create_directories(target.parent_path(), error);
  if (!error) fs::create_directory(partial, error);
  if (error) return Unwritable(partial, error);
  Status status = Fill(from, partial, saved_model_pb, assets);
  if (status.ok()) {
    // Onto an empty directory, or nothing.
    fs::rename(partial, target, error);
    if (error)
      status = occupied() ? Error(ErrorId::kOutputExists, "{}: appeared while writing", to)
                          : Unwritable(target, error);
  }
  if (!status.ok()) fs::remove_all(partial, error);
  return status;
}

}  // namespace tfengine::saved_model
