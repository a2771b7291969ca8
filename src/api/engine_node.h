// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "api/signature_plan.h"
#include "network/network.h"
#include "partition/partition.h"
#include "tfengine/convert.h"

namespace tfengine {

// "TRTEngineOp_000_001_1f2e3d4c": signature, segment, and a hash of the network and its constants.
// The same model gives the same names; different models give different ones, which is what keeps
// their resources apart in one process.
std::string EngineName(int signature, int segment, const Network& network);

std::string NativeFunctionName(const std::string& engine_name);
std::string EngineAssetName(const std::string& engine_name);

// The TRTEngineOp for a segment of `plan`, with the attributes of TF-TRT.
partition::EngineNode MakeEngineNode(const SignaturePlan& plan, const partition::Segment& segment,
                                     const std::string& name, const ConvertOptions& options);

}  // namespace tfengine
