// SPDX-License-Identifier: Apache-2.0
#include "api/choose_signature.h"

#include "base/errors.h"

namespace tfengine {

Result<const SignatureInfo*> ChooseSignature(const std::vector<SignatureInfo>& signatures,
                                             const std::string& name) {
  const std::string want = !name.empty()            ? name
                           : signatures.size() == 1 ? signatures[0].name
                                                    : "serving_default";
  std::string present;
  for (const SignatureInfo& signature : signatures) {
    if (signature.name == want) return &signature;
    present += (present.empty() ? "" : ", ") + signature.name;
  }
  return Error(ErrorId::kUnknownSignature, "no signature \"{}\"; present: {}", want, present);
}

Status RequireWhole(const std::string& dir, const SignatureInfo& signature) {
  if (signature.whole) return OkStatus();
  return Error(ErrorId::kNotWhole,
               "{}: signature \"{}\" needs TensorFlow to run: {}; calibrate it in Python, with "
               "TrtGraphConverterV2(..., precision_mode=\"INT8\").convert(calibration_input_fn)",
               dir, signature.name, signature.reason);
}

}  // namespace tfengine
