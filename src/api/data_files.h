// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tfengine/engine.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

using TensorMap = std::map<std::string, Tensor>;

// Arrays for the inputs of a signature, in files: any number of samples along the first axis.
//
//   data.npz      arrays named after the inputs (others are ignored), or one array for the one input
//   data.npy      for a signature with one input
//   directory     .npz files; .npy files named after the inputs, or, with one input, any number of
//                 .npy files; in the order of their names
class DataFiles {
 public:
  // Errors: kFileMissing, kBadFlag (nothing there for these inputs: says what was expected).
  static Result<DataFiles> Open(const std::string& path, const std::vector<TensorSpec>& inputs);

  size_t size() const { return sources_.size(); }
  // Errors: kFileMissing, kFileUnreadable, kNpyInvalid. `ignored` (optional) gets the names of
  // arrays that are no input.
  Result<TensorMap> Read(size_t index, std::vector<std::string>* ignored = nullptr) const;

 private:
  // Either an archive, or a file per input.
  struct Source {
    std::string archive;
    std::map<std::string, std::string> files;
  };
  std::vector<TensorSpec> inputs_;
  std::vector<Source> sources_;
};

struct Batch {
  TensorMap arrays;
  int64_t samples = 1;
};

// Cuts arrays into batches of at most `batch` samples; a fixed first size of an input is the batch
// instead. Pieces view the arrays. Arrays that lack the first axis are one sample; arrays that have
// the declared first size already go whole into every batch if others are cut. Error:
// kInputMismatch if arrays have different numbers of samples.
Result<std::vector<Batch>> CutBatches(const TensorMap& arrays,
                                      const std::vector<TensorSpec>& inputs, int64_t batch);

}  // namespace tfengine
