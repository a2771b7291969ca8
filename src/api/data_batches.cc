// SPDX-License-Identifier: Apache-2.0
#include "api/data_batches.h"

#include <algorithm>

#include "base/status_macros.h"

namespace tfengine {

Result<DataBatches> DataBatches::Open(const std::vector<std::string>& paths,
                                      const std::vector<TensorSpec>& inputs, int64_t batch,
                                      int64_t max_samples) {
  DataBatches data;
  data.inputs_ = inputs;
  data.batch_ = batch;
  data.max_samples_ = max_samples;
  for (const std::string& path : paths) {
    TFE_ASSIGN_OR_RETURN(DataFiles files, DataFiles::Open(path, inputs));
    data.sets_.push_back(std::move(files));
  }
  return data;
}

Result<bool> DataBatches::Next(TensorMap* batch) {
  if (max_samples_ > 0 && samples_ >= max_samples_) return false;
  while (next_ == batches_.size()) {
    while (set_ < sets_.size() && file_ == sets_[set_].size()) {
      ++set_;
      file_ = 0;
    }
    if (set_ == sets_.size()) return false;
    std::vector<std::string> ignored;
    TFE_ASSIGN_OR_RETURN(const TensorMap arrays, sets_[set_].Read(file_++, &ignored));
    ignored_.insert(ignored.begin(), ignored.end());
    TFE_ASSIGN_OR_RETURN(batches_, CutBatches(arrays, inputs_, batch_));
    next_ = 0;
  }
  *batch = batches_[next_].arrays;
  samples_ += batches_[next_++].samples;
  return true;
}

double DataBatches::fraction() const {
  auto share = [](auto part, auto whole) {
    return whole == 0 ? 1.0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  double by_data = 1;
  if (set_ < sets_.size()) {
    // Of the current file only the batches that were given count.
    const double files = static_cast<double>(file_) - (1 - share(next_, batches_.size()));
    by_data = (static_cast<double>(set_) + std::max(0.0, files) / static_cast<double>(sets_[set_].size())) /
              static_cast<double>(sets_.size());
  }
  return std::min(1.0, std::max(by_data, max_samples_ > 0 ? share(samples_, max_samples_) : 0));
}

}  // namespace tfengine
