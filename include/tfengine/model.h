// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tfengine/engine.h"
#include "tfengine/export.h"
#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

struct SignatureInfo {
  std::string name;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  bool whole = false;   // runs without TensorFlow
  std::string reason;   // if not whole: the nodes that stay native, in one line
};

// A converted SavedModel, run without TensorFlow. Thread-safe.
class TFENGINE_API Model {
 public:
  // Errors: kFileMissing if `dir` is not a converted SavedModel, 5xx for its engine files.
  static Result<std::shared_ptr<Model>> Load(const std::string& dir, const EngineOptions& options = {});
  virtual ~Model() = default;

  virtual const std::vector<SignatureInfo>& signatures() const = 0;
  // Runs a signature: input name → tensor in, output name → tensor out. Errors: kUnknownSignature, kNotWhole,
  // kInputMismatch (missing, unknown, wrong dtype or shape: names what was expected).
  virtual Result<std::map<std::string, Tensor>> Run(const std::string& signature,
                                                    const std::map<std::string, Tensor>& inputs) = 0;
  // The engine behind a whole signature.
  virtual Result<std::shared_ptr<Engine>> engine(const std::string& signature) = 0;
};

}  // namespace tfengine
