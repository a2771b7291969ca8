// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "tfengine/status.h"
#include "tfengine/types.h"

namespace tfengine {

// The arrays of a .npz file by name, as numpy.savez writes them: a ZIP archive of stored .npy files
// (PKWARE APPNOTE 6.3, ZIP64 included). Compressed ones (numpy.savez_compressed) are refused.
// Checksums are not verified. Errors: kFileMissing, kFileUnreadable, kNpyInvalid.
Result<std::map<std::string, Tensor>> ReadNpz(const std::string& path);

}  // namespace tfengine
