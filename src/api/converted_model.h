// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/manifest.h"
#include "tfengine/model.h"

namespace tfengine {

// A Model, as parts of the library see it that look into its engines.
class ConvertedModel : public Model {
 public:
  // As Model::Load.
  static Result<std::shared_ptr<ConvertedModel>> Load(const std::string& dir,
                                                      const EngineOptions& options);

  virtual const Manifest& manifest() const = 0;

  // Runs an engine for call `call` of a signature: outputs for operands.
  using RunEngine = std::function<Result<std::vector<Tensor>>(
      size_t call, Engine& engine, const std::vector<Tensor>& operands)>;
  // Model::Run with another way to run engines.
  virtual Result<std::map<std::string, Tensor>> RunWith(const std::string& signature,
                                                        const std::map<std::string, Tensor>& inputs,
                                                        const RunEngine& run) = 0;
};

}  // namespace tfengine
