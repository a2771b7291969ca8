// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compiler/engine_base.h"
#include "quant/compare.h"

namespace tfengine {

// The elements as real numbers, whatever they are stored as (floating-point types and codes). False for other types.
bool ToReals(DType dtype, const Quant& quant, const void* data, int64_t n, std::vector<float>* out);

// Rows of the last axis, for Comparison::Add: its size, or 0 where there is nothing to choose from.
int64_t RowOf(const std::vector<int64_t>& shape);

// Compares the values that two engines of the same network share, over any number of runs. Runs of the candidate may
// have inputs of their own: what an earlier engine of the candidate's kind made. Not thread-safe.
class EngineComparison {
 public:
  // One run of the reference; its values are kept until Compare. `outputs` may be null, here and below.
  Status Record(EngineBase& reference, const std::vector<InputView>& inputs, std::vector<Tensor>* outputs = nullptr);
  // One run of the candidate, compared with the recorded one. Values of another size are left out.
  Status Compare(EngineBase& candidate, const std::vector<InputView>& inputs, std::vector<Tensor>* outputs = nullptr);

  // By value name; null if the engines do not share it.
  const quant::Comparison* Find(const std::string& value) const;

 private:
  std::map<std::string, std::vector<float>> recorded_;
  std::map<std::string, quant::Comparison> compared_;
};

}  // namespace tfengine
