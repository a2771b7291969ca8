// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/function_ref.h"
#include "tfengine/status.h"

namespace tfengine::saved_model {

// Calls `fn` for every entry of a LevelDB-style table, in key order, and verifies block checksums
// and the order of keys. `path` is for messages. Format:
// github.com/google/leveldb/blob/main/doc/table_format.md, without filters. Errors:
// kCheckpointCorrupt, and what `fn` returns.
Status ReadTable(std::string_view bytes, const std::string& path,
                 FunctionRef<Status(std::string_view key, std::string_view value)> fn);

}  // namespace tfengine::saved_model
