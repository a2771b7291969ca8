// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "tfengine/status.h"

namespace tfengine::saved_model {

// Makes directory `to` from SavedModel directory `from`: `saved_model_pb` as saved_model.pb, new
// files under assets/ (name -> source path; "" is an empty file), and a copy of all else but
// fingerprint.pb, which would not match any more. Works in a directory beside `to` and renames it.
// Errors: kOutputExists, kOutputUnwritable, kFileMissing.
Status WriteModelDir(const std::string& from, const std::string& to,
                     std::string_view saved_model_pb,
                     const std::map<std::string, std::string>& assets);

}  // namespace tfengine::saved_model
