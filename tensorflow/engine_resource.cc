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

EngineResource* OpenEngineFile(const std::string& name, const std::string& path,
                               const EngineOptions& options) {
  if (IsTensorRtFile(path)) {
    return new EngineResource(
        absl::StrCat("the engine file ", path, " is one of TensorRT, or empty"));
  }
  Result<std::shared_ptr<Engine>> engine = Engine::Load(path, options);
  if (!engine.ok()) {
    LOG(WARNING)
        << name
        << ": the engine file cannot be used, the engine will be built from the native segment: "
        << engine.status().ToString();
    return new EngineResource(engine.status().ToString());
  }
  EngineDirectory::Global().RememberSource(name, path);
  auto state = std::make_shared<EngineState>(name, path);
  state->SetReady(std::move(*engine));
  return new EngineResource(std::move(state));
}

}  // namespace tfengine
