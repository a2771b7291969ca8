// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

// NumPy's array file format, versions 1 to 3 (numpy.lib.format). Little-endian, row-major arrays of
// every numeric type and bool; bfloat16 is read from and written as the two-byte void type that
// ml_dtypes uses.

// The tensor views the mapped file where its data are aligned. Errors: kFileMissing,
// kFileUnreadable, kNpyInvalid.
Result<Tensor> ReadNpy(const std::string& path);

// Writes beside and renames, so that `path` is whole or untouched. Errors: kOutputUnwritable,
// kUnsupportedDType.
Status WriteNpy(const std::string& path, const Tensor& tensor);

}  // namespace tfengine
