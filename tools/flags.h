// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tfengine/convert.h"
#include "tfengine/engine.h"
#include "tfengine/status.h"

namespace tfengine::cli {

// The flags that decide what is converted, shared by `convert` and `explain`.
void DefinePartitionFlags(CLI::App& app, ConvertOptions* options,
                          std::vector<std::string>* exclude);
// --device and what belongs to it, for commands that run engines.
void DefineDeviceFlags(CLI::App& app, EngineOptions* options);
// --exclude takes op types and node names alike.
void ApplyExclude(const std::vector<std::string>& exclude, ConvertOptions* options);

// "name=value". Error: kBadFlag naming `flag`.
Result<std::pair<std::string, std::string>> SplitPair(const std::string& flag,
                                                      const std::string& text);

}  // namespace tfengine::cli
