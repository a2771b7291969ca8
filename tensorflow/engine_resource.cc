// SPDX-License-Identifier: Apache-2.0
#include "engine_resource.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine_directory.h"
#include "tensorflow/core/lib/io/record_reader.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/logging.h"

namespace tfengine {
namespace {

// TF-TRT wrote a TFRecord file with one TensorRT engine per record; empty if nothing was built.
bool IsTensorRtFile(const std::string& path) {
  tensorflow::Env* env = tensorflow::Env::Default();
  uint64_t size = 0;
  if (!env->GetFileSize(path, &size).ok()) return false;
  if (size == 0) return true;
  std::unique_ptr<tensorflow::RandomAccessFile> file;
  if (!env->NewRandomAccessFile(path, &file).ok()) return false;
  tensorflow::io::RecordReader reader(file.get());
  uint64_t offset = 0;
  tensorflow::tstring record;
  return reader.ReadRecord(&offset, &record).ok();
}

}  // namespace

std::string FileId(const std::string& path) {
  tensorflow::FileStatistics stat;
  if (!tensorflow::Env::Default()->Stat(path, &stat).ok()) return path;
  return absl::StrCat(path, "?", stat.length, "?", stat.mtime_nsec);
}

EngineResource* OpenEngineFile(const void* device, const std::string& name, const std::string& path,
                               const EngineOptions& options) {
  const std::string id = FileId(path);
  if (IsTensorRtFile(path)) {
    return new EngineResource(
        id, nullptr, absl::StrCat("the engine file ", path, " is one of TensorRT, or empty"));
  }
  // A kernel may be loading the same file already.
  std::shared_ptr<EngineState> state = EngineDirectory::Global().FindOrCreate(
      {device, name, id}, [&] { return std::make_shared<EngineState>(name, path); });
  if (state->failed()) return new EngineResource(id, nullptr, state->Describe());
  if (!state->TryBeginBuild()) return new EngineResource(id, std::move(state), "");
  Result<std::shared_ptr<Engine>> engine = Engine::Load(path, options);
  if (!engine.ok()) {
    std::string reason = engine.status().ToString();
    LOG(WARNING)
        << name
        << ": the engine file cannot be used, the engine will be built from the native segment: "
        << reason;
    state->SetFailed(reason);
    return new EngineResource(id, nullptr, std::move(reason));
  }
  EngineDirectory::Global().RememberSource(name, path);
  state->SetReady(std::move(*engine));
  return new EngineResource(id, std::move(state), "");
}

}  // namespace tfengine
