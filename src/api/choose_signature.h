// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tfengine/model.h"
#include "tfengine/status.h"

namespace tfengine {

// The signature called `name`; if that is empty, serving_default or the only one. Error:
// kUnknownSignature.
Result<const SignatureInfo*> ChooseSignature(const std::vector<SignatureInfo>& signatures,
                                             const std::string& name);
inline Result<const SignatureInfo*> ChooseSignature(const Model& model, const std::string& name) {
  return ChooseSignature(model.signatures(), name);
}

// Error kNotWhole, which says how to calibrate in TensorFlow, unless the signature runs without it.
Status RequireWhole(const std::string& dir, const SignatureInfo& signature);

}  // namespace tfengine
