// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

// NumPy's array file format, versions 1 to 3 (numpy.lib.format). Little-endian, row-major arrays of
// every numeric type and bool; bfloat16 is read from and written as the two-byte void type that
// ml_dtypes uses.

// The tensor views the mapped file where its data are aligned. Errors: kFileMissing,
// kFileUnreadable, kNpyInvalid.
Result<Tensor> ReadNpy(const std::string& path);
// The same of a file's bytes, which `owner` keeps alive; `where` stands in front of messages.
Result<Tensor> ReadNpy(std::string_view bytes, std::shared_ptr<const void> owner,
                       const std::string& where);

// Writes beside and renames, so that `path` is whole or untouched. Errors: kOutputUnwritable,
// kUnsupportedDType.
Status WriteNpy(const std::string& path, const Tensor& tensor);

}  // namespace tfengine
