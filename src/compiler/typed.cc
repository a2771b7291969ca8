// SPDX-License-Identifier: Apache-2.0
#include "compiler/typed.h"

#include "base/errors.h"

namespace tfengine {

Result<quant::Assignment> AssignFor(const Network& network, const Numerics& numerics, const CompileBackend& backend,
                                    const MappedFile* file) {
  quant::AssignOptions options;
  if (numerics.precision == "INT8") {
    options.precision = quant::Precision::kInt8;
  } else if (numerics.precision == "FP8") {
    options.precision = quant::Precision::kFp8;
  } else if (numerics.precision == "FP16" || numerics.precision == "BF16") {
    options.precision = quant::Precision::kHalf;
  } else if (numerics.precision != "FP32") {
    return Error(ErrorId::kBadFlag, "precision \"{}\": expected FP32, FP16, BF16, FP8 or INT8", numerics.precision);
  }
  options.half = backend.half();
  // A device that has both formats follows the wish.
  if (numerics.precision == "BF16" && options.half == DType::kFloat16) options.half = DType::kBfloat16;
  options.int8 = backend.int8();
  options.fp8 = backend.fp8();
  options.ranges = numerics.ranges;
  options.limits = numerics.limits;
  options.runs_typed = [&](const Node& node) { return backend.RunsTyped(network, node); };
  constexpr size_t kReadBetweenReleases = size_t{16} << 20;
  size_t read = 0;
  if (file != nullptr) {
    options.weights_read = [&](size_t bytes) {
      read += bytes;
      if (read < kReadBetweenReleases) return;
      read = 0;
      file->Release();
    };
  }
  return quant::Assign(network, options);
}

}  // namespace tfengine
