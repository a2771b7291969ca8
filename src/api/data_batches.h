// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>
#include <vector>

#include "api/data_files.h"

namespace tfengine {

// The batches of any number of data files or directories, one after another.
class DataBatches {
 public:
  // `batch`: most samples of one batch; `max_samples`: no batch begins after so many, 0: no limit.
  // Errors: those of DataFiles::Open.
  static Result<DataBatches> Open(const std::vector<std::string>& paths,
                                  const std::vector<TensorSpec>& inputs, int64_t batch,
                                  int64_t max_samples);

  // False: there is none left. Errors: those of DataFiles::Read and CutBatches.
  Result<bool> Next(TensorMap* batch);

  int64_t samples() const { return samples_; }  // of the batches so far
  double fraction() const;                      // of the data that has been given, in [0, 1]
  const std::set<std::string>& ignored() const { return ignored_; }  // arrays that are no input

 private:
  std::vector<DataFiles> sets_;
  std::vector<TensorSpec> inputs_;
  int64_t batch_ = 1, max_samples_ = 0, samples_ = 0;
  size_t set_ = 0, file_ = 0;   // to be read next
  std::vector<Batch> batches_;  // of the file read last
  size_t next_ = 0;
  std::set<std::string> ignored_;
};

}  // namespace tfengine
