// SPDX-License-Identifier: Apache-2.0
#include "api/data_files.h"

#include <algorithm>
#include <filesystem>

#include "api/manifest.h"
#include "api/npy.h"
#include "api/npz.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

namespace fs = std::filesystem;

std::string Names(const std::vector<TensorSpec>& inputs) {
  std::string names;
  for (const TensorSpec& spec : inputs)
    names += (names.empty() ? "" : ", ") + fmt::format("\"{}\" {}", spec.name, SpecToString(spec));
  return names.empty() ? "none" : names;
}

// As a file name: tensor names may have slashes.
std::string FileNameOf(std::string name) {
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

const TensorSpec* FindInput(const std::vector<TensorSpec>& inputs, const std::string& name) {
  for (const TensorSpec& spec : inputs)
    if (spec.name == name) return &spec;
  return nullptr;
}

Tensor Rows(const Tensor& tensor, int64_t begin, int64_t count) {
  std::vector<int64_t> shape = tensor.shape();
  const auto row = static_cast<int64_t>(tensor.num_bytes()) / std::max<int64_t>(shape[0], 1);
  shape[0] = count;
  return Tensor(tensor.dtype(), std::move(shape), tensor.as<char>() + begin * row,
                std::make_shared<Tensor>(tensor));
}

}  // namespace

Result<DataFiles> DataFiles::Open(const std::string& path, const std::vector<TensorSpec>& inputs) {
  DataFiles data;
  data.inputs_ = inputs;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return Error(ErrorId::kFileMissing, "{}: no such file", path);
  std::vector<fs::path> npy, npz;
  auto sort_in = [&](const fs::path& file) {
    if (file.extension() == ".npy") npy.push_back(file);
    if (file.extension() == ".npz") npz.push_back(file);
  };
  if (fs::is_directory(status)) {
    fs::directory_iterator entries(path, error);
    for (; !error && entries != fs::directory_iterator(); entries.increment(error))
      sort_in(entries->path());
    if (error) return Error(ErrorId::kFileUnreadable, "{}: {}", path, error.message());
    std::sort(npy.begin(), npy.end());
    std::sort(npz.begin(), npz.end());
  } else {
    sort_in(path);
  }
  if (npy.empty() && npz.empty())
    return Error(ErrorId::kBadFlag,
                 "{}: expected a .npz or .npy file or a directory of them; write them with "
                 "numpy.savez or numpy.save",
                 path);
  for (const fs::path& file : npz) data.sources_.push_back({file.string(), {}});
  Source named;
  for (const fs::path& file : npy)
    for (const TensorSpec& spec : inputs)
      if (file.stem() == FileNameOf(spec.name)) named.files[spec.name] = file.string();
  if (!npy.empty() && named.files.size() == npy.size()) {
    data.sources_.push_back(std::move(named));
  } else if (!npy.empty() && inputs.size() == 1) {
    for (const fs::path& file : npy)
      data.sources_.push_back({"", {{inputs[0].name, file.string()}}});
  } else if (!npy.empty()) {
    return Error(ErrorId::kBadFlag, "{}: expected .npy files named after the inputs {}, got {}",
                 path, Names(inputs), npy[0].filename().string());
  }
  return data;
}

Result<TensorMap> DataFiles::Read(size_t index, std::vector<std::string>* ignored) const {
  const Source& source = sources_[index];
  TensorMap arrays;
  if (source.archive.empty()) {
    for (const auto& [name, file] : source.files) {
      TFE_ASSIGN_OR_RETURN(arrays[name], ReadNpy(file));
    }
    return arrays;
  }
  TFE_ASSIGN_OR_RETURN(TensorMap found, ReadNpz(source.archive));
  if (inputs_.size() == 1 && found.size() == 1)
    return TensorMap{{inputs_[0].name, found.begin()->second}};
  for (auto& [name, tensor] : found) {
    if (FindInput(inputs_, name)) {
      arrays[name] = std::move(tensor);
    } else if (ignored != nullptr) {
      ignored->push_back(name);
    }
  }
  if (arrays.empty()) {
    std::string names;
    for (const auto& [name, tensor] : found) names += (names.empty() ? "" : ", ") + name;
    return Error(ErrorId::kInputMismatch, "{}: expected arrays named after the inputs {}, got {}",
                 source.archive, Names(inputs_), names.empty() ? "none" : names);
  }
  return arrays;
}

Result<std::vector<Batch>> CutBatches(const TensorMap& arrays,
                                      const std::vector<TensorSpec>& inputs, int64_t batch) {
  TensorMap whole, cut;
  int64_t samples = 1;
  for (const auto& [name, array] : arrays) {
    Tensor tensor = array;
    const TensorSpec* spec = FindInput(inputs, name);
    if (spec && spec->known_rank && tensor.rank() + 1 == static_cast<int>(spec->shape.size())) {
      std::vector<int64_t> shape = tensor.shape();
      shape.insert(shape.begin(), 1);
      tensor = tensor.Reshaped(std::move(shape));
    }
    const int64_t declared = spec && !spec->shape.empty() ? spec->shape[0] : -1;
    if (tensor.rank() == 0 || tensor.shape()[0] == declared) {
      if (tensor.rank() > 0) samples = std::max(samples, tensor.shape()[0]);
      whole[name] = std::move(tensor);
      continue;
    }
    if (declared > 0) batch = declared;
    cut[name] = std::move(tensor);
  }
  if (cut.empty()) return std::vector<Batch>{{std::move(whole), samples}};
  const auto& [first_name, first] = *cut.begin();
  samples = first.shape()[0];
  for (const auto& [name, tensor] : cut)
    if (tensor.shape()[0] != samples)
      return Error(ErrorId::kInputMismatch,
                   "array \"{}\": expected {} samples as \"{}\" has, got shape {}", name, samples,
                   first_name, ShapeToString(tensor.shape()));
  std::vector<Batch> batches;
  for (int64_t begin = 0; begin < samples; begin += batch) {
    Batch piece{whole, std::min(batch, samples - begin)};
    for (const auto& [name, tensor] : cut) piece.arrays[name] = Rows(tensor, begin, piece.samples);
    batches.push_back(std::move(piece));
  }
  return batches;
}

}  // namespace tfengine
